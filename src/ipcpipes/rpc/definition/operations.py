"""Interfaces and operations as both ends know them, and the decoders of arguments and results."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import msgspec

from ...framing.messagepack import check_depth
from .collisions import SHORT, key_limit_of
from .defaults import factory_of
from .elements import Element
from .parameters import Range
from .type_parts import can_nest
from .values import Times, encoded_or_none, times_of

__all__ = ["Definition", "Operation", "Options", "Pipe"]

Decode: TypeAlias = Callable[[bytes | memoryview], Any]


@dataclass(frozen=True)
class Options:
    """The arguments of ``@rpc.operation(...)``."""

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


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        interface: the name of its interface.
        name: the name of the method.
        number: its position in this end's interface, from 0. The ends may number it differently.
        parameters: the names of all parameters, in order, including pipes.
        types: the types of the parameters that are not pipes.
        defaults: the defaults of the parameters that have one.
        pipes: the pipe parameters, in order.
        result: the type of the result.
        options: the arguments of the decorator.
        documentation: the docstring.
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

    def __str__(self) -> str:
        return f"{self.interface}.{self.name}"

    @cached_property
    def is_plain(self) -> bool:
        """Whether it has no pipes, and its calls get an answer."""
        return not self.pipes and not self.options.maybe

    @cached_property
    def ins(self) -> tuple[int, ...]:
        """The indices of the pipes to the server."""
        return tuple(pipe.index for pipe in self.pipes if pipe.into)

    @cached_property
    def outs(self) -> tuple[int, ...]:
        """The indices of the pipes to the client."""
        return tuple(pipe.index for pipe in self.pipes if pipe.out)

    @cached_property
    def signature_of_pipes(self) -> str:
        """The types of the pipes as text, which must be the same at both ends."""
        return ", ".join(map(str, self.pipes))

    @cached_property
    def pipe_names(self) -> Mapping[str, Pipe]:
        return {pipe.name: pipe for pipe in self.pipes}

    @cached_property
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

    @cached_property
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
        types = self.types.values()
        limit = key_limit_of(types)
        if limit is not None:
            return _checked(limit.check, decode)
        return _checked(check_depth, decode) if can_nest(types) else decode

    @cached_property
    def times(self) -> tuple[Times, ...]:
        """Where each argument can have times; empty if no argument can have one."""
        times = tuple(map(times_of, self.types.values()))
        return () if all(one is Times.NONE for one in times) else times

    @cached_property
    def result_times(self) -> Times:
        """Where the result can have times."""
        return times_of(self.result)

    @cached_property
    def result_can_nest(self) -> bool:
        """Whether the depth of a result has to be checked before it is decoded."""
        return can_nest([self.result])

    @cached_property
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

    def __str__(self) -> str:
        return f"{self.name} {self.version[0]}.{self.version[1]}"


def _checked(check: Callable[[bytes | memoryview], None], decode: Decode) -> Decode:
    def decode_checked(encoded: bytes | memoryview) -> Any:
        if len(encoded) > SHORT:
            check(encoded)
        return decode(encoded)

    return decode_checked
