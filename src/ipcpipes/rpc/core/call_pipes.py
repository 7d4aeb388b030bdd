"""The two ends of a call's pipe, without I/O: the received data, the data to send with the peer's
credit, a push into the pipe, and the base of the pipe ends that users hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...abc.uncopied import Uncopied
from ..definition.operations import Pipe
from ..errors import ProtocolError
from ..wire.ndr import ChunkReader, ChunkWriter
from .window import Window, with_credit

__all__ = ["PREFIX", "SMALL", "Incoming", "Outgoing", "PipeEnd", "Push"]

# Pushes of up to this many bytes are collected, to be sent together.
SMALL = 4 * 1024
# A chunk's count and the padding around it take at most this many bytes.
PREFIX = 16


@dataclass(eq=False)
class Push:
    """Elements that are being pushed into a pipe, as many at a time as the credit allows.

    If the pipe has no range, each fragment is a chunk, so that a push can end after any of them. If
    the pipe has a range, the user's push is one chunk, which must be completed once it has begun.
    """

    octets: memoryview
    count: int
    position: int = 0

    @property
    def done(self) -> bool:
        return self.position >= len(self.octets)


class Incoming:
    """A pipe that is received.

    Args:
        first, most: the sizes of its :class:`Window`.
    """

    def __init__(self, pipe: Pipe, first: int, most: int) -> None:
        self.pipe = pipe
        self.reader = ChunkReader(pipe.element, pipe.range, most=first)
        self._window = Window(first, most)

    def arrived(self, octets: memoryview) -> None:
        window = self._window
        if len(octets) > window.credit:
            raise ProtocolError(
                f"{len(octets):,} octets came for the pipe {self.pipe.name}, where "
                f"{window.credit:,} were allowed"
            )
        window.credit -= len(octets)
        self.reader.feed(octets)

    def clear(self) -> None:
        """Drops the data that has arrived."""
        self.reader.clear()

    def grant(self) -> int:
        """Returns and records how many more bytes the peer may send: 0, or enough to be worth a
        CREDIT frame.
        """
        reader, window = self.reader, self._window
        if reader.ended:
            return 0
        before = window.size
        more = window.grant(reader.waiting, is_empty=not reader.has_elements)
        if window.size > before:
            reader.allow(window.size)
        return more


class Outgoing:
    """A pipe that is sent."""

    def __init__(self, pipe: Pipe, credit: int, turn: tuple[bool, int]) -> None:
        self.pipe = pipe
        self.turn = turn
        self.stride = pipe.element.stride
        self.padding = self.stride - pipe.element.size
        self.is_special = pipe.range is not None  # so each push has to be checked
        self.writer = ChunkWriter(pipe.element)
        self.credit = credit
        self.small = bytearray()
        self.spoilt = False  # a chunk was begun and cannot be completed

    def credited(self, more: int) -> None:
        self.credit = with_credit(self.credit, more)

    def chunk_of(self, octets: memoryview, most: int) -> tuple[bytes, memoryview] | None:
        """Returns the bytes before a chunk of these elements, and the chunk, which use up credit.
        Returns ``None``, and changes nothing, if a frame of ``most`` bytes or the credit is too
        small for them, or if they are few, or need a check or an earlier frame.
        """
        size = len(octets)
        if (
            size <= SMALL
            or size + PREFIX > self.credit
            or size + PREFIX > most
            or self.small
            or self.is_special
        ):
            return None
        prefix = self.writer.prefix(size // self.stride)
        if self.padding:  # the last element of a chunk has no padding
            size -= self.padding
            octets = octets[:size]
        self.credit -= len(prefix) + size
        return prefix, octets

    def part_of(self, push: Push, room: int) -> tuple[bytes, memoryview]:
        """Returns the bytes before the next elements of a push, and as many elements as fit into
        ``room`` bytes.
        """
        ranged = self.pipe.range is not None
        start = push.position
        count = room // self.stride
        end = push.position = start + count * self.stride
        prefix = b""
        if not ranged:
            prefix = self.writer.prefix(count)
        elif start == 0:
            prefix = self.writer.prefix(push.count)
        if not ranged or push.done:
            end -= self.padding  # the last element of a chunk has no padding
        octets = push.octets[start:end]
        self.credit -= len(prefix) + len(octets)
        self.spoilt = ranged and not push.done
        return prefix, octets


class PipeEnd(Uncopied):
    """One end of a pipe, for a manager, or for a client that drives the pipe by hand."""

    _instead = "they belong to a call, and a call belongs to its connection"

    def __init__(self, driver: Any, pipe: Pipe) -> None:
        self._driver = driver
        self._pipe = pipe

    def __repr__(self) -> str:
        return f"<ipcpipes rpc pipe {self._pipe.name} of {self._driver.call.operation}>"
