"""Which descriptors came with which message, where the system passes them (POSIX)."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator

import trio

from ...framing import Splitter
from .pending import PendingHandles


class AttachedDescriptors(PendingHandles):
    """The descriptors that came with the messages of one channel and were not fetched yet.

    Those that came with a byte belong to the message which that byte is a part of. A sender lets
    them go with the first byte of a message, in a send in which there is nothing of another one.

    Lifetime: it owns them, from :meth:`came` until their message is taken out of ``arrived``, or
    to :meth:`close`. One thread uses it at a time.
    """

    def __init__(self, most: int, arrived: deque[tuple[bytes, list[int]]]) -> None:
        super().__init__(most, arrived, os.close)
        self._newest: list[int] = []  # came just now

    def came(self, numbers: list[int]) -> None:
        """They came just now; what came with them is the next that is given to :meth:`messages`
        or :meth:`message`.

        Raises:
            trio.ClosedResourceError: this was closed meanwhile.
        """
        # There are some if a signal handler's exception took their bytes.
        self._close_numbers(self._newest)
        self._newest = numbers
        if self._closed:
            self.close()
            raise trio.ClosedResourceError("this channel was closed here")

    def messages(self, splitter: Splitter, data: bytes) -> Iterator[tuple[bytes, list[int]]]:
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
        self._gone_through()

    def messages_before(self, splitter: Splitter, data: bytes) -> Iterator[tuple[bytes, list[int]]]:
        """The messages that were whole before descriptors came that could not be had.

        Raises:
            What :meth:`messages` raises.
        """
        return self._split(splitter, data[: _place_of_descriptors(data)])

    def last(self, messages: Iterable[bytes]) -> Iterator[tuple[bytes, list[int]]]:
        """The messages that the end of the stream has made whole."""
        return map(self._ki_protected, messages)

    def message(self, packet: bytes) -> tuple[bytes, list[int]]:
        """What came was one message."""
        self._enclose()
        return self._ki_protected(packet)

    def close(self) -> None:
        super().close()
        self._close_numbers(self._newest)

    def _split(self, splitter: Splitter, data: bytes) -> Iterator[tuple[bytes, list[int]]]:
        if data:
            for message in splitter.split(data):
                yield self._ki_protected(message)

    def _enclose(self) -> None:
        self._coming += self._newest
        self._newest = []
        if len(self._coming) > self.most:
            raise self._too_many()

    def _ki_protected(self, message: bytes) -> tuple[bytes, list[int]]:
        pair = (message, self._coming)
        self._coming = []
        return pair


def _place_of_descriptors(data: bytes) -> int:
    """The position of a byte from the send that brought them.

    Linux ends a read after the first part of such a send, and lets what was sent before into it.
    XNU and the BSDs begin a read there, and let what was sent later into it.
    """
    return len(data) - 1 if sys.platform == "linux" else 0
