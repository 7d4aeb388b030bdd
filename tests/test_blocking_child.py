"""Children and parents without an event loop."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import ContentLength, Framing, LengthPrefixed, Native, blocking

from . import programs
from .conftest import WINDOWS
from .processes import SECONDS, is_alive
from .threads import receive_all, receive_exactly

FRAMINGS: list[Any] = [LengthPrefixed(width=2, byteorder="big"), ContentLength()]
if sys.platform in ("linux", "win32"):
    FRAMINGS.append(Native())


@pytest.mark.parametrize(
    "program", [programs.ECHO, programs.BLOCKING_ECHO], ids=["trio", "blocking"]
)
def test_child_has_a_stream(program: Sequence[str]) -> None:
    with blocking.open_child(program) as child:
        assert isinstance(child.stream, blocking.Stream)
        child.stream.send_all(b"hello")
        assert receive_exactly(child.stream, 5) == b"hello"
        assert repr(child) == f"<ipcpipes Child process {child.pid}, running>"
        assert child.stream.peer.pid == child.pid
    assert (child.status, child.reason) == (0, "exited")


@pytest.mark.parametrize("framing", FRAMINGS, ids=str)
@pytest.mark.parametrize(
    "program", [programs.MESSAGE_ECHO, programs.BLOCKING_MESSAGE_ECHO], ids=["trio", "blocking"]
)
def test_child_has_a_channel(program: Sequence[str], framing: Framing | Native) -> None:
    with blocking.open_child(program, framing=framing) as child:
        for message in (b"", b"one", b"x" * 1000):
            child.channel.send(message)
            assert child.channel.receive(timeout=SECONDS) == message
    assert (child.status, child.reason) == (0, "exited")


@pytest.mark.parametrize(
    "program", [programs.PIPES, programs.BLOCKING_PIPES], ids=["trio", "blocking"]
)
def test_child_has_several_pipes(program: Sequence[str]) -> None:
    with blocking.open_child(
        program, pipes={"jobs": "send", "log": "receive", "talk": "duplex"}
    ) as child:
        child.pipes["jobs"].send_all(b"one")
        assert receive_exactly(child.pipes["log"], 3) == b"ONE"
        child.pipes["talk"].send_all(b"two")
        assert receive_exactly(child.pipes["talk"], 3) == b"two"
        child.pipes["jobs"].close()
        assert child.pipes["log"].receive_some(timeout=SECONDS) == b""
    assert (child.status, child.reason) == (0, "exited")


def test_end_of_an_anonymous_pipe_is_handed_over() -> None:
    program = programs.blocking_program("""
    with blocking.parent_pipes() as pipes:
        pipes["results"].send_all(b"done")
    """)
    receive_end, send_end = blocking.open_anonymous_pipe()
    with receive_end, blocking.open_child(program, pipes={"results": send_end}):
        assert receive_all(receive_end) == b"done"


def test_standard_streams_go_where_subprocess_sends_them(tmp_path: Any) -> None:
    program = programs.plain_program('say("out"); print("err", file=sys.stderr)')
    with (
        open(tmp_path / "out", "wb") as out,
        blocking.open_child(program, stdout=out, stderr=subprocess.STDOUT),
    ):
        pass
    assert (tmp_path / "out").read_text().split() == ["out", "err"]


def test_standard_streams_can_be_pipes() -> None:
    program = programs.plain_program("say(sys.stdin.readline().upper().strip())")
    with blocking.open_child(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.process.stdin is not None
        assert child.process.stdout is not None
        child.process.stdin.write(b"hello\n")
        child.process.stdin.flush()
        assert child.process.stdout.read().strip() == b"HELLO"
    assert child.process.stdin.closed
    assert child.process.stdout.closed


@pytest.mark.skipif(WINDOWS, reason="there it may have to wait")
def test_unsent_input_does_not_delay_the_end() -> None:
    with blocking.open_child(programs.HANG, stdin=subprocess.PIPE, grace=0.1) as child:
        assert child.process.stdin is not None
        child.process.stdin.write(b"x" * 65536)
        child.process.stdin.write(b"does not fit")
    assert child.reason == "terminated"


def test_wait_times_out() -> None:
    with blocking.open_child(programs.ECHO) as child:
        with pytest.raises(TimeoutError, match=rf"process {child.pid} has not ended within 0.05 s"):
            child.wait(timeout=0.05)
        with pytest.raises(ValueError, match="timeout"):
            child.wait(timeout=-1)
        child.stream.close()
        assert child.wait(timeout=SECONDS) == child.wait() == 0


def test_hanging_child_is_terminated() -> None:
    with blocking.open_child(programs.HANG, grace=0.1) as child:
        pass
    assert child.reason == "terminated"
    assert not is_alive(child.pid)


@pytest.mark.skipif(WINDOWS, reason="TerminateProcess cannot be ignored")
def test_child_that_ignores_sigterm_is_killed() -> None:
    program = programs.blocking_program("""
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    blocking.parent_stream().send_all(b"ready")
    time.sleep(60)
    """)
    with blocking.open_child(program, grace=0.1) as child:
        assert receive_exactly(child.stream, 5) == b"ready"
    assert (child.status, child.reason) == (-signal.Signals["SIGKILL"], "killed")


def test_terminate_ends_a_child_at_once() -> None:
    with blocking.open_child(programs.HANG, grace=SECONDS) as child:
        child.terminate()
        assert child.wait(timeout=SECONDS) == (1 if WINDOWS else -signal.SIGTERM)
    assert child.reason == "terminated"


def test_error_of_the_block_ends_the_child() -> None:
    with pytest.raises(ValueError, match="mine"), blocking.open_child(programs.ECHO) as child:
        raise ValueError("mine")
    assert (child.status, child.reason) == (0, "exited")


def test_missing_program_leaves_nothing() -> None:
    receive_end, send_end = blocking.open_anonymous_pipe()
    with receive_end:
        with pytest.raises(FileNotFoundError, match="no-such-program"):
            with blocking.open_child(["/no-such-program"], pipes={"out": send_end}):
                pytest.fail("it started")
        assert receive_end.receive_some(timeout=SECONDS) == b""


def test_without_a_parent_there_is_a_clear_error() -> None:
    for ask in (blocking.parent_stream, blocking.parent_channel):
        with pytest.raises(ipcpipes.NoParent, match="has not started it"):
            ask()
    with pytest.raises(ipcpipes.NoParent), blocking.parent_pipes():
        pass


def test_stream_can_be_closed_while_a_thread_reads() -> None:
    with blocking.open_child(programs.ECHO) as child:
        caught: list[BaseException] = []

        def read() -> None:
            try:
                child.stream.receive_some()
            except trio.ClosedResourceError as error:
                caught.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(0.05)
        child.stream.close()
        reader.join(SECONDS)
        assert len(caught) == 1


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_function_for_output_is_refused(name: str) -> None:
    redirection: Any = {name: print}
    with pytest.raises(TypeError, match=f"{name} cannot be a function .* child.process.{name}"):
        with blocking.open_child([sys.executable, "-c", ""], **redirection):
            pass
