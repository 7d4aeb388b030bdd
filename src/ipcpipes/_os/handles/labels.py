"""Messages each of which comes after a label that names its handles: how a channel does it itself,
where the system does not pass them along with data (Windows).

A label is a message of its own for the framing, or a packet, and it stands before every message.
Nothing that an application sends can be taken for one: what it sends is never where a label has to
be. In front of the message, in one with it, it would make a message of the size ``max_size`` too
large for its framing, and cost a copy of each.

It is the word ``handles``, alone where there are none; else with the process that they were put
into and their numbers in it, hexadecimal: ``handles 4711 1a4 2b0``. As text it fits into framings
that know a delimiter, too.
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

# At most what a process id, 253 handles and their numbers of 31 bits can be.
_LABEL = re.compile(rb"handles(?: ([1-9][0-9]{0,9})((?: [1-9a-f][0-9a-f]{0,7}){1,253}))?")
WITHOUT = b"handles"
"""What stands before a message without handles."""
_LARGEST_NUMBER = 2**31 - 1


class Into(Protocol):
    """Where packets are put: a deque, or what reads the labels among them."""

    def append(self, packet: bytes, /) -> None: ...


class Handles(Protocol):
    """The system's part, for one connection."""

    def giving(self, descriptors: Sequence[int | HasFileno]) -> AbstractContextManager[bytes]:
        """Gives them to the peer's process, for a message that is sent inside; the value is its
        label. When the system took nothing of that, they are taken back.

        Raises:
            OSError, TypeError, ValueError: they cannot be given, by the caller's fault.
            NotSupported: the system does not tell who the peer is.
            trio.BrokenResourceError: the peer's process has ended.
        """

    def take(self, process: int, numbers: Sequence[int]) -> None:
        """They were given to us, as the peer says.

        Raises:
            FramingError: that is not to be believed, or not true; they were left alone.
        """

    def close(self, number: int) -> None: ...


def label(process: int, numbers: Iterable[int]) -> bytes:
    """What stands before a message with these handles of this process."""
    return b" ".join([WITHOUT, b"%d" % process, *(b"%x" % number for number in numbers)])


def label_too_large(label: bytes, max_size: int) -> MessageTooLarge:
    """The error for a label that is above ``max_size``, as a message for the framing."""
    return MessageTooLarge(
        len(label), max_size, "it is the label that names the handles of another one; the limit is"
    )


class HandleHeaderReader(PendingHandles):
    """Labels and messages that come, and the handles that were not fetched yet."""

    def __init__(
        self, most: int, arrived: deque[tuple[bytes, list[int]]], handles: Handles
    ) -> None:
        super().__init__(most, arrived, handles.close)
        self._handles = handles
        self._label_came = False

    def append(self, part: bytes) -> None:
        """This packet has come.

        Raises:
            FramingError: it is no label, and has to be; or its handles are refused.
        """
        self._arrived.extend(self.pairs((part,)))

    def pairs(self, parts: Iterable[bytes]) -> Iterator[tuple[bytes, list[int]]]:
        """The messages in what came; all of them have to be gone through.

        Raises:
            What :meth:`append` raises, after the messages before.
        """
        for part in parts:
            if self._label_came:
                pair = part, self._coming
                self._coming = []
                self._label_came = False
                yield pair
            else:
                self._read(part)
                self._label_came = True
        self._gone_through()

    def end(self) -> None:
        """Nothing more comes.

        Raises:
            IncompleteMessage: a message should.
        """
        if self._label_came:
            raise IncompleteMessage(0)

    def _read(self, part: bytes) -> None:
        found = _LABEL.fullmatch(part)
        if found is None:
            raise FramingError(
                "a message came without a label that names its handles; over a Windows pipe the "
                "other end has to be made with max_descriptors= too"
            )
        if found[1] is None:
            return
        numbers = [int(number, 16) for number in found[2].split()]
        if max(numbers) > _LARGEST_NUMBER or len(set(numbers)) < len(numbers):
            raise FramingError("handles came that cannot be: a number is too large, or there twice")
        self._handles.take(int(found[1]), numbers)
        self._coming = numbers
        if self._closed:
            self.close()
            raise trio.ClosedResourceError("this channel was closed here")
        if len(numbers) > self.most:
            fault = self._too_many()
            self._close_numbers(numbers)
            raise fault


class HandleHeaderSplitter:
    """A splitter whose messages are pairs: of a message and its handles."""

    def __init__(self, splitter: Splitter, labelled: HandleHeaderReader) -> None:
        self._splitter = splitter
        self._labelled = labelled
        self.get_buffer = splitter.get_buffer

    def only(self, data: bytes) -> None:
        """A message never comes without its label."""

    def split(self, data: bytes) -> Iterator[tuple[bytes, list[int]]]:
        return self._labelled.pairs(self._splitter.split(data))

    def buffer_updated(self, nbytes: int) -> Iterator[tuple[bytes, list[int]]]:
        return self._labelled.pairs(self._splitter.buffer_updated(nbytes))

    def end(self) -> list[tuple[bytes, list[int]]]:
        last = list(self._labelled.pairs(self._splitter.end() or ()))
        self._labelled.end()
        return last
