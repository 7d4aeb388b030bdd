"""POSIX: which message the descriptors belong to that the system passes along with bytes."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator

import trio

from ...framing import Splitter
from .pending import PendingHandles


class AttachedDescriptors(PendingHandles):
    """The descriptors that one channel has received and the program has not fetched yet.

    Descriptors that came with a byte belong to the message that contains the byte. A sender sends
    them with the first byte of a message, in a send without bytes of another message.

    Lifetime: it owns them, from :meth:`came` until their message is taken out of ``arrived``, or
    to :meth:`close`. One thread uses it at a time.
    """

    def __init__(self, most: int, arrived: deque[tuple[bytes, list[int]]]) -> None:
        super().__init__(most, arrived, os.close)
        self._newest: list[int] = []  # of the data that was received last

    def came(self, numbers: list[int]) -> None:
        """Takes over received descriptors. The data of the same receive is given to the next
        :meth:`messages` or :meth:`message`.

        Raises:
            trio.ClosedResourceError: this was closed meanwhile.
        """
        # There are some if a signal handler's exception discarded their bytes.
        self._close_numbers(self._newest)
        self._newest = numbers
        if self._closed:
            self.close()
            raise trio.ClosedResourceError("this channel was closed here")

    def messages(self, splitter: Splitter, data: bytes) -> Iterator[tuple[bytes, list[int]]]:
        """Yields each message in ``data`` with its descriptors. Must be exhausted.

        Raises:
            FramingError: these bytes are not a message, or a message has more descriptors than
                allowed. The messages before are yielded first.
        """
        start = 0
        if self._newest:
            start = _position_of_descriptors(data)
            yield from self._split(splitter, data[:start])
            self._attach()
        yield from self._split(splitter, data[start:])
        self._check_incomplete()

    def messages_before(self, splitter: Splitter, data: bytes) -> Iterator[tuple[bytes, list[int]]]:
        """The messages that were complete before descriptors came that this process could not
        take.

        Raises:
            FramingError: as for :meth:`messages`.
        """
        return self._split(splitter, data[: _position_of_descriptors(data)])

    def last(self, messages: Iterable[bytes]) -> Iterator[tuple[bytes, list[int]]]:
        """The messages that the end of the stream completes, with their descriptors."""
        return map(self._with_descriptors, messages)

    def message(self, packet: bytes) -> tuple[bytes, list[int]]:
        """A received packet, which is one message, with its descriptors."""
        self._attach()
        return self._with_descriptors(packet)

    def close(self) -> None:
        super().close()
        self._close_numbers(self._newest)

    def _split(self, splitter: Splitter, data: bytes) -> Iterator[tuple[bytes, list[int]]]:
        if data:
            for message in splitter.split(data):
                yield self._with_descriptors(message)

    def _attach(self) -> None:
        """From here on the newest descriptors belong to the incomplete message."""
        self._incomplete += self._newest
        self._newest = []
        if len(self._incomplete) > self.most:
            raise self._too_many()

    def _with_descriptors(self, message: bytes) -> tuple[bytes, list[int]]:
        pair = (message, self._incomplete)
        self._incomplete = []
        return pair


def _position_of_descriptors(data: bytes) -> int:
    """The position of a byte from the send that brought the descriptors.

    On Linux a read ends with bytes of such a send, and can begin with bytes of earlier sends. On
    XNU and the BSDs a read begins with bytes of such a send, and can end with bytes of later sends.
    """
    return len(data) - 1 if sys.platform == "linux" else 0
