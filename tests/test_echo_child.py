"""``python -m ipcpipes echo --child``, as users run it: in processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import ipcpipes
from ipcpipes._cli.echo import generated, process as start
from ipcpipes._cli.echo.ended import is_about_the_end, process_ended
from ipcpipes._cli.echo.figures import Streamed
from ipcpipes._cli.echo.ledger import Ledger
from ipcpipes._cli.echo.process import child_process
from ipcpipes._cli.echo.report import ChildEnd, Report, as_json, as_text
from ipcpipes._cli.echo.transfer import round_trip
from ipcpipes._cli.failure import ConnectionEnded, Failure, WrongBytes

from .echo_runs import (
    LIMIT,
    as_users_have_it,
    assert_sent_twice,
    complaint,
    ctrl_c,
    document,
    eventually,
    finish,
    has_ended,
    kill,
    one_line,
    posix_signals,
    posix_stdin,
    running,
)


@pytest.fixture(autouse=True)
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with as_users_have_it(monkeypatch) as directory:
        yield directory


def child_of(process: subprocess.Popen[bytes]) -> int:
    """The pid of its only child, once that runs our program (and not still a copy of its
    parent's).
    """

    def found() -> list[int]:
        assert process.poll() is None, process.communicate()
        columns = ["-o", "pid=", "-o", "ppid=", "-o", "args="]
        listed = subprocess.run(["ps", "-A", "-ww", *columns], capture_output=True, check=True)
        lines = [line.split(None, 2) for line in listed.stdout.splitlines()]
        return [
            int(line[0])
            for line in lines
            if int(line[1]) == process.pid and line[-1].endswith(b"--as-child")
        ]

    (pid,) = eventually(found)
    return int(pid)


def ended_within(pid: int, seconds: float) -> bool:
    """Whether the process is gone by then."""
    if sys.platform == "win32":
        import _winapi

        try:
            handle = _winapi.OpenProcess(_winapi.SYNCHRONIZE, False, pid)
        except OSError:
            ended = True
        else:
            waited = _winapi.WaitForSingleObject(handle, int(seconds * 1000))
            _winapi.CloseHandle(handle)
            ended = waited == _winapi.WAIT_OBJECT_0
    else:
        deadline = time.monotonic() + seconds
        while not (ended := has_ended(pid)) and time.monotonic() < deadline:
            time.sleep(0.01)
    return ended


# What killing a process looks like to who has started it.
KILLED = "the child process ended " + ("with status 1" if sys.platform == "win32" else "by SIGKILL")


@contextlib.contextmanager
def failing(line: str) -> Iterator[None]:
    """Exactly this is what the user reads."""
    with trio.fail_after(LIMIT), pytest.raises(Failure) as caught:
        yield
    assert str(caught.value) == line


# It works


def test_it_measures_generated_data() -> None:
    result = finish("echo", "--child", "--seconds", "0.2")
    assert (result.returncode, result.stderr) == (0, b"")
    text = result.stdout.decode()
    for word in ("1 B", "64 B", "1 KiB", "16 KiB", "64 KiB", "1 MiB", "p50", "p90", "p99", "max"):
        assert word in text
    for word in ("address", "transport", "peer", "platform", "versions", "MB/s", "result     ok"):
        assert word in text
    assert "child      exited, status 0" in text
    assert "generated" in text


def test_json_has_all_the_facts() -> None:
    facts = document(finish("echo", "--child", "--json", "--seconds", "0.2"))
    assert facts["ok"] is True
    assert facts["child"] == {"reason": "exited", "status": 0}
    assert facts["peer"]["pid"] > 0
    if sys.platform == "win32":
        assert facts["transport"] == "Windows named pipe, inherited"
        assert facts["address"] == f"handle {facts['endpoint']}"
    else:
        assert facts["transport"] == "socketpair(2)"
        assert facts["address"] == f"descriptor {facts['endpoint']}"
    assert [each["message_bytes"] for each in facts["round_trips"]] == list(generated.SIZES)
    total = sum(each["total_bytes"] for each in facts["round_trips"])
    assert facts["verified_bytes"] == total + facts["stream"]["total_bytes"]
    without = document(finish("echo", "--json", "--seconds", "0.1"))
    assert without["child"] is None
    assert without.keys() == facts.keys()


@posix_signals
def test_the_peer_is_the_child() -> None:
    with running("echo", "--child", "--json", "--seconds", "2") as process:
        child = child_of(process)
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["peer"]["pid"] == child
    assert has_ended(child)


@pytest.mark.parametrize("size", [1, 65537, 1_000_000])
def test_a_file_is_sent(tmp_path: Path, size: int) -> None:
    file = tmp_path / "input"
    file.write_bytes(secrets.token_bytes(size))
    facts = document(finish("echo", "--json", file, "--child"))
    assert_sent_twice(facts, size)
    assert facts["input"] == {"name": str(file), "seed": None}


def test_a_dash_is_standard_input() -> None:
    text = secrets.token_bytes(300_000)
    assert_sent_twice(document(finish("echo", "--child", "-", "--json", text=text)), len(text))


@posix_stdin
def test_a_pipe_on_standard_input_is_sent_and_not_read_by_the_child() -> None:
    text = secrets.token_bytes(300_000)
    assert_sent_twice(document(finish("echo", "--child", "--json", text=text)), len(text))


def test_a_child_of_a_child_has_its_own_stream() -> None:
    # What tells the outer child of its stream is in the environment of all that follows.
    async def run() -> None:
        command = [sys.executable, "-m", "ipcpipes", "echo", "--child", "--seconds", "0.1"]
        async with ipcpipes.open_child(command, stdout=out.append, stderr=out.append) as child:
            with trio.fail_after(LIMIT):
                await child.wait()
        assert child.status == 0, out

    out: list[str] = []
    trio.run(run)
    assert any(line.startswith("result     ok") for line in out)


def test_nothing_is_left_behind(place: Path) -> None:
    facts = document(finish("echo", "--child", "--json", "--seconds", "0.1"))
    assert ended_within(facts["peer"]["pid"], 0)
    # Not even a name was needed.
    assert list(place.iterdir()) == []


# Wrong usage


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "--child"],
        ["serve", "name", "--child"],
        ["send", "name", "--child"],
        ["send", "--child", "name"],
        ["--child=yes"],
        ["--child", "one", "two"],
        ["--child", "--seconds", "0"],
        ["--chil"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    result = finish("echo", *arguments)
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.startswith(b"usage: python -m ipcpipes")


def test_help() -> None:
    result = finish("echo", "--help")
    assert b"--child" in result.stdout
    assert b"as-child" not in result.stdout


def test_what_is_hidden_is_of_no_use_to_users() -> None:
    assert "this process has no parent to talk to" in complaint(finish("echo", "--as-child"))


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    line = complaint(finish("echo", "--child", missing))
    assert f"cannot read {missing}: No such file" in line


# Death


@posix_signals
def test_a_child_that_is_killed_midway_fails_the_diagnostic() -> None:
    with running("echo", "--child", "--seconds", "600") as process:
        kill(child_of(process))
        out, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, out) == (1, b"")
    assert one_line(err) == "ipcpipes: the child process ended by SIGKILL\n"


@posix_signals
def test_the_child_does_not_outlive_a_killed_diagnostic() -> None:
    with running("echo", "--child", "--seconds", "600") as process:
        child = child_of(process)
        process.kill()
        process.wait(LIMIT)
        assert ended_within(child, LIMIT)


_PARENT = """
import sys, trio
from ipcpipes._cli.echo.process import child_process
from ipcpipes._cli.echo.transfer import stream_through
from ipcpipes._cli.echo.ledger import Ledger

async def main():
    ledger = Ledger()
    async with child_process() as child:
        async def endless():
            # By then it echoes.
            if ledger.returned and not told:
                print(child.pid, flush=True)
                told.append(True)
            return bytes(65536)

        told = []
        await stream_through(child.stream, endless, ledger)

trio.run(main)
"""


def test_a_child_in_the_middle_of_its_echo_ends_with_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not ended_within(child, 0)
        parent.kill()
        parent.wait(LIMIT)
        assert ended_within(child, LIMIT)


async def test_a_child_that_is_killed_says_so() -> None:
    ledger = Ledger()
    with failing(KILLED):
        async with child_process() as child:
            await round_trip(child.stream, b"x", ledger, fits_buffer=True)
            child.process.kill()
            await child.wait()
            await round_trip(child.stream, b"x", ledger, fits_buffer=True)
    assert child.status is not None


async def test_a_child_that_is_killed_when_all_is_back_is_a_failure_too() -> None:
    ledger = Ledger()
    with failing(KILLED):
        async with child_process() as child:
            await round_trip(child.stream, b"x", ledger, fits_buffer=True)
            child.process.kill()
            await child.wait()


@posix_signals
async def test_ctrl_c_on_the_child_alone_shows_no_traceback() -> None:
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        ledger = Ledger()
        # Its last line on standard error would follow.
        with failing("the child process ended with status 130"):
            async with child_process() as child:
                await round_trip(child.stream, b"x", ledger, fits_buffer=True)
                os.kill(child.pid, signal.SIGINT)
                await child.wait()
                await round_trip(child.stream, b"x", ledger, fits_buffer=True)
    finally:
        signal.signal(signal.SIGINT, previous)


async def test_a_child_says_why_it_died() -> None:
    program = "import sys\nprint('first', file=sys.stderr)\nsys.exit('no luck today\\n \\n')"
    with failing("the child process ended with status 1: no luck today"):
        async with child_process([sys.executable, "-c", program]) as child:
            await round_trip(child.stream, b"x", Ledger(), fits_buffer=True)


async def test_a_child_that_goes_on_and_on_is_told_in_short() -> None:
    program = "import sys; sys.exit('x' * 100_000)"
    with failing("the child process ended with status 1: " + 4096 * "x"):
        async with child_process([sys.executable, "-c", program]) as child:
            await round_trip(child.stream, b"x", Ledger(), fits_buffer=True)


async def test_wrong_bytes_are_told_and_not_that_the_child_ended() -> None:
    program = """
import trio, ipcpipes
async def main():
    async with ipcpipes.parent_stream() as stream:
        await stream.send_all((await stream.receive_some(100)).upper())
trio.run(main)
"""
    with pytest.raises(WrongBytes, match="byte 2 is 0x58 and was sent as 0x78"):
        async with child_process([sys.executable, "-c", program]) as child:
            await round_trip(child.stream, b"12x", Ledger(), fits_buffer=True)


async def test_a_child_that_leaves_before_everything_is_back() -> None:
    with failing("the child process ended with status 0"):
        async with child_process([sys.executable, "-c", ""]) as child:
            await round_trip(child.stream, b"x", Ledger(), fits_buffer=True)


async def test_another_status_than_0_is_a_failure() -> None:
    program = "import trio, ipcpipes, sys; sys.exit(3)"
    with failing("the child process ended with status 3"):
        async with child_process([sys.executable, "-c", program]):
            pass


async def test_a_child_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "_END_WITHIN", 0.2)
    line = "the child process did not end within 0.2 s after its stream was closed"
    with failing(f"{line}, and was terminated"):
        async with child_process([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
            pass
    assert child.status is not None


async def test_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        async with child_process(["/no/such/program"]):
            raise AssertionError


async def test_what_the_block_raises_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        async with child_process() as child:
            raise ZeroDivisionError
    assert (child.reason, child.status) == ("exited", 0)


# Ctrl-C


@posix_signals
def test_ctrl_c_ends_the_diagnostic_and_its_child() -> None:
    with running("echo", "--child", "--seconds", "600") as process:
        child = child_of(process)
        assert ctrl_c(process) == (130, b"", b"")
        assert has_ended(child)


@posix_signals
def test_the_child_is_out_of_reach_of_ctrl_c() -> None:
    if sys.platform != "win32":
        with running("echo", "--child", "--seconds", "600") as process:
            # A terminal sends it to a process group of its own session.
            child = child_of(process)
            assert os.getsid(child) == child
            assert ctrl_c(process)[0] == 130


# The parts


def test_the_end_of_a_process_is_one_line() -> None:
    assert str(process_ended("child", 3, "")) == "the child process ended with status 3"
    line = "the server process ended with status 1: it is late"
    assert str(process_ended("server", 1, "early\r\nit is late\r\n \r\n")) == line


@posix_signals
def test_the_end_by_a_signal_names_it() -> None:
    assert str(process_ended("child", -9, "")) == "the child process ended by SIGKILL"
    assert str(process_ended("child", -99, "")) == "the child process ended by signal 99"


def test_wrong_bytes_are_not_told_by_the_end_of_the_process() -> None:
    assert is_about_the_end(ConnectionEnded("ended"))
    assert not is_about_the_end(Failure("something else"))
    both = [ConnectionEnded("ended"), WrongBytes("wrong")]

    class Group(Exception):
        exceptions = both

    assert not is_about_the_end(Group())


def test_a_report_of_a_child() -> None:
    report = Report(
        endpoint="9",
        address="descriptor 9",
        transport="socketpair(2)",
        peer=ipcpipes.PeerIdentity(pid=7),
        platform={"system": "Linux", "release": "6", "machine": "x86_64"},
        versions={"python": "3.14.0", "ipcpipes": "1"},
        input_name="file",
        seed=None,
        round_trips=[],
        streamed=Streamed(0, 0.5),
        child=ChildEnd("exited", 0),
    )
    assert json.loads(as_json(report))["child"] == {"reason": "exited", "status": 0}
    lines = as_text(report).splitlines()
    assert "peer       process 7" in lines
    assert lines[-2:] == [
        "child      exited, status 0",
        "result     ok: 0 bytes sent, every one came back right",
    ]
