"""Runs a function as a client, in a thread of its own.

A thread that acts as another user must not come from a pool or return to a pool, because the next
function in that thread would run as that user too. So trio's ``to_thread.run_sync``, which has such
a pool, is not used.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import trio

ResultT = TypeVar("ResultT")


class Client(Protocol):
    """A client that a thread can act as; see the impersonation modules of the systems."""

    def enter(self) -> None: ...
    def leave(self) -> None: ...
    def close(self) -> None: ...


class _Acting(threading.local):
    """The work that was deferred in this thread; ``None`` unless the thread acts as a client."""

    deferred: list[Callable[[], None]] | None = None


_acting = _Acting()


def is_acting() -> bool:
    """Returns whether this thread acts as a client."""
    return _acting.deferred is not None


def defer_if_acting(work: Callable[[], None]) -> bool:
    """Defers ``work`` if this thread acts as a client, because the work needs this process' own
    identity. The thread that waits for this one does the work later. Returns whether the work was
    deferred.
    """
    if _acting.deferred is None:
        return False
    _acting.deferred.append(work)
    return True


class _Job:
    """A function that runs as a client, and its result.

    Lifetime: it owns ``client``, from :meth:`__init__` to :meth:`close`.
    """

    def __init__(self, client: Client, fn: Callable[..., Any], args: tuple[object, ...]) -> None:
        self._client = client
        self._deferred: list[Callable[[], None]] = []
        self._call = lambda: fn(*args)
        self._context = contextvars.copy_context()
        self._value: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        _acting.deferred = self._deferred
        try:
            self._client.enter()
            try:
                self._value = self._context.run(self._call)
            finally:
                self._client.leave()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        if self._error is None:
            return self._value
        try:
            raise self._error
        finally:
            # Breaks a reference cycle: the traceback refers to this frame.
            self._error = None

    def close(self) -> None:
        """Closes the client, and does the deferred work. Called when the thread has ended."""
        self._client.close()
        while self._deferred:
            self._deferred.pop()()


def _thread(target: Callable[[], None]) -> threading.Thread:
    return threading.Thread(target=target, name="ipcpipes run_as_client", daemon=True)


# KeyboardInterrupt is raised before the function begins, or after it has ended.
@trio.lowlevel.enable_ki_protection
async def run_as(client: Client, fn: Callable[..., ResultT], args: tuple[object, ...]) -> ResultT:
    """Runs ``fn(*args)`` as ``client``, and closes ``client``. This can be cancelled until ``fn``
    begins.
    """
    job = _Job(client, fn, args)
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
        limiter = trio.to_thread.current_default_thread_limiter()
        borrower = object()  # not the task itself, which may already hold a token of the limiter
        await limiter.acquire_on_behalf_of(borrower)
        try:
            task = trio.lowlevel.current_task()
            token = trio.lowlevel.current_trio_token()

            def run() -> None:
                job.run()
                token.run_sync_soon(trio.lowlevel.reschedule, task)

            thread = _thread(run)
            thread.start()
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
            thread.join()  # returns at once
            result: ResultT = job.result()
            return result
        finally:
            limiter.release_on_behalf_of(borrower)
    finally:
        job.close()


def run_as_blocking(
    client: Client, fn: Callable[..., ResultT], args: tuple[object, ...]
) -> ResultT:
    """Does the same as :func:`run_as`, without an event loop."""
    job = _Job(client, fn, args)
    try:
        go_on, done = threading.Event(), threading.Event()
        is_given_up = False

        def run() -> None:
            go_on.wait()
            if not is_given_up:
                job.run()
            done.set()

        try:
            # If a signal handler raises in start(), it is unknown whether there is a thread.
            thread = _thread(run)
            thread.start()
            _wait_for(go_on, done)
        except BaseException:
            is_given_up = True
            go_on.set()
            raise
        thread.join()
        result: ResultT = job.result()
        return result
    finally:
        job.close()


def _wait_for(go_on: threading.Event, done: threading.Event) -> None:
    """Waits until ``done`` is set, also if a signal handler raises meanwhile. (``join`` is no
    alternative: after an interrupted ``join`` the thread counts as ended, in Python 3.10 to 3.12.)
    """
    try:
        go_on.set()
        done.wait()
    except BaseException:
        _wait_for(go_on, done)
        raise
