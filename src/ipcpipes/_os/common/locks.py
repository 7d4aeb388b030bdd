"""Locks for the two directions of a connection that threads use."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

from .deadline import Deadline

# The longest single wait: on Windows, Ctrl-C does not wake a thread that waits for a lock, so the
# thread looks again after this time.
_SLICE = 0.1  # seconds

ResultT = TypeVar("ResultT")


class SendReceiveLocks:
    """Two locks, one for sending and one for receiving. One thread at a time can hold each.

    ``del locks._may_send["turn"]`` acquires a lock, and raises KeyError if another thread holds it;
    ``locks._may_send["turn"] = None`` releases it. The interpreter executes each of these
    statements in one step. No other thread runs in between; and because nothing is called, no
    signal handler runs either (Python 3.11 and later). So a handler's exception cannot lose a lock
    between its acquisition and ``try``. (With the ``acquire`` of :class:`threading.Lock` it can.)
    The statements take a quarter of the time of ``with lock``.
    """

    def __init__(self) -> None:
        self._may_send: dict[str, None] = {"turn": None}
        self._may_receive: dict[str, None] = {"turn": None}
        self._waiting: deque[threading.Lock] = deque()

    def _locked(
        self,
        lock: dict[str, None],
        doing: str,
        function: Callable[..., ResultT],
        *arguments: object,
    ) -> ResultT:
        """Calls a function while this thread holds ``lock``. The hot paths repeat these steps
        instead of calling this.

        This is not a context manager, because the interpreter can run a signal handler at the
        beginning of ``__exit__``, before the lock is released.

        Raises:
            The exception of :meth:`_busy`, if another thread holds the lock.
        """
        try:
            del lock["turn"]
        except KeyError:
            raise self._busy(doing) from None
        try:
            return function(*arguments)
        finally:
            lock["turn"] = None
            self._leave()

    def _take_turn(self, taken: list[Callable[[], object]]) -> None:
        """Acquires the lock for receiving, for a thread that waits for several objects. Adds the
        function that releases it to ``taken``.

        Raises:
            The exception of :meth:`_busy`, if another thread holds the lock.
        """
        lock = self._may_receive
        release = partial(dict.__setitem__, lock, "turn", None)  # in one step, like the statement
        try:
            del lock["turn"]
        except KeyError:
            raise self._busy("receiving from") from None
        taken.append(release)  # no signal handler runs between the two steps

    def _after_turn(self) -> None:
        """Must be called after the lock of :meth:`_take_turn` was released."""

    @abstractmethod
    def _busy(self, doing: str) -> Exception:
        """Returns the exception to raise if another thread is ``doing`` something with the
        connection, or if the connection is closed.
        """

    def _queue(self, deadline: Deadline | None) -> None:
        """Waits until the lock for sending may be free. The caller tries again.

        Raises:
            TimeoutError: the deadline has passed.
        """
        seconds = _SLICE
        if deadline is not None:
            seconds = min(seconds, deadline.remaining)
            if not seconds:
                raise deadline.error("other threads were sending, and did not finish")
        waiter = threading.Lock()
        waiter.acquire()
        self._waiting.append(waiter)
        try:
            if "turn" not in self._may_send:
                waiter.acquire(timeout=seconds)
        finally:
            with suppress(ValueError):
                self._waiting.remove(waiter)

    def _leave(self) -> None:
        """Wakes one waiter. Must be called after a lock was released while ``_waiting`` is not
        empty; harmless otherwise.
        """
        with suppress(IndexError):
            self._waiting.popleft().release()
