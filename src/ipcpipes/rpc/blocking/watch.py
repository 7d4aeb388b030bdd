"""Who reads while a server's thread runs a manager: another one, when that takes its time."""

from __future__ import annotations

import threading
import time

__all__ = ["Watch"]

# A manager that takes longer runs beside others; until then those that come after it wait. To wake
# a thread for each call, so that it reads at once, was measured: with two switches between threads,
# and the fight for the interpreter's lock, a call of 40 us took 65.
PERIOD = 0.002  # seconds
# So often nothing has happened, and the watch sleeps until there is a call: waking it costs as much
# as that, but only after a pause.
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
        self._bell: threading.Lock | None = None
        self._turns = 0  # how often somebody has left the reading
        self._seen = 0
        self._quiet = 0

    def begin(self, waiter: threading.Lock) -> None:
        """This idle thread is going to wait, and watches if nobody else does."""
        if self._bell is None:
            self._bell = waiter
            self._seen = self._turns
            self._quiet = 0

    def until(self, waiter: threading.Lock) -> float | None:
        """How long this thread waits for its bell, as :func:`time.monotonic` counts."""
        if self._bell is waiter and self._quiet <= QUIET:
            return time.monotonic() + PERIOD
        return None

    def waits(self, waiter: threading.Lock, is_free: bool) -> bool:
        """Whether this thread watches and leaves the reading alone for now."""
        if self._bell is not waiter:
            return False
        if is_free and self._seen == self._turns:
            self._bell = None
            return False
        self._quiet = self._quiet + 1 if self._seen == self._turns else 0
        self._seen = self._turns
        return True

    def left(self, waiter: threading.Lock) -> bool:
        """This thread has something else to do than to read or to watch.

        Returns:
            Whether the reading is taken in time without waking anybody for it.
        """
        self._turns += 1
        if self._bell is waiter:
            self._bell = None
        if self._bell is None:
            return False
        if self._quiet > QUIET:
            self._quiet = 0
            if self._bell.locked():
                self._bell.release()
        return True
