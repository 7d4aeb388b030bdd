"""Elements of pipes: a user's values become bytes, and bytes become values."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from ipcpipes import rpc
from ipcpipes.rpc.definition.elements import Element, element_of
from ipcpipes.rpc.wire.chunks import bytes_of, chunk_of

from .rpc_elements import (
    NUMBER,
    PADDED,
    PROFILE,
    SCALARS,
    STRUCTURES,
    Arrays,
    Color,
    Padded,
    Wide,
    every_scalar,
    every_structure,
)

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
