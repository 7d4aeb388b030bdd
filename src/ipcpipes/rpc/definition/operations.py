"""Interfaces and operations as both ends know them, and the decoders of arguments and results."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import msgspec

from .declared import Declared
from .decoding import Decode, limited
from .defaults import factory_of
from .elements import Element
from .lazy import Lazy
from .parameters import Range
from .streams import RESULT, Stream
from .type_parts import can_nest
from .values import Times, encoded_or_none, times_of

__all__ = ["Definition", "Flow", "Operation", "Options", "Pipe"]


@dataclass(frozen=True)
class Options:
    """The arguments of ``@rpc.options(...)``."""

    idempotent: bool
    maybe: bool
    timeout: float | None


@dataclass(frozen=True)
class Pipe:
    """One pipe parameter.

    Attributes:
        name: the name of the parameter.
        index: its index among the operation's pipes, from 0.
        into: whether it carries elements to the server.
        out: whether it carries elements to the client.
        element: the type of its elements.
        range: how many elements a chunk may have; ``None`` for any number.
        type_name: the name of the pipe's type; ``None`` if it has no name.
    """

    name: str
    index: int
    into: bool
    out: bool
    element: Element
    range: Range | None
    type_name: str | None

    @property
    def direction(self) -> Literal["in", "out", "inout"]:
        return "inout" if self.into and self.out else "in" if self.into else "out"

    def __str__(self) -> str:
        bounds = f" range({self.range.low}, {self.range.high})" if self.range else ""
        return f"{self.direction} {self.element.name}{bounds}"


Flow: TypeAlias = Pipe | Stream
"""What moves while a call runs. An operation has pipes or streams, and never both."""


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        interface: the name of its interface.
        name: the name of the method.
        number: its position in this end's interface, from 0. The ends may number it differently.
        parameters: the names of all parameters, in order, including pipes and streams.
        types: the types of the parameters that are neither pipes nor streams.
        defaults: the defaults of the parameters that have one.
        pipes: the pipe parameters, in order.
        result: the type of the result.
        options: the arguments of the decorator.
        documentation: the docstring.
        raises: the exceptions that its interface declares.
        streams: the stream parameters, in order; and at the end, the stream of what it yields.
        flows: the parameters that are pipes or streams, by their names.
        yields: the stream of the values that it yields.
        is_plain: whether it has no pipes and no streams, and its calls get an answer.
        times: where each argument can have times; empty if no argument can have one.
        result_times: where the result can have times.
        result_can_nest: whether the depth of a result has to be checked before it is decoded.
    """

    interface: str
    name: str
    number: int
    parameters: tuple[str, ...]
    types: Mapping[str, Any]
    defaults: Mapping[str, Any]
    pipes: tuple[Pipe, ...]
    result: Any
    options: Options
    documentation: str
    raises: Declared = field(default_factory=dict)
    streams: tuple[Stream, ...] = ()
    # These are computed at once, because they are read in every call.
    flows: Mapping[str, Flow] = field(init=False, repr=False, compare=False)
    yields: Stream | None = field(init=False, repr=False, compare=False)
    is_plain: bool = field(init=False, repr=False, compare=False)
    times: tuple[Times, ...] = field(init=False, repr=False, compare=False)
    result_times: Times = field(init=False, repr=False, compare=False)
    result_can_nest: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        times = tuple(map(times_of, self.types.values()))
        if all(one is Times.NONE for one in times):
            times = ()
        flows: tuple[Flow, ...] = (*self.pipes, *self.streams)
        parameters = {one.name: one for one in flows if one.name != RESULT}
        yields = self.streams[-1] if self.streams and self.streams[-1].name == RESULT else None
        object.__setattr__(self, "flows", parameters)
        object.__setattr__(self, "yields", yields)
        object.__setattr__(self, "is_plain", not (flows or self.options.maybe))
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "result_times", times_of(self.result))
        object.__setattr__(self, "result_can_nest", can_nest([self.result]))

    def __str__(self) -> str:
        return f"{self.interface}.{self.name}"

    @Lazy
    def ins(self) -> tuple[int, ...]:
        """The indices of the pipes to the server."""
        return tuple(pipe.index for pipe in self.pipes if pipe.into)

    @Lazy
    def outs(self) -> tuple[int, ...]:
        """The indices of the pipes to the client."""
        return tuple(pipe.index for pipe in self.pipes if pipe.out)

    @Lazy
    def signature_of_pipes(self) -> str:
        """The types of the pipes, or the directions of the streams, as text, which must be the same
        at both ends.
        """
        return ", ".join(map(str, (*self.pipes, *self.streams)))

    @Lazy
    def encoded_defaults(self) -> tuple[tuple[Any, bytes | None] | None, ...]:
        """For each argument: its default, and the encoded default (``None`` if it cannot be sent).
        ``None`` for an argument without a default.
        """
        return tuple(
            (self.defaults[name], encoded_or_none(self.defaults[name]))
            if name in self.defaults
            else None
            for name in self.types
        )

    @Lazy
    def decode_arguments(self) -> Decode:
        """Decodes the arguments: the parameters that are not pipes, in order. Parameters with a
        default may be left out.

        Raises:
            Exception: an argument is not of its type, or exceeds a limit; or a class of the user
                refuses it.
        """
        fields: list[Any] = [
            (name, kind, msgspec.field(default_factory=factory_of(self.defaults[name])))
            if name in self.defaults
            else (name, kind)
            for name, kind in self.types.items()
        ]
        arguments = msgspec.defstruct(
            "Arguments", fields, array_like=True, forbid_unknown_fields=True
        )
        decode = msgspec.msgpack.Decoder(arguments).decode
        return limited(decode, self.types.values())

    @Lazy
    def decode_result(self) -> Decode:
        """Decodes the result. The number of its keys is not limited, because a client chooses its
        server.

        Raises:
            Exception: the result is not of its type; or a class of the user refuses it.
        """
        return msgspec.msgpack.Decoder(self.result).decode


@dataclass(frozen=True)
class Definition:
    """An interface."""

    name: str
    uuid: uuids.UUID
    version: tuple[int, int]
    operations: Mapping[str, Operation]
    documentation: str
    raises: Declared = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} {self.version[0]}.{self.version[1]}"
