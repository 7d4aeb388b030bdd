"""NumPy uses received chunks without a copy, and NumPy's arrays are pushed without a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.rpc.definition.elements import element_of
from ipcpipes.rpc.wire.chunks import bytes_of, chunk_of

from .rpc_elements import (
    NUMBER,
    PADDED,
    SCALARS,
    STRUCTURES,
    Arrays,
    Deep,
    every_scalar,
    every_structure,
    padded_chunk,
)

if TYPE_CHECKING:
    import numpy
else:
    # Some systems have no wheels for it, and Wine cannot run those for Windows.
    numpy = pytest.importorskip("numpy")


@every_scalar
def test_numpy_shares_the_memory_of_scalars(name: str) -> None:
    annotation, size, letter = SCALARS[name]
    memory = bytearray(4 * size)
    numbers = numpy.asarray(chunk_of(memoryview(memory), element_of(annotation)))
    assert (numbers.dtype, numbers.shape) == (numpy.dtype(letter), (4,))
    assert numpy.shares_memory(numbers, memory)


def test_numpy_shares_the_memory_of_structures() -> None:
    memory = bytearray(padded_chunk(3).memory)
    table = numpy.asarray(chunk_of(memoryview(memory), PADDED))
    assert numpy.shares_memory(table, memory)
    assert (table.shape, table.itemsize) == ((3,), 12)
    assert table.dtype.names == ("first", "value", "last")
    assert table["value"].tolist() == [1, 2, 3]
    memory[4] = 77
    assert table["value"][0] == 77


@every_structure
def test_a_structured_array_has_the_same_values(structure: type[rpc.Structure]) -> None:
    value = STRUCTURES[structure]
    element = element_of(structure)
    table = numpy.asarray(chunk_of(bytes_of([value] * 3, element), element))
    assert table.itemsize == element.stride
    names = structure.__struct_fields__
    assert table.dtype.names == names
    for name in names:
        expected = getattr(value, name)
        if isinstance(expected, (int, float)):
            assert table[name].tolist() == [expected] * 3


def test_nested_arrays_and_structures_have_names() -> None:
    element = element_of(Deep)
    table = numpy.asarray(chunk_of(bytes_of([STRUCTURES[Deep]], element), element))
    assert table["plain"]["place"].tolist() == [[2, 4]]
    assert table["nested"]["inner"]["value"].tolist() == [2]
    element = element_of(Arrays)
    table = numpy.asarray(chunk_of(bytes_of([STRUCTURES[Arrays]], element), element))
    assert table["three"].tolist() == [[0.5, 1.5, 2.5]]
    assert table["table"].tolist() == [[[1, 2], [-3, -4]]]


@every_structure
def test_a_structured_array_is_pushed_without_a_copy(
    structure: type[rpc.Structure],
) -> None:
    value = STRUCTURES[structure]
    element = element_of(structure)
    table = numpy.asarray(chunk_of(bytes_of([value] * 3, element), element)).copy()
    octets = bytes_of(table, element)
    assert numpy.shares_memory(numpy.asarray(octets), table)
    assert list(chunk_of(octets, element)) == [value] * 3


def test_a_structured_array_of_another_size_is_refused() -> None:
    with pytest.raises(TypeError, match=r"8 bytes each, given to a pipe of "):
        bytes_of(numpy.zeros(3, [("a", "i4"), ("b", "i4")]), PADDED)


@pytest.mark.parametrize(
    "memory",
    [numpy.array([1, 2], "i4"), numpy.zeros((2, 1), "i4"), numpy.zeros(8, "u1")],
    ids=lambda memory: str(memory.shape),
)
def test_an_array_of_numbers_is_pushed_without_a_copy(memory: Any) -> None:
    octets = bytes_of(memory, NUMBER)
    assert (octets.format, octets.ndim, octets.nbytes) == ("B", 1, 8)
    assert numpy.shares_memory(octets, memory)


@every_scalar
def test_arrays_of_the_pipes_type_are_accepted(name: str) -> None:
    annotation, size, letter = SCALARS[name]
    assert bytes_of(numpy.zeros(16 // size, letter), element_of(annotation)).nbytes == 16
    assert bytes_of(numpy.zeros(0, letter), element_of(annotation)).nbytes == 0


@pytest.mark.parametrize("letter", [">i4", "f4", "S4", "u4", "i2"])
def test_arrays_of_another_type_are_refused(letter: str) -> None:
    with pytest.raises(TypeError, match=r"^memory of format .*, given to a pipe of int32; convert"):
        bytes_of(numpy.zeros(2, letter), NUMBER)


def test_an_array_with_holes_is_refused() -> None:
    for memory in (numpy.zeros(8, "i4")[::2], numpy.zeros((4, 4), "i4").T[1:]):
        with pytest.raises(TypeError, match=r"^the elements must be contiguous memory$"):
            bytes_of(memory, NUMBER)


def test_fields_can_have_numpys_default_names() -> None:
    structure: Any = msgspec.defstruct(
        "Fields",
        [("f0", rpc.byte), ("f1", rpc.int32), ("f3", Annotated[list[rpc.byte], rpc.Length(3)])],
        bases=(rpc.Structure,),
    )
    element = element_of(structure)
    table = numpy.asarray(chunk_of(bytes_of([structure(1, 2, [3, 4, 5])] * 2, element), element))
    assert table.dtype.names == ("f0", "f1", "f3")
    assert (table["f0"].tolist(), table["f1"].tolist()) == ([1, 1], [2, 2])
    assert table["f3"].tolist() == [[3, 4, 5]] * 2


@pytest.mark.parametrize("make", [bytes, bytearray], ids=["bytes", "bytearray"])
def test_received_arrays_are_read_only(make: Any) -> None:
    octets = memoryview(make(24))
    for element in (NUMBER, PADDED):
        array = numpy.asarray(chunk_of(octets, element))
        assert not array.flags.writeable
        assert numpy.shares_memory(array, numpy.frombuffer(octets, "u1"))
        assert array.copy().flags.writeable


def test_numpys_booleans_are_booleans() -> None:
    element = element_of(rpc.boolean)
    flags = numpy.array([True, False, True])
    assert bytes(bytes_of(flags, element)) == b"\1\0\1"
    assert bytes(bytes_of(list(flags), element)) == b"\1\0\1"
    with pytest.raises(ValueError, match="element 1 is 5, which is not a valid boolean"):
        bytes_of([flags[0], 5], element)


def test_numpys_numbers_are_numbers() -> None:
    assert bytes(bytes_of(list(numpy.arange(3, dtype="i4")), NUMBER)) == bytes(
        numpy.arange(3, dtype="i4")
    )
    element = element_of(rpc.float32)
    halves = numpy.array([0.5, 1.5])
    assert list(chunk_of(bytes_of(list(halves), element), element)) == [0.5, 1.5]
    with pytest.raises(
        OverflowError, match=r"element 0 is .*1e\+39.*, which is not a valid float32"
    ):
        bytes_of(list(numpy.array([1e39])), element)
