"""``FrameReader`` with any bytes in any parts, compared with a split of the whole stream."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from ipcpipes.rpc.errors import CommFailure, ProtocolError
from ipcpipes.rpc.wire.format import HEAD, LEAST_FRAME, MAX_FRAME, Frame, Kind, decode, encode
from ipcpipes.rpc.wire.frames import READ_SIZE, FrameReader

from .drawing import Drawing, filling

_LENGTH = struct.Struct("<I")
_UNKNOWN = b"\xff"
_KINDS = tuple(Kind)
_MAX_FRAMES = (MAX_FRAME, LEAST_FRAME, 100, HEAD.size)
# Around the sizes where the reader changes its method: a head, a large read, a part of a large
# buffer.
_SIZES = (0, 1, 5, 100, READ_SIZE - 20, READ_SIZE, 200_000, 700_000)
_CUTS = (1, 3, 4, 16, 19, 20, 21, 200, READ_SIZE - 1, READ_SIZE, 150_000, 512 * 1024)

# (kind, flags, number, amount, call, body)
Shown: TypeAlias = tuple[Kind, int, int, int, int, bytes]


@dataclass
class Found:
    """The frames, and the errors that are allowed after them.

    Attributes:
        optional: how many bytes at the end of the last frame belong to a pipe frame that never
            became whole. The reader may still hold them when the stream ends.
    """

    frames: list[Shown] = field(default_factory=list)
    refusals: set[str] = field(default_factory=set)
    optional: int = 0

    def add(self, frame: Frame) -> None:
        """Adds a frame. Consecutive parts of a pipe are joined, because the cuts do not matter."""
        head = (frame.kind, frame.flags, frame.number, frame.amount, frame.call)
        body = bytes(frame.body)
        if frame.kind is Kind.PIPE and self.frames and self.frames[-1][:-1] == head:
            body = self.frames.pop()[-1] + body
        self.frames.append((*head, body))


def frames(data: bytes) -> None:
    drawing = Drawing(data)
    max_frame = drawing.one_of(_MAX_FRAMES)
    keeps = drawing.one_of((True, False))
    cuts = [drawing.one_of(_CUTS) for _ in range(drawing.number() % 32)]
    stream = b"".join(_pieces(drawing))
    expected = _split(stream, max_frame)
    found = _read(FrameReader(max_frame), stream, cuts, keeps=keeps)
    assert _are_allowed(found.frames, expected)
    assert found.refusals <= expected.refusals, (found.refusals, expected.refusals)
    assert bool(found.refusals) is bool(expected.refusals), expected.refusals


def _are_allowed(frames: list[Shown], expected: Found) -> bool:
    if frames == expected.frames or not expected.optional:
        return frames == expected.frames
    *before, (*head, body) = expected.frames
    if frames == before:
        return len(body) == expected.optional
    *others, (*last, part) = frames
    least = body[: len(body) - expected.optional]
    return (others, last) == (before, head) and part.startswith(least) and body.startswith(part)


def _pieces(drawing: Drawing) -> Iterator[bytes]:
    """Yields the pieces of a stream: valid frames, small and large, and random bytes."""
    for _ in range(8):
        choice = drawing.number()
        if not drawing.more:
            return
        if choice % 4 == 0:
            yield drawing.take(choice)
            continue
        body = drawing.take(choice) if choice % 4 == 1 else filling(drawing.one_of(_SIZES))
        head = {"flags": drawing.number(), "number": drawing.number(2), "amount": choice}
        frame = encode(drawing.one_of(_KINDS), drawing.number(), body, **head)
        yield _LENGTH.pack(len(frame)) + frame


def _read(reader: FrameReader, stream: bytes, cuts: list[int], *, keeps: bool) -> Found:
    """Reads as a connection does. Frames that are kept must not change; others are reused."""
    found = Found()
    kept: list[Frame] = []
    sizes = iter(cuts)
    position = 0
    try:
        while True:
            buffer = reader.get_buffer()
            if position == len(stream):
                reader.end()
                break
            room = READ_SIZE if buffer is None else len(buffer)
            part = stream[position : position + min(next(sizes, room), room)]
            position += len(part)
            if buffer is None:
                frames = reader.feed(part)
            else:
                buffer[: len(part)] = part
                frames = reader.buffer_updated(buffer, len(part))
            if keeps:
                kept += frames
            else:
                for frame in frames:
                    found.add(frame)
    except (ProtocolError, CommFailure) as error:
        found.refusals.add(str(error))
    for frame in kept:
        found.add(frame)
    return found


def _split(stream: bytes, max_frame: int) -> Found:
    """Returns the expected frames and errors of a whole stream."""
    found = Found()
    while stream:
        (length,) = _LENGTH.unpack(stream[: _LENGTH.size].ljust(_LENGTH.size, _UNKNOWN))
        frame = stream[_LENGTH.size :]
        body = frame[HEAD.size : length]
        # If both are wrong, the cuts decide which one is found first.
        if len(stream) >= _LENGTH.size and not HEAD.size <= length <= max_frame:
            found.refusals.add(f"a frame has {length:,} bytes; allowed are 16 to {max_frame:,}")
        if len(frame) >= HEAD.size:
            try:
                decoded = decode(frame[: HEAD.size] + body)
            except ProtocolError as error:
                found.refusals.add(str(error))
        if found.refusals:
            break
        is_whole = len(frame) >= length
        if is_whole or (body and decoded.kind is Kind.PIPE):
            found.add(decoded)
        if not is_whole:
            found.optional = len(body) if body and decoded.kind is Kind.PIPE else 0
            found.refusals.add("the connection ended inside a frame")
            break
        stream = frame[length:]
    return found


def seeds() -> Iterable[bytes]:
    """Yields a frame of each kind in one part, and pipes with large fragments in a few parts."""
    raw = b"".join(_LENGTH.pack(HEAD.size + 5) + encode(kind, 1, b"hello") for kind in _KINDS)
    for start in range(0, len(raw), 252):
        piece = raw[start : start + 252]
        size = -(-len(piece) // 4) * 4
        yield bytes((0, 0, 0, size)) + piece
    pipe = bytes((2, 7, 0, 0, 0, _KINDS.index(Kind.PIPE), 1))
    for keeps in (0, 1):
        for cut in range(len(_CUTS)):
            yield bytes((0, keeps, 3, 9, cut, 6)) + 4 * pipe
