"""``python -m ipcpipes echo --rpc``, as users run it: in processes of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .echo_runs import as_users_have_it, document, eventually, finish, kill, posix_signals, running


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with as_users_have_it(monkeypatch) as directory:
        yield directory


def test_generated_data_goes_through_calls_and_pipes() -> None:
    result = finish("echo", "--rpc", "--json", "--seconds", "0.2")
    found = document(result)
    assert found["transport"].endswith("calls and pipes")
    assert [each["message_bytes"] for each in found["round_trips"]][-1] == 2**20
    assert found["stream"]["total_bytes"] > 0


@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256)) * 1000])
def test_a_file_goes_through_twice(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    found = document(finish("echo", "--rpc", "--json", file))
    assert found["verified_bytes"] == 2 * len(content)


def test_it_is_not_for_a_child() -> None:
    result = finish("echo", "--rpc", "--child")
    assert result.returncode == 2
    assert b"not allowed with" in result.stderr


def server_of(process: subprocess.Popen[bytes]) -> int:
    """The pid of its only child, once that runs our program."""

    def found() -> list[int]:
        assert process.poll() is None, process.communicate()
        columns = ["-o", "pid=", "-o", "ppid=", "-o", "args="]
        listed = subprocess.run(["ps", "-A", "-ww", *columns], capture_output=True, check=True)
        lines = [line.split(None, 2) for line in listed.stdout.splitlines()]
        return [
            int(line[0]) for line in lines if int(line[1]) == process.pid and b"--rpc" in line[2]
        ]

    (pid,) = eventually(found)
    return int(pid)


@posix_signals
def test_a_server_that_is_killed_is_one_line() -> None:
    with running("echo", "--rpc", "--seconds", "60") as process:
        kill(server_of(process))
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = said.decode().splitlines()
    assert "server" in line
