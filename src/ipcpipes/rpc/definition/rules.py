"""Makes operations of the methods of a class, and checks the rules.

The rules are MIDL's and DCE's (Microsoft, "pipe" and "Rules for Multiple Pipes" in the MIDL
reference; The Open Group, DCE 1.2 Application Development Guide, "Rules for Using Pipes").
"""

from __future__ import annotations

import dataclasses
import inspect
import uuid as uuids
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType, NoneType
from typing import Annotated, Any, NoReturn, get_args, get_origin, get_type_hints

import msgspec

from ..errors import DefinitionError
from .defaults import shared_default
from .elements import IllegalElement, element_of
from .operations import Definition, Operation, Options, Pipe
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

__all__ = ["check_implementation", "define"]

_PIPES: dict[object, tuple[bool, bool]] = {
    InPipe: (True, False),
    OutPipe: (False, True),
    InOutPipe: (True, True),
}


def define(
    cls: type,
    uuid: uuids.UUID,
    version: tuple[int, int],
    marked: Mapping[str, tuple[Callable[..., Any], Options]],
    inherited: Mapping[str, Operation],
    scope: Mapping[str, Any],
) -> Definition:
    """The definition of an interface.

    Args:
        marked: the methods of the class that have the decorator, with its arguments.
        inherited: the operations of the base interface.
        scope: local names that annotations may use.

    Raises:
        DefinitionError: the class breaks a rule.
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
    """Makes one operation of a method."""

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

    @property
    def _where(self) -> str:
        return f"interface {self.interface}, operation {self.name}"

    def _fail(self, rule: str, what: str | None, text: str) -> NoReturn:
        raise DefinitionError(rule, self._where if what is None else f"{self._where}, {what}", text)

    def _hints(self) -> dict[str, Any]:
        try:
            hints = get_type_hints(self.function, localns=dict(self.scope), include_extras=True)
            return {name: unaliased(hint) for name, hint in hints.items()}
        except DefinitionError:
            raise
        except Exception as error:
            self._fail("types", None, f"its annotations cannot be understood: {error}")

    def _parameters(self) -> dict[str, inspect.Parameter]:
        parameters = _own_parameters(self.function, self._where)
        for parameter in parameters:
            what = f"parameter {parameter.name}"
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                self._fail(
                    "parameters", what, "the number of parameters is fixed; use a list or a dict"
                )
            if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
                self._fail(
                    "parameters", what, "it must work by position and by name; remove the / or *"
                )
            if parameter.annotation is parameter.empty:
                self._fail("parameters", what, "it has no type; annotate it")
        return {parameter.name: parameter for parameter in parameters}

    def _check_result(self, result: Any) -> None:
        if _contains_pipe(result):
            self._fail(
                "only a parameter",
                "its result",
                "a pipe cannot be a result; use a parameter of rpc.OutPipe",
            )
        if self.options.maybe and result is not NoneType:
            self._fail(
                "maybe",
                "its result",
                "the client does not wait for a result; annotate it with -> None",
            )
        self._check_type("its result", result)

    def _check_type(self, what: str, annotation: Any) -> None:
        if _contains_pipe(annotation):
            self._fail(
                "only a parameter",
                what,
                "a pipe cannot be part of another type; make it a parameter of its own",
            )
        try:
            info = msgspec.inspect.type_info(annotation)
        except Exception as error:
            self._fail("types", what, f"msgspec does not support it: {error}")
        for part in all_parts_of(info):
            if isinstance(part, msgspec.inspect.CustomType):
                name = getattr(part.cls, "__name__", str(part.cls))
                cure = "use a dataclass, a msgspec.Struct or a TypedDict"
                self._fail("types", what, f"{name} cannot be sent; {cure}")
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
            self._fail("by reference", what, "the annotation is a pipe object; use the pipe type")
        if _is_bare_pipe(kind):
            self._fail(
                "elements",
                what,
                f"the type of the elements is missing; write {kind.__name__}[rpc.byte]",
            )
        if get_origin(kind) not in _PIPES:
            if _is_optional_pipe(kind):
                self._fail(
                    "never optional",
                    what,
                    "a pipe cannot be optional; remove None, and pass an empty pipe",
                )
            return None
        if has_default:
            self._fail("never optional", what, "a pipe cannot have a default; remove the default")
        for flag, reason in (
            ("idempotent", "the data of a pipe cannot be sent again"),
            ("maybe", "a pipe needs a client that waits for the call"),
        ):
            if getattr(self.options, flag):
                self._fail(f"not {flag}", what, f"{reason}; remove {flag}=True or the pipe")
        (carried,) = get_args(kind)
        if _contains_pipe(carried):
            self._fail(
                "only a parameter",
                what,
                "a pipe cannot carry pipes; make it a parameter of its own",
            )
        try:
            element = element_of(carried)
        except IllegalElement as error:
            self._fail(error.rule, what, error.text)
        limits, type_name = self._notes(what, notes)
        into, out = _PIPES[get_origin(kind)]
        return Pipe(name, index, into, out, element, limits, type_name)

    def _notes(self, what: str, notes: list[Any]) -> tuple[Range | None, str | None]:
        limits: Range | None = None
        type_name: str | None = None
        for note in notes:
            if isinstance(note, Range):
                if limits is not None:
                    self._fail("once", what, f"a pipe has one range; remove {limits} or {note}")
                limits = note
            elif isinstance(note, PipeName):
                if type_name is not None:
                    self._fail(
                        "once",
                        what,
                        f"its type has one name; remove {type_name!r} or {note.name!r}",
                    )
                type_name = note.name
                if not 1 <= len(type_name) <= LONGEST_NAME:
                    self._fail(
                        "name",
                        what,
                        f"the name {type_name!r} of its type has {len(type_name)} characters; use "
                        f"1 to {LONGEST_NAME}",
                    )
            else:
                self._fail(
                    "no transmit_as",
                    what,
                    f"a pipe has one representation, and {note!r} would be another; remove it",
                )
        return limits, type_name


def _is_optional_pipe(annotation: Any) -> bool:
    arms = get_args(annotation)
    return NoneType in arms and any(get_origin(_bare(unaliased(arm))) in _PIPES for arm in arms)


def _is_bare_pipe(annotation: Any) -> bool:
    return any(annotation is kind for kind in _PIPES)  # an annotation may have no hash


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _contains_pipe(annotation: Any, seen: frozenset[Any] = frozenset()) -> bool:
    """Whether the type contains a pipe: in an argument of a generic type, or in a field."""
    if is_alias(annotation) or is_alias(get_origin(annotation)):
        # It may contain itself.
        return annotation not in seen and _contains_pipe(unaliased(annotation), seen | {annotation})
    if _is_bare_pipe(annotation) or get_origin(annotation) in _PIPES:
        return True
    # In Python 3.10, list[int] is an instance of type too.
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


def _own_parameters(function: object, where: str) -> list[inspect.Parameter]:
    """The parameters of a method, without ``self``.

    Raises:
        DefinitionError: it is not a method.
    """
    if not inspect.isfunction(function):
        text = "it is not a method; define it with def or async def"
        raise DefinitionError("parameters", where, text)
    parameters = [*inspect.signature(function).parameters.values()]
    if not parameters:
        raise DefinitionError("parameters", where, "its first parameter, self, is missing")
    return parameters[1:]


def check_implementation(cls: type, implementation: object, operation: Operation) -> None:
    """Checks a manager's method against the operation.

    Raises:
        DefinitionError: it is not a method, or has other parameters.
    """
    where = f"manager {cls.__name__}, operation {operation.name}"
    names = tuple(parameter.name for parameter in _own_parameters(implementation, where))
    if names != operation.parameters:
        raise DefinitionError(
            "parameters",
            where,
            f"its parameters are ({', '.join(names)}), but the interface has "
            f"({', '.join(operation.parameters)})",
        )
