"""The point in time until which an operation may wait."""

from __future__ import annotations

import math
import time

from ...options import checked_seconds

# The longest single wait, in seconds: poll(2) and WaitForMultipleObjects count milliseconds in 32
# bits.
_LONGEST = 1_000_000.0

_MARK = "_is_of_deadline"


class Deadline:
    """A point in time. Functions that take a deadline take ``None`` for "never".

    Attributes:
        has_raised: whether an operation has ended because the deadline has passed. A TimeoutError
            alone does not say that, because a signal handler can raise one too.
    """

    __slots__ = ("_at", "_seconds", "has_raised")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.has_raised = False
        self._at = time.monotonic() + seconds

    @classmethod
    def after(cls, timeout: float | None) -> Deadline | None:
        """Returns the deadline of an operation that begins now and has this ``timeout``; ``None``
        if the operation may wait for ever.

        Raises:
            TypeError, ValueError: ``timeout`` is not a number of seconds, 0 or more.
        """
        if timeout is None:
            return None
        seconds = checked_seconds("timeout", timeout)
        return None if seconds == math.inf else cls(seconds)

    @property
    def remaining(self) -> float:
        """The seconds that are left; 0 if the deadline has passed."""
        return max(0.0, self._at - time.monotonic())

    def milliseconds(self, what: str, first: bool) -> int:
        """Returns the longest time of the next wait, rounded up, so that the wait does not end
        early.

        Args:
            what: the beginning of the error text, such as "nothing was received".
            first: whether the operation has not tried anything yet. If so, a deadline that has
                passed gives 0, which allows one attempt without waiting.

        Raises:
            TimeoutError: the deadline has passed.
        """
        remaining = self.remaining
        if remaining <= 0 and not first:
            raise self.error(what)
        return math.ceil(min(remaining, _LONGEST) * 1000)

    def error(self, what: str) -> TimeoutError:
        self.has_raised = True
        error = TimeoutError(f"{what} within {self._seconds:g} s")
        error.__dict__[_MARK] = True
        return error


def is_of_deadline(error: TimeoutError) -> bool:
    """Returns whether a :class:`Deadline` made the error; a signal handler can raise a TimeoutError
    too.
    """
    return _MARK in error.__dict__
