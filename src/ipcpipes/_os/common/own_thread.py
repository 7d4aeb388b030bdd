"""A function in a thread that was never used before and never will be again.

What acts as somebody else must not come from a pool, nor go back to one (as trio's
``to_thread.run_sync`` does): the next function there would act as him too.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import trio

ResultT = TypeVar("ResultT")


class Client(Protocol):
    """A client as whom a thread can act; see the systems' impersonation."""

    def enter(self) -> None: ...
    def leave(self) -> None: ...
    def close(self) -> None: ...


def require_accepted(owner: object) -> None:
    """Raises:
    RuntimeError: no listener owns the connection, so that there is no client.
    """
    if owner is None:
        raise RuntimeError(
            "run_as_client is for the server's end: no listener has accepted this connection"
        )


class _Acting(threading.local):
    """What was put off in this thread; ``None`` in one that acts as nobody else."""

    put_off: list[Callable[[], None]] | None = None


_acting = _Acting()


def is_acting() -> bool:
    """Whether this thread acts as a client."""
    return _acting.put_off is not None


def put_off(work: Callable[[], None]) -> bool:
    """Whether this thread acts as a client. Then ``work``, which is to be done as ourselves, is
    done when the thread has ended, by whoever waits for it.
    """
    if _acting.put_off is None:
        return False
    _acting.put_off.append(work)
    return True


class _Job:
    """A function that acts as a client, and what came of it.

    Lifetime: it owns ``client``, from :meth:`__init__` to :meth:`close`.
    """

    def __init__(self, client: Client, fn: Callable[..., Any], args: tuple[object, ...]) -> None:
        self._client = client
        self._put_off: list[Callable[[], None]] = []
        self._call = lambda: fn(*args)
        self._context = contextvars.copy_context()
        self._value: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        _acting.put_off = self._put_off
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
            # The traceback holds this frame, and this object the traceback.
            self._error = None

    def close(self) -> None:
        """To be called when the thread has ended."""
        self._client.close()
        while self._put_off:
            self._put_off.pop()()


def _thread(target: Callable[[], None]) -> threading.Thread:
    return threading.Thread(target=target, name="ipcpipes run_as_client", daemon=True)


# What begins is waited for: a KeyboardInterrupt comes before, or afterwards.
@trio.lowlevel.enable_ki_protection
async def run_as(client: Client, fn: Callable[..., ResultT], args: tuple[object, ...]) -> ResultT:
    """``fn(*args)`` as ``client``, which it closes. It can be cancelled until ``fn`` begins."""
    job = _Job(client, fn, args)
    try:
        await trio.lowlevel.checkpoint_if_cancelled()
        limiter = trio.to_thread.current_default_thread_limiter()
        borrower = object()  # this task may have a thread already
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
            thread.join()  # it has nothing left to do
            result: ResultT = job.result()
            return result
        finally:
            limiter.release_on_behalf_of(borrower)
    finally:
        job.close()


def run_as_blocking(
    client: Client, fn: Callable[..., ResultT], args: tuple[object, ...]
) -> ResultT:
    """The same for a thread, which waits."""
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
            # What a signal handler raises in there does not say whether there is a thread.
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
    """Also when a signal handler raises meanwhile. (A ``join`` of the thread that is interrupted
    takes it for ended: Python 3.10 to 3.12.)
    """
    try:
        go_on.set()
        done.wait()
    except BaseException:
        _wait_for(go_on, done)
        raise
