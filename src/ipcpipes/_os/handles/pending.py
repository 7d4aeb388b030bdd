"""Descriptors that came, and that nobody fetched yet."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice

from ...abc import MOST_DESCRIPTORS
from ...errors import FramingError

PART_SECONDS = 30.0
"""How long the next byte of a message may take after descriptors of the message have arrived. One
of them can be the peer's own end of the connection: while it is open here, the system does not
report that the peer has died."""

# How many descriptors each channel holds with a part of a message; only channels that hold some.
_in_parts: dict[int, int] = {}


def most_in_parts() -> int:
    """How many descriptors all channels of this process may hold with parts of messages.

    With incomplete messages, a peer could fill this process' descriptor table, one connection at a
    time.
    """
    if sys.platform == "win32":
        return 65_536  # of 16 million handles
    return max(MOST_DESCRIPTORS, os.sysconf("SC_OPEN_MAX") // 4)


class PendingHandles:
    """The descriptors of one channel, from their coming until their message is taken out of
    ``arrived``, or to :meth:`close`; it owns them meanwhile.

    Attributes:
        most: how many may come with one message.

    Args:
        arrived: where the channel has the messages that nobody took yet: pairs of a message and
            its descriptors, so that neither can be taken without the other.
        close_number: the system's.
    """

    def __init__(
        self,
        most: int,
        arrived: deque[tuple[bytes, list[int]]],
        close_number: Callable[[int], object],
    ) -> None:
        self.most = most
        self._coming: list[int] = []  # with the message that is not whole yet
        self._arrived = arrived
        self._close_number = close_number
        self._closed = False
        self._progress = 0.0  # when something of that message came last

    @property
    def patience(self) -> float | None:
        """How many seconds the next byte may still take; ``None`` if no descriptors wait for it.

        At 0, receive once more: the byte may have arrived while no task or thread was receiving.
        """
        if not self._coming:
            return None
        return max(self._progress + PART_SECONDS - time.monotonic(), 0.0)

    def give_part_up(self) -> FramingError:
        """Closes the descriptors that wait for the rest of their message. Returns the error."""
        count = len(self._coming)
        self._close_numbers(self._coming)
        _in_parts.pop(id(self), None)
        return FramingError(
            f"the peer sent {count} descriptors with a part of a message, and then no byte of the "
            f"rest for {PART_SECONDS:g} s; the descriptors were closed"
        )

    def _gone_through(self) -> None:
        """Called after the received data was processed; a part of a message may be left.

        Raises:
            FramingError: too many descriptors wait with parts of messages.
        """
        if not self._coming:
            if _in_parts:
                _in_parts.pop(id(self), None)
            return
        self._progress = time.monotonic()
        _in_parts[id(self)] = len(self._coming)
        if sum(list(_in_parts.values())) > (most := most_in_parts()):
            self._close_numbers(self._coming)
            del _in_parts[id(self)]
            raise FramingError(
                "the peer sent descriptors with a part of a message, and all channels of this "
                f"process may hold at most {most:,} descriptors of incomplete messages; the new "
                "ones were closed"
            )

    def close_first(self, count: int) -> None:
        """Closes those of so many messages that arrived, which are about to be taken alone."""
        for _, numbers in islice(self._arrived, count):
            self._close_numbers(numbers)

    def close(self) -> None:
        """Closes all of them, and what is still to come."""
        self._closed = True
        _in_parts.pop(id(self), None)
        for numbers in (self._coming, *(numbers for _, numbers in self._arrived)):
            self._close_numbers(numbers)

    def __del__(self) -> None:
        self.close()

    def _close_numbers(self, numbers: list[int]) -> None:
        while numbers:
            # What a file has to say at its closing is its sender's to hear.
            with suppress(OSError):
                self._close_number(numbers.pop())

    def _too_many(self) -> FramingError:
        return FramingError(
            f"{len(self._coming)} descriptors came with one message, and max_descriptors "
            f"allows {self.most}"
        )
