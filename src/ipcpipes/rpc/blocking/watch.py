"""Which thread reads while a server's thread runs a manager: another one, if that takes long."""

from __future__ import annotations

import threading
import time

from .reading import ring

__all__ = ["Watch"]

# Calls that arrive wait so long for a running manager; after that they run beside it. Waking a
# thread for each call, so that it reads at once, was measured: with two switches between threads,
# and the contention for the interpreter's lock, a call of 40 us took 65.
PERIOD = 0.002  # seconds
# After so many periods without a call, the watch sleeps until there is one. Waking it costs as much
# as waking a thread for a call, but only after a pause.
QUIET = 25


class Watch:
    """An idle thread looks now and then whether the reading has been free for a while.

    A thread that has read a call does not wake another one to read on, for most managers return
    at once, and then it reads on itself. So one of the idle threads looks every 2 ms: when the
    reading is free, and the same thread has been at work since the last look, it takes the
    reading. It sleeps while there are no calls.

    All of it with the link's lock.
    """

    def __init__(self) -> None:
        self._waiter: threading.Lock | None = None
        self._turns = 0  # how often a thread has stopped reading
        self._seen = 0
        self._quiet = 0

    def begin(self, waiter: threading.Lock) -> None:
        """This idle thread is going to wait, and watches unless another one does."""
        if self._waiter is None:
            self._waiter = waiter
            self._seen = self._turns
            self._quiet = 0

    def until(self, waiter: threading.Lock) -> float | None:
        """Until when this thread waits, as :func:`time.monotonic` counts."""
        if self._waiter is waiter and self._quiet <= QUIET:
            return time.monotonic() + PERIOD
        return None

    def waits(self, waiter: threading.Lock, is_free: bool) -> bool:
        """Whether this thread watches and leaves the reading alone for now."""
        if self._waiter is not waiter:
            return False
        if is_free and self._seen == self._turns:
            self._waiter = None
            return False
        self._quiet = self._quiet + 1 if self._seen == self._turns else 0
        self._seen = self._turns
        return True

    def left(self, waiter: threading.Lock) -> bool:
        """This thread has something else to do than to read or to watch.

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
