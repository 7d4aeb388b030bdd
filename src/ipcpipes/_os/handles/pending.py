"""Descriptors and handles that a channel has received and the program has not fetched yet."""

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

# The number of descriptors that each channel holds with a part of a message, without zeros.
_in_parts: dict[int, int] = {}


def most_in_parts() -> int:
    """How many descriptors all channels of this process together may hold with parts of messages.

    Without this limit, a peer could fill this process' descriptor table with incomplete messages on
    many connections.
    """
    if sys.platform == "win32":
        return 65_536  # of 16 million handles
    return max(MOST_DESCRIPTORS, os.sysconf("SC_OPEN_MAX") // 4)


class PendingHandles:
    """The descriptors that one channel has received.

    Lifetime: it owns a descriptor from its arrival until its message is taken out of ``arrived``,
    or to :meth:`close`.

    Attributes:
        most: how many descriptors one message may have.

    Args:
        arrived: the channel's queue of received messages: pairs of a message and its descriptors,
            so that neither can be taken without the other.
        close_number: closes a descriptor.
    """

    def __init__(
        self,
        most: int,
        arrived: deque[tuple[bytes, list[int]]],
        close_number: Callable[[int], object],
    ) -> None:
        self.most = most
        self._incomplete: list[int] = []  # of the incomplete message
        self._arrived = arrived
        self._close_number = close_number
        self._closed = False
        self._progress = 0.0  # when the last byte of that message came

    @property
    def time_left(self) -> float | None:
        """How many seconds the next byte may still take; ``None`` if no descriptors wait for it.

        At 0, receive once more: the byte may have arrived while no task or thread was receiving.
        """
        if not self._incomplete:
            return None
        return max(self._progress + PART_SECONDS - time.monotonic(), 0.0)

    def give_part_up(self) -> FramingError:
        """Closes the descriptors of the incomplete message. Returns the error."""
        count = len(self._incomplete)
        self._close_numbers(self._incomplete)
        _in_parts.pop(id(self), None)
        return FramingError(
            f"the peer sent {count} descriptors with a part of a message, and then no byte of the "
            f"rest for {PART_SECONDS:g} s; the descriptors were closed"
        )

    def _check_incomplete(self) -> None:
        """Called after received data was processed, which may have ended inside a message.

        Raises:
            FramingError: too many descriptors wait with parts of messages.
        """
        if not self._incomplete:
            if _in_parts:
                _in_parts.pop(id(self), None)
            return
        self._progress = time.monotonic()
        _in_parts[id(self)] = len(self._incomplete)
        if sum(list(_in_parts.values())) > (most := most_in_parts()):
            self._close_numbers(self._incomplete)
            del _in_parts[id(self)]
            raise FramingError(
                "the peer sent descriptors with a part of a message, and all channels of this "
                f"process may hold at most {most:,} descriptors of incomplete messages; the new "
                "ones were closed"
            )

    def close_first(self, count: int) -> None:
        """Closes the descriptors of the first ``count`` messages in ``arrived``. The channel is
        about to take these messages alone.
        """
        for _, numbers in islice(self._arrived, count):
            self._close_numbers(numbers)

    def close(self) -> None:
        """Closes all descriptors, also those that arrive later."""
        self._closed = True
        _in_parts.pop(id(self), None)
        for numbers in (self._incomplete, *(numbers for _, numbers in self._arrived)):
            self._close_numbers(numbers)

    def __del__(self) -> None:
        self.close()

    def _close_numbers(self, numbers: list[int]) -> None:
        while numbers:
            # An error of close() is about what the sender wrote to its file.
            with suppress(OSError):
                self._close_number(numbers.pop())

    def _too_many(self) -> FramingError:
        return FramingError(
            f"{len(self._incomplete)} descriptors came with one message, and max_descriptors "
            f"allows {self.most}"
        )
