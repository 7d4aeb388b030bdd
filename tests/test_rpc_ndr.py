"""Pipes as bytes: the format never changes, and the division into parts does not matter."""

from __future__ import annotations

import os
import sys
import tracemalloc
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import pytest
from hypothesis import given, settings, strategies as st

from ipcpipes import rpc
from ipcpipes.rpc.definition.elements import LARGEST, Element, element_of
from ipcpipes.rpc.errors import InvalidBound, ProtocolError
from ipcpipes.rpc.wire.chunks import bytes_of, chunk_of
from ipcpipes.rpc.wire.ndr import LARGEST_COUNT, ChunkReader, ChunkWriter

from .receiving import in_parts

EXAMPLES = os.environ.get("IPCPIPES_EXAMPLES")
PROFILE = settings(
    deadline=None,
    max_examples=int(EXAMPLES or 100),
    derandomize="CI" in os.environ and not EXAMPLES,
)


class Padded(rpc.Structure):
    """Nine bytes, with a distance of twelve."""

    first: rpc.byte
    value: rpc.int32
    last: rpc.byte


class Wide(rpc.Structure):
    value: rpc.float64
    flag: rpc.boolean


class Large(rpc.Structure):
    data: Annotated[list[rpc.int16], rpc.Length(LARGEST // 2)]


BYTE, SHORT, LONG, HYPER, PADDED, WIDE = map(
    element_of, (rpc.byte, rpc.int16, rpc.int32, rpc.int64, Padded, Wide)
)
ELEMENTS = [BYTE, SHORT, LONG, HYPER, PADDED, WIDE, element_of(rpc.float32)]
any_element = st.sampled_from(ELEMENTS)


def written(element: Element, chunks: Iterable[Sequence[Any]]) -> bytes:
    """The bytes on the wire for these chunks and the end."""
    writer = ChunkWriter(element)
    octets = b""
    for chunk in chunks:
        memory = bytes_of(chunk, element)
        last = len(memory) - (element.stride - element.size)
        octets += writer.prefix(len(memory) // element.stride) + memory[:last]
    return octets + writer.end()


def fed(reader: ChunkReader, parts: Iterable[bytes]) -> ChunkReader:
    for part in parts:
        reader.feed(memoryview(part))
    return reader


def taken(reader: ChunkReader, max_elements: int = LARGEST_COUNT) -> bytes:
    """All elements that have arrived."""
    octets = b""
    while reader.has_elements:
        part = reader.take(max_elements)
        assert 0 < len(part) <= max_elements * reader._element.stride
        assert len(part) % reader._element.stride == 0
        octets += part
    return octets


def gaps_of(element: Element, chunks: Sequence[Sequence[Any]]) -> list[int]:
    """The positions of the bytes outside counts and elements."""
    free: list[int] = []
    position = 0
    for chunk in [*chunks, ()]:
        gap = -position % 4
        free.extend(range(position, position + gap))
        position += gap + 4
        if chunk:
            gap = -position % element.alignment
            free.extend(range(position, position + gap))
            position += gap + (len(chunk) - 1) * element.stride + element.size
    return free


# Vectors

VECTORS: list[tuple[Element, list[list[Any]], str]] = [
    (
        LONG,
        [[1, 2, 3], [4]],
        "03000000 01000000 02000000 03000000 01000000 04000000 00000000",
    ),
    (BYTE, [list(b"ABC"), list(b"D")], "03000000 41424300 01000000 44000000 00000000"),
    (LONG, [], "00000000"),
    (BYTE, [], "00000000"),
    (PADDED, [], "00000000"),
    (SHORT, [[-1]], "01000000 ffff0000 00000000"),
    # Elements of eight bytes begin at a multiple of eight: there may be a gap after the count.
    (
        HYPER,
        [[1], [2]],
        "01000000 00000000 0100000000000000 01000000 00000000 0200000000000000 00000000",
    ),
    (HYPER, [[1, 2]], "02000000 00000000 0100000000000000 0200000000000000 00000000"),
    # Structures have padding between them. The next count is only aligned to four.
    (
        PADDED,
        [[Padded(1, 2, 3), Padded(4, 5, 6)], [Padded(7, 8, 9)]],
        """02000000 01000000 02000000 03000000 04000000 05000000 06000000
        01000000 07000000 08000000 09000000 00000000""",
    ),
    (
        WIDE,
        [[Wide(0.5, True)], [Wide(0.25, False)]],
        """01000000 00000000 000000000000e03f 01000000
        01000000 000000000000d03f 00000000 00000000""",
    ),
]
every_vector = pytest.mark.parametrize(
    ("element", "chunks", "octets"), VECTORS, ids=[f"{v[0].name}-{len(v[1])}" for v in VECTORS]
)


@every_vector
def test_37_chunks_are_written_as_the_vectors(
    element: Element, chunks: list[list[Any]], octets: str
) -> None:
    assert written(element, chunks) == bytes.fromhex(octets)


@every_vector
def test_37_the_vectors_are_read_as_chunks(
    element: Element, chunks: list[list[Any]], octets: str
) -> None:
    reader = fed(ChunkReader(element), [bytes.fromhex(octets)])
    assert reader.ended
    elements = list(chunk_of(memoryview(taken(reader)), element))
    assert elements == [one for chunk in chunks for one in chunk]
    assert (reader.waiting, reader.has_elements) == (0, False)


@every_vector
def test_37_gaps_are_ignored(element: Element, chunks: list[list[Any]], octets: str) -> None:
    wire = bytearray.fromhex(octets)
    for place in gaps_of(element, chunks):
        assert wire[place] == 0
        wire[place] = 0xA5
    for parts in ([bytes(wire)], in_parts(bytes(wire), [1])):
        reader = fed(ChunkReader(element), parts)
        assert reader.ended
        elements = list(chunk_of(memoryview(taken(reader)), element))
        assert elements == [one for chunk in chunks for one in chunk]


# Chunks


def test_30_chunk_borders_do_not_matter() -> None:
    numbers = list(range(15))
    wire = written(BYTE, [numbers[:5], numbers[5:9], numbers[9:12], numbers[12:14], numbers[14:]])
    reader = fed(ChunkReader(BYTE), [wire])
    assert reader.waiting == 15
    assert bytes(reader.take(100)) == bytes(numbers)
    assert reader.ended


@pytest.mark.parametrize("element", [LONG, PADDED], ids=lambda element: element.name)
def test_31_the_rest_of_a_chunk_comes_with_the_next_pull(element: Element) -> None:
    wire = written(element, [bytes_of(bytes(10 * element.stride), element)])
    reader = fed(ChunkReader(element), [wire])
    sizes = []
    while reader.has_elements:
        sizes.append(len(reader.take(4)) // element.stride)
    assert sizes == [4, 4, 2]


@pytest.mark.parametrize("element", ELEMENTS, ids=lambda element: element.name)
def test_36_a_divided_element_is_joined(element: Element) -> None:
    memory = bytes(range(3 * element.stride))
    # Padding between elements is sent; only the last element has none.
    pad = element.stride - element.size
    wire = written(element, [memory])
    expected = memory[: len(memory) - pad] + bytes(pad)
    for cut in range(len(wire) + 1):
        reader = fed(ChunkReader(element), [wire[:cut]])
        early = taken(reader)
        assert expected.startswith(early)
        late = taken(fed(reader, [wire[cut:]]))
        assert early + late == expected
        assert reader.ended


def test_38_a_count_out_of_its_range_is_refused() -> None:
    limits = rpc.Range(2, 3)
    for count, good in ((1, False), (2, True), (3, True), (4, False), (LARGEST_COUNT, False)):
        reader = ChunkReader(LONG, limits)
        if good:
            reader.feed(memoryview(count.to_bytes(4, "little")))
        else:
            with pytest.raises(
                InvalidBound,
                match=rf"^a chunk has {count:,} elements; allowed are 2 to 3$",
            ):
                reader.feed(memoryview(count.to_bytes(4, "little")))


def test_38_the_end_is_not_counted_as_a_chunk() -> None:
    assert fed(ChunkReader(LONG, rpc.Range(2, 3)), [bytes(4)]).ended


def test_40_a_huge_count_takes_no_memory() -> None:
    reader = ChunkReader(HYPER)
    tracemalloc.start()
    try:
        reader.feed(memoryview(b"\xff\xff\xff\xff\0\0\0\0" + bytes(8)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4096
    assert reader.waiting == 8
    assert not reader.ended
    assert len(reader.take(LARGEST_COUNT)) == 8


def test_nothing_comes_after_the_end() -> None:
    wire = written(LONG, [[1]])
    for parts in ([wire + b"\0"], [wire, b"\0"], [wire, b"\1\0\0\0"]):
        with pytest.raises(ProtocolError, match=r"^a pipe continues after its end$"):
            fed(ChunkReader(LONG), parts)
    # Empty data is allowed.
    assert fed(ChunkReader(LONG), [wire, b""]).ended


def test_waiting_bytes_are_counted() -> None:
    reader = ChunkReader(LONG)
    reader.feed(memoryview(b"\3\0\0\0\1\0"))
    assert (reader.waiting, reader.has_elements) == (2, False)
    reader.feed(memoryview(b"\0\0\2"))
    assert (reader.waiting, reader.has_elements) == (5, True)
    assert bytes(reader.take(9)) == b"\1\0\0\0"
    assert (reader.waiting, reader.has_elements) == (1, False)


def test_clear_drops_waiting_elements() -> None:
    reader = fed(ChunkReader(SHORT), [written(SHORT, [[1] * 9])[:-9], b"\1"])
    reader.clear()
    assert (reader.waiting, reader.has_elements) == (0, False)


def test_large_pieces_are_not_copied() -> None:
    body = bytes(100_000)
    reader = ChunkReader(LONG)
    reader.feed(memoryview((25_000).to_bytes(4, "little")))
    reader.feed(memoryview(body))
    first = reader.take(20_000)
    second = reader.take(20_000)
    assert first.obj is body
    assert second.obj is body
    assert (len(first), len(second)) == (80_000, 20_000)


def test_taken_elements_do_not_change() -> None:
    reader = ChunkReader(BYTE)
    reader.feed(memoryview(b"\4\0\0\0ab"))
    first = reader.take(1)
    reader.feed(memoryview(b"cd"))
    assert (bytes(first), bytes(reader.take(9)), bytes(reader.take(9))) == (b"a", b"b", b"cd")
    assert bytes(first) == b"a"


def test_the_smallest_parts_use_little_memory() -> None:
    # Each part alone would need thirty times the memory of its one byte.
    reader = ChunkReader(BYTE)
    reader.feed(memoryview((50_000).to_bytes(4, "little")))
    parts = [bytes([n % 256]) + b"x" * (n % 3) for n in range(20_000)]
    total = sum(map(len, parts))
    tracemalloc.start()
    try:
        for part in parts:
            reader.feed(memoryview(bytes(bytearray(part))))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reader.waiting == total
    assert size < 3 * total
    assert taken(reader) == b"".join(parts)


def test_large_elements_in_small_parts() -> None:
    element = element_of(Large)
    memory = os.urandom(2 * LARGEST)
    wire = written(element, [memory])
    reader = ChunkReader(element)
    for part in in_parts(wire, [1000, 1, 4097]):
        reader.feed(memoryview(part))
    assert reader.waiting == 2 * LARGEST
    assert taken(reader, 1) == memory


# Anything

CUTS = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@st.composite
def chunks_of(draw: st.DrawFn, element: Element) -> list[bytes]:
    """Chunks of such elements as bytes, with zeros outside the fields of an element."""
    counts = draw(st.lists(st.integers(1, 30) | st.sampled_from([500, 3000]), max_size=6))
    chunks = []
    for count in counts:
        seed = draw(st.binary(min_size=1, max_size=24))
        one = bytearray(
            (seed * (count * element.stride // len(seed) + 1))[: count * element.stride]
        )
        if element.stride > element.size:
            pad = element.stride - element.size
            one[-pad:] = bytes(pad)
        chunks.append(bytes(one))
    return chunks


@PROFILE
@given(st.data())
def test_any_chunks_divided_anywhere_are_read_the_same(data: st.DataObject) -> None:
    element = data.draw(any_element)
    chunks = data.draw(chunks_of(element))
    wire = bytearray(written(element, chunks))
    filling = data.draw(st.integers(0, 255))
    sizes = [range(len(chunk) // element.stride) for chunk in chunks]
    for place in gaps_of(element, sizes):
        wire[place] = filling
    reader = ChunkReader(element)
    most = data.draw(st.sampled_from([1, 7, LARGEST_COUNT]))
    taking = data.draw(st.booleans())
    octets = b""
    for part in in_parts(bytes(wire), data.draw(CUTS)):
        reader.feed(memoryview(part))
        if taking:
            octets += taken(reader, most)
    octets += taken(reader, most)
    assert octets == b"".join(chunks)
    assert reader.ended
    assert reader.waiting == 0


@PROFILE
@given(st.data())
def test_incomplete_data_gives_only_whole_elements(data: st.DataObject) -> None:
    element = data.draw(any_element)
    chunks = data.draw(chunks_of(element))
    wire = written(element, chunks)
    cut = data.draw(st.integers(0, len(wire) - 1))
    reader = fed(ChunkReader(element), in_parts(wire[:cut], data.draw(CUTS)))
    assert not reader.ended
    assert b"".join(chunks).startswith(taken(reader))


COUNTS = st.sampled_from([0, 1, 2, 3, 255, 2**31, LARGEST_COUNT]).map(
    lambda count: count.to_bytes(4, "little")
)


@PROFILE
@given(
    any_element,
    st.none() | st.just(rpc.Range(1, 3)),
    st.lists(COUNTS | st.binary(max_size=20), max_size=20),
    CUTS,
)
def test_garbage_is_read_or_refused(
    element: Element, limits: rpc.Range | None, garbage: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(garbage)
    outcomes = set()
    for parts in ([stream], in_parts(stream, cuts), in_parts(stream, [1])):
        reader = ChunkReader(element, limits)
        octets, error = b"", None
        try:
            for part in parts:
                reader.feed(memoryview(part))
                # Only padding that is not sent can make it more than has arrived.
                assert reader.waiting <= len(stream) * 2
                assert sys.getsizeof(reader._tail) <= 4 * len(stream) + 256
        except (ProtocolError, InvalidBound) as caught:
            error = type(caught)
            assert limits is not None or error is ProtocolError
        octets = taken(reader)
        outcomes.add((octets, error, reader.ended))
    # The result does not depend on the division.
    assert len(outcomes) == 1
