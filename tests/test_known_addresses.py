"""A client that connects again to a plain name makes every check again."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ipcpipes
from ipcpipes import Endpoint, blocking

if sys.platform == "win32":
    pytest.skip("the address of a pipe is not searched for", allow_module_level=True)

from ipcpipes._os.posix import connecting, known


@pytest.fixture
def short() -> Iterator[Path]:
    """A directory with a short path, as sockets need it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def runtime(short: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new directory of the session."""
    directory = short / "run"
    directory.mkdir(0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    monkeypatch.setattr(known, "_places", {})
    return directory


def meet(endpoint: Endpoint, listener: Any) -> str:
    """Connects once. Returns the address at which the client found its server."""
    with blocking.connect(endpoint) as client, listener.accept():
        return str(client.address)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[Endpoint]:
    """The endpoints that clients had to search for."""
    made: list[Endpoint] = []
    find = connecting._find

    def counted(descriptors: Any, endpoint: Endpoint, *arguments: Any) -> bytes:
        made.append(endpoint)
        return find(descriptors, endpoint, *arguments)

    monkeypatch.setattr(connecting, "_find", counted)
    return made


def test_a_client_searches_once(
    runtime: Path, searches: list[Endpoint], endpoint: Endpoint
) -> None:
    with blocking.listen(endpoint) as listener:
        addresses = {meet(endpoint, listener) for _ in range(5)}
    assert addresses == {f"{runtime}/ipcpipes/{endpoint.name}.sock"}
    assert searches == [endpoint]


def test_another_directory_of_the_session_is_another_place(
    runtime: Path, short: Path, monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint
) -> None:
    other = short / "other"
    other.mkdir(0o700)
    for directory in (runtime, other, runtime):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
        with blocking.listen(endpoint) as listener:
            assert meet(endpoint, listener).startswith(f"{directory}/")


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
@pytest.mark.parametrize("which", ["ipcpipes", "."])
def test_a_directory_that_has_become_unsafe_is_refused(
    mode: int, which: str, runtime: Path, endpoint: Endpoint
) -> None:
    with blocking.listen(endpoint) as listener:
        meet(endpoint, listener)
        directory = runtime / which
        directory.chmod(mode)
        with pytest.raises(ipcpipes.UnsafeDirectory, match="can be written by others"):
            blocking.connect(endpoint)
        directory.chmod(0o700)
        meet(endpoint, listener)


def test_a_link_in_the_place_of_the_directory_is_refused(
    runtime: Path, short: Path, endpoint: Endpoint
) -> None:
    with blocking.listen(endpoint) as listener:
        meet(endpoint, listener)
        (runtime / "ipcpipes").rename(short / "moved")
        (runtime / "ipcpipes").symlink_to(short / "moved")
        with pytest.raises(ipcpipes.UnsafeDirectory, match="is a link"):
            blocking.connect(endpoint)
        (runtime / "ipcpipes").unlink()
        (short / "moved").rename(runtime / "ipcpipes")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
@pytest.mark.parametrize("which", ["ipcpipes", "."])
def test_a_directory_of_another_user_is_refused(
    which: str, runtime: Path, endpoint: Endpoint
) -> None:
    with blocking.listen(endpoint) as listener:
        meet(endpoint, listener)
        os.chown(runtime / which, 54_321, -1)
        with pytest.raises(ipcpipes.IpcError):
            blocking.connect(endpoint)
        os.chown(runtime / which, 0, -1)


def test_a_server_that_has_gone_is_reported_as_the_first_time(
    runtime: Path, endpoint: Endpoint
) -> None:
    with pytest.raises(ipcpipes.EndpointNotFound) as first:
        blocking.connect(endpoint)
    with blocking.listen(endpoint) as listener:
        meet(endpoint, listener)
    with pytest.raises(ipcpipes.EndpointNotFound) as second:
        blocking.connect(endpoint)
    assert str(second.value) == str(first.value)
    shutil.rmtree(runtime)
    with pytest.raises(ipcpipes.EndpointNotFound):
        blocking.connect(endpoint)


def test_a_server_in_another_directory_is_found_again(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, endpoint: Endpoint
) -> None:
    """The server's environment has no directory of the session, and the client's has."""

    def serve() -> None:
        with blocking.listen(endpoint) as listener:
            addresses.append(listener.address)
            listening.set()
            for _ in range(3):
                listener.accept().close()

    for _ in range(2):
        listening = threading.Event()
        addresses: list[str] = []
        monkeypatch.delenv("XDG_RUNTIME_DIR")
        server = threading.Thread(target=serve, daemon=True)
        server.start()
        assert listening.wait(60)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        for _ in range(3):
            with blocking.connect(endpoint) as client:
                assert client.address == addresses[0]
                assert client.receive_some() == b"", "it was accepted"
        server.join()


def test_what_is_remembered_is_limited(runtime: Path) -> None:
    for number in range(1000):
        known.remember(Endpoint.named(f"n{number}"), b"%s/ipcpipes/n.sock" % bytes(runtime))
    assert len(known._places) <= 256
    known.remember(Endpoint.path("/x"), b"/x")
    assert known.address_of(Endpoint.path("/x")) is None
