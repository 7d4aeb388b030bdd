"""Describes the interfaces of a server to clients, if the server allows it (for tools)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args, get_origin
from uuid import UUID

import msgspec

from .describing import JsonKind, TypeDescription, described_types, json_kinds, takes_bytes
from .elements import Element
from .interface import Interface, operation
from .operations import Definition, Operation, Options, Pipe
from .parameters import Range
from .streams import RESULT, Stream

__all__ = ["InterfaceDescription", "Introspection", "IntrospectionManager", "definition_of"]


STREAMS: Mapping[bool, Literal["in stream", "out stream"]] = {
    True: "in stream",
    False: "out stream",
}
"""The kinds of streams, by whether they carry values to the server."""


class PipeDescription(msgspec.Struct):
    """The elements of a pipe; ``format`` is a format of :mod:`struct`."""

    element: str
    size: int
    alignment: int
    format: str
    bounds: tuple[int, int] | None = None


class ParameterDescription(msgspec.Struct):
    """One parameter: its ``kind``, and its type as text; for a stream, the type of its values. If
    ``optional``, it has a ``default``.

    ``json`` lists the kinds of JSON values that the value can be. It is empty if any kind is
    possible, and if the value can only be bytes. ``takes_bytes``: the value can be bytes.
    """

    name: str
    kind: Literal["value", "in", "out", "inout", "in stream", "out stream"]
    type: str
    optional: bool = False
    default: Any = None
    pipe: PipeDescription | None = None
    json: list[JsonKind] = []
    takes_bytes: bool = False

    def __str__(self) -> str:
        kind = "" if self.kind == "value" else f"{self.kind} pipe of "
        if self.kind in STREAMS.values():
            kind = f"{self.kind} of "
        default = f" = {self.default!r}" if self.optional else ""
        return f"{self.name}: {kind}{self.type}{default}"


class OperationDescription(msgspec.Struct):
    """One operation. If it ``yields``, ``result`` is the type of what it yields."""

    name: str
    parameters: list[ParameterDescription]
    result: str
    documentation: str = ""
    idempotent: bool = False
    maybe: bool = False
    timeout: float | None = None
    yields: bool = False

    def __str__(self) -> str:
        result = f"yields {self.result}" if self.yields else self.result
        return f"{self.name}({', '.join(map(str, self.parameters))}) -> {result}"


class InterfaceDescription(msgspec.Struct):
    """One interface."""

    name: str
    uuid: str
    version: tuple[int, int]
    operations: list[OperationDescription]
    documentation: str = ""
    types: list[TypeDescription] = []


class Introspection(Interface, uuid="0d6c6bd5-2d3c-4c4f-9a5e-6f5a7c2b8e10", version=(1, 0)):
    """Lists the interfaces of a server. A server with ``introspection=True`` serves this interface
    too.
    """

    @operation
    def interfaces(self) -> list[InterfaceDescription]:
        """Returns every interface of the server except this one."""


class IntrospectionManager(Introspection):
    """Describes the given interfaces."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._descriptions = [_described(one) for one in definitions]

    def interfaces(self) -> list[InterfaceDescription]:
        return self._descriptions


def _described(definition: Definition) -> InterfaceDescription:
    return InterfaceDescription(
        definition.name,
        str(definition.uuid),
        definition.version,
        [_operation(one) for one in definition.operations.values()],
        definition.documentation,
        described_types(
            annotation
            for one in definition.operations.values()
            for annotation in (
                *one.types.values(),
                one.result,
                *(each.type for each in one.streams),
            )
        ),
    )


def _operation(one: Operation) -> OperationDescription:
    return OperationDescription(
        one.name,
        [_parameter(one, name) for name in one.parameters],
        _type_name(one.yields.type if one.yields else one.result),
        one.documentation,
        one.options.idempotent,
        one.options.maybe,
        one.options.timeout,
        one.yields is not None,
    )


def _parameter(one: Operation, name: str) -> ParameterDescription:
    flow = one.flows.get(name)
    if isinstance(flow, Stream):
        return ParameterDescription(name, STREAMS[flow.into], _type_name(flow.type))
    if flow is not None:
        element = flow.element
        bounds = None if flow.range is None else (flow.range.low, flow.range.high)
        description = PipeDescription(
            element.name, element.size, element.alignment, element.format, bounds
        )
        return ParameterDescription(name, flow.direction, element.name, pipe=description)
    kind = one.types[name]
    return ParameterDescription(
        name,
        "value",
        _type_name(kind),
        name in one.defaults,
        msgspec.to_builtins(one.defaults.get(name)),
        json=json_kinds(kind),
        takes_bytes=takes_bytes(kind),
    )


def _type_name(annotation: Any) -> str:
    """Returns the type in Python's notation."""
    if annotation in (None, type(None)):
        return "None"
    if get_origin(annotation) is Annotated:
        base, *notes = get_args(annotation)
        elements = [note.name for note in notes if isinstance(note, Element)]
        return elements[0] if elements else _type_name(base)
    if isinstance(annotation, type) and not get_args(annotation):
        return annotation.__name__
    return re.sub(r"\b(?:\w+\.)+", "", str(annotation))


def definition_of(description: InterfaceDescription) -> Definition:
    """Makes the definition for a client that has no class for the interface. Values have the type
    ``Any``; structures are bytes.
    """
    operations = {
        one.name: _operation_of(description.name, number, one)
        for number, one in enumerate(description.operations)
    }
    return Definition(
        description.name,
        UUID(description.uuid),
        description.version,
        MappingProxyType(operations),
        description.documentation,
    )


def _operation_of(interface: str, number: int, one: OperationDescription) -> Operation:
    pipes: list[Pipe] = []
    streams: list[Stream] = []
    for parameter in one.parameters:
        if parameter.kind in STREAMS.values():
            is_in = parameter.kind == STREAMS[True]
            streams.append(Stream(parameter.name, len(streams), is_in, Any))
        found = parameter.pipe
        if found is not None:
            pipes.append(
                Pipe(
                    parameter.name,
                    len(pipes),
                    parameter.kind != "out",
                    parameter.kind != "in",
                    Element(found.element, found.size, found.alignment, found.format),
                    None if found.bounds is None else Range(*found.bounds),
                    None,
                )
            )
    if one.yields:
        streams.append(Stream(RESULT, len(streams), False, Any))
    values = [parameter for parameter in one.parameters if parameter.kind == "value"]
    return Operation(
        interface,
        one.name,
        number,
        tuple(parameter.name for parameter in one.parameters),
        MappingProxyType({parameter.name: Any for parameter in values}),
        MappingProxyType({one.name: one.default for one in values if one.optional}),
        tuple(pipes),
        type(None) if one.yields else Any,
        Options(one.idempotent, one.maybe, one.timeout),
        one.documentation,
        streams=tuple(streams),
    )
