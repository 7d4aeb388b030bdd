"""The frames in the bytes of a stream, however they are divided."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from ipcpipes.rpc import CommFailure, ProtocolError
from ipcpipes.rpc.wire import frames
from ipcpipes.rpc.wire.format import FRAGMENT, MAX_FRAME, Frame, Kind, encode
from ipcpipes.rpc.wire.frames import READ_SIZE, FrameReader

LARGE = 1 << 20


@pytest.fixture(autouse=True)
def no_spare_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_spare", [])


def on_stream(*frames: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(frame)) + frame for frame in frames)


def fed(reader: FrameReader, octets: bytes, *cuts: int) -> list[Frame]:
    """The frames of the bytes, divided at these positions, by the way that the reader asks for."""
    found: list[Frame] = []
    places = [0, *sorted(cuts), len(octets)]
    for start, end in pairwise(places):
        while start < end:
            buffer = reader.get_buffer()
            if buffer is None:
                step = min(end - start, READ_SIZE)
                found += reader.feed(octets[start : start + step])
            else:
                step = min(end - start, len(buffer))
                buffer[:step] = octets[start : start + step]
                found += reader.buffer_updated(buffer, step)
            start += step
    return found


def joined(frames: list[Frame]) -> list[tuple[Kind, int, int, bytes]]:
    """The frames, with the parts of each pipe joined."""
    whole: list[tuple[Kind, int, int, bytes]] = []
    for frame in frames:
        one = (frame.kind, frame.call, frame.number, bytes(frame.body))
        if whole and frame.kind is Kind.PIPE and whole[-1][:3] == one[:3]:
            whole[-1] = (*one[:3], whole[-1][3] + one[3])
        else:
            whole.append(one)
    return whole


kinds = st.sampled_from([Kind.REQUEST, Kind.PIPE, Kind.RESPONSE, Kind.CREDIT])
bodies = st.binary(max_size=60) | st.integers(0, 200_000).map(lambda size: bytes(size))


@given(st.lists(st.tuples(kinds, bodies), max_size=8), st.lists(st.floats(0, 1), max_size=6))
def test_frames_are_found_however_the_bytes_are_divided(
    parts: list[tuple[Kind, bytes]], cuts: list[float]
) -> None:
    sent = [encode(kind, place, body) for place, (kind, body) in enumerate(parts, 1)]
    octets = on_stream(*sent)
    reader = FrameReader(MAX_FRAME)
    found = joined(fed(reader, octets, *(int(cut * len(octets)) for cut in cuts)))
    assert found == [(kind, place, 0, body) for place, (kind, body) in enumerate(parts, 1)]
    reader.end()


@given(
    st.lists(st.tuples(kinds, bodies), max_size=3),
    st.one_of(
        st.integers(0, 15).map(lambda length: struct.pack("<I", length) + bytes(length)),
        st.binary(max_size=60),
    ),
)
def test_garbage_behind_frames_is_found_after_them(
    parts: list[tuple[Kind, bytes]], garbage: bytes
) -> None:
    octets = on_stream(*(encode(kind, place, body) for place, (kind, body) in enumerate(parts, 1)))
    reader = FrameReader(MAX_FRAME)
    try:
        found = joined(reader.feed(octets + garbage))
    except ProtocolError:
        assert not parts, "the frames before the garbage come first"
        return
    assert found[: len(parts)] == [
        (kind, place, 0, body) for place, (kind, body) in enumerate(parts, 1)
    ]


@given(st.binary(max_size=400))
def test_garbage_is_a_frame_or_a_protocol_error(octets: bytes) -> None:
    reader = FrameReader(MAX_FRAME)
    try:
        fed(reader, octets)
        reader.get_buffer()
        reader.end()
    except (ProtocolError, CommFailure):
        pass


def test_parts_of_a_pipe_frame_are_returned_at_once() -> None:
    reader = FrameReader(MAX_FRAME)
    octets = on_stream(encode(Kind.PIPE, 1, b"abcdef"))
    assert [bytes(frame.body) for frame in reader.feed(octets[:-2])] == [b"abcd"]
    assert [bytes(frame.body) for frame in reader.feed(octets[-2:])] == [b"ef"]


def test_other_frames_are_returned_whole() -> None:
    reader = FrameReader(MAX_FRAME)
    octets = on_stream(encode(Kind.REQUEST, 1, b"abcdef"))
    assert reader.feed(octets[:-2]) == []
    assert [bytes(frame.body) for frame in reader.feed(octets[-2:])] == [b"abcdef"]


@pytest.mark.parametrize("length", [0, 15, MAX_FRAME + 1, 2**32 - 1])
def test_an_impossible_length_is_refused_at_once(length: int) -> None:
    reader = FrameReader(MAX_FRAME)
    head = encode(Kind.REQUEST, 1)
    with pytest.raises(ProtocolError, match=f"a frame has {length:,} bytes"):
        reader.feed(struct.pack("<I", length) + head)


def test_frames_before_an_error_are_returned_first() -> None:
    reader = FrameReader(MAX_FRAME)
    octets = on_stream(encode(Kind.PING)) + struct.pack("<I", 16) + bytes(16)
    assert [frame.kind for frame in reader.feed(octets)] == [Kind.PING]
    with pytest.raises(ProtocolError, match="no frame of kind 0"):
        reader.get_buffer()


@pytest.mark.parametrize("size", [1, 10, 21])
def test_the_end_inside_a_frame_is_an_error(size: int) -> None:
    reader = FrameReader(MAX_FRAME)
    reader.feed(on_stream(encode(Kind.REQUEST, 1, b"abcdef"))[:size])
    with pytest.raises(CommFailure, match="inside a frame"):
        reader.end()


def fill(reader: FrameReader, octets: bytes) -> tuple[object, list[Frame]]:
    """Puts bytes into the reader's own buffer."""
    memory = reader.get_buffer()
    assert memory is not None
    buffer = memory.obj
    memory[: len(octets)] = octets
    return buffer, reader.buffer_updated(memory, len(octets))


def a_pipe_of(size: int) -> bytes:
    return on_stream(encode(Kind.PIPE, 1, bytes(size)))


def expecting_much() -> FrameReader:
    """A reader that expects much data, between two frames."""
    reader = FrameReader(MAX_FRAME)
    reader.feed(a_pipe_of(READ_SIZE))
    return reader


def in_bulk() -> tuple[FrameReader, bytes]:
    """The same inside a frame that is larger than any buffer, and the rest of that frame."""
    reader = FrameReader(MAX_FRAME)
    octets = a_pipe_of(8 * LARGE)
    reader.feed(octets[:READ_SIZE])
    return reader, octets[READ_SIZE:]


def test_a_large_buffer_without_views_is_reused() -> None:
    reader, octets = in_bulk()
    first, found = fill(reader, octets[: frames._LARGE])
    assert len(found[0].body) == frames._LARGE
    del found
    again, _ = fill(reader, octets[: frames._LARGE])
    assert again is first


def test_a_large_buffer_with_views_is_not_reused() -> None:
    reader, octets = in_bulk()
    first, found = fill(reader, octets[: frames._LARGE])
    second, _ = fill(reader, b"\xff" * frames._LARGE)
    assert second is not first
    assert not any(bytes(found[0].body))


def test_a_small_part_does_not_keep_a_large_buffer() -> None:
    reader, octets = expecting_much(), a_pipe_of(READ_SIZE)
    first, found = fill(reader, octets)
    assert len(found[0].body) == READ_SIZE
    assert fill(reader, octets)[0] is first  # while ``found`` still exists


def test_a_frame_inside_a_buffer_is_returned_in_one() -> None:
    reader, octets = expecting_much(), a_pipe_of(FRAGMENT)
    assert fill(reader, octets[:10_000])[1] == []
    with pytest.raises(CommFailure, match="inside a frame"):
        reader.end()
    assert fill(reader, octets[10_000:100_000])[1] == []
    (frame,) = fill(reader, octets[100_000:])[1]
    assert len(frame.body) == FRAGMENT
    reader.end()


@pytest.mark.parametrize("before", [200, FRAGMENT // 2, FRAGMENT - 1000, FRAGMENT - 30])
def test_a_frame_across_buffers_is_divided_or_moved(before: int) -> None:
    reader, octets = expecting_much(), a_pipe_of(before) + a_pipe_of(FRAGMENT)
    _, found = fill(reader, octets[: frames._LARGE])
    rest = octets[frames._LARGE :]
    found += fill(reader, rest[:1000])[1]
    found += fill(reader, rest[1000:])[1]
    sizes = [len(frame.body) for frame in found]
    assert sizes[0] == before
    assert sum(sizes) == before + FRAGMENT
    assert len(sizes) == (3 if before < FRAGMENT * 3 // 4 else 2)


def test_small_reads_end_the_use_of_buffers() -> None:
    reader = expecting_much()
    for _ in range(4):
        assert len(fill(reader, a_pipe_of(5))[1]) == 1
    assert reader.get_buffer() is None


@pytest.mark.parametrize("kind", [Kind.PIPE, Kind.REQUEST])
def test_an_announced_length_allocates_no_buffer(kind: Kind) -> None:
    reader = FrameReader(MAX_FRAME)
    reader.feed(on_stream(encode(kind, 1, bytes(LARGE)))[: READ_SIZE // 2])
    assert reader.get_buffer() is None
    reader.feed(b"x")
    assert reader.get_buffer() is None


def test_few_spare_buffers_are_kept() -> None:
    kept = [fill(in_bulk()[0], bytes(frames._LARGE))[1] for _ in range(20)]
    assert len(kept) == 20
    assert len(frames._spare) <= frames._MOST_SPARE
