"""How often a crashed worker is restarted, and after which pause."""

from __future__ import annotations

import errno
from collections import deque

from ...errors import WorkerFailed
from ...options import checked_seconds

_FIRST_PAUSE = 0.1  # seconds, between a crash and the next start
_LONGEST_PAUSE = 30.0
# The system, or this process, has reached a limit (pipe(2), fork(2), socketpair(2)). When other
# processes end, a start may succeed again.
_MOMENTARY = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN}


def is_momentary(error: OSError) -> bool:
    """Whether a start that failed with this error may succeed a moment later."""
    return error.errno in _MOMENTARY


class Restarts:
    """The limit of restarts for each worker of a group.

    Args:
        most: how many crashes of one worker are followed by a restart.
        within: the number of seconds in which these crashes count; more than 0.

    Raises:
        TypeError, ValueError: ``within`` is not a number of seconds, or not more than 0.
    """

    def __init__(self, most: float, within: float) -> None:
        self.most = most
        self.within = checked_seconds("within", within)
        if not self.within:
            raise ValueError("within must be more than 0 seconds")


class Crashes:
    """The crashes of one worker."""

    def __init__(self, allowed: Restarts) -> None:
        self._allowed = allowed
        self._times: deque[float] = deque()

    def pause_after(self, failure: WorkerFailed, now: float) -> float:
        """Counts a crash, and returns the seconds to wait before the next start.

        Raises:
            WorkerFailed: the worker has crashed too often.
        """
        allowed, times = self._allowed, self._times
        times.append(now)
        while times[0] < now - allowed.within:
            times.popleft()
        count = len(times)
        if count > allowed.most:
            text = f"{failure.text}; that was crash {count} within {allowed.within:g} s"
            raise WorkerFailed(failure.number, failure.status, text) from failure.__cause__
        return min(_FIRST_PAUSE * 2.0 ** min(count - 1, 30), _LONGEST_PAUSE)
