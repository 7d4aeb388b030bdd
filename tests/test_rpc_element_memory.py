"""Memory that is sent as elements, and chunks of elements that were received."""

from __future__ import annotations

import ctypes
from array import array
from typing import Any

import pytest

from ipcpipes import rpc
from ipcpipes.rpc.definition.elements import Element, element_of
from ipcpipes.rpc.wire.chunks import Structures, bytes_of, chunk_of

from .rpc_elements import NUMBER, PADDED, SCALARS, Padded, every_scalar, padded_chunk

# Memory to bytes


@pytest.mark.parametrize(
    "memory",
    [
        array("i", [1, 2]),
        array("b", bytes(8)),
        bytes(8),
        bytearray(8),
        memoryview(bytes(16))[4:12],
        memoryview(bytes(8)).cast("c"),
        memoryview(bytes(8)).cast("i"),
        memoryview(bytes(8)).cast("B", (2, 4)),
        (ctypes.c_int32 * 2)(1, 2),
    ],
    ids=lambda memory: type(memory).__name__,
)
def test_memory_is_not_copied(memory: Any) -> None:
    octets = bytes_of(memory, NUMBER)
    assert (octets.format, octets.ndim, octets.nbytes) == ("B", 1, 8)
    assert bytes(octets) == bytes(memory)
    assert octets.obj is memoryview(memory).obj


@pytest.mark.parametrize(
    "memory",
    [
        array("I", [1, 2]),
        array("f", [1, 2]),
        array("h", [1, 2]),
        array("q", [1, 2]),
        memoryview(bytes(8)).cast("?"),
        (ctypes.c_uint32 * 2)(1, 2),
        (ctypes.c_int32.__ctype_be__ * 2)(1, 2),
    ],
    ids=lambda memory: memoryview(memory).format,
)
def test_memory_of_another_type_is_refused(memory: Any) -> None:
    with pytest.raises(TypeError, match=r"^memory of format .*, given to a pipe of int32; convert"):
        bytes_of(memory, NUMBER)


@every_scalar
def test_memory_of_the_same_type_is_accepted(name: str) -> None:
    annotation, _, letter = SCALARS[name]
    memory = memoryview(bytes(16)).cast(letter)  # type: ignore[call-overload]
    assert bytes_of(memory, element_of(annotation)).nbytes == 16


def test_numbers_of_another_sign_or_kind_are_refused() -> None:
    for annotation, letter in ((rpc.uint8, "?"), (rpc.boolean, "H"), (rpc.float32, "i")):
        with pytest.raises(TypeError):
            bytes_of(memoryview(bytes(16)).cast(letter), element_of(annotation))  # type: ignore[call-overload]


def test_memory_with_holes_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^the elements must be contiguous memory$"):
        bytes_of(memoryview(bytes(16))[::2], NUMBER)


@pytest.mark.parametrize("element", [NUMBER, PADDED], ids=lambda element: element.name)
def test_memory_is_a_whole_number_of_elements(element: Element) -> None:
    assert bytes_of(bytes(2 * element.stride), element).nbytes == 2 * element.stride
    with pytest.raises(ValueError, match=r"bytes are not a whole number of "):
        bytes_of(bytes(2 * element.stride - 1), element)


def test_empty_memory_has_no_elements() -> None:
    for memory in (b"", array("i"), memoryview(b"").cast("i")):
        assert bytes_of(memory, NUMBER).nbytes == 0
    with pytest.raises(TypeError):
        bytes_of(array("d"), NUMBER)


def test_a_chunk_can_be_passed_on() -> None:
    octets = bytes_of([Padded(1, 2, 3), Padded(4, 5, 6)], PADDED)
    chunk = chunk_of(octets, PADDED)
    assert bytes_of(chunk, PADDED) == octets
    assert bytes_of(chunk[1:], PADDED) == octets[12:]
    numbers = chunk_of(memoryview(bytes(8)), NUMBER)
    assert bytes_of(numbers, NUMBER) == bytes(8)


# Chunks


@every_scalar
def test_a_chunk_of_scalars_is_memory_of_their_type(name: str) -> None:
    annotation, size, letter = SCALARS[name]
    memory = bytes(2 * size)
    chunk = chunk_of(memoryview(memory), element_of(annotation))
    assert isinstance(chunk, memoryview)
    assert (chunk.format, chunk.itemsize, len(chunk)) == (letter, size, 2)
    assert chunk.obj is memory


@pytest.mark.parametrize("make", [bytes, bytearray], ids=["bytes", "bytearray"])
def test_a_chunk_is_read_only_over_any_memory(make: Any) -> None:
    octets = memoryview(make(24))
    for annotation in (rpc.byte, rpc.int32, rpc.boolean):
        chunk = chunk_of(octets, element_of(annotation))
        assert chunk.readonly
        assert chunk_of(memoryview(make(0)), element_of(annotation)).readonly
        with pytest.raises(TypeError, match="read-only"):
            chunk[0] = 1
    structures = chunk_of(octets, PADDED)
    assert structures.memory.readonly
    assert structures[1:].memory.readonly


def test_a_chunk_can_have_any_address() -> None:
    for start in range(8):
        memory = bytes(start) + array("d", [0.5, 1.5]).tobytes()
        assert list(chunk_of(memoryview(memory)[start:], element_of(rpc.float64))) == [0.5, 1.5]


def test_a_chunk_of_structures_is_a_sequence() -> None:
    chunk = padded_chunk(3)
    assert len(chunk) == 3
    assert chunk[0] == chunk[-3] == Padded(0, 1, 2)
    assert chunk[-1] == Padded(2, 3, 4)
    assert list(chunk) == [chunk[0], chunk[1], chunk[2]] == list(reversed(list(reversed(chunk))))
    assert chunk.index(Padded(1, 2, 3)) == 1
    assert Padded(9, 9, 9) not in chunk
    for index in (3, -4):
        with pytest.raises(IndexError):
            chunk[index]
    assert repr(chunk) == "<3 x {first: byte, value: int32, last: byte}>"


def test_a_slice_of_structures_is_a_chunk_of_the_same_memory() -> None:
    chunk = padded_chunk(4)
    values = list(chunk)
    for cut in (slice(1, 3), slice(None), slice(-2, None), slice(3, 1), slice(9, None)):
        part = chunk[cut]
        assert isinstance(part, Structures)
        assert list(part) == values[cut]
        assert part.memory.obj is chunk.memory.obj
    with pytest.raises(ValueError, match="has no step"):
        chunk[::2]


def test_chunks_of_structures_are_compared_like_lists() -> None:
    chunk = padded_chunk(2)
    assert chunk == padded_chunk(2)
    assert chunk == list(chunk)
    assert chunk != padded_chunk(3)
    assert chunk != 5
    with pytest.raises(TypeError):
        hash(chunk)


def test_a_chunk_of_structures_converts_to_bytes() -> None:
    chunk = padded_chunk(2)
    assert bytes(chunk) == bytes(chunk.memory)
    assert len(bytes(chunk)) == 24
