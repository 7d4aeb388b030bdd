"""The chunks of a pipe in NDR form, without I/O and the same for both ends.

A chunk is a count (32 bits, at a multiple of 4) and so many elements, the first at a multiple of
its alignment. A count of 0 ends the pipe (C706, 14.3.12.7 "Pipes"). Positions count from the first
byte of the pipe. Receivers ignore the bytes in the gaps.
"""

from __future__ import annotations

import struct
from collections import deque
from itertools import groupby
from typing import Any

from ..definition.elements import Element
from ..definition.parameters import Range
from ..errors import InvalidBound, ProtocolError
from .format import FIRST_CREDIT

__all__ = ["ChunkReader", "ChunkWriter"]

_COUNT = struct.Struct("<I")
LARGEST_COUNT = 2**32 - 1
# Smaller pieces are copied together, because each piece costs an object or two.
_SMALL = 2 * 1024
_MERGED = 64 * 1024
# A piece keeps all of the memory that it arrived in, which may be much more than its own size.
# Pieces are copied when together they keep more memory than the limit and a quarter (1/_SLACK) of
# it.
_SLACK = 4
# Of these, only pieces are copied whose memory holds at least an eighth (1/_LOOSE) of other data.
# This share is smaller than the slack, so that copies are not copied again.
_LOOSE = 8


class ChunkWriter:
    """The position in a pipe that is being written."""

    def __init__(self, element: Element) -> None:
        self._stride = element.stride
        self._alignment = element.alignment
        self._padding = element.stride - element.size  # which the last element does not have
        self._position = 0

    def prefix(self, count: int) -> bytes:
        """Returns the bytes before ``count`` elements: the count and the gaps. The elements must
        follow.
        """
        gap = -self._position % 4
        first = self._position + gap + 4
        second_gap = -first % self._alignment
        self._position = (first + second_gap + count * self._stride - self._padding) % 8
        if not gap and not second_gap:
            return _COUNT.pack(count)
        return bytes(gap) + _COUNT.pack(count) + bytes(second_gap)

    def end(self) -> bytes:
        """Returns the bytes that end the pipe."""
        return bytes(-self._position % 4) + _COUNT.pack(0)


class ChunkReader:
    """Finds the elements in the bytes of a pipe, which may be divided anywhere.

    It copies only pieces that are small, elements that are divided, and pieces that keep much more
    memory than their own size. It allocates no memory for data that was only announced.

    Args:
        limits: how many elements a chunk may have.
        most: how many bytes may wait here, until :meth:`allow` allows more; the caller enforces
            that. The memory that is kept for them is at most a quarter more, plus the objects.
    """

    def __init__(
        self, element: Element, limits: Range | None = None, *, most: int = FIRST_CREDIT
    ) -> None:
        self._element = element
        self._limits = limits
        self.allow(most)
        self._position = 0
        self._gap = 0  # bytes to skip
        self._count = b""  # the bytes of a count that is incomplete
        self._left = 0  # bytes of this chunk that are still to come
        self._pieces: deque[memoryview] = deque()
        # For each piece, the bytes that are freed with it: if it is the last piece in the memory
        # that it arrived in, all of that memory; else 0.
        self._frees: deque[int] = deque()
        self._kept = 0  # the sum of _frees
        self._size = 0  # bytes in the pieces
        self._tail = bytearray()  # after the pieces: small pieces, merged
        self._partial = bytearray()  # after the tail: the start of a divided element
        self.ended = False

    def allow(self, most: int) -> None:
        """Sets how many bytes may wait here."""
        self._most_kept = most + most // _SLACK

    @property
    def waiting(self) -> int:
        """Bytes of elements that have arrived and were not taken."""
        return self._size + len(self._tail) + len(self._partial)

    @property
    def has_elements(self) -> bool:
        return bool(self._pieces or self._tail)

    def feed(self, data: memoryview) -> None:
        """Adds received bytes.

        Raises:
            ProtocolError: the data continues after the end.
            InvalidBound: a count is out of the pipe's range.
        """
        start, size = 0, len(data)
        while start < size:
            if self.ended:
                raise ProtocolError("a pipe continues after its end")
            if self._gap:
                step = min(self._gap, size - start)
                self._gap -= step
                self._position += step
                start += step
            elif self._left:
                step = min(self._left, size - start)
                self._take(data[start : start + step])
                self._left -= step
                self._position += step
                start += step
                if not self._left:
                    self._end_chunk()
            else:
                step = min(4 - len(self._count), size - start)
                self._count += data[start : start + step]
                self._position += step
                start += step
                if len(self._count) == 4:
                    self._begin_chunk()
        if self._kept > self._most_kept:
            self._copy_loose()

    def _begin_chunk(self) -> None:
        (count,) = _COUNT.unpack(self._count)
        self._count = b""
        if count == 0:
            self.ended = True
            return
        if self._limits is not None and not self._limits.low <= count <= self._limits.high:
            raise InvalidBound(
                f"a chunk has {count:,} elements; allowed are {self._limits.low:,} to "
                f"{self._limits.high:,}"
            )
        self._gap = -self._position % self._element.alignment
        self._left = (count - 1) * self._element.stride + self._element.size

    def _end_chunk(self) -> None:
        if self._partial:  # the last padded element has no padding on the wire
            self._partial += bytes(self._element.stride - len(self._partial))
            self._tail += self._partial
            self._partial = bytearray()
        self._gap = -self._position % 4

    def _take(self, data: memoryview) -> None:
        stride = self._element.stride
        if self._partial:
            step = min(stride - len(self._partial), len(data))
            self._partial += data[:step]
            data = data[step:]
            if len(self._partial) == stride:
                self._tail += self._partial
                self._partial = bytearray()
        whole = len(data) // stride * stride
        if whole < len(data):
            self._partial = bytearray(data[whole:])
            data = data[:whole]
        if not whole:
            return
        if whole >= _SMALL or len(self._tail) >= _MERGED:
            self._close_tail()
        if whole < _SMALL:
            self._tail += data
        else:
            self._append(data)

    def _close_tail(self) -> None:
        """Makes the tail a piece, which then stays as it is."""
        if self._tail:
            self._append(memoryview(self._tail))
            self._tail = bytearray()

    def _append(self, data: memoryview) -> None:
        owner: Any = data.obj  # bytes, or a bytearray
        size = len(owner)
        if self._pieces and self._pieces[-1].obj is owner:
            self._frees[-1] = 0
        else:
            self._kept += size
        self._pieces.append(data)
        self._frees.append(size)
        self._size += len(data)

    def _copy_loose(self) -> None:
        """Copies the pieces that are a small part of the memory that they keep, and frees that
        memory.
        """
        pieces, self._pieces = self._pieces, deque()
        self._frees.clear()
        self._kept = self._size = 0
        for _, group in groupby(pieces, lambda piece: id(piece.obj)):
            together = [*group]
            owner: Any = together[0].obj
            if sum(map(len, together)) + len(owner) // _LOOSE < len(owner):
                together = [memoryview(b"".join(together))]
            for piece in together:
                self._append(piece)

    def take(self, max_elements: int) -> memoryview:
        """Returns 1 to ``max_elements`` elements as bytes, each with its padding. At least one
        element must have arrived.
        """
        stride = self._element.stride
        if not self._pieces:
            self._close_tail()
        piece = self._pieces[0]
        limit = max_elements * stride
        if len(piece) > limit:
            self._pieces[0] = piece[limit:]
            piece = piece[:limit]
        else:
            self._pieces.popleft()
            self._kept -= self._frees.popleft()
        self._size -= len(piece)
        return piece

    def clear(self) -> None:
        """Drops the elements that were not taken."""
        self._pieces.clear()
        self._frees.clear()
        self._kept = self._size = 0
        self._tail = bytearray()
        self._partial = bytearray()
