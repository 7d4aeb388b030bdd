"""A descriptor or handle that some threads use while another one closes it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from ...abc.uncopied import Uncopied
from .locks import SendReceiveLocks


class SharedHandle(Uncopied, SendReceiveLocks, ABC):
    """A descriptor or handle with two directions, for sending and receiving.

    A thread that uses it holds the lock of the direction meanwhile (the thread is "inside"), reads
    ``_number`` while it holds the lock, and calls :meth:`_leave` after releasing the lock if
    ``_number`` is -1 by then. So the last thread that leaves closes the number, while no other
    thread is inside, and no thread uses the number afterwards.

    :meth:`_shut` and :meth:`_leave` never wait. They may run in a signal handler or finalizer,
    between any two steps of a thread that is inside.

    Attributes:
        _number: the descriptor or handle; -1 when this object is closed.
        _doomed: the number between closing and the moment when the last thread has left.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._doomed = -1
        self._renew_locks()

    def _renew_locks(self) -> None:
        SendReceiveLocks.__init__(self)
        self._shutting = threading.Lock()

    def _begin_anew(self) -> None:
        """Resets the state to that of an unused handle, for a forked child: the threads that were
        inside do not exist there, and the objects that they wait on are the parent's.
        """
        self._renew_locks()
        self._dispose()

    def _shut(self) -> None:
        """Closes, from any thread. Idempotent."""
        if not self._shutting.acquire(blocking=False):
            return  # never released: it is closed once
        number, self._number = self._number, -1
        self._hide()
        if not (self._may_send and self._may_receive):
            self._wake(number)
        self._doomed = number
        self._leave()

    @contextmanager
    def _held(self) -> Iterator[int]:
        """The number, which stays open in the ``with`` block; for an operation that does not wait.
        It holds a lock that is free, preferably the one for sending, because other threads wait for
        that one.

        Raises:
            What :meth:`_busy` makes, if both directions are in use or this is closed.
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

    def _take_number(self, refusal: str | None) -> int:
        """Closes this object, and returns its number, which stays open.

        Raises:
            RuntimeError: with the text ``refusal``, if it is not ``None`` and this is still open.
            What :meth:`_busy` makes, if a thread is inside or this is closed.
        """
        taken: list[dict[str, None]] = []
        try:
            for lock in (self._may_receive, self._may_send):
                try:
                    del lock["turn"]
                except KeyError:
                    raise self._busy("using") from None
                taken.append(lock)
            if refusal is not None and self._number != -1:
                raise RuntimeError(refusal)
            # Never released, as when it is closed.
            if not self._shutting.acquire(blocking=False):
                raise self._busy("closing")
            number, self._number = self._number, -1
            self._hide()
            return number
        finally:
            for lock in taken:
                lock["turn"] = None
            if self._number == -1:
                self._leave()

    def _leave(self) -> None:
        """To be called after a lock was released, if ``_number`` is -1 or ``_waiting`` is not
        empty.
        """
        if self._number == -1:
            self._finish()
        super()._leave()

    def _finish(self) -> None:
        """Closes the number, if it is to be closed and no other thread is inside.

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
    def _is_held(self) -> bool:
        """Whether this object still has to close the number."""
        return self._number != -1 or self._doomed != -1

    @abstractmethod
    def _hide(self) -> None:
        """Clears the other attributes that contain the number."""

    @abstractmethod
    def _wake(self, number: int) -> None:
        """Wakes the threads that wait inside."""

    @abstractmethod
    def _give_up(self, number: int) -> None:
        """Closes the number, and tells the objects that depend on it."""
