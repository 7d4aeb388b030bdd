"""From the annotations of a class to what both ends need to know; the rules are checked here.

The rules are MIDL's and DCE's (Microsoft, "pipe" and "Rules for Multiple Pipes" in the MIDL
reference; The Open Group, DCE 1.2 Application Development Guide, "Rules for Using Pipes").
"""

from __future__ import annotations

import dataclasses
import inspect
import uuid as uuids
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType, NoneType
from typing import Annotated, Any, NoReturn, get_args, get_origin, get_type_hints

import msgspec

from ..errors import DefinitionError
from .collisions import KeyLimit, key_limit_of
from .defaults import factory_of, shared_default
from .elements import Element, IllegalElement, element_of
from .parameters import (
    LONGEST_NAME,
    InOutPipe,
    InPipe,
    OutPipe,
    PipeName,
    Range,
    is_alias,
    unaliased,
)
from .type_parts import all_parts_of
from .values import Times, encode, times_of

__all__ = ["Definition", "Operation", "Options", "Pipe"]

_PIPES: dict[object, tuple[bool, bool]] = {
    InPipe: (True, False),
    OutPipe: (False, True),
    InOutPipe: (True, True),
}


@dataclass(frozen=True)
class Options:
    """What ``@rpc.operation(...)`` was given."""

    idempotent: bool
    maybe: bool
    timeout: float | None


@dataclass(frozen=True)
class Pipe:
    """One pipe parameter.

    Attributes:
        name: the parameter.
        index: which of the operation's pipes it is, from 0.
        into: whether it goes towards the server.
        out: whether it goes towards the client.
        element: what it carries.
        range: how many elements a chunk may have, ``None`` for any number.
        type_name: what the pipe's type is called, ``None`` where it has no name.
    """

    name: str
    index: int
    into: bool
    out: bool
    element: Element
    range: Range | None
    type_name: str | None

    def __str__(self) -> str:
        direction = "inout" if self.into and self.out else "in" if self.into else "out"
        bounds = f" range({self.range.low}, {self.range.high})" if self.range else ""
        return f"{direction} {self.element.name}{bounds}"


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        interface: the name of the interface that it is part of.
        name: what it is called.
        number: which one of the interface it is, from 0, as the ends at work count it.
        parameters: all of them in order; those that are pipes have no entry in ``types``.
        types: what the others are.
        defaults: of those that have one.
        pipes: those that are pipes, in order.
        result: what it returns.
        options: as they were given.
        documentation: its docstring.
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
    def ins(self) -> tuple[int, ...]:
        """The pipes towards the server, by their index."""
        return tuple(pipe.index for pipe in self.pipes if pipe.into)

    @cached_property
    def outs(self) -> tuple[int, ...]:
        return tuple(pipe.index for pipe in self.pipes if pipe.out)

    @cached_property
    def signature_of_pipes(self) -> str:
        """What has to be the same at both ends."""
        return ", ".join(map(str, self.pipes))

    @cached_property
    def pipe_names(self) -> Mapping[str, Pipe]:
        return {pipe.name: pipe for pipe in self.pipes}

    @cached_property
    def encoded_defaults(self) -> tuple[tuple[Any, bytes | None] | None, ...]:
        """For each argument, its default and the octets of it (``None`` if it cannot be sent);
        ``None`` for an argument without a default.
        """
        return tuple(_with_octets(self.defaults, name) for name in self.types)

    @cached_property
    def arguments_decoder(self) -> msgspec.msgpack.Decoder[Any]:
        """For a list of all parameters that are no pipes; those with a default may be left out."""
        fields: list[Any] = [
            (name, kind, msgspec.field(default_factory=factory_of(self.defaults[name])))
            if name in self.defaults
            else (name, kind)
            for name, kind in self.types.items()
        ]
        return msgspec.msgpack.Decoder(
            msgspec.defstruct("Arguments", fields, array_like=True, forbid_unknown_fields=True)
        )

    @cached_property
    def key_limit(self) -> KeyLimit | None:
        """How many keys its arguments may have whose hashes a client can predict."""
        return key_limit_of(self.types.values())

    @cached_property
    def times(self) -> tuple[Times, ...]:
        """What the type of each argument says about times; empty if no argument can have times."""
        times = tuple(map(times_of, self.types.values()))
        return () if all(one is Times.NONE for one in times) else times

    @cached_property
    def result_times(self) -> Times:
        """What the type of the result says about times."""
        return times_of(self.result)

    @cached_property
    def result_decoder(self) -> msgspec.msgpack.Decoder[Any]:
        return msgspec.msgpack.Decoder(self.result)


@dataclass(frozen=True)
class Definition:
    """An interface, as both ends know it."""

    name: str
    uuid: uuids.UUID
    version: tuple[int, int]
    operations: Mapping[str, Operation]
    documentation: str

    def __str__(self) -> str:
        return f"{self.name} {self.version[0]}.{self.version[1]}"


def _with_octets(defaults: Mapping[str, Any], name: str) -> tuple[Any, bytes | None] | None:
    if name not in defaults:
        return None
    try:
        return defaults[name], encode(defaults[name])
    except (TypeError, ValueError, OverflowError):
        return defaults[name], None


def define(
    cls: type,
    uuid: uuids.UUID,
    version: tuple[int, int],
    marked: Mapping[str, tuple[Callable[..., Any], Options]],
    inherited: Mapping[str, Operation],
    scope: Mapping[str, Any],
) -> Definition:
    """What the class says, once every rule is kept.

    Raises:
        DefinitionError: one is not.
    """
    operations = dict(inherited)
    for name, (function, options) in marked.items():
        number = operations[name].number if name in operations else len(operations)
        operations[name] = _Maker(cls.__name__, name, function, options, scope).operation(number)
    return Definition(
        cls.__name__, uuid, version, MappingProxyType(operations), inspect.getdoc(cls) or ""
    )


@dataclass(frozen=True)
class _Maker:
    """One operation in the making."""

    interface: str
    name: str
    function: Callable[..., Any]
    options: Options
    scope: Mapping[str, Any]

    def operation(self, number: int) -> Operation:
        parameters = self._parameters()
        hints = self._hints()
        result = hints.pop("return", NoneType)
        self._check_result(result)
        types: dict[str, Any] = {}
        pipes: list[Pipe] = []
        for name, parameter in parameters.items():
            annotation = hints[name]
            has_default = parameter.default is not parameter.empty
            pipe = self._pipe(name, annotation, len(pipes), has_default=has_default)
            if pipe is not None:
                pipes.append(pipe)
            else:
                self._check_type(f"parameter {name}", annotation)
                types[name] = annotation
        defaults = {n: p.default for n, p in parameters.items() if p.default is not p.empty}
        return Operation(
            self.interface,
            self.name,
            number,
            tuple(parameters),
            MappingProxyType(types),
            MappingProxyType(defaults),
            tuple(pipes),
            result,
            self.options,
            inspect.getdoc(self.function) or "",
        )

    def _fail(self, rule: str, what: str | None, text: str) -> NoReturn:
        where = f"interface {self.interface}, operation {self.name}"
        raise DefinitionError(rule, where if what is None else f"{where}, {what}", text)

    def _hints(self) -> dict[str, Any]:
        try:
            hints = get_type_hints(self.function, localns=dict(self.scope), include_extras=True)
            return {name: unaliased(hint) for name, hint in hints.items()}
        except DefinitionError:
            raise
        except Exception as error:
            self._fail("types", None, f"its annotations cannot be understood: {error}")

    def _parameters(self) -> dict[str, inspect.Parameter]:
        if not inspect.isfunction(self.function):
            self._fail("parameters", None, "an operation is a method, made with def or async def")
        itself, *parameters = inspect.signature(self.function).parameters.values() or (None,)
        if itself is None:
            self._fail("parameters", None, "it is a method; its first parameter is self")
        for parameter in parameters:
            what = f"parameter {parameter.name}"
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                self._fail("parameters", what, "their number is fixed; take a list or a dict")
            if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
                self._fail("parameters", what, "it is passed both ways; leave the / or * out")
            if parameter.annotation is parameter.empty:
                self._fail("parameters", what, "it has no type; annotate it")
        return {parameter.name: parameter for parameter in parameters}

    def _check_result(self, result: Any) -> None:
        if _contains_pipe(result):
            self._fail(
                "only a parameter",
                "its result",
                "a pipe is a parameter, no result; take a parameter of rpc.OutPipe",
            )
        if self.options.maybe and result is not NoneType:
            self._fail("maybe", "its result", "nobody waits for it; annotate it with -> None")
        self._check_type("its result", result)

    def _check_type(self, what: str, annotation: Any) -> None:
        if _contains_pipe(annotation):
            self._fail(
                "only a parameter",
                what,
                "a pipe is a parameter by itself, not a part of another type; give it a parameter",
            )
        try:
            info = msgspec.inspect.type_info(annotation)
            custom = _custom(info)
        except Exception as error:
            self._fail("types", what, f"msgspec cannot type it: {error}")
        if custom is not None:
            self._fail(
                "types",
                what,
                f"{custom} cannot be sent; take a dataclass, a msgspec.Struct or a TypedDict",
            )
        shared = shared_default(info)
        if shared is not None:
            self._fail(
                "types",
                what,
                f"the default of {shared} is mutable, and all calls would share it; use a "
                "dataclass with default_factory, or None",
            )

    def _pipe(self, name: str, annotation: Any, index: int, *, has_default: bool) -> Pipe | None:
        what = f"parameter {name}"
        notes: list[Any] = []
        kind = annotation
        if get_origin(kind) is Annotated:
            kind, *notes = get_args(kind)
        if isinstance(kind, (InPipe, OutPipe)):
            self._fail("by reference", what, "it is the type that is written here, not a pipe")
        if _is_bare_pipe(kind):
            self._fail("elements", what, f"say what it carries: {kind.__name__}[rpc.byte]")
        if get_origin(kind) not in _PIPES:
            if _is_optional_pipe(kind):
                self._fail(
                    "never optional",
                    what,
                    "a pipe is always there; leave None out, and let it be empty",
                )
            return None
        if has_default:
            self._fail("never optional", what, "a pipe is always there; leave the default out")
        for flag, reason in (
            ("idempotent", "what went through a pipe cannot go again"),
            ("maybe", "a pipe needs somebody who waits for it"),
        ):
            if getattr(self.options, flag):
                self._fail(f"not {flag}", what, f"{reason}; leave {flag}=True or the pipe out")
        (carried,) = get_args(kind)
        if _contains_pipe(carried):
            self._fail("only a parameter", what, "a pipe carries no pipes; give it a parameter")
        try:
            element = element_of(carried)
        except IllegalElement as error:
            rule, text = error.args
            self._fail(rule, what, text)
        limits, type_name = self._notes(what, notes)
        into, out = _PIPES[get_origin(kind)]
        return Pipe(name, index, into, out, element, limits, type_name)

    def _notes(self, what: str, notes: list[Any]) -> tuple[Range | None, str | None]:
        limits: Range | None = None
        type_name: str | None = None
        for note in notes:
            if isinstance(note, Range):
                if limits is not None:
                    self._fail("once", what, f"a pipe has one range; leave {limits} or {note} out")
                limits = note
            elif isinstance(note, PipeName):
                if type_name is not None:
                    self._fail(
                        "once",
                        what,
                        f"its type has one name; leave {type_name!r} or {note.name!r} out",
                    )
                type_name = note.name
                if not 1 <= len(type_name) <= LONGEST_NAME:
                    self._fail(
                        "name",
                        what,
                        f"the name {type_name!r} of its type has {len(type_name)} characters; give "
                        f"1 to {LONGEST_NAME}",
                    )
            else:
                self._fail(
                    "no transmit_as",
                    what,
                    f"a pipe has one representation, and {note!r} would be another; leave it out",
                )
        return limits, type_name


def _is_optional_pipe(annotation: Any) -> bool:
    arms = get_args(annotation)
    return NoneType in arms and any(get_origin(_bare(unaliased(arm))) in _PIPES for arm in arms)


def _is_bare_pipe(annotation: Any) -> bool:
    return any(annotation is kind for kind in _PIPES)  # not all that is annotated can be hashed


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _contains_pipe(annotation: Any, seen: frozenset[Any] = frozenset()) -> bool:
    """Whether there is a pipe in it: as an argument of a generic type, or in a field of a class."""
    if is_alias(annotation) or is_alias(get_origin(annotation)):
        # It may be a part of itself.
        return annotation not in seen and _contains_pipe(unaliased(annotation), seen | {annotation})
    if _is_bare_pipe(annotation) or get_origin(annotation) in _PIPES:
        return True
    # list[int] is a type, too, as Python 3.10 has it.
    if isinstance(annotation, type) and get_origin(annotation) is None and annotation not in seen:
        fields = _field_types(annotation)
        return any(_contains_pipe(field, seen | {annotation}) for field in fields)
    return any(
        _contains_pipe(argument, seen)
        for argument in get_args(annotation)
        if not isinstance(argument, (str, bytes, int))
    )


def _field_types(cls: type) -> Iterator[Any]:
    is_record = (
        dataclasses.is_dataclass(cls)
        or issubclass(cls, (msgspec.Struct, tuple))
        or hasattr(cls, "__total__")
    )
    if is_record:
        try:
            yield from get_type_hints(cls, include_extras=True).values()
        except Exception:
            return


def _custom(info: msgspec.inspect.Type) -> str | None:
    """The name of a class in it that msgspec would need to be taught."""
    for part in all_parts_of(info):
        if isinstance(part, msgspec.inspect.CustomType):
            return getattr(part.cls, "__name__", str(part.cls))
    return None


def follows(cls: type, implementation: object, operation: Operation) -> None:
    """Checks a manager's method against what it implements.

    Raises:
        DefinitionError: it is no method, or has other parameters.
    """
    where = f"manager {cls.__name__}, operation {operation.name}"
    if not inspect.isfunction(implementation):
        raise DefinitionError("parameters", where, "it is no method; make it with def or async def")
    itself, *parameters = inspect.signature(implementation).parameters.values() or (None,)
    if itself is None:
        raise DefinitionError("parameters", where, "it is a method; its first parameter is self")
    names = tuple(parameter.name for parameter in parameters)
    if names != operation.parameters:
        raise DefinitionError(
            "parameters",
            where,
            f"it takes ({', '.join(names)}) and the interface says "
            f"({', '.join(operation.parameters)})",
        )
