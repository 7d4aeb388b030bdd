"""POSIX: two processes that take a name at the same moment leave no lock file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ipcpipes import Endpoint, EndpointInUse

if sys.platform == "win32":
    pytest.skip("about lock files", allow_module_level=True)

from ipcpipes._os.posix import claim as claims

Step = Callable[..., Any]


@pytest.fixture
def address(tmp_path: Path) -> bytes:
    tmp_path.chmod(0o700)
    return bytes(tmp_path / "svc.sock")


def claim_at(address: bytes) -> Any:
    return claims.Claim(Endpoint.path(address.decode()), address)


def first(step: Step, then: Step) -> Step:
    """Returns ``then`` with ``step`` before it, but only before the first call."""
    steps = [step]

    def both(*arguments: Any) -> Any:
        while steps:
            steps.pop()()
        return then(*arguments)

    return both


@pytest.mark.parametrize("before", ["_mark", "_check_lock", "_try_lock"])
def test_another_process_locks_the_file_that_this_one_has_made(
    before: str, address: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker, other = claim_at(address), claim_at(address)
    if before == "_mark":
        monkeypatch.setattr(claims, before, first(other.take, claims._mark))
    else:
        monkeypatch.setattr(maker, before, first(other.take, getattr(maker, before)))
    try:
        with pytest.raises(EndpointInUse):
            maker.take()
    finally:
        maker.release()
    assert (tmp_path / "svc.sock.lock").exists()  # the other process holds it
    other.release()
    assert not list(tmp_path.iterdir())


def test_an_empty_file_of_another_program_is_left_alone(address: bytes, tmp_path: Path) -> None:
    file = tmp_path / "svc.sock.lock"
    file.touch()
    claim = claim_at(address)
    claim.take()
    claim.release()
    assert file.read_bytes() == b""
