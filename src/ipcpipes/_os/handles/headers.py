"""Windows: the header that a channel sends before each message, to name the message's handles.

The system does not pass handles along with data there. So the sender puts them into the receiver's
process, and the header names that process and the numbers that the handles have in it, in
hexadecimal: ``handles 4711 1a4 2b0``. The header of a message without handles is ``handles``. A
header is text, so that it fits into framings with a delimiter too.

A header is a message of its own for the framing, or a packet of its own. Application data is never
mistaken for one, because it never stands where a header is expected. The alternative, a header and
its message in one, would make a message of ``max_size`` too large for its framing, and would cost a
copy of each message.

This module does not call the system, so that its tests run on every system.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import trio

from ...abc import HasFileno
from ...errors import FramingError, IncompleteMessage, MessageTooLarge
from ...framing import Splitter
from .pending import PendingHandles

# A process id has 32 bits, and the number of a handle 31. There are at most 253 handles.
_HEADER = re.compile(rb"handles(?: ([1-9][0-9]{0,9})((?: [1-9a-f][0-9a-f]{0,7}){1,253}))?")
NO_HANDLES = b"handles"
"""The header of a message without handles."""
_LARGEST_NUMBER = 2**31 - 1


class PacketSink(Protocol):
    """Takes received packets: a deque, or a :class:`HandleHeaderReader`."""

    def append(self, packet: bytes, /) -> None: ...


class Handles(Protocol):
    """How the system passes handles over one connection."""

    def giving(self, descriptors: Sequence[int | HasFileno]) -> AbstractContextManager[bytes]:
        """Puts handles into the peer's process for the message that is sent in the ``with`` block.
        The value is the header of that message. If the block sends nothing, the handles are closed
        in the peer's process again.

        Raises:
            OSError, TypeError, ValueError: the caller's descriptors cannot be sent.
            NotSupported: the system does not tell which process the peer is.
            trio.BrokenResourceError: the peer's process has ended.
        """

    def take(self, process: int, numbers: Sequence[int]) -> None:
        """Takes over handles that the peer says it has put into ``process``.

        Raises:
            FramingError: the peer is not trusted, or wrong. None of the handles was touched.
        """

    def close(self, number: int) -> None: ...


def handle_header(process: int, numbers: Iterable[int]) -> bytes:
    """The header of a message with these handles of this process."""
    return b" ".join([NO_HANDLES, b"%d" % process, *(b"%x" % number for number in numbers)])


def header_too_large(header: bytes, max_size: int) -> MessageTooLarge:
    """The error for a header that the framing cannot carry, because it exceeds ``max_size``."""
    what = "it is the header that names the handles of another message; the limit is"
    return MessageTooLarge(len(header), max_size, what)


class HandleHeaderReader(PendingHandles):
    """Takes headers and messages in turn, and holds the handles until they are fetched."""

    def __init__(
        self, most: int, arrived: deque[tuple[bytes, list[int]]], handles: Handles
    ) -> None:
        super().__init__(most, arrived, handles.close)
        self._handles = handles
        self._header_came = False

    @property
    def has_header(self) -> bool:
        """Whether a header came whose message has not come yet."""
        return self._header_came

    def append(self, part: bytes) -> None:
        """Takes a packet.

        Raises:
            FramingError: the packet should be a header and is not; or its handles are refused.
        """
        self._arrived.extend(self.pairs((part,)))

    def pairs(self, parts: Iterable[bytes]) -> Iterator[tuple[bytes, list[int]]]:
        """Yields each message in ``parts`` with its handles. Must be exhausted.

        Raises:
            FramingError: as for :meth:`append`, after the messages before.
        """
        for part in parts:
            if self._header_came:
                pair = part, self._incomplete
                self._incomplete = []
                self._header_came = False
                yield pair
            else:
                self._read(part)
                self._header_came = True
        self._check_incomplete()

    def end(self) -> None:
        """Called at the end of the stream.

        Raises:
            IncompleteMessage: a header came without its message.
        """
        if self._header_came:
            raise IncompleteMessage(0)

    def _read(self, part: bytes) -> None:
        found = _HEADER.fullmatch(part)
        if found is None:
            raise FramingError(
                "a message came without the header that names its handles; over a Windows pipe, "
                "the channel at the other end needs max_descriptors= too"
            )
        if found[1] is None:
            return
        numbers = [int(number, 16) for number in found[2].split()]
        if max(numbers) > _LARGEST_NUMBER or len(set(numbers)) < len(numbers):
            raise FramingError("the peer named an invalid or duplicate handle value")
        self._handles.take(int(found[1]), numbers)
        self._incomplete = numbers
        if self._closed:
            self.close()
            raise trio.ClosedResourceError("this channel was closed here")
        if len(numbers) > self.most:
            fault = self._too_many()
            self._close_numbers(numbers)
            raise fault


class HandleHeaderSplitter:
    """A splitter that yields pairs: a message and its handles."""

    def __init__(self, splitter: Splitter, reader: HandleHeaderReader) -> None:
        self._splitter = splitter
        self._reader = reader
        self.get_buffer = splitter.get_buffer

    def only(self, data: bytes) -> None:
        """Always ``None``: data with a message also has the message's header."""

    def has_part(self) -> bool:
        return self._splitter.has_part() or self._reader.has_header

    def split(self, data: bytes) -> Iterator[tuple[bytes, list[int]]]:
        return self._reader.pairs(self._splitter.split(data))

    def buffer_updated(self, nbytes: int) -> Iterator[tuple[bytes, list[int]]]:
        return self._reader.pairs(self._splitter.buffer_updated(nbytes))

    def end(self) -> list[tuple[bytes, list[int]]]:
        last = list(self._reader.pairs(self._splitter.end() or ()))
        self._reader.end()
        return last
