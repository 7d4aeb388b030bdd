"""The layout of elements in memory, and the conversion of a user's values and memory."""

from __future__ import annotations

import ctypes
import math
import os
from array import array
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from enum import IntEnum
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from ipcpipes import rpc
from ipcpipes.rpc.definition.elements import LARGEST, Element, element_of, layout_of
from ipcpipes.rpc.errors import BrokenRule
from ipcpipes.rpc.wire.chunks import Structures, bytes_of, chunk_of
from ipcpipes.rpc.wire.format import HEAD, LEAST_CREDIT, LEAST_FRAME

EXAMPLES = os.environ.get("IPCPIPES_EXAMPLES")
PROFILE = settings(
    deadline=None,
    max_examples=int(EXAMPLES or 100),
    derandomize="CI" in os.environ and not EXAMPLES,
)

SCALARS: dict[str, tuple[Any, int, str]] = {
    "byte": (rpc.byte, 1, "B"),
    "int8": (rpc.int8, 1, "b"),
    "int16": (rpc.int16, 2, "h"),
    "int32": (rpc.int32, 4, "i"),
    "int64": (rpc.int64, 8, "q"),
    "uint8": (rpc.uint8, 1, "B"),
    "uint16": (rpc.uint16, 2, "H"),
    "uint32": (rpc.uint32, 4, "I"),
    "uint64": (rpc.uint64, 8, "Q"),
    "float32": (rpc.float32, 4, "f"),
    "float64": (rpc.float64, 8, "d"),
    "boolean": (rpc.boolean, 1, "?"),
}
every_scalar = pytest.mark.parametrize("name", SCALARS)


class Color(IntEnum):
    RED = 0
    BLUE = -5


class Padded(rpc.Structure):
    """Has a gap between its fields, and none after the last one."""

    first: rpc.byte
    value: rpc.int32
    last: rpc.byte


class Wide(rpc.Structure):
    flag: rpc.boolean
    value: rpc.float64


class Nested(rpc.Structure):
    head: rpc.int16
    inner: Padded
    tail: rpc.byte


class Arrays(rpc.Structure):
    count: rpc.uint16
    three: Annotated[list[rpc.float32], rpc.Length(3)]
    pairs: Annotated[list[Padded], rpc.Length(2)]
    table: Annotated[list[Annotated[list[rpc.int8], rpc.Length(2)]], rpc.Length(2)]
    color: Color


class Plain(rpc.Structure):
    """No gaps anywhere."""

    value: rpc.int32
    place: rpc.int32


class Deep(rpc.Structure):
    plain: Annotated[list[Plain], rpc.Length(2)]
    nested: Nested


class ByName(rpc.Structure, kw_only=True):
    value: rpc.int32
    color: Color = Color.RED


PADDED = element_of(Padded)
NUMBER = element_of(rpc.int32)


# Layouts


@every_scalar
def test_a_scalar_has_the_size_in_its_name(name: str) -> None:
    annotation, size, letter = SCALARS[name]
    element = element_of(annotation)
    assert element == Element(name, size, size, letter)
    assert (element.stride, element.structure) == (size, None)


@pytest.mark.parametrize(
    ("structure", "size", "alignment", "stride", "letters"),
    [
        (Padded, 9, 4, 12, "B3xiB"),
        (Wide, 16, 8, 16, "?7xd"),
        # The padding after the last field is not part of a structure.
        (Nested, 14, 4, 16, "h2xB3xiBB"),
        (Arrays, 48, 4, 48, "H2x3fB3xiB3xB3xiB2b2b3xi"),
        (Plain, 8, 4, 8, "ii"),
        (Deep, 30, 4, 32, "iiiih2xB3xiBB"),
    ],
)
def test_a_structure_has_the_layout_of_c(
    structure: type[rpc.Structure], size: int, alignment: int, stride: int, letters: str
) -> None:
    element = element_of(structure)
    assert (element.size, element.alignment, element.stride) == (size, alignment, stride)
    assert element.format == letters
    assert element.structure is structure


def test_the_name_of_a_structure_is_its_fields() -> None:
    assert element_of(Nested).name == (
        "{head: int16, inner: {first: byte, value: int32, last: byte}, tail: byte}"
    )
    assert element_of(Arrays).name == (
        "{count: uint16, three: float32[3], pairs: {first: byte, value: int32, last: byte}[2], "
        "table: int8[2][2], color: enum}"
    )


def test_ctypes_has_the_same_layout_without_end_padding() -> None:
    class InC(ctypes.Structure):
        _fields_ = (("flag", ctypes.c_bool), ("value", ctypes.c_double))

    assert element_of(Wide).stride == ctypes.sizeof(InC)
    (wide,) = chunk_of(memoryview(bytes(InC(True, 0.5))), element_of(Wide))
    assert wide == Wide(True, 0.5)


def test_an_enumeration_has_four_bytes() -> None:
    assert element_of(Color) == Element("enum", 4, 4, "i")


def test_a_layout_is_computed_once() -> None:
    assert layout_of(Padded) is layout_of(Padded)
    with pytest.raises(FrozenInstanceError):
        PADDED.size = 5  # type: ignore[misc]


class Empty(rpc.Structure):
    pass


def test_a_structure_has_a_field() -> None:
    with pytest.raises(BrokenRule, match="Empty has no fields; add one"):
        element_of(Empty)


@pytest.mark.parametrize("length", [0, -1, 1.5, "3", None, True])
def test_an_array_has_a_length(length: Any) -> None:
    with pytest.raises(ValueError, match=r"^an array has 1 element or more, not "):
        rpc.Length(length)


# Limits


def of_bytes(length: int) -> Any:
    return msgspec.defstruct(
        "OfBytes",
        [("data", Annotated[list[rpc.byte], rpc.Length(length)])],
        bases=(rpc.Structure,),
    )


def test_an_element_has_a_largest_size() -> None:
    assert element_of(of_bytes(LARGEST)).size == LARGEST
    with pytest.raises(BrokenRule, match=f"an array of {LARGEST + 1:,} bytes is above"):
        element_of(of_bytes(LARGEST + 1))


class Halves(rpc.Structure):
    half: Annotated[list[rpc.byte], rpc.Length(LARGEST // 2 + 1)]
    other: Annotated[list[rpc.byte], rpc.Length(LARGEST // 2 + 1)]


def test_a_structure_has_a_largest_size() -> None:
    with pytest.raises(BrokenRule, match=f"Halves has {LARGEST + 2:,} bytes, above "):
        element_of(Halves)


def test_the_largest_element_fits_the_smallest_frame_and_credit() -> None:
    # With its count and the gaps around it. Otherwise a pipe of such elements would never move.
    assert LARGEST + 16 + HEAD.size <= LEAST_FRAME
    assert LARGEST + 16 <= LEAST_CREDIT // 2


# Values to bytes and back


def round_trip(values: list[Any], element: Element) -> list[Any]:
    return list(chunk_of(bytes_of(values, element), element))


VALUES: dict[str, list[Any]] = {
    "byte": [0, 255],
    "int8": [-128, 127],
    "int16": [-(2**15), 2**15 - 1],
    "int32": [-(2**31), 2**31 - 1],
    "int64": [-(2**63), 2**63 - 1],
    "uint8": [0, 255],
    "uint16": [0, 2**16 - 1],
    "uint32": [0, 2**32 - 1],
    "uint64": [0, 2**64 - 1],
    "float32": [-0.5, math.inf],
    "float64": [0.1, -math.inf],
    "boolean": [True, False],
}


@every_scalar
def test_scalars_survive_a_round_trip(name: str) -> None:
    element = element_of(SCALARS[name][0])
    values = VALUES[name]
    octets = bytes_of(values, element)
    assert (octets.format, octets.nbytes) == ("B", 2 * element.size)
    assert round_trip(values, element) == values
    assert round_trip([], element) == []


@every_scalar
def test_scalars_out_of_range_are_refused(name: str) -> None:
    element = element_of(SCALARS[name][0])
    good = VALUES[name][0]
    wrong: list[Any] = ["x", None]
    if element.format == "?":
        wrong += [5, -1, 300, 1.0, 0.0, [], "", b"", float("nan")]
    elif element.format in "fd":
        wrong += [10**400, -(10**400)]
    else:
        wrong += [VALUES[name][0] - 1, VALUES[name][1] + 1, 0.5]
    if element.format == "f":
        wrong += [1e39, -1e39]
    for value in wrong:
        for values in ([good, value, good], (good, value), iter([good, value])):
            with pytest.raises((TypeError, ValueError, OverflowError)) as caught:
                bytes_of(values, element)
            assert str(caught.value).startswith("element 1 is ")
            assert f", which is not a valid {name}: " in str(caught.value)


def test_a_boolean_is_no_other_number_than_0_and_1() -> None:
    element = element_of(rpc.boolean)
    assert bytes(bytes_of([True, False, 1, 0], element)) == b"\1\0\1\0"
    words = "^element 1 is 5, which is not a valid boolean: a boolean is True or False, or 1 or 0"
    with pytest.raises(ValueError, match=words):
        bytes_of([True, 5], element)


def test_a_long_value_is_shortened_in_the_error() -> None:
    with pytest.raises(TypeError) as caught:
        bytes_of(["x" * 10**6], NUMBER)
    assert len(str(caught.value)) < 200


def test_an_infinity_is_sent_and_a_too_large_float_is_refused() -> None:
    element = element_of(rpc.float32)
    values = [math.inf, -math.inf, 3.4028234663852886e38]
    assert round_trip(values, element) == values
    with pytest.raises(OverflowError, match=r"element 3 is 1e\+39, which is not a valid float32"):
        bytes_of([*values, 1e39], element)


class OddNumber:
    """Its conversion raises an error whose class takes other arguments."""

    def __index__(self) -> int:
        raise UnicodeDecodeError("utf-8", b"x", 0, 1, "odd")


def test_a_value_with_its_own_error_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"^element 0 is <.*>, which is not a valid int32: .* odd$"
    ):
        bytes_of([OddNumber()], NUMBER)


def test_bytes_are_little_endian() -> None:
    assert bytes(bytes_of([1, -2], NUMBER)) == bytes.fromhex("01000000 feffffff")
    assert bytes(bytes_of([Padded(1, 2, 3)], PADDED)) == bytes.fromhex("01000000 02000000 03000000")


def test_padding_is_ignored() -> None:
    octets = memoryview(bytes.fromhex("01a5a5a5 02000000 03a5a5a5"))
    assert list(chunk_of(octets, PADDED)) == [Padded(1, 2, 3)]


def test_enumerations_are_sent_as_their_numbers() -> None:
    element = element_of(Color)
    assert bytes(bytes_of([Color.BLUE], element)) == bytes.fromhex("fbffffff")
    # Memory of numbers is accepted, without a check that they are members.
    (color, other) = round_trip([Color.BLUE, 77], element)
    assert (color, other, type(color)) == (Color.BLUE, 77, int)


STRUCTURES: dict[type, rpc.Structure] = {
    Padded: Padded(1, -2, 3),
    Wide: Wide(True, 0.5),
    Nested: Nested(-1, Padded(1, 2, 3), 255),
    Arrays: Arrays(
        7,
        [0.5, 1.5, 2.5],
        [Padded(1, 2, 3), Padded(4, 5, 6)],
        [[1, 2], [-3, -4]],
        Color.BLUE,
    ),
    Deep: Deep([Plain(1, 2), Plain(3, 4)], Nested(-1, Padded(1, 2, 3), 255)),
    ByName: ByName(value=3, color=Color.BLUE),
}
every_structure = pytest.mark.parametrize("structure", STRUCTURES)


@every_structure
def test_structures_survive_a_round_trip(structure: type[rpc.Structure]) -> None:
    value = STRUCTURES[structure]
    element = element_of(structure)
    octets = bytes_of(iter([value, value]), element)
    assert octets.nbytes == 2 * element.stride
    assert round_trip([value, value], element) == [value, value]
    assert type(round_trip([value], element)[0]) is structure


def test_an_enumeration_in_a_structure_is_restored() -> None:
    (value,) = round_trip([STRUCTURES[Arrays]], element_of(Arrays))
    assert value.color is Color.BLUE


class Particular(rpc.Structure):
    number: rpc.int32

    def __post_init__(self) -> None:
        if self.number == 13:
            raise LookupError("thirteen")


def test_an_invalid_structure_is_bad_stub_data_when_read() -> None:
    element = element_of(Flagged)
    octets = bytearray(bytes_of([Flagged(True, 0.5, Color.RED)] * 3, element))
    octets[12 + 8] = 77
    chunk = chunk_of(memoryview(octets), element)
    assert chunk[0] == chunk[2] == Flagged(True, 0.5, Color.RED)
    for look in (lambda: chunk[1], lambda: list(chunk), lambda: list(chunk[1:])):
        with pytest.raises(
            rpc.BadStubData, match="of this chunk is not a valid Flagged: 77 is not a valid"
        ):
            look()
    with pytest.raises(
        rpc.BadStubData, match=r"^element 1 of .* is not a valid Particular: thirteen$"
    ):
        list(chunk_of(memoryview(array("i", [1, 13])).cast("B"), element_of(Particular)))


@pytest.mark.parametrize(
    "value",
    [
        5,
        None,
        Wide(True, 0.5),
        Padded(1, 2, 256),
        Padded(1, 2**31, 3),
        Padded(1, 0.5, 3),  # type: ignore[arg-type]
        Padded("1", 2, 3),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_values_of_other_types_are_refused_for_structures(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        bytes_of([Padded(1, 2, 3), value], PADDED)


class Flagged(rpc.Structure):
    flag: rpc.boolean
    level: rpc.float32
    color: Color


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Flagged(5, 0.5, Color.RED), "a boolean is True or False, or 1 or 0, not 5"),  # type: ignore[arg-type]
        (Flagged("no", 0.5, Color.RED), "not 'no'"),  # type: ignore[arg-type]
        (Flagged(True, 1e39, Color.RED), "float too large"),
        (Flagged(True, 0.5, 7), "7 is not a valid Color"),  # type: ignore[arg-type]
    ],
)
def test_a_field_that_would_change_its_value_is_refused(value: Any, words: str) -> None:
    element = element_of(Flagged)
    assert round_trip([Flagged(1, 2, -5)], element) == [Flagged(True, 2.0, Color.BLUE)]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not fit its structure: ") as caught:
        bytes_of([value], element)
    assert words in str(caught.value)


@pytest.mark.parametrize("three", [[], [1.0], [1.0] * 4, None, 5, "abc", [1.0, 2.0, "x"]], ids=str)
def test_an_array_has_exactly_its_length(three: Any) -> None:
    good = STRUCTURES[Arrays]
    with pytest.raises((TypeError, ValueError)):
        bytes_of([msgspec.structs.replace(good, three=three)], element_of(Arrays))


@pytest.mark.parametrize("elements", [5, None, 0.5, object, Padded(1, 2, 3)], ids=str)
def test_a_single_element_is_not_an_iterable(elements: Any) -> None:
    for element in (NUMBER, PADDED):
        with pytest.raises(TypeError, match=r"^a pipe of .* accepts memory or an iterable"):
            bytes_of(elements, element)


def test_text_is_refused() -> None:
    for element in (NUMBER, PADDED, element_of(rpc.byte)):
        with pytest.raises(TypeError, match=r"^a pipe of .* does not accept str; encode it$"):
            bytes_of("text", element)


def test_an_iterable_is_read_once() -> None:
    def numbers() -> Iterator[int]:
        yield from range(3)

    assert list(chunk_of(bytes_of(numbers(), NUMBER), NUMBER)) == [0, 1, 2]


def test_the_error_of_an_iterable_propagates() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        bytes_of(numbers(), NUMBER)


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


def padded_chunk(count: int) -> Any:
    values = [Padded(n, n + 1, n + 2) for n in range(count)]
    return chunk_of(bytes_of(values, PADDED), PADDED)


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


# Anything


def scalars(name: str) -> st.SearchStrategy[Any]:
    if name == "boolean":
        return st.booleans()
    if name.startswith("float"):
        return st.floats(width=32 if name == "float32" else 64, allow_nan=False)
    return st.integers(VALUES[name][0], VALUES[name][1])


FIELDS = st.lists(
    st.tuples(st.sampled_from(sorted(SCALARS)), st.integers(0, 3)), min_size=1, max_size=5
)


@PROFILE
@given(FIELDS, st.data())
def test_any_structure_survives_a_round_trip(
    fields: list[tuple[str, int]], data: st.DataObject
) -> None:
    kinds: list[tuple[str, Any]] = []
    values: list[Any] = []
    for place, (name, length) in enumerate(fields):
        annotation = SCALARS[name][0]
        if length:
            annotation = Annotated[list[annotation], rpc.Length(length)]  # type: ignore[valid-type]
            values.append(
                data.draw(st.lists(scalars(name), min_size=length, max_size=length), f"f{place}")
            )
        else:
            values.append(data.draw(scalars(name), f"f{place}"))
        kinds.append((f"f{place}", annotation))
    structure: Any = msgspec.defstruct("Any_", kinds, bases=(rpc.Structure,))
    element = element_of(structure)
    assert element.size <= element.stride < element.size + element.alignment
    value = structure(*values)
    assert round_trip([value, value], element) == [value, value]
