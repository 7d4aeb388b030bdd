"""Inheritance: a child gets its ends and nothing else, and no other process gets them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

import ipcpipes
from ipcpipes import blocking, open_child

from . import programs
from .conftest import WINDOWS
from .pairs import receive_all, receive_exactly
from .processes import SECONDS

# What a child of our own has open besides the standard streams.
OPEN = programs.plain_program("""
import stat
kinds = []
for fd in sorted(int(name) for name in os.listdir("/proc/self/fd")):
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        continue  # of the listing itself
    if fd <= 2:
        continue
    kinds.append("socket" if stat.S_ISSOCK(mode) else "pipe" if stat.S_ISFIFO(mode) else "other")
say(*sorted(kinds))
""")


async def said(program: object, **options: object) -> list[str]:
    lines: list[str] = []
    async with open_child(program, stdout=lines.append, **options) as child:  # type: ignore[arg-type]
        await child.wait()
    return lines[0].split()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir() or WINDOWS, reason="/proc/self/fd")
async def test_child_inherits_only_its_own_ends() -> None:
    # Other descriptors that are open here, also inheritable ones.
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(5)]
    try:
        for fd in held:
            os.set_inheritable(fd, True)
        assert await said(OPEN) == ["pipe", "socket"]  # the lifeline, and the stream
        assert await said(OPEN, pipes={"a": "send", "b": "duplex"}) == ["pipe", "pipe", "socket"]
        receive_end, send_end = ipcpipes.open_anonymous_pipe()
        async with receive_end, send_end:
            assert await said(OPEN) == ["pipe", "socket"]
            assert await said(OPEN, pipes={"mine": send_end}) == ["pipe", "pipe"]
    finally:
        for fd in held:
            os.close(fd)


async def test_unlisted_handle_is_not_inherited() -> None:
    receive_end, send_end = ipcpipes.open_anonymous_pipe()
    program = programs.trio_program("""
    try:
        await ipcpipes.connect(ipcpipes.Endpoint.inherited(sys.argv[1]), direction="send")
    except ipcpipes.EndpointNotFound:
        say("nothing")
    """)
    async with receive_end, send_end:
        number = send_end.endpoint.name
        assert await said([*program, number]) == ["nothing"]


@contextmanager
def others_starting_children(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Threads that start children of their own, which live on, as fast as they can."""
    started: list[subprocess.Popen[bytes]] = []
    over = threading.Event()
    sleeper = (
        [sys.executable, "-c", "import time; time.sleep(600)"] if WINDOWS else ["sleep", "600"]
    )

    def start() -> None:
        while not over.is_set():
            # POSIX: also calls that let the child inherit every inheritable descriptor.
            close_fds = True if WINDOWS else len(started) % 2 == 0
            started.append(subprocess.Popen(sleeper, stdin=subprocess.DEVNULL, close_fds=close_fds))
            over.wait(0.2 if WINDOWS else 0.002)

    threads = [threading.Thread(target=start) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield started
    finally:
        over.set()
        for thread in threads:
            thread.join()
        for process in started:
            process.kill()
        for process in started:
            process.wait(SECONDS)


async def test_other_children_inherit_none_of_the_ends() -> None:
    """Shown by what it would do: a child of theirs that had our child's end would keep the stream
    open when ours has ended.
    """
    writer = [*programs.plain_program("os.write(int(os.environ['IPCPIPES_PIPE_OUT']), b'x')")]
    if WINDOWS:
        writer = [
            *programs.plain_program("""
            import msvcrt
            os.write(msvcrt.open_osfhandle(int(os.environ["IPCPIPES_PIPE_OUT"]), 0), b"x")
            """)
        ]
    with others_starting_children(2) as others:
        for _ in range(3 if WINDOWS else 10):
            async with open_child(writer, pipes={"out": "receive"}) as child:
                with trio.fail_after(SECONDS):
                    assert await receive_all(child.pipes["out"]) == b"x"
        assert all(process.poll() is None for process in others)
        assert len(others) > 3


async def test_children_started_at_once_get_only_their_ends() -> None:
    """Each sees the end when its own parent's end is closed, though the others go on."""
    async with trio.open_nursery() as nursery:
        ends = [trio.Event() for _ in range(3 if WINDOWS else 5)]

        async def one(number: int) -> None:
            async with open_child(programs.ECHO) as child:
                await child.stream.send_all(b"%03d" % number)
                assert await receive_exactly(child.stream, 3) == b"%03d" % number
                await child.stream.aclose()
                with trio.fail_after(SECONDS):
                    assert await child.wait() == 0
                ends[number].set()
                # The others' pipes are open all the while.
                for end in ends:
                    await end.wait()

        for number in range(len(ends)):
            nursery.start_soon(one, number)


def test_threads_starting_children_do_not_mix_the_ends() -> None:
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            for _ in range(1 if WINDOWS else 3):
                with blocking.open_child(programs.BLOCKING_ECHO) as child:
                    child.stream.send_all(b"%d" % number)
                    assert child.stream.receive_some(timeout=SECONDS) == b"%d" % number
                    child.stream.close()
                    assert child.wait(timeout=SECONDS) == 0
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
