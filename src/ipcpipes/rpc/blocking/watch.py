"""Decides which thread reads while a server's thread runs a manager: another thread, if the manager
takes long.
"""

from __future__ import annotations

import threading
import time

from .reading import ring

__all__ = ["Watch"]

# Calls that arrive wait this long for a running manager; after that they run at the same time. The
# alternative, a thread that is woken for each call and reads at once, was measured: because of two
# switches between threads and contention for the interpreter's lock, a call of 40 us took 65 us.
PERIOD = 0.002  # seconds
# After so many periods without a call, the watch sleeps until there is one. Waking it costs as much
# as waking a thread for a call, but only after a pause.
QUIET = 25


class Watch:
    """Lets an idle thread check regularly whether no thread has read for a while.

    A thread that has read a call does not wake another thread to continue the reading, because most
    managers return at once, and then the first thread continues to read. So one of the idle threads
    checks every 2 ms: if no thread reads, and the same thread has been at work since the last
    check, the idle thread becomes the reader. It sleeps while there are no calls.

    All methods are called with the link's lock.
    """

    def __init__(self) -> None:
        self._waiter: threading.Lock | None = None
        self._turns = 0  # how often a thread has stopped reading
        self._seen = 0
        self._quiet = 0

    def begin(self, waiter: threading.Lock) -> None:
        """Called when an idle thread is about to wait. The thread watches, unless another thread
        does.
        """
        if self._waiter is None:
            self._waiter = waiter
            self._seen = self._turns
            self._quiet = 0

    def until(self, waiter: threading.Lock) -> float | None:
        """Returns until when this thread waits, on the clock of :func:`time.monotonic`; ``None``
        for no limit.
        """
        if self._waiter is waiter and self._quiet <= QUIET:
            return time.monotonic() + PERIOD
        return None

    def waits(self, waiter: threading.Lock, is_free: bool) -> bool:
        """Returns whether this thread watches, and does not read for now."""
        if self._waiter is not waiter:
            return False
        if is_free and self._seen == self._turns:
            self._waiter = None
            return False
        self._quiet = self._quiet + 1 if self._seen == self._turns else 0
        self._seen = self._turns
        return True

    def left(self, waiter: threading.Lock) -> bool:
        """Records that this thread stops reading and watching.

        Returns:
            Whether a thread will read soon, without being woken now.
        """
        self._turns += 1
        if self._waiter is waiter:
            self._waiter = None
        if self._waiter is None:
            return False
        if self._quiet > QUIET:
            self._quiet = 0
            ring(self._waiter)
        return True
