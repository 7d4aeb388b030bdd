"""How often a crashed worker is restarted, and after which pause."""

from __future__ import annotations

import errno
from collections import deque

from ...errors import WorkerFailed

_FIRST_PAUSE = 0.1  # seconds, between a crash and the next start
_LONGEST_PAUSE = 30.0
# The system, or this process, has reached a limit (pipe(2), fork(2), socketpair(2)). When other
# processes end, a start may succeed again.
_MOMENTARY = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN}


def is_momentary(error: OSError) -> bool:
    """Returns whether a start that failed with this error may succeed a moment later."""
    return error.errno in _MOMENTARY


class Crashes:
    """The crashes of one worker.

    Args:
        most: how many crashes are followed by a restart.
        within: the number of seconds in which these crashes count.
    """

    def __init__(self, most: float, within: float) -> None:
        self._most = most
        self._within = within
        self._times: deque[float] = deque()

    def pause_after(self, failure: WorkerFailed, now: float) -> float:
        """Counts a crash, and returns the seconds to wait before the next start.

        Raises:
            WorkerFailed: the worker has crashed too often.
        """
        times = self._times
        times.append(now)
        while times[0] < now - self._within:
            times.popleft()
        count = len(times)
        if count > self._most:
            text = f"{failure.text}; that was crash {count} within {self._within:g} s"
            raise WorkerFailed(failure.number, failure.status, text) from failure.__cause__
        return min(_FIRST_PAUSE * 2.0 ** min(count - 1, 30), _LONGEST_PAUSE)
