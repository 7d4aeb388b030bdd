"""A descriptor or handle that some threads use while another one closes it."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

from .connection_end import ConnectionEnd
from .locks import SendReceiveLocks
from .opened import OpenNumbers
from .own_thread import ResultT, run_as_blocking

if TYPE_CHECKING:
    from typing_extensions import Self


class SharedHandle(ConnectionEnd, SendReceiveLocks):
    """A descriptor or handle with two directions, for sending and receiving.

    A thread that uses the number (it is "inside") does three things: it acquires the lock of its
    direction; it reads ``_number`` only under the lock; and after releasing the lock it calls
    :meth:`_leave` if ``_number`` is -1. So the last thread that leaves closes the number, while no
    other thread is inside, and no thread uses the number afterwards.

    :meth:`_close` and :meth:`_leave` never wait. They may run in a signal handler or finalizer,
    between any two steps of a thread that is inside.

    Attributes:
        _doomed: the number between closing and the moment when the last thread has left.
    """

    _doomed = -1
    # The channel's PendingHandles, closed when no thread is inside.
    _enclosed: Any = None

    def _renew_locks(self) -> None:
        SendReceiveLocks.__init__(self)
        self._shutting = threading.Lock()

    def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        return run_as_blocking(self._accepted_client(), fn, args)

    def close(self) -> None:
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _busy(self, doing: str) -> Exception:
        # The thread that closes may also hold the lock, for a moment.
        if self._number == -1:
            return self._closed_here()
        return trio.BusyResourceError(f"another thread is {doing} this stream")

    def _begin_anew(self) -> None:
        self._renew_locks()
        self._dispose()

    def _close(self) -> None:
        """Closes, from any thread. Idempotent."""
        if not self._shutting.acquire(blocking=False):
            return  # already closed; the lock is never released
        number, self._number = self._number, -1
        self._hide()
        if not (self._may_send and self._may_receive):
            self._wake(number)
        self._doomed = number
        self._leave()

    @contextmanager
    def _held(self) -> Iterator[int]:
        """Yields the number, which stays open in the ``with`` block, because the block holds a lock
        that was free. The block must not wait. The lock for sending is preferred, because other
        threads wait for that lock.

        Raises:
            The exception of :meth:`_busy`, if both directions are in use or this object is closed.
        """
        for lock in (self._may_send, self._may_receive):
            try:
                del lock["turn"]
            except KeyError:
                continue
            try:
                if self._number == -1:
                    break
                yield self._number
                return
            finally:
                lock["turn"] = None
                if self._number == -1 or self._waiting:
                    self._leave()
        raise self._busy("using")

    def _take_number(self, check: Callable[[], object]) -> None:
        taken: list[dict[str, None]] = []
        try:
            for lock in (self._may_receive, self._may_send):
                try:
                    del lock["turn"]
                except KeyError:
                    raise self._busy("using") from None
                taken.append(lock)
            if self._number != -1:
                check()
            # This lock is never released, as in _close().
            if not self._shutting.acquire(blocking=False):
                raise self._busy("closing")
            self._taken, self._number = self._number, -1
            self._hide()
        finally:
            for lock in taken:
                lock["turn"] = None
            if self._number == -1 or self._waiting:
                self._leave()

    def _after_turn(self) -> None:
        if self._number == -1:
            self._leave()

    def _wake_within(self) -> float | None:
        """After how many seconds a thread that waits for this object looks again at the latest."""
        return None

    def _leave(self) -> None:
        """Must be called after a lock was released, if ``_number`` is -1 or ``_waiting`` is not
        empty.
        """
        if self._number == -1:
            self._finish()
        super()._leave()

    def _finish(self) -> None:
        """Closes the number if it is to be closed and no thread is inside.

        If one lock is free and the other one is not, no further attempt is needed: the thread that
        holds the other lock calls this too.
        """
        while True:
            try:
                del self._may_receive["turn"]
            except KeyError:
                return
            try:
                if self._dispose_unless_sending():
                    return
            finally:
                self._may_receive["turn"] = None
            if not self._may_send:
                return

    def _dispose_unless_sending(self) -> bool:
        try:
            del self._may_send["turn"]
        except KeyError:
            return False
        try:
            self._dispose()
        finally:
            self._may_send["turn"] = None
        return True

    def _dispose(self) -> None:
        number, self._doomed = self._doomed, -1
        if number != -1:
            self._give_up(number)

    @property
    def _unclosed_number(self) -> int:
        return max(super()._unclosed_number, self._doomed)

    def _hide(self) -> None:
        """Clears the other attributes that contain the number, if there are any."""

    @abstractmethod
    def _watched(self, opened: OpenNumbers) -> Any:
        """Returns what the system's ``wait_for_any`` watches for this object. The caller holds the
        lock for receiving, and closes what this adds to ``opened``.

        Raises:
            trio.ClosedResourceError: this object is closed.
        """

    @abstractmethod
    def _wake(self, number: int) -> None:
        """Wakes the threads that wait inside."""
