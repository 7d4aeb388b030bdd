"""Descriptors that came, and that nobody fetched yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice

from ..errors import FramingError


class Unfetched:
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

    def close_first(self, count: int) -> None:
        """Closes those of so many messages that arrived, which are about to be taken alone."""
        for _, numbers in islice(self._arrived, count):
            self._close_numbers(numbers)

    def close(self) -> None:
        """Closes all of them, and what is still to come."""
        self._closed = True
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
