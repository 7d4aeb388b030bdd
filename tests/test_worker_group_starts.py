"""A group whose workers cannot be started, for a moment or for good."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import pytest
import trio

from ipcpipes import WorkerFailed, WorkerGroup

from . import programs
from .conftest import WINDOWS
from .descriptors import at_most_open
from .processes import is_alive
from .test_worker_group import JOBS, Heard, crash, running, until

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

CRASHING_JOBS = programs.trio_program("""
async with ipcpipes.group_worker() as worker:
    async for job in worker:
        if job == b"crash":
            os._exit(3)
        await worker.send(job + b" by %d" % worker.number)
""")


class Program:
    """A command whose program can be taken away."""

    def __init__(self) -> None:
        self.is_there = True

    def __call__(self, numbers: Mapping[str, str]) -> Sequence[str]:
        return CRASHING_JOBS if self.is_there else ["/no-such-program"]


@pytest.mark.skipif(WINDOWS, reason="Windows has no limit that a process sets itself")
@pytest.mark.parametrize("restarts", [5, None])
async def test_emfile_at_a_restart_ends_no_other_worker(
    restarts: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()
    async with running(CRASHING_JOBS, 2, on_message=heard, restarts=restarts) as group:
        before = group.pids
        with at_most_open(0):
            await crash(group, 0)
            await until(lambda: "Too many open files" in caplog.text)
        await group.send(b"job", worker=0)  # waits until the worker is there again
        assert await heard.until(1) == [b"job by 0"]
        assert group.pids[0] != before[0]
        assert group.pids[1] == before[1]
        assert is_alive(before[1])


async def test_program_missing_for_a_moment_ends_no_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    program, heard = Program(), Heard()
    async with running(program, 2, on_message=heard) as group:
        before = group.pids
        program.is_there = False
        await crash(group, 0)
        await until(lambda: "worker 0 could not be started" in caplog.text)
        program.is_there = True
        await group.send(b"job", worker=0)
        assert await heard.until(1) == [b"job by 0"]
        assert group.pids[1] == before[1]


async def test_program_missing_for_good_exhausts_the_restarts() -> None:
    program = Program()
    group = WorkerGroup(program, 1, restarts=2)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(group.run)
            program.is_there = False
            await crash(group, 0)
    (failure,) = caught.value.exceptions
    assert isinstance(failure, WorkerFailed)
    assert str(failure).startswith("worker 0 could not be started: ")
    assert str(failure).endswith("; that was crash 3 within 60 s")
    assert failure.status is None
    assert isinstance(failure.__cause__, FileNotFoundError)


@pytest.mark.parametrize("restarts", [0, None])
async def test_start_raises_if_no_worker_can_be_started(restarts: int | None) -> None:
    group = WorkerGroup(["/no-such-program"], 2, restarts=restarts)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            with pytest.raises(FileNotFoundError):
                await nursery.start(group.run)
            raise KeyError("it was told")
    assert [type(error) for error in caught.value.exceptions] == [KeyError]


async def test_start_raises_if_all_workers_crash() -> None:
    group = WorkerGroup([sys.executable, "-c", "raise SystemExit(9)"], 2, restarts=0)
    async with trio.open_nursery() as nursery:
        with pytest.raises(WorkerFailed, match="ended before it was ready"):
            await nursery.start(group.run)


async def test_group_stopped_while_starting_reports_started() -> None:
    """A program that has stopped the group itself need not handle an error."""
    group = WorkerGroup(JOBS, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_soon, group)
        assert await nursery.start(group.run) is group


async def _stop_soon(group: WorkerGroup) -> None:
    group.stop()
