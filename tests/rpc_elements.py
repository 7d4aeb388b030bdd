"""Elements of pipes for the tests: every scalar type, and structures."""

from __future__ import annotations

import os
from enum import IntEnum
from typing import Annotated, Any

import pytest
from hypothesis import settings

from ipcpipes import rpc
from ipcpipes.rpc.definition.elements import element_of
from ipcpipes.rpc.wire.chunks import bytes_of, chunk_of

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


def padded_chunk(count: int) -> Any:
    values = [Padded(n, n + 1, n + 2) for n in range(count)]
    return chunk_of(bytes_of(values, PADDED), PADDED)
