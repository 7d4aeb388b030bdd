"""Finds the frames in the bytes of a stream, without I/O. Each frame follows its length.

The reader does what an :class:`ipcpipes.MessageChannel` does, and more. A PIPE frame that is larger
than the buffer is passed on in parts. Large frames are in buffers that are reused as soon as no
view of them exists, so that the buffers are still in the processor's cache.
"""

from __future__ import annotations

from ...authentication.challenge import refusal_in
from ...framing.finding import find
from ..errors import CommFailure, ProtocolError
from .format import (
    FRAGMENT,
    HEAD,
    KINDS,
    LENGTH_SIZE,
    STREAM_HEAD_SIZE,
    Frame,
    Kind,
    unpack_head,
    unpack_length,
    unpack_stream_head,
)

__all__ = ["READ_SIZE", "FrameReader"]

READ_SIZE = 64 * 1024
"""The size of one read, in bytes, while little data arrives; a transport may read a little more.
After a read of this size, more data is expected.
"""

# The largest PIPE frame that this library sends, with its length.
_LARGE = LENGTH_SIZE + HEAD.size + FRAGMENT
# A view of a part of a large buffer keeps the whole buffer in use. A part that is smaller than
# 1/_SHARE of the buffer is copied, so that the memory in use stays in proportion to the data.
_SHARE = 4
# If the memory of one read is larger than this, a body of less than 1/_SHARE of it is copied,
# except the body of a PIPE frame. For PIPE frames the limit is READ_SIZE; below it, the reader of
# the pipe copies the data if the data keeps too much memory.
_SMALL_READ = 4 * 1024
_BULK_READS = 4
# Spare buffers, for all connections together: a silent connection keeps none.
_MOST_SPARE = 4
_spare: list[bytearray] = []

_SHORTEST = HEAD.size
_NOTHING = memoryview(b"")
# A global is faster than an attribute of Kind.
_PIPE = Kind.PIPE


class FrameReader:
    """Takes the bytes of a stream and returns frames. A PIPE frame may be returned in parts.

    Args:
        max_frame: the largest frame that may arrive, in bytes.

    Attributes:
        is_at_head: the next data begins with the head of a frame, and not much data is expected. If
            the data is one frame, the caller may process it without this reader, which need not
            know of it.
    """

    def __init__(self, max_frame: int) -> None:
        self.is_at_head = True
        self._max_frame = max_frame
        self._bulk_reads = 0  # so many more reads are expected to return much data
        self._buffer: bytearray | None = None  # holds an incomplete frame
        self._start = self._filled = 0  # where that frame begins, and the end of the data so far
        self._first = b""  # an incomplete head
        self._partial: Frame | None = None  # an incomplete frame outside the buffer
        self._left = 0  # bytes of it that are still to come
        self._body = bytearray()  # its body so far, if it is not a PIPE frame
        self._failure: ProtocolError | None = None

    def raise_failure(self) -> None:
        """Raises:
        ProtocolError: the data after the last frame is not a frame.
        """
        if self._failure is not None:
            raise self._failure

    @property
    def expects_much(self) -> bool:
        """Whether :meth:`get_buffer` returns memory.

        Raises:
            ProtocolError: the data after the last frame is not a frame.
        """
        self.raise_failure()
        return self._buffer is not None or self._bulk_reads > 0

    def get_buffer(self) -> memoryview | None:
        """Returns memory for the next read if much data is expected, otherwise ``None``. After
        ``None``, the caller passes the next data to :meth:`feed`.

        Raises:
            ProtocolError: the data after the last frame is not a frame.
        """
        if not self.expects_much:
            return None
        if self._buffer is None:
            self._buffer = _free_buffer()
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, memory: memoryview, size: int) -> list[Frame]:
        """Takes ``size`` bytes that were read into the memory of :meth:`get_buffer`.

        Raises:
            ProtocolError: the first data is not a frame.
        """
        memory.release()
        # A small read, with the rest of a large one, may come before the next large read.
        self._bulk_reads = self._bulk_reads - 1 if size < READ_SIZE else _BULK_READS
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
                    self.is_at_head = False
                    return frames
            elif left * _SHARE < len(buffer):
                rest = view[start:filled]
            else:
                self._split(view[start:filled], len(buffer), frames)
                left = 0
            self._buffer = None
            self._start = self._filled = 0
            if left:
                # The small start of a frame moves to the buffer that receives the rest of it.
                self._buffer = _free_buffer()
                self._buffer[:left] = rest
                self._filled = left
                rest.release()
        if len(_spare) < _MOST_SPARE:
            _spare.append(buffer)
        self._note_place()
        return frames

    def feed(self, data: bytes) -> list[Frame]:
        """Takes received bytes.

        Raises:
            ProtocolError: the first data is not a frame.
        """
        frames: list[Frame] = []
        start = 0
        if self._partial is None and not self._first:
            start = self._take_whole(data, frames)
        if start < len(data):
            self._split(memoryview(data)[start:], len(data), frames)
        # Only data that has arrived counts, and not an announced length, which costs its sender
        # nothing.
        self._bulk_reads = _BULK_READS if len(data) >= READ_SIZE else 0
        self._note_place()
        return frames

    def _take_whole(self, data: bytes, frames: list[Frame]) -> int:
        """Takes the frames at the beginning of the data that are complete; returns how many bytes
        these are. It stops before a frame that is not valid, which :meth:`_begin` refuses.
        """
        owner = len(data)
        if owner < STREAM_HEAD_SIZE:
            return 0
        (length,) = unpack_length(data)
        if length == owner - LENGTH_SIZE and length <= self._max_frame:
            numbers = [LENGTH_SIZE, owner]
        else:
            numbers = find(data, 0, LENGTH_SIZE, self._max_frame)[2:]
        end = 0
        least = owner if owner > _SMALL_READ else 0
        view = memoryview(data)
        places = iter(numbers)
        for start, after in zip(places, places, strict=True):
            if after - start < _SHORTEST:
                break
            kind, flags, number, amount, call = unpack_head(data, start)
            known = KINDS.get(kind)
            if known is None:
                break
            if (after - start) * _SHARE < least and known is not _PIPE:
                body = memoryview(data[start + _SHORTEST : after])
            else:
                body = view[start + _SHORTEST : after]
            frames.append(Frame(known, flags, number, amount, call, body))
            end = after
        return end

    def _note_place(self) -> None:
        self.is_at_head = not (
            self._first
            or self._partial is not None
            or self._buffer is not None
            or self._bulk_reads
            or self._failure is not None
        )

    def end(self) -> None:
        """Takes the end of the stream.

        Raises:
            CommFailure: the end is inside a frame. That is not a violation: the peer may have died.
        """
        if self._first or self._partial is not None or self._filled:
            raise CommFailure("the connection ended inside a frame")

    def _split(
        self, data: memoryview, owner: int, frames: list[Frame], *, holds: bool = False
    ) -> int:
        """Splits data into frames; returns how many bytes it used.

        Args:
            owner: the size of the memory that ``data`` is a part of.
            holds: leave an incomplete PIPE frame in the buffer, to return it in one part later.
        """
        position, size = 0, len(data)
        if self._first:
            position = min(STREAM_HEAD_SIZE - len(self._first), size)
            self._first += data[:position]
            if len(self._first) < STREAM_HEAD_SIZE:
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
                        position = self._continue(self._partial, data, position, owner, frames)
                elif size - position < STREAM_HEAD_SIZE:
                    self._first = bytes(data[position:])
                    self._check_first()
                    return size
                else:
                    position = self._begin(data, position, owner, frames, holds=holds)
                if position == before:
                    return position
        except ProtocolError as error:
            if not frames:
                raise
            self._failure = error  # raised after the frames before it were returned
        return size

    def _begin(
        self,
        data: memoryview,
        position: int,
        owner: int,
        frames: list[Frame],
        *,
        holds: bool = False,
    ) -> int:
        """Takes a head and the available part of its body; returns where the next frame begins."""
        length, kind, flags, number, amount, call = unpack_stream_head(data, position)
        known = KINDS.get(kind)
        if known is None:
            # A server that requires a key answers a client that begins without a key with a line of
            # text.
            refusal = refusal_in(bytes(data[position : position + STREAM_HEAD_SIZE]))
            raise ProtocolError(
                f"there is no frame of kind {kind}" if refusal is None else str(refusal)
            )
        if not _SHORTEST <= length <= self._max_frame:
            self._check_length(length)
        start = position + STREAM_HEAD_SIZE
        end: int = position + LENGTH_SIZE + length
        if end <= len(data):
            body = _NOTHING
            if end > start:
                body = data[start:end]
                if owner > (READ_SIZE if known is _PIPE else _SMALL_READ):
                    body = _copied_if_small(body, owner)
            frames.append(Frame(known, flags, number, amount, call, body))
            return end
        if holds and known is _PIPE:
            return position
        partial = Frame(known, flags, number, amount, call, _NOTHING)
        self._partial = partial
        self._left = end - start
        return self._continue(partial, data, start, owner, frames)

    def _continue(
        self, frame: Frame, data: memoryview, position: int, owner: int, frames: list[Frame]
    ) -> int:
        """Takes more of an incomplete frame's body; returns where the next frame begins."""
        end = min(position + self._left, len(data))
        part = data[position:end]
        self._left -= len(part)
        body: memoryview | None = None
        if frame.kind is _PIPE:
            if part:
                body = _copied_if_small(part, owner) if owner > READ_SIZE else part
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
        """Refuses an impossible length at once, without waiting for the rest of the head."""
        if len(self._first) >= LENGTH_SIZE:
            self._check_length(*unpack_length(self._first))

    def _check_length(self, length: int) -> None:
        if not _SHORTEST <= length <= self._max_frame:
            raise ProtocolError(
                f"a frame has {length:,} bytes; allowed are {_SHORTEST} to {self._max_frame:,}"
            )


def _copied_if_small(data: memoryview, owner: int) -> memoryview:
    return memoryview(bytes(data)) if len(data) * _SHARE < owner else data


def _free_buffer() -> bytearray:
    """Returns a large buffer without views: a ``bytearray`` with views cannot change its size.

    The buffer that was used last is taken first: with few buffers in turn, their memory is still in
    the processor's cache.
    """
    in_use: list[bytearray] = []
    try:
        while _spare:
            # The buffer is taken out first, so that no other thread can take it too.
            try:
                buffer = _spare.pop()
            except IndexError:  # another thread has taken the last one
                break
            try:
                buffer.append(0)
            except BufferError:
                in_use.append(buffer)
            else:
                buffer.pop()
                return buffer
    finally:
        # Other threads may have returned buffers meanwhile.
        _spare.extend(reversed(in_use[: max(_MOST_SPARE - len(_spare), 0)]))
    buffer = bytearray(_LARGE + 1)
    buffer.pop()  # leaves room, so that the append above does not reallocate
    return buffer
