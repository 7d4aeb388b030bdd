"""Starting and stopping, again and again, with crashes at random moments: nothing is left."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import sys
import threading
from typing import Any

import pytest
import trio
import trio.lowlevel

from ipcpipes import WorkerGroup, blocking, open_child

from . import programs
from .conftest import WINDOWS, open_descriptors
from .processes import children_of_this_process, is_alive, until_gone
from .test_worker_group import JOBS

CYCLES = 20 if WINDOWS else 500
# Starts in a millisecond or two; ends with its parent, by itself, or not at all.
CHILDREN = (
    [
        programs.plain_program("sys.exit(3)"),
        programs.plain_program("time.sleep(600)"),
    ]
    if WINDOWS
    else [
        ["sh", "-c", "exit 3"],
        ["sh", "-c", "kill -9 $$"],
        ["cat", "/dev/zero"],
        ["sleep", "600"],
        # Ends when the parent closes its pipe.
        ["sh", "-c", 'exec cat "/dev/fd/$IPCPIPES_PIPE_IN"'],
    ]
)


def handles() -> int:
    """How many handles or descriptors this process has."""
    if sys.platform == "win32":
        import ctypes

        count = ctypes.c_ulong()
        kernel = ctypes.windll.kernel32
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        kernel.GetProcessHandleCount.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_ulong)]
        assert kernel.GetProcessHandleCount(kernel.GetCurrentProcess(), ctypes.byref(count))
        return count.value
    return len(open_descriptors())


class Census:
    """What there is before and after."""

    def __init__(self) -> None:
        gc.collect()
        self.handles = handles()
        self.threads = {t.name for t in threading.enumerate() if not t.daemon}
        self.children = set() if WINDOWS else children_of_this_process()

    def check(self, pids: list[int]) -> None:
        now = Census()
        # trio and Windows keep a few for themselves, once.
        assert now.handles <= self.handles + (10 if WINDOWS else 0)
        assert now.threads == self.threads
        assert now.children == self.children, "zombies, or children that live"
        assert not any(map(is_alive, pids))


async def test_children_come_and_go_and_leave_nothing() -> None:
    dice = random.Random(4)
    pids: list[int] = []

    async def cycle() -> None:
        with trio.move_on_after(dice.choice([0.001, 0.002, 0.005, 10])):
            options: dict[str, Any] = {"stdout": len if dice.random() < 0.3 else -3}
            async with open_child(
                dice.choice(CHILDREN),
                pipes={"in": "send", "out": "receive", "both": "duplex"},
                grace=dice.choice([0, 0.01]),
                stderr=-3,
                **options,
            ) as child:
                pids.append(child.pid)
                if dice.random() < 0.3:
                    child.process.kill()
                with contextlib.suppress(trio.BrokenResourceError):
                    await child.pipes["in"].send_all(b"hello")
                if dice.random() < 0.3:
                    await child.wait()

    await cycle()
    census = Census()
    async with trio.open_nursery() as nursery:
        limit = trio.CapacityLimiter(8)

        async def limited() -> None:
            async with limit:
                await cycle()

        for _ in range(CYCLES):
            nursery.start_soon(limited)
    assert len(pids) > CYCLES / 4
    await trio.lowlevel.checkpoint()
    census.check(pids)


def test_blocking_children_come_and_go_and_leave_nothing() -> None:
    dice = random.Random(5)
    pids: list[int] = []

    def cycle() -> None:
        with blocking.open_child(
            dice.choice(CHILDREN),
            pipes={"in": "send", "out": "receive"},
            grace=dice.choice([0, 0.005]),
            stdout=-3,
            stderr=-3,
        ) as child:
            pids.append(child.pid)
            if dice.random() < 0.3:
                child.process.kill()
            with contextlib.suppress(trio.BrokenResourceError):
                child.pipes["in"].send_all(b"hello")

    cycle()
    census = Census()
    for _ in range(CYCLES // 5):
        cycle()
    census.check(pids)


async def test_workers_that_crash_at_random_moments_leave_nothing() -> None:
    dice = random.Random(6)
    pids: set[int] = set()
    seen = set()

    async def on_message(number: int, message: bytes) -> None:
        seen.add(number)

    async def live() -> None:
        group = WorkerGroup(JOBS, 3, restarts=None, on_message=on_message)
        async with trio.open_nursery() as nursery:
            await nursery.start(group.run)
            for _ in range(1 if WINDOWS else 8):
                pids.update(group.pids.values())
                with contextlib.suppress(trio.BrokenResourceError):  # the last victim may be it
                    await group.send(b"is there", worker=dice.randrange(3))
                if victims := list(group.pids.values()):  # all may be waiting for their restart
                    with contextlib.suppress(OSError):
                        os.kill(dice.choice(victims), 9)
                await group.send(b"job")
                await trio.sleep(dice.random() / 10)
            with contextlib.suppress(Exception):
                await group.roll_over()
            pids.update(group.pids.values())
            group.stop()

    await live()
    census = Census()
    await live()
    census.check(list(pids))


@pytest.mark.skipif(WINDOWS, reason="SIGKILL at any moment, on Linux")
def test_parent_killed_while_starting_children_leaves_none() -> None:
    """Each of them ends by itself, because its pipe does."""
    import subprocess
    import time

    program = """
import trio, ipcpipes
async def one():
    while True:
        command = ["sh", "-c", 'echo $$; exec cat "/dev/fd/$IPCPIPES_PIPE_IN"']
        with trio.move_on_after(0.05):
            async with ipcpipes.open_child(command, pipes={"in": "send"}):
                await trio.sleep_forever()
async def main():
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(one)
trio.run(main)
"""
    dice = random.Random(7)
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            first = parent.stdout.readline()
            time.sleep(dice.random() / 10)
            parent.kill()
            # A process that still runs holds this pipe open; its end means that none does.
            pids = [int(line) for line in [first, *parent.stdout]]
        for pid in pids:
            trio.run(until_gone, pid)
