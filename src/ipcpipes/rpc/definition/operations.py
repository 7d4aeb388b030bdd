"""Interfaces and operations as both ends know them, and the decoders of arguments and results."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar, overload

import msgspec

from ...framing.messagepack import check_depth
from .collisions import SHORT, key_limit_of
from .declared import Declared
from .defaults import factory_of
from .elements import Element
from .parameters import Range
from .type_parts import can_nest
from .values import Times, encoded_or_none, times_of

__all__ = ["Definition", "Operation", "Options", "Pipe"]

Decode: TypeAlias = Callable[[bytes | memoryview], Any]
ValueT = TypeVar("ValueT")


class _Lazy(Generic[ValueT]):
    """An attribute that is computed when it is first read.

    ``functools.cached_property`` is not used, because it makes the dictionary of the object. After
    that, CPython (3.11) takes many times as long to read any of the attributes.
    """

    def __init__(self, compute: Callable[[Any], ValueT]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> _Lazy[ValueT]: ...
    @overload
    def __get__(self, instance: Any, owner: type) -> ValueT: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        value = self._compute(instance)
        object.__setattr__(instance, self._name, value)
        return value


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
        raises: the exceptions that its interface declares.
        is_plain: whether it has no pipes, and its calls get an answer.
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
    # These are computed at once, because they are read in every call.
    is_plain: bool = field(init=False, repr=False, compare=False)
    times: tuple[Times, ...] = field(init=False, repr=False, compare=False)
    result_times: Times = field(init=False, repr=False, compare=False)
    result_can_nest: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        times = tuple(map(times_of, self.types.values()))
        if all(one is Times.NONE for one in times):
            times = ()
        object.__setattr__(self, "is_plain", not self.pipes and not self.options.maybe)
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "result_times", times_of(self.result))
        object.__setattr__(self, "result_can_nest", can_nest([self.result]))

    def __str__(self) -> str:
        return f"{self.interface}.{self.name}"

    @_Lazy
    def ins(self) -> tuple[int, ...]:
        """The indices of the pipes to the server."""
        return tuple(pipe.index for pipe in self.pipes if pipe.into)

    @_Lazy
    def outs(self) -> tuple[int, ...]:
        """The indices of the pipes to the client."""
        return tuple(pipe.index for pipe in self.pipes if pipe.out)

    @_Lazy
    def signature_of_pipes(self) -> str:
        """The types of the pipes as text, which must be the same at both ends."""
        return ", ".join(map(str, self.pipes))

    @_Lazy
    def pipe_names(self) -> Mapping[str, Pipe]:
        return {pipe.name: pipe for pipe in self.pipes}

    @_Lazy
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

    @_Lazy
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

    @_Lazy
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


def _checked(check: Callable[[bytes | memoryview], None], decode: Decode) -> Decode:
    def decode_checked(encoded: bytes | memoryview) -> Any:
        if len(encoded) > SHORT:
            check(encoded)
        return decode(encoded)

    return decode_checked
