"""Whose turn it is to send and to receive, for threads."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress

from .deadline import Deadline

# A wait is no longer, so that Ctrl-C ends it on Windows too, where it does not wake who waits for
# a lock.
_SLICE = 0.1  # seconds


class SendReceiveLocks:
    """Two turns, each of which one thread can have: to send, and to receive.

    A turn is taken by ``del turns._may_send["turn"]``, where KeyError says that somebody has it,
    and given back by ``turns._may_send["turn"] = None``. The interpreter does each in one step
    that no other thread and, because nothing is called, no signal handler gets into (Python 3.11
    and later): what a handler raises cannot lose a turn between taking it and ``try``, as it can
    with a lock's ``acquire``; and the whole costs a quarter of ``with lock``.
    """

    def __init__(self) -> None:
        self._may_send: dict[str, None] = {"turn": None}
        self._may_receive: dict[str, None] = {"turn": None}
        self._waiting: deque[threading.Lock] = deque()

    def _queue(self, deadline: Deadline | None) -> None:
        """Waits until it is perhaps our turn to send.

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
        """To be called after a turn was given back, if ``_waiting`` has somebody."""
        with suppress(IndexError):
            self._waiting.popleft().release()
