"""The elements of pipes: their types from the server's description, from JSON, and as text."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec

from ... import rpc
from ...rpc.definition.elements import Element, element_of
from ...rpc.definition.operations import Operation, Pipe
from ...rpc.errors import BrokenRule
from ...rpc.wire.chunks import bytes_of
from ..failure import Failure
from ..output import printable

__all__ = ["pack_json", "text_of", "with_known_elements"]

_SCALARS: dict[str, Any] = {
    element_of(each).name: each
    for each in (
        *(rpc.byte, rpc.boolean, rpc.float32, rpc.float64),
        *(rpc.int8, rpc.int16, rpc.int32, rpc.int64),
        *(rpc.uint8, rpc.uint16, rpc.uint32, rpc.uint64),
    )
}
# The server does not describe the members of an enumeration.
_SCALARS["enum"] = rpc.int32
_INNERMOST_STRUCTURE = re.compile(r"\{([^{}]*)\}")
_FIELD = re.compile(r"([^\s:]+): (\w+)((?:\[\d+\])*)")


def with_known_elements(operation: Operation) -> Operation:
    """Returns the operation with a class for each structure that its pipes carry.

    Raises:
        Failure: this version does not know the type of the elements.
    """
    pipes = tuple(replace(pipe, element=_known_element(pipe)) for pipe in operation.pipes)
    return replace(operation, pipes=pipes)


def _known_element(pipe: Pipe) -> Element:
    described = pipe.element
    try:
        known = replace(element_of(_type_of(described.name)), name=described.name)
    except (BrokenRule, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        known = None
    # In another layout, the bytes would have other values.
    if known is None or replace(known, structure=None) != described:
        raise Failure(
            f"the server describes the elements of {pipe.name} as {described.name}, with "
            f"{described.size} bytes each, which this version of ipcpipes does not know"
        )
    return known


def _type_of(name: str) -> Any:
    """Returns the type with this name of :class:`Element`, such as ``{x: int8, y: float32[3]}``.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: there is no such type.
    """
    types = dict(_SCALARS)

    def define(match: re.Match[str]) -> str:
        fields = [_field(text, types) for text in match[1].split(", ")]
        number = str(len(types))
        types[number] = msgspec.defstruct(
            "Structure", fields, bases=(rpc.Structure,), forbid_unknown_fields=True
        )
        return number

    while "{" in name:
        name, found = _INNERMOST_STRUCTURE.subn(define, name)
        if not found:
            raise ValueError("a brace is not closed")
    return types[name]


def _field(text: str, types: dict[str, Any]) -> tuple[str, Any]:
    match = _FIELD.fullmatch(text)
    if match is None:
        raise ValueError(f"{text} is not a field")
    name, kind, lengths = match.groups()
    found = types[kind]
    for length in re.findall(r"\d+", lengths):
        found = Annotated[list[found], rpc.Length(int(length))]  # type: ignore[valid-type]
    return name, found


def pack_json(pipe: Pipe, values: Sequence[Any]) -> bytes:
    """Returns the elements for the values of a JSON list, as they lie in memory.

    Raises:
        Failure: a value is not an element of the pipe.
    """
    element = pipe.element
    if element.structure is not None:
        return b"".join(_pack_object(pipe, place, each) for place, each in enumerate(values))
    try:
        return bytes(bytes_of(values, element))
    except (TypeError, ValueError, OverflowError) as error:
        raise Failure(f"{pipe.name}: {error}") from None


def _pack_object(pipe: Pipe, place: int, value: Any) -> bytes:
    element = pipe.element
    try:
        return bytes(bytes_of([msgspec.convert(value, element.structure)], element))
    except (msgspec.ValidationError, ValueError) as error:
        raise Failure(
            f"{pipe.name}: element {place:,} is not a valid {element.name}: {error}"
        ) from None


def text_of(element: Element, *, is_terminal: bool) -> Callable[[Any], bytes] | None:
    """Returns the function that converts a chunk to text: each element on its own line, as JSON,
    and bytes escaped for a terminal. Returns ``None`` if the bytes stay as they are.
    """
    if element.structure is not None:
        return _objects
    if element.name != "byte":
        return _numbers
    if not is_terminal:
        return None
    # A terminal would obey control characters from a server.
    decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode

    def escaped(chunk: Any) -> bytes:
        data = bytes(chunk)
        text = decode(data, not data)  # an empty chunk is the end
        lines = ["\t".join(map(printable, line.split("\t"))) for line in text.split("\n")]
        return "\n".join(lines).encode(errors="backslashreplace")

    return escaped


# msgspec would write null for NaN.
_object_text = json.JSONEncoder(separators=(",", ":")).encode
_number_lines = json.JSONEncoder(separators=("\n", ":")).encode


def _objects(chunk: Any) -> bytes:
    return "".join(f"{_object_text(msgspec.to_builtins(each))}\n" for each in chunk).encode()


def _numbers(chunk: Any) -> bytes:
    # One call for the chunk is several times faster than a call for each number.
    lines = _number_lines(list(chunk))[1:-1]
    return f"{lines}\n".encode() if lines else b""
