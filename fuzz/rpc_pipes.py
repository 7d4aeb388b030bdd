"""``ChunkReader`` with any bytes in any parts, compared with a split of the whole pipe."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ipcpipes import rpc
from ipcpipes.rpc.definition.elements import Element, element_of
from ipcpipes.rpc.definition.parameters import Range
from ipcpipes.rpc.errors import InvalidBound, ProtocolError
from ipcpipes.rpc.wire.ndr import LARGEST_COUNT, ChunkReader, ChunkWriter

from .drawing import Drawing, cut, filling

_COUNT = struct.Struct("<I")


class Padded(rpc.Structure):
    """Has a size of 9 bytes and a stride of 12."""

    first: rpc.byte
    value: rpc.int32
    last: rpc.byte


class Wide(rpc.Structure):
    """Has a size of 9 bytes and a stride of 16."""

    value: rpc.float64
    flag: rpc.boolean


ELEMENTS: Sequence[Element] = [
    element_of(kind) for kind in (rpc.byte, rpc.int16, rpc.int32, rpc.int64, Padded, Wide)
]
_RANGES = (None, None, Range(1, 4), Range(100, 5000))
_COUNTS = (1, 2, 3, 4, 5, 100, 300, 1000, 5000)
_CUTS = (1, 2, 3, 4, 5, 7, 11, 12, 100, 2047, 2048, 5000)
_MOST = 70_000
_TAKEN = (0, 1, 3, 1000, LARGEST_COUNT)
_TIMES = 4  # after each part


@dataclass
class Found:
    """The elements, and how the pipe ended."""

    elements: bytes
    ended: bool = False
    fault: type[rpc.RpcError] | None = None


def pipes(data: bytes) -> None:
    drawing = Drawing(data)
    element = drawing.one_of(ELEMENTS)
    limits = drawing.one_of(_RANGES)
    taken = drawing.one_of(_TAKEN)
    cuts = [drawing.one_of(_CUTS) for _ in range(drawing.number() % 64)]
    octets = b"".join(_pieces(drawing, element))
    expected = _split(octets, element, limits)
    for parts, most in (([octets], 0), (cut(octets, cuts, _MOST), taken)):
        found = _read(ChunkReader(element, limits), element, parts, most)
        assert found == expected


def _pieces(drawing: Drawing, element: Element) -> Iterator[bytes]:
    """Yields the pieces of a pipe: valid chunks, and random bytes."""
    writer = ChunkWriter(element)
    for _ in range(12):
        choice = drawing.number()
        if not drawing.more:
            return
        if choice % 4 == 0:
            yield drawing.take(choice)
        elif choice % 4 == 1:
            yield writer.end()
        else:
            count = drawing.one_of(_COUNTS)
            size = (count - 1) * element.stride + element.size
            yield writer.prefix(count) + filling(size)


def _read(reader: ChunkReader, element: Element, parts: Iterable[bytes], most: int) -> Found:
    """Reads as a pipe is pulled: at most ``most`` elements at a time, and the rest at the end."""
    elements = bytearray()
    fault: type[rpc.RpcError] | None = None
    arrived = 0
    try:
        for part in parts:
            arrived += len(part)
            reader.feed(memoryview(part))
            # Also with the padding of the last element, because the count of the chunk arrived too.
            assert len(elements) + reader.waiting <= arrived
            for _ in range(_TIMES):
                elements += _taken(reader, element, most)
    except (InvalidBound, ProtocolError) as error:
        fault = type(error)
    while reader.has_elements:
        elements += _taken(reader, element, LARGEST_COUNT)
    assert reader.waiting < element.stride
    return Found(bytes(elements), reader.ended, fault)


def _taken(reader: ChunkReader, element: Element, most: int) -> memoryview:
    if not most or not reader.has_elements:
        return memoryview(b"")
    waiting = reader.waiting
    octets = reader.take(most)
    assert 0 < len(octets) <= most * element.stride
    assert len(octets) % element.stride == 0
    assert reader.waiting == waiting - len(octets)
    return octets


def _split(octets: bytes, element: Element, limits: Range | None) -> Found:
    """Returns the expected elements and end of a whole pipe."""
    elements = bytearray()
    position = 0
    while True:
        position += -position % 4
        if len(octets) < position + 4:
            return Found(bytes(elements))
        (count,) = _COUNT.unpack_from(octets, position)
        position += 4
        if not count:
            fault = ProtocolError if len(octets) > position else None
            return Found(bytes(elements), ended=True, fault=fault)
        if limits is not None and not limits.low <= count <= limits.high:
            return Found(bytes(elements), fault=InvalidBound)
        position += -position % element.alignment
        size = (count - 1) * element.stride + element.size
        chunk = octets[position : position + size]
        if len(chunk) < size:
            return Found(bytes(elements + chunk[: len(chunk) // element.stride * element.stride]))
        elements += chunk + bytes(element.stride - element.size)
        position += size


def seeds() -> Iterable[bytes]:
    """Yields pipes of each element in a few parts, and one with its counts in plain bytes."""
    for number, _ in enumerate(ELEMENTS):
        chunks = bytes((2, 2, 2, 5, 2, 8, 1, 0))
        yield bytes((number, 0, 1, 4, 0, 3, 9, 10)) + chunks
        yield bytes((number, 2, 4, 2, 6, 2)) + chunks
        yield bytes((number, 0, 2, 1, 0, 12)) + struct.pack("<III", 2, 1, 2) + b"\0\0\0"
