"""The diagnostic, ``python -m ipcpipes echo``: in this process, or run as users do."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes._cli.echo.measure import SEED, SIZES

from .echo_runs import (
    LIMIT,
    as_users_have_it,
    command,
    complaint,
    ctrl_c,
    document,
    ended_within,
    eventually,
    finish,
    has_ended,
    here,
    kill,
    make_fifo,
    one_line,
    posix_files,
    posix_shell,
    posix_signals,
    posix_stdin,
    press_ctrl_c,
    running,
)
from .terminals import posix_terminal, terminal

# Over a name, over what a child inherits, and by remote calls.
MODES = [[], ["--child"], ["--rpc"]]
each_mode = pytest.mark.parametrize("mode", MODES, ids=["server", "child", "rpc"])


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with as_users_have_it(monkeypatch) as directory:
        yield directory


def second_process_of(diagnostic: subprocess.Popen[bytes]) -> int:
    """The pid of its only child, once that runs our program and is not still a copy of it."""

    def found() -> list[int]:
        assert diagnostic.poll() is None, diagnostic.communicate()
        columns = ["-o", "pid=", "-o", "ppid=", "-o", "args="]
        listed = subprocess.run(["ps", "-A", "-ww", *columns], capture_output=True, check=True)
        lines = [line.split(None, 2) for line in listed.stdout.splitlines()]
        return [
            int(line[0])
            for line in lines
            if int(line[1]) == diagnostic.pid and line[-1].endswith(b"--as-child")
        ]

    (pid,) = eventually(found)
    return int(pid)


def listening_server_of(diagnostic: subprocess.Popen[bytes], directory: Path) -> int:
    """The pid of the server process, once it listens."""

    def sockets() -> list[Path]:
        assert diagnostic.poll() is None, diagnostic.communicate()
        return list((directory / "ipcpipes").glob("*.sock"))

    found: list[Path] = eventually(sockets)

    async def pid() -> int | None:
        async with await ipcpipes.connect(found[0], wait=LIMIT) as stream:
            return stream.peer.pid

    result = trio.run(pid)
    assert result is not None
    return result


def files_in(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if not path.is_dir()]


def assert_sent_twice(facts: dict[str, Any], size: int) -> None:
    """As messages, and as a stream."""
    (messages,) = facts["round_trips"]
    assert messages["message_bytes"] == min(size, 65536)
    assert messages["total_bytes"] == size
    assert messages["count"] >= -(-size // 65536)
    assert facts["stream"]["total_bytes"] == size
    assert facts["verified_bytes"] == 2 * size


# The report


@each_mode
def test_without_input_the_table_shows_generated_data(mode: list[str]) -> None:
    result = finish("echo", *mode, "--seconds", "0.2")
    assert (result.returncode, result.stderr) == (0, b"")
    text = result.stdout.decode()
    for word in ("1 B", "64 B", "1 KiB", "16 KiB", "64 KiB", "1 MiB", "p50", "p90", "p99", "max"):
        assert word in text
    for word in ("address", "transport", "peer", "platform", "versions", "MB/s", "result     ok"):
        assert word in text
    assert "generated (seed 1)" in text
    assert ("child      exited, status 0" in text) == (mode == ["--child"])


@each_mode
def test_json_has_all_the_documented_facts(mode: list[str], place: Path) -> None:
    facts = document(here("echo", *mode, "--json", "--seconds", "0.2"))
    assert facts["ok"] is True
    assert facts["input"] == {"name": None, "seed": SEED}
    assert facts["platform"].keys() == {"system", "release", "machine"}
    assert facts["versions"].keys() == {"python", "ipcpipes", "trio", "cffi"}
    assert facts["versions"]["ipcpipes"] == ipcpipes.__version__
    assert facts["versions"]["trio"] == trio.__version__
    assert facts["peer"].keys() == {"pid", "user", "uid", "gid", "sid", "groups", "executable"}
    assert facts["peer"]["pid"] > 0
    assert [each["message_bytes"] for each in facts["round_trips"]] == list(SIZES)
    for each in facts["round_trips"]:
        assert each["count"] >= 1
        assert each["total_bytes"] == each["count"] * each["message_bytes"]
        assert 0 < each["p50_us"] <= each["p90_us"] <= each["p99_us"] <= each["max_us"]
        assert each["messages_per_second"] > 0
        assert each["megabytes_per_second"] >= 0
        assert each["seconds"] > 0
    assert facts["stream"].keys() == {"total_bytes", "seconds", "megabytes_per_second"}
    assert facts["stream"]["total_bytes"] > 0
    assert facts["stream"]["megabytes_per_second"] > 0
    total = sum(each["total_bytes"] for each in facts["round_trips"])
    assert facts["verified_bytes"] == total + facts["stream"]["total_bytes"]
    windows = sys.platform == "win32"
    if mode == ["--child"]:
        assert facts["child"] == {"reason": "exited", "status": 0}
        assert facts["transport"] == (
            "Windows named pipe, inherited" if windows else "socketpair(2)"
        )
        number = f"{'handle' if windows else 'descriptor'} {facts['endpoint']}"
        assert facts["address"] == number
    else:
        assert facts["child"] is None
        assert facts["endpoint"] in facts["address"]
        assert facts["transport"].endswith("calls and pipes") == (mode == ["--rpc"])
        if sys.platform != "win32":
            assert facts["address"].startswith(str(place))
            assert facts["peer"]["uid"] == os.geteuid()


# The input


@pytest.mark.parametrize("size", [1, 65536, 65537, 1_000_000])
def test_a_file_is_sent_twice(tmp_path: Path, size: int) -> None:
    file = tmp_path / "input"
    file.write_bytes(secrets.token_bytes(size))
    facts = document(here("echo", "--json", file))
    assert_sent_twice(facts, size)
    assert facts["input"] == {"name": str(file), "seed": None}


@pytest.mark.parametrize("mode", MODES[1:])
def test_a_file_is_sent_twice_in_other_modes(tmp_path: Path, mode: list[str]) -> None:
    file = tmp_path / "input"
    file.write_bytes(secrets.token_bytes(256_001))
    assert_sent_twice(document(here("echo", "--json", file, *mode)), 256_001)


@each_mode
def test_an_empty_file_is_input_too(tmp_path: Path, mode: list[str]) -> None:
    (tmp_path / "empty").touch()
    facts = document(here("echo", *mode, "--json", tmp_path / "empty"))
    assert facts["round_trips"] == []
    assert facts["verified_bytes"] == 0
    result = here("echo", *mode, tmp_path / "empty")
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"ok: 0 bytes" in result.stdout


@pytest.mark.parametrize("mode", MODES[:2])
def test_a_dash_is_standard_input(mode: list[str]) -> None:
    text = secrets.token_bytes(300_000)
    assert_sent_twice(document(finish("echo", *mode, "-", "--json", text=text)), len(text))


@posix_stdin
@pytest.mark.parametrize("mode", MODES[:2])
def test_a_pipe_on_standard_input_is_sent(mode: list[str]) -> None:
    text = secrets.token_bytes(300_000)
    assert_sent_twice(document(finish("echo", *mode, "--json", text=text)), len(text))


def test_a_file_on_standard_input_is_sent_from_its_offset(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(bytes(1000))
    with (tmp_path / "input").open("rb", buffering=0) as file:
        file.seek(300)
        assert_sent_twice(document(finish("echo", "--json", stdin=file)), 700)


@posix_files
def test_a_fifo_is_sent(tmp_path: Path) -> None:
    fifo = make_fifo(tmp_path / "fifo")
    with running("echo", "--json", fifo) as process:
        fifo.write_bytes(bytes(200_000))
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (0, b"")
    assert_sent_twice(json.loads(out), 200_000)


def test_an_idle_pipe_on_standard_input_is_not_read() -> None:
    reading, writing = os.pipe()
    try:
        facts = document(finish("echo", "--json", "--seconds", "0.1", stdin=reading))
        assert facts["input"]["name"] is None
        os.write(writing, b"x")
        assert os.read(reading, 2) == b"x"
    finally:
        os.close(reading)
        os.close(writing)


def test_empty_standard_input_means_generated_data(tmp_path: Path) -> None:
    assert document(finish("echo", "--json", "--seconds", "0.1", text=b""))["input"]["seed"]
    (tmp_path / "empty").touch()
    with (tmp_path / "empty").open("rb") as file:
        result = finish("echo", "--json", "--seconds", "0.1", stdin=file)
    assert document(result)["input"]["seed"]


@posix_terminal
def test_a_terminal_on_standard_input_means_generated_data() -> None:
    with terminal() as (_, slave):
        facts = document(finish("echo", "--json", "--seconds", "0.1", stdin=slave))
    assert facts["input"]["seed"]


@posix_shell
def test_closed_standard_input_means_generated_data() -> None:
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *command("echo", "--json", "--seconds", "0.1")]
    result = subprocess.run(shell, capture_output=True, timeout=LIMIT, check=False)
    assert document(result)["input"]["seed"]


# The second process


@each_mode
def test_the_second_process_and_its_socket_are_gone(mode: list[str], place: Path) -> None:
    facts = document(finish("echo", *mode, "--json", "--seconds", "0.1"))
    assert ended_within(facts["peer"]["pid"], 0)
    assert files_in(place) == []
    if mode == ["--child"]:
        assert list(place.iterdir()) == [], "a child needs no name"


@posix_signals
@each_mode
def test_the_peer_is_the_second_process(mode: list[str]) -> None:
    with running("echo", *mode, "--json", "--seconds", "2") as process:
        pid = second_process_of(process)
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["peer"]["pid"] == pid


@posix_signals
@each_mode
def test_a_killed_second_process_fails_the_diagnostic(mode: list[str]) -> None:
    with running("echo", *mode, "--seconds", "600") as process:
        kill(second_process_of(process))
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (1, b"")
    what = "child" if mode == ["--child"] else "server"
    assert one_line(err) == f"ipcpipes: the {what} process ended by SIGKILL\n"


@posix_signals
@pytest.mark.parametrize("mode", MODES[::2])
def test_a_server_killed_midway_fails_the_diagnostic(mode: list[str], place: Path) -> None:
    with running("echo", *mode, "--seconds", "600") as process:
        kill(listening_server_of(process, place))
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (1, b"")
    assert one_line(err) == "ipcpipes: the server process ended by SIGKILL\n"


@posix_signals
@each_mode
def test_the_second_process_ends_with_a_killed_diagnostic(mode: list[str], place: Path) -> None:
    with running("echo", *mode, "--seconds", "600") as process:
        if mode == ["--child"]:
            pid = second_process_of(process)
        else:
            pid = listening_server_of(process, place)
        process.kill()
        process.wait(LIMIT)
        eventually(lambda: has_ended(pid))
    assert files_in(place) == []


def test_a_child_of_a_child_has_its_own_stream() -> None:
    # A child inherits the environment, which tells its parent of a stream.
    async def run() -> None:
        words = command("echo", "--child", "--seconds", "0.1")
        async with ipcpipes.open_child(words, stdout=out.append, stderr=out.append) as child:
            with trio.fail_after(LIMIT):
                await child.wait()
        assert child.status == 0, out

    out: list[str] = []
    trio.run(run)
    assert any(line.startswith("result     ok") for line in out)


# Ctrl-C


@posix_signals
@each_mode
def test_ctrl_c_ends_both_processes(mode: list[str], place: Path) -> None:
    with running("echo", *mode, "--seconds", "600") as process:
        pid = second_process_of(process)
        if sys.platform != "win32":
            # A terminal sends SIGINT to a process group of its own session.
            assert os.getsid(pid) == pid
        assert ctrl_c(process) == (130, b"", b"")
        assert has_ended(pid)
    assert files_in(place) == []


@posix_signals
def test_ctrl_c_while_the_input_is_read() -> None:
    with running("echo", "-", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        # More than a pipe holds: it has begun to read when this returns.
        process.stdin.write(bytes(2**20))
        assert ctrl_c(process) == (130, b"", b"")


@posix_signals
def test_ctrl_c_on_the_server_alone_is_a_failure(place: Path) -> None:
    with running("echo", "--seconds", "600") as process:
        os.kill(listening_server_of(process, place), signal.SIGINT)
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (1, b"")
    assert "the server process ended with status 130" in one_line(err)


@posix_signals
def test_a_second_ctrl_c_shows_nothing_and_leaves_no_process(place: Path) -> None:
    with running("echo", "--seconds", "600") as process:
        pid = listening_server_of(process, place)
        press_ctrl_c(process)
        # It has received the first one, and is ending or gone (a zombie has a group too).
        assert ctrl_c(process) == (130, b"", b"")
        assert has_ended(pid)


# Failures


@pytest.mark.parametrize("mode", MODES[:2])
def test_a_missing_file_is_named(tmp_path: Path, mode: list[str]) -> None:
    missing = tmp_path / "missing"
    line = complaint(here("echo", *mode, missing))
    assert f"cannot read {missing}: No such file" in line


def test_a_directory_is_not_input(tmp_path: Path) -> None:
    assert f"cannot read {tmp_path}: " in complaint(here("echo", tmp_path))


def test_a_file_name_with_line_breaks_makes_one_line(tmp_path: Path) -> None:
    complaint(here("echo", tmp_path / "two\nlines"))


@posix_files
def test_an_unsafe_directory_fails_the_diagnostic(place: Path) -> None:
    place.chmod(0o777)
    assert "can be written by others" in complaint(here("echo", "--seconds", "0.1"))
