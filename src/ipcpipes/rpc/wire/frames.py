"""Finds the frames in the octets of a stream, without I/O: each comes after its length.

What a :class:`ipcpipes.MessageChannel` would do, and more: a frame of a pipe that is larger than
memory should be is handed on in parts; and large ones lie in memory that is used again as soon as
nobody looks at it any more, and so is in the processor's cache still.
"""

from __future__ import annotations

import struct

from ...authentication.challenge import unless_refused
from ..errors import ProtocolError
from .format import FRAGMENT, HEAD, KINDS, Frame, Kind

__all__ = ["READ_SIZE", "FrameReader"]

READ_SIZE = 64 * 1024
"""How much is read at a time where little comes. More at once means that much is on its way."""

# The largest frame of a pipe that an end of ours sends.
_LARGE = 4 + HEAD.size + FRAGMENT
# A part of a large buffer keeps all of it from being used again, or freed. One that is less than
# this share is copied, so that what stays in memory is in proportion to what has come.
_SHARE = 4
# If one read returned more than this, arguments, results and similar bodies that are less than that
# share of it are copied. For the octets of pipes the limit is READ_SIZE; below it, the reader of
# the pipe copies them if they keep too much memory.
_LITTLE = 4 * 1024
_STILL_MUCH = 4
# For all connections together, so that one which falls silent keeps none.
_MOST_SPARE = 4
_spare: list[bytearray] = []

_FIRST = struct.Struct("<I" + HEAD.format[1:])
_LENGTH = struct.Struct("<I")
_SHORTEST = HEAD.size
_unpack_first = _FIRST.unpack_from
_NOTHING = memoryview(b"")
# Looked up once; see session.py.
_PIPE = Kind.PIPE


class FrameReader:
    """Takes octets, gives frames. A PIPE frame may come in several parts.

    Args:
        max_frame: the most that a frame may have, in octets.
    """

    def __init__(self, max_frame: int) -> None:
        self._max_frame = max_frame
        self._much = 0  # for so many reads more
        self._buffer: bytearray | None = None  # with a frame that is not whole
        self._start = self._filled = 0  # where that begins, and where it ends up to now
        self._first = b""  # less than a head
        self._partial: Frame | None = None  # one that is not whole
        self._left = 0  # octets of it that have not come
        self._body = bytearray()  # what has come of it, if it is no pipe's
        self._failure: ProtocolError | None = None

    @property
    def expects_much(self) -> bool:
        """Whether :meth:`get_buffer` gives memory.

        Raises:
            ProtocolError: as that.
        """
        if self._failure is not None:
            raise self._failure
        return self._buffer is not None or self._much > 0

    def get_buffer(self) -> memoryview | None:
        """Where the next octets belong, if much is coming; else they are given as bytes.

        Raises:
            ProtocolError: what comes after the last frame is none.
        """
        if not self.expects_much:
            return None
        if self._buffer is None:
            self._buffer = _free_buffer()
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, memory: memoryview, size: int) -> list[Frame]:
        """So many octets have come into the memory, which :meth:`get_buffer` has given.

        Raises:
            ProtocolError: what comes first is no frame.
        """
        memory.release()
        # Between two large reads there may be what the first one has left over.
        self._much = self._much - 1 if size < READ_SIZE else _STILL_MUCH
        buffer = self._buffer
        assert buffer is not None
        filled = self._filled = self._filled + size
        frames: list[Frame] = []
        with memoryview(buffer) as view:
            start = self._start
            start += self._split(view[start:filled], len(buffer), frames, holds=True)
            left = filled - start
            if filled < len(buffer):
                if left:
                    self._start = start
                    return frames
            elif left * _SHARE < len(buffer):
                rest = view[start:filled]
            else:
                self._split(view[start:filled], len(buffer), frames)
                left = 0
            self._buffer = None
            self._start = self._filled = 0
            if left:
                # A little of a frame: it goes along to where the rest of it comes.
                self._buffer = _free_buffer()
                self._buffer[:left] = rest
                self._filled = left
                rest.release()
        if len(_spare) < _MOST_SPARE:
            _spare.append(buffer)
        return frames

    def feed(self, octets: bytes) -> list[Frame]:
        """These octets have come.

        Raises:
            ProtocolError: what comes first is no frame.
        """
        frames: list[Frame] = []
        self._split(memoryview(octets), len(octets), frames)
        # Much that has come, not much that was announced: that costs who says so nothing.
        self._much = _STILL_MUCH if len(octets) >= READ_SIZE else 0
        return frames

    def end(self) -> None:
        """The stream has ended.

        Raises:
            ProtocolError: inside a frame.
        """
        if self._first or self._partial is not None or self._filled:
            raise ProtocolError("the connection ended inside a frame")

    def _split(
        self, octets: memoryview, owner: int, frames: list[Frame], *, holds: bool = False
    ) -> int:
        """How many of the octets were looked at.

        Args:
            holds: the frame of a pipe that is not whole is left where it is, to be given as one.
        """
        position, size = 0, len(octets)
        if self._first:
            position = min(_FIRST.size - len(self._first), size)
            self._first += octets[:position]
            if len(self._first) < _FIRST.size:
                self._check_first()
                return size
            first, self._first = self._first, b""
            self._begin(memoryview(first), 0, owner, frames)
        try:
            while position < size:
                before = position
                if self._partial is not None:
                    if (
                        not holds
                        or self._partial.kind is not _PIPE
                        or size - position >= self._left
                    ):
                        position = self._go_on(self._partial, octets, position, owner, frames)
                elif size - position < _FIRST.size:
                    self._first = bytes(octets[position:])
                    self._check_first()
                    return size
                else:
                    position = self._begin(octets, position, owner, frames, holds=holds)
                if position == before:
                    return position
        except ProtocolError as error:
            if not frames:
                raise
            self._failure = error  # after what came before it
        return size

    def _begin(
        self,
        octets: memoryview,
        position: int,
        owner: int,
        frames: list[Frame],
        *,
        holds: bool = False,
    ) -> int:
        """A head, and as much of the body as is there; where the next one begins."""
        length, kind, flags, number, amount, call = _unpack_first(octets, position)
        known = KINDS.get(kind)
        if known is None:
            # A server with a secret answers a client that has begun without one in a line of text.
            refusal = unless_refused(bytes(octets[position : position + _FIRST.size]))
            raise ProtocolError(
                f"there is no frame of kind {kind}" if refusal is None else str(refusal)
            )
        if not _SHORTEST <= length <= self._max_frame:
            self._check_length(length)
        start = position + _FIRST.size
        end: int = position + _LENGTH.size + length
        if end <= len(octets):
            body = _NOTHING
            if end > start:
                body = octets[start:end]
                if owner > (READ_SIZE if known is _PIPE else _LITTLE):
                    body = _kept(body, owner)
            frames.append(Frame(known, flags, number, amount, call, body))
            return end
        if holds and known is _PIPE:
            return position
        partial = Frame(known, flags, number, amount, call, _NOTHING)
        self._partial = partial
        self._left = end - start
        return self._go_on(partial, octets, start, owner, frames)

    def _go_on(
        self, frame: Frame, octets: memoryview, position: int, owner: int, frames: list[Frame]
    ) -> int:
        """More of the body of a frame that was not whole; where the next one begins."""
        end = min(position + self._left, len(octets))
        part = octets[position:end]
        self._left -= len(part)
        body: memoryview | None = None
        if frame.kind is _PIPE:
            if part:
                body = _kept(part, owner) if owner > READ_SIZE else part
        else:
            self._body += part
            if not self._left:
                body = memoryview(self._body).toreadonly()
                self._body = bytearray()
        if body is not None:
            frames.append(
                Frame(frame.kind, frame.flags, frame.number, frame.amount, frame.call, body)
            )
        if not self._left:
            self._partial = None
        return end

    def _check_first(self) -> None:
        """Nobody waits for the rest of a frame that cannot be."""
        if len(self._first) >= _LENGTH.size:
            self._check_length(*_LENGTH.unpack_from(self._first))

    def _check_length(self, length: int) -> None:
        if not _SHORTEST <= length <= self._max_frame:
            raise ProtocolError(f"a frame of {length:,} octets, where {self._max_frame:,} may come")


def _kept(octets: memoryview, owner: int) -> memoryview:
    return memoryview(bytes(octets)) if len(octets) * _SHARE < owner else octets


def _free_buffer() -> bytearray:
    """A large one that nobody looks at: memory that is looked at cannot change its size."""
    for _ in range(len(_spare)):
        # Taken out first, so that no other thread can take it too.
        buffer = _spare.pop()
        try:
            buffer.append(0)
        except BufferError:
            _spare.insert(0, buffer)
        else:
            buffer.pop()
            return buffer
    buffer = bytearray(_LARGE + 1)
    buffer.pop()  # there is room for the one that is appended above
    return buffer
