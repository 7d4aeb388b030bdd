"""How children end, and what each side sees of it: every bad child has one stated outcome."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import trio

from ipcpipes import open_child

from . import programs
from .conftest import WINDOWS
from .pairs import receive_all, receive_exactly
from .processes import SECONDS, is_alive, until_gone

# The child's doing


async def test_child_that_exits_has_reason_exited() -> None:
    async with open_child(programs.plain_program("sys.exit(7)")) as child:
        assert await child.stream.receive_some() == b""
        assert await child.wait() == 7
    assert (child.status, child.reason) == (7, "exited")
    assert repr(child) == f"<ipcpipes Child process {child.pid}, exited, status 7>"


async def test_data_of_an_ended_child_can_be_read() -> None:
    program = programs.blocking_program("""
    with blocking.parent_stream() as stream:
        stream.send_all(b"x" * 1000)
    """)
    async with open_child(program) as child:
        await child.wait()
        assert await receive_all(child.stream) == b"x" * 1000
        with pytest.raises(trio.BrokenResourceError):
            await child.stream.send_all(b"too late")


async def test_killed_child_has_reason_signalled() -> None:
    async with open_child(programs.ECHO) as child:
        await child.stream.send_all(b"hello")
        assert await receive_exactly(child.stream, 5) == b"hello"
        child.process.kill()
        assert await child.stream.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await child.stream.send_all(b"x")
    if WINDOWS:
        assert (child.status, child.reason) == (1, "exited")
    else:
        assert (child.status, child.reason) == (-signal.Signals["SIGKILL"], "signalled")


async def test_child_that_only_closes_its_end_is_terminated() -> None:
    program = programs.blocking_program("""
    with blocking.parent_stream():
        pass
    time.sleep(60)
    """)
    async with open_child(program, grace=0.1) as child:
        assert await child.stream.receive_some() == b""
        assert child.status is None
    assert child.reason == "terminated"
    assert child.status == (1 if WINDOWS else -signal.SIGTERM)


async def test_a_child_that_hangs_is_terminated() -> None:
    # After SIGTERM it has 2 s more to end before it is killed: enough on a busy machine too.
    async with open_child(programs.HANG, grace=2) as child:
        pass
    assert child.reason == "terminated"


@pytest.mark.skipif(WINDOWS, reason="TerminateProcess cannot be ignored")
async def test_a_child_that_ignores_sigterm_is_killed() -> None:
    program = programs.plain_program("""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say("here")
    time.sleep(60)
    """)
    ready = trio.Event()
    async with open_child(program, grace=0.1, stdout=lambda line: ready.set()) as child:
        await ready.wait()
    assert (child.status, child.reason) == (-signal.Signals["SIGKILL"], "killed")


@pytest.mark.skipif(WINDOWS, reason="no process can be stopped there")
async def test_a_child_that_is_stopped_is_killed() -> None:
    async with open_child(programs.ECHO, grace=0.1) as child:
        os.kill(child.pid, signal.Signals["SIGSTOP"])
    assert (child.status, child.reason) == (-signal.Signals["SIGKILL"], "killed")


async def test_grandchild_with_the_handles_delays_no_end() -> None:
    # It inherits all there is, the standard streams too, and lives longer than the child.
    program = programs.plain_program("""
    grandchild = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], close_fds=False
    )
    say(grandchild.pid)
    """)
    lines: list[str] = []
    begin = time.monotonic()
    async with open_child(program, stdout=lines.append) as child:
        assert await child.wait() == 0
    assert (child.status, child.reason) == (0, "exited")
    assert time.monotonic() - begin < SECONDS
    grandchild = int(lines[0])
    assert is_alive(grandchild)  # it is its own affair
    os.kill(grandchild, signal.SIGTERM)
    await until_gone(grandchild)


async def test_printing_grandchild_delays_no_end() -> None:
    program = programs.plain_program("""
    noise = "import time\\nfor _ in range(600): print('noise', flush=True); time.sleep(0.1)"
    grandchild = subprocess.Popen([sys.executable, "-c", noise], close_fds=False)
    say("last words", grandchild.pid)
    """)
    lines: list[str] = []
    begin = time.monotonic()
    async with open_child(program, stdout=lines.append) as child:
        assert await child.wait() == 0
    assert time.monotonic() - begin < SECONDS
    (last_words,) = (line for line in lines if line != "noise")
    grandchild = int(last_words.split()[-1])
    os.kill(grandchild, signal.SIGTERM)
    await until_gone(grandchild)


async def test_terminate_ends_a_child_that_ignores_its_pipes() -> None:
    begin = time.monotonic()
    async with open_child(programs.HANG, grace=SECONDS) as child:
        child.terminate()
    assert (child.reason, time.monotonic() - begin < SECONDS) == ("terminated", True)
    child.terminate()
    async with open_child(programs.plain_program("")) as child:
        await child.wait()
        child.terminate()
    assert (child.status, child.reason) == (0, "exited")


async def test_child_that_never_reads_delays_no_end() -> None:
    async with open_child(programs.HANG, grace=0.1) as child:
        with trio.move_on_after(0.2):
            await child.stream.send_all(b"x" * 10_000_000)
    assert child.reason == "terminated"


# The parent's doing


async def test_leaving_the_block_tells_the_child_to_end() -> None:
    async with open_child(programs.ECHO, grace=SECONDS) as child:
        pass
    assert (child.status, child.reason) == (0, "exited")


async def test_a_cancelled_block_terminates_the_child_at_once() -> None:
    with trio.move_on_after(0.05) as scope:
        async with open_child(programs.HANG, grace=SECONDS) as child:
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert child.reason == "terminated"
    await until_gone(child.pid)


async def test_cancelled_wait_terminates_the_child_at_once() -> None:
    begin = trio.current_time()
    with trio.CancelScope() as scope:
        async with open_child(programs.HANG, grace=SECONDS) as child:
            scope.deadline = trio.current_time() + 0.3
    assert scope.cancelled_caught
    assert child.reason == "terminated"
    assert trio.current_time() - begin < SECONDS


async def test_cancelled_open_child_starts_nothing() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_child(programs.HANG):
            pytest.fail("it started")
    assert scope.cancelled_caught


async def test_stream_may_be_closed_before_the_block_ends() -> None:
    async with open_child(programs.ECHO) as child:
        await child.stream.aclose()
        assert await child.wait() == 0


async def test_wait_can_be_cancelled_and_called_again() -> None:
    async with open_child(programs.ECHO) as child:
        with trio.move_on_after(0.05) as scope:
            await child.wait()
        assert scope.cancelled_caught
        await child.stream.aclose()
        assert await child.wait() == await child.wait() == 0


_STUBBORN = """
import os, signal, sys, threading, time, trio
from ipcpipes import blocking, open_child

CHILD = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "signal.signal(signal.SIGINT, signal.SIG_IGN); print('here', flush=True); time.sleep(60)"
)

def press_ctrl_c():
    for _ in range(3):
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

def without_trio():
    reading, writing = os.pipe()
    with blocking.open_child([sys.executable, "-c", CHILD], grace=60, stdout=writing) as child:
        os.read(reading, 5)
        pids.append(child)
        threading.Thread(target=press_ctrl_c, daemon=True).start()

async def with_trio():
    ready = trio.Event()
    stdout = (lambda line: ready.set()) if sys.argv[1] == "lines" else None
    async with open_child([sys.executable, "-c", CHILD], grace=60, stdout=stdout) as child:
        pids.append(child)
        await (ready.wait() if stdout else trio.sleep(0.5))
        threading.Thread(target=press_ctrl_c, daemon=True).start()

pids = []
try:
    without_trio() if sys.argv[1] == "blocking" else trio.run(with_trio)
except KeyboardInterrupt:
    print(pids[0].pid, pids[0].reason, flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(WINDOWS, reason="signals")
@pytest.mark.parametrize("how", ["trio", "lines", "blocking"])
def test_repeated_ctrl_c_still_kills_and_reaps_the_child(how: str) -> None:
    said = subprocess.run(
        [sys.executable, "-c", _STUBBORN, how], capture_output=True, text=True, timeout=SECONDS
    ).stdout.split()
    assert said[-1] == "killed"
    assert not is_alive(int(said[-2]))


# The parent's death, however it dies

_FAMILY = """
import os, signal, sys, subprocess, trio, ipcpipes

async def main():
    async with ipcpipes.open_child([sys.executable, "-c", sys.argv[1]]) as child:
        # The grandfather keeps what the child is given here, and nothing of the pipes.
        print("parent", os.getpid(), child.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def family(child: str) -> subprocess.Popen[str]:
    """A parent with a child of this program, which speaks on the same standard output."""
    return subprocess.Popen(
        [sys.executable, "-c", _FAMILY, programs.TRIO + textwrap.dedent(child)],
        stdout=subprocess.PIPE,
        text=True,
    )


_SEES_THE_END = """
async def main():
    async with ipcpipes.parent_stream() as stream:
        say("child is ready")
        assert await stream.receive_some() == b""
    say("end of stream")
trio.run(main)
"""
_IS_CANCELLED = """
async def main():
    async with ipcpipes.parent_stream(cancel_on_end=True) as stream:
        say("child is ready")
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            say("cancelled")
            raise
    say("and goes on")
trio.run(main)
"""
_SEES_THE_END_WITHOUT_TRIO = """
from ipcpipes import blocking
with blocking.parent_stream() as stream:
    say("child is ready")
    assert stream.receive_some() == b""
say("end of stream")
"""


@pytest.mark.parametrize(
    ("child", "lines"),
    [
        (_SEES_THE_END, ["end of stream"]),
        (_IS_CANCELLED, ["cancelled", "and goes on"]),
        (_SEES_THE_END_WITHOUT_TRIO, ["end of stream"]),
    ],
    ids=["end", "cancel_on_end", "blocking"],
)
def test_kill_9_of_the_parent_ends_the_childs_stream(child: str, lines: list[str]) -> None:
    parent = family(child)
    assert parent.stdout is not None
    with parent, parent.stdout:
        heard = sorted(parent.stdout.readline().strip() for _ in range(2))
        assert heard[0] == "child is ready"
        pid = int(heard[1].split()[-1])
        parent.kill()
        # The pipe is at its end: no process has its other end any more.
        assert parent.stdout.read().splitlines() == lines
    trio.run(until_gone, pid)


async def test_cancel_on_end_when_the_parent_leaves_its_block() -> None:
    program = [sys.executable, "-c", programs.TRIO + textwrap.dedent(_IS_CANCELLED)]
    lines: list[str] = []
    ready = trio.Event()

    def hear(line: str) -> None:
        lines.append(line)
        ready.set()

    async with open_child(program, stdout=hear) as child:
        await ready.wait()
    assert lines == ["child is ready", "cancelled", "and goes on"]
    assert (child.status, child.reason) == (0, "exited")


async def test_cancel_on_end_waits_while_the_parent_is_alive() -> None:
    program = programs.trio_program("""
    async with ipcpipes.parent_stream(cancel_on_end=True) as stream:
        async for data in stream:
            await stream.send_all(data)
    """)
    async with open_child(program) as child:
        for _ in range(3):
            await child.stream.send_all(b"hello")
            assert await receive_exactly(child.stream, 5) == b"hello"
    assert child.status == 0


async def test_exception_of_the_childs_block_is_not_wrapped() -> None:
    program = programs.trio_program("""
    try:
        async with ipcpipes.parent_stream(cancel_on_end=True):
            raise ValueError("mine")
    except ValueError as error:
        say(repr(error))
    """)
    lines: list[str] = []
    async with open_child(program, stdout=lines.append):
        pass
    assert lines == ["ValueError('mine')"]


@pytest.mark.skipif(WINDOWS, reason="half-close")
async def test_send_eof_of_the_parent_does_not_cancel() -> None:
    program = programs.trio_program("""
    async with ipcpipes.parent_stream(cancel_on_end=True) as stream:
        received = b""
        async for data in stream:
            received += data
        await trio.sleep(0.1)
        await stream.send_all(received.upper())
    """)
    async with open_child(program) as child:
        await child.stream.send_all(b"hello")
        await child.stream.send_eof()  # type: ignore[attr-defined,unused-ignore]
        assert await receive_all(child.stream) == b"HELLO"
