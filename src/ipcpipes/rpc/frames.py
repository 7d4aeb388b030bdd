"""Finds the frames in the octets of a stream, without I/O: each comes after its length.

What a :class:`ipcpipes.MessageChannel` would do, and more: the octets of a pipe are handed on as
they come, and not only once their frame is whole; and large ones lie in memory that is used again
as soon as nobody looks at it any more, and so is in the processor's cache still.
"""

from __future__ import annotations

import struct

from .errors import ProtocolError
from .wire import HEAD, KINDS, Frame, Kind

__all__ = ["READ_SIZE", "FrameReader"]

READ_SIZE = 64 * 1024
"""How much is read at a time where little comes. More at once means that much is on its way."""

_LARGE = 512 * 1024
# A part of a large buffer keeps all of it from being used again, or freed. One that is less than
# this share is copied, so that what stays in memory is in proportion to what has come.
_SHARE = 4
_STILL_MUCH = 4
# For all connections together, so that one which falls silent keeps none.
_MOST_SPARE = 8
_spare: list[bytearray] = []

_FIRST = struct.Struct("<I" + HEAD.format[1:])
_LENGTH = struct.Struct("<I")


class FrameReader:
    """Takes octets, gives frames. A PIPE frame may come in several parts.

    Args:
        max_frame: the most that a frame may have, in octets.
    """

    def __init__(self, max_frame: int) -> None:
        self._max_frame = max_frame
        self._much = 0  # for so many reads more
        self._first = b""  # less than a head
        self._frame: Frame | None = None  # one that is not whole
        self._left = 0  # octets of it that have not come
        self._body = bytearray()  # what has come of it, if it is no pipe's
        self._failure: ProtocolError | None = None

    def get_buffer(self) -> bytearray | None:
        """Where the next octets belong, if much is coming; else they are given as bytes.

        Raises:
            ProtocolError: what comes after the last frame is none.
        """
        if self._failure is not None:
            raise self._failure
        return _free_buffer() if self._much else None

    def buffer_updated(self, buffer: bytearray, size: int) -> list[Frame]:
        """So many octets have come into the buffer.

        Raises:
            ProtocolError: what comes first is no frame.
        """
        # Between two large reads there may be what the first one has left over.
        self._much = self._much - 1 if size < READ_SIZE else _STILL_MUCH
        with memoryview(buffer) as view:
            frames = self._split(view[:size], len(buffer))
        if len(_spare) < _MOST_SPARE:
            _spare.append(buffer)
        return frames

    def feed(self, octets: bytes) -> list[Frame]:
        """These octets have come.

        Raises:
            ProtocolError: what comes first is no frame.
        """
        self._much = 0 if len(octets) < READ_SIZE else _STILL_MUCH
        return self._split(memoryview(octets), len(octets))

    def end(self) -> None:
        """The stream has ended.

        Raises:
            ProtocolError: inside a frame.
        """
        if self._first or self._frame is not None:
            raise ProtocolError("the connection ended inside a frame")

    def _split(self, octets: memoryview, owner: int) -> list[Frame]:
        frames: list[Frame] = []
        position, size = 0, len(octets)
        if self._first:
            position = min(_FIRST.size - len(self._first), size)
            self._first += octets[:position]
            if len(self._first) < _FIRST.size:
                self._check_first()
                return frames
            first, self._first = self._first, b""
            self._begin(memoryview(first), 0)
            self._take(octets[position:position], owner, frames)
        while position < size or self._frame is not None:
            if self._frame is None:
                if size - position < _FIRST.size:
                    self._first = bytes(octets[position:])
                    try:
                        self._check_first()
                    except ProtocolError as error:
                        if not frames:
                            raise
                        self._failure = error
                    break
                try:
                    self._begin(octets, position)
                except ProtocolError as error:
                    if not frames:
                        raise
                    self._failure = error  # after what came before it
                    break
                position += _FIRST.size
            step = min(self._left, size - position)
            if not step and self._left:
                break
            self._take(octets[position : position + step], owner, frames)
            position += step
        return frames

    def _begin(self, octets: memoryview, position: int) -> None:
        length, kind, flags, number, amount, call = _FIRST.unpack_from(octets, position)
        known = KINDS.get(kind)
        if known is None:
            raise ProtocolError(f"there is no frame of kind {kind}")
        self._check_length(length)
        self._frame = Frame(known, flags, number, amount, call, _NOTHING)
        self._left = length - HEAD.size

    def _check_first(self) -> None:
        """Nobody waits for the rest of a frame that cannot be."""
        if len(self._first) >= _LENGTH.size:
            self._check_length(*_LENGTH.unpack_from(self._first))

    def _check_length(self, length: int) -> None:
        if not HEAD.size <= length <= self._max_frame:
            raise ProtocolError(f"a frame of {length:,} octets, where {self._max_frame:,} may come")

    def _take(self, octets: memoryview, owner: int, frames: list[Frame]) -> None:
        """Octets of the frame that has begun."""
        frame = self._frame
        assert frame is not None
        self._left -= len(octets)
        if frame.kind is Kind.PIPE:
            if octets or not self._left:
                frames.append(frame._replace(body=_kept(octets, owner)))
        elif self._body or self._left:
            self._body += octets
            if not self._left:
                frames.append(frame._replace(body=memoryview(bytes(self._body))))
                self._body = bytearray()
        else:
            frames.append(frame._replace(body=_kept(octets, owner)))
        if not self._left:
            self._frame = None


_NOTHING = memoryview(b"")


def _kept(octets: memoryview, owner: int) -> memoryview:
    if len(octets) * _SHARE < owner and owner > READ_SIZE:
        return memoryview(bytes(octets))
    return octets


def _free_buffer() -> bytearray:
    """A large one that nobody looks at: memory that is looked at cannot change its size."""
    for _ in range(len(_spare)):
        # Taken out first, so that no other thread can take it too.
        buffer = _spare.pop(0)
        try:
            buffer.append(0)
        except BufferError:
            _spare.append(buffer)
        else:
            buffer.pop()
            return buffer
    buffer = bytearray(_LARGE + 1)
    buffer.pop()  # there is room for the one that is appended above
    return buffer
