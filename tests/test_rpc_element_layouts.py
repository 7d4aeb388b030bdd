"""The size and the layout of elements in memory, and their limits."""

from __future__ import annotations

import ctypes
from dataclasses import FrozenInstanceError
from typing import Annotated, Any

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.rpc.definition.elements import LARGEST, Element, element_of, layout_of
from ipcpipes.rpc.errors import BrokenRule
from ipcpipes.rpc.wire.chunks import chunk_of
from ipcpipes.rpc.wire.format import HEAD, LEAST_CREDIT, LEAST_FRAME

from .rpc_elements import (
    PADDED,
    SCALARS,
    Arrays,
    Color,
    Deep,
    Nested,
    Padded,
    Plain,
    Wide,
    every_scalar,
)

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
