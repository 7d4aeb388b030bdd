"""Which descriptors came with which message."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

import trio

from ..errors import FramingError
from ..framing import Splitter


class DescriptorsLost(trio.BrokenResourceError):
    """Descriptors came that could not be had.

    Attributes:
        data: the bytes that came, for who can tell what of them was sent before.
    """

    def __init__(self, text: str, data: bytes) -> None:
        super().__init__(text)
        self.data = data


class Enclosed:
    """The descriptors that came with the messages of one channel and were not fetched yet.

    Those that came with a byte belong to the message which that byte is a part of. A sender lets
    them go with the first byte of a message, in a send in which there is nothing of another one.

    Lifetime: it owns them, from :meth:`came` to :meth:`take` or :meth:`close`. One thread uses it
    at a time.

    Attributes:
        most: how many may come with one message.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._newest: list[int] = []  # came just now
        self._coming: list[int] = []  # with the message that is not whole yet
        self._whole: deque[list[int]] = deque()  # with each one that is
        self._closed = False

    def came(self, numbers: list[int]) -> None:
        """They came just now; what came with them is the next that is given to :meth:`messages`
        or :meth:`message`.

        Raises:
            trio.ClosedResourceError: this was closed meanwhile.
        """
        self._newest += numbers
        if self._closed:
            self.close()
            raise trio.ClosedResourceError("this channel was closed here")

    def messages(self, splitter: Splitter, data: bytes) -> Iterator[bytes]:
        """The messages in what came; all of them have to be gone through.

        Raises:
            FramingError: these bytes are no message, or more descriptors came with one than may.
                It comes after the messages before.
        """
        start = 0
        if self._newest:
            start = _place_of_descriptors(data)
            yield from self._split(splitter, data[:start])
            self._enclose()
        yield from self._split(splitter, data[start:])

    def messages_before(self, splitter: Splitter, data: bytes) -> Iterator[bytes]:
        """The messages that were whole before descriptors came that could not be had.

        Raises:
            What :meth:`messages` raises.
        """
        return self._split(splitter, data[: _place_of_descriptors(data)])

    def message(self) -> None:
        """What came was one message."""
        self._enclose()
        self._end_message()

    def take(self) -> list[int]:
        """Those of the oldest message, which are the caller's from now on."""
        return self._whole.popleft()

    def drop(self, count: int) -> None:
        """Closes those of so many messages, from the oldest on."""
        for _ in range(count):
            _close(self._whole[0])
            self._whole.popleft()

    def close(self) -> None:
        """Closes all of them, and what is still to come."""
        self._closed = True
        for numbers in (self._newest, self._coming, *self._whole):
            _close(numbers)

    def __del__(self) -> None:
        self.close()

    def _split(self, splitter: Splitter, data: bytes) -> Iterator[bytes]:
        if data:
            for message in splitter.split(data):
                self._end_message()
                yield message

    def _enclose(self) -> None:
        self._coming += self._newest
        self._newest = []
        if len(self._coming) > self.most:
            raise FramingError(
                f"{len(self._coming)} descriptors came with one message, and max_descriptors "
                f"allows {self.most}"
            )

    def _end_message(self) -> None:
        self._whole.append(self._coming)
        self._coming = []


def _place_of_descriptors(data: bytes) -> int:
    """The position of a byte from the send that brought them.

    Linux ends a read after the first part of such a send, and lets what was sent before into it.
    XNU and the BSDs begin a read there, and let what was sent later into it.
    """
    return len(data) - 1 if sys.platform == "linux" else 0


def _close(numbers: list[int]) -> None:
    while numbers:
        # What a file has to say at its closing is its sender's to hear.
        with suppress(OSError):
            os.close(numbers.pop())
