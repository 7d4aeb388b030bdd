"""Waiting in a task and in a thread alike: the tests of both RPC drivers are the same functions.

Each of these functions waits in trio when a task awaits it, and blocks the thread otherwise: in a
manager of the blocking driver. :func:`run_here` runs its coroutine in the thread of the server.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import trio

from ipcpipes import rpc

T = TypeVar("T")

SECONDS = 60  # longer than anything takes, so that only a hang runs into it
_threads = trio.CapacityLimiter(200)


def in_task() -> bool:
    return trio.lowlevel.in_trio_run()


def run_here(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine in this thread, where everything it awaits blocks the thread."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise AssertionError("a manager in a thread has awaited something that needs an event loop")


async def blocking(function: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """Calls a function that blocks: a task has it called in a worker thread.

    A task that is cancelled abandons the thread, so that a test that hangs fails.
    """
    if not in_task():
        return function(*arguments, **named)
    return await trio.to_thread.run_sync(
        lambda: function(*arguments, **named), abandon_on_cancel=True, limiter=_threads
    )


class Event:
    """trio.Event for tasks and threads. A task makes it."""

    def __init__(self) -> None:
        self._for_threads = threading.Event()
        self._for_tasks = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    def set(self) -> None:
        self._for_threads.set()
        if in_task():
            self._for_tasks.set()
        else:
            self._token.run_sync_soon(self._for_tasks.set)

    def is_set(self) -> bool:
        return self._for_threads.is_set()

    async def wait(self) -> None:
        if in_task():
            await self._for_tasks.wait()
        else:
            assert self._for_threads.wait(SECONDS), "the event was not set"

    async def wait_shielded(self) -> None:
        """The same for a manager that continues after its call was given up."""
        if in_task():
            with trio.CancelScope(shield=True):
                await self._for_tasks.wait()
        else:
            await self.wait()


async def sleep(seconds: float) -> None:
    if in_task():
        await trio.sleep(seconds)
    else:
        time.sleep(seconds)


async def until(condition: Callable[[], object]) -> None:
    """Waits until the condition is true, and fails if that takes too long."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        await sleep(0.001)


async def until_given_up() -> None:
    """Waits until the call of this manager is given up, and returns."""
    test_cancel = rpc.current_call().test_cancel
    if in_task():
        with trio.CancelScope(shield=True):
            await until(test_cancel)
    else:
        await until(test_cancel)


async def until_cancelled() -> None:
    """Runs until the call of this manager is given up.

    Raises:
        trio.Cancelled: in a task, which the server cancels.
        rpc.CallCancelled: in a thread, which cannot be cancelled, and asks.
    """
    if in_task():
        await trio.sleep_forever()
    await until(rpc.current_call().test_cancel)
    raise rpc.CallCancelled
