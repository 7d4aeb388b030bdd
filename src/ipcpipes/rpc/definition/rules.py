"""Makes operations from the methods of a class, and checks the rules.

The rules are MIDL's and DCE's (Microsoft, "pipe" and "Rules for Multiple Pipes" in the MIDL
reference; The Open Group, DCE 1.2 Application Development Guide, "Rules for Using Pipes").
"""

from __future__ import annotations

import dataclasses
import inspect
import uuid as uuids
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from ..errors import BrokenRule, DefinitionError
from .declared import Declared
from .elements import element_of
from .operations import Definition, Operation, Options, Pipe
from .parameters import (
    LONGEST_NAME,
    PipeName,
    PipeType,
    Range,
    is_alias,
    unaliased,
)
from .sendable import check_sendable

if TYPE_CHECKING:
    from typing import TypeGuard

__all__ = ["check_manager", "checking", "define"]


def define(
    cls: type,
    uuid: uuids.UUID,
    version: tuple[int, int],
    marked: Mapping[str, tuple[Callable[..., Any], Options]],
    inherited: Mapping[str, Operation],
    raises: Declared,
    scope: Mapping[str, Any],
) -> Definition:
    """Makes the definition of an interface.

    Args:
        marked: the methods of the class that have the decorator, with its arguments.
        inherited: the operations of the base interface.
        raises: the exceptions that the interface declares, with those of its base.
        scope: local names that annotations may use.

    Raises:
        DefinitionError: the class breaks a rule.
    """
    operations = {
        name: one if one.raises == raises else dataclasses.replace(one, raises=raises)
        for name, one in inherited.items()
    }
    for name, (function, options) in marked.items():
        number = operations[name].number if name in operations else len(operations)
        operations[name] = _operation(cls.__name__, name, number, function, options, raises, scope)
    return Definition(
        cls.__name__,
        uuid,
        version,
        MappingProxyType(operations),
        inspect.getdoc(cls) or "",
        raises,
    )


@contextmanager
def checking(where: str) -> Iterator[None]:
    """Adds the place to the error of a broken rule."""
    try:
        yield
    except BrokenRule as error:
        raise DefinitionError(error.rule, where, error.text) from None


def _operation(
    interface: str,
    name: str,
    number: int,
    function: Callable[..., Any],
    options: Options,
    raises: Declared,
    scope: Mapping[str, Any],
) -> Operation:
    """Makes an operation from one method."""
    where = f"interface {interface}, operation {name}"
    with checking(where):
        parameters = _own_parameters(function)
    for parameter in parameters:
        with checking(f"{where}, parameter {parameter.name}"):
            _check_parameter(parameter)
    with checking(where):
        hints = _hints(function, scope)
    result = hints.pop("return", NoneType)
    with checking(f"{where}, its result"):
        _check_result(result, options)
    types: dict[str, Any] = {}
    pipes: list[Pipe] = []
    for parameter in parameters:
        annotation = hints[parameter.name]
        with checking(f"{where}, parameter {parameter.name}"):
            pipe = _pipe(parameter, annotation, len(pipes), options)
            if pipe is not None:
                pipes.append(pipe)
            else:
                _check_type(annotation)
                types[parameter.name] = annotation
    defaults = {one.name: one.default for one in parameters if one.default is not one.empty}
    return Operation(
        interface,
        name,
        number,
        tuple(one.name for one in parameters),
        MappingProxyType(types),
        MappingProxyType(defaults),
        tuple(pipes),
        result,
        options,
        inspect.getdoc(function) or "",
        raises,
    )


def _hints(function: Callable[..., Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    try:
        hints = get_type_hints(function, localns=dict(scope), include_extras=True)
        return {name: unaliased(hint) for name, hint in hints.items()}
    except DefinitionError:
        raise
    except Exception as error:
        raise BrokenRule("types", f"its annotations cannot be understood: {error}") from None


def _check_parameter(parameter: inspect.Parameter) -> None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise BrokenRule("parameters", "the number of parameters is fixed; use a list or a dict")
    if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
        raise BrokenRule(
            "parameters",
            "a client must be able to pass it by position and by name; remove the / or *",
        )
    if parameter.annotation is parameter.empty:
        raise BrokenRule("parameters", "it has no type; annotate it")


def _check_result(result: Any, options: Options) -> None:
    if _contains_pipe(result):
        raise BrokenRule(
            "only a parameter", "a pipe cannot be a result; use a parameter of rpc.OutPipe"
        )
    if options.maybe and result is not NoneType:
        raise BrokenRule("maybe", "the client does not wait for a result; annotate it with -> None")
    _check_type(result)


def _check_type(annotation: Any) -> None:
    if _contains_pipe(annotation):
        raise BrokenRule(
            "only a parameter",
            "a pipe cannot be part of another type; make it a parameter of its own",
        )
    check_sendable(annotation)


def _pipe(
    parameter: inspect.Parameter, annotation: Any, index: int, options: Options
) -> Pipe | None:
    """Returns the pipe of a parameter; ``None`` if the parameter is a value."""
    notes: list[Any] = []
    kind = annotation
    if get_origin(kind) is Annotated:
        kind, *notes = get_args(kind)
    if isinstance(kind, PipeType):
        raise BrokenRule("by reference", "the annotation is an instance of a pipe; use its type")
    if _is_pipe_type(kind):
        raise BrokenRule(
            "elements", f"the type of the elements is missing; write {kind.__name__}[rpc.byte]"
        )
    pipe_type = get_origin(kind)
    if not _is_pipe_type(pipe_type):
        if _is_optional_pipe(kind):
            raise BrokenRule(
                "never optional", "a pipe cannot be optional; remove None, and pass an empty pipe"
            )
        return None
    if parameter.default is not parameter.empty:
        raise BrokenRule("never optional", "a pipe cannot have a default; remove the default")
    for flag, reason in (
        ("idempotent", "the data of a pipe cannot be sent again"),
        ("maybe", "the client of a maybe call does not wait, and a pipe needs a client that waits"),
    ):
        if getattr(options, flag):
            raise BrokenRule(f"not {flag}", f"{reason}; remove {flag}=True or the pipe")
    (carried,) = get_args(kind)
    if _contains_pipe(carried):
        raise BrokenRule(
            "only a parameter", "a pipe cannot carry pipes; make it a parameter of its own"
        )
    element = element_of(carried)
    limits, type_name = _notes_of(notes)
    return Pipe(parameter.name, index, pipe_type._into, pipe_type._out, element, limits, type_name)


def _notes_of(notes: list[Any]) -> tuple[Range | None, str | None]:
    limits: Range | None = None
    type_name: str | None = None
    for note in notes:
        if isinstance(note, Range):
            if limits is not None:
                raise BrokenRule("once", f"a pipe has one range; remove {limits} or {note}")
            limits = note
        elif isinstance(note, PipeName):
            if type_name is not None:
                raise BrokenRule(
                    "once", f"its type has one name; remove {type_name!r} or {note.name!r}"
                )
            type_name = note.name
            if not 1 <= len(type_name) <= LONGEST_NAME:
                raise BrokenRule(
                    "name",
                    f"the name {type_name!r} of its type has {len(type_name)} characters; use "
                    f"1 to {LONGEST_NAME}",
                )
        else:
            raise BrokenRule(
                "no transmit_as",
                f"a pipe has one fixed representation; remove {note!r}, which would change it",
            )
    return limits, type_name


def _is_optional_pipe(annotation: Any) -> bool:
    arms = get_args(annotation)
    return NoneType in arms and any(
        _is_pipe_type(get_origin(_bare(unaliased(arm)))) for arm in arms
    )


def _is_pipe_type(annotation: object) -> TypeGuard[type[PipeType]]:
    # In Python 3.10, list[int] is an instance of type too, and issubclass() refuses it.
    return (
        isinstance(annotation, type)
        and get_origin(annotation) is None
        and issubclass(annotation, PipeType)
    )


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _contains_pipe(annotation: Any, seen: frozenset[Any] = frozenset()) -> bool:
    """Whether the type contains a pipe: in an argument of a generic type, or in a field."""
    if is_alias(annotation) or is_alias(get_origin(annotation)):
        # An alias may contain itself.
        return annotation not in seen and _contains_pipe(unaliased(annotation), seen | {annotation})
    if _is_pipe_type(annotation) or _is_pipe_type(get_origin(annotation)):
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


def _own_parameters(function: object) -> list[inspect.Parameter]:
    """Returns the parameters of a method, without ``self``.

    Raises:
        BrokenRule: ``function`` is not a method.
    """
    if not inspect.isfunction(function):
        raise BrokenRule("parameters", "it is not a method; define it with def or async def")
    parameters = [*inspect.signature(function).parameters.values()]
    if not parameters:
        raise BrokenRule("parameters", "its first parameter, self, is missing")
    return parameters[1:]


def check_manager(cls: type, operations: Mapping[str, Operation]) -> None:
    """Checks the methods of a manager against the operations. Some methods may be missing.

    Raises:
        DefinitionError: an implementation is not a method, or has other parameters.
    """
    for name, operation in operations.items():
        implementation = inspect.getattr_static(cls, name)
        if getattr(implementation, "__isabstractmethod__", False):
            continue
        with checking(f"manager {cls.__name__}, operation {name}"):
            names = tuple(parameter.name for parameter in _own_parameters(implementation))
            if names != operation.parameters:
                raise BrokenRule(
                    "parameters",
                    f"its parameters are ({', '.join(names)}), but the interface has "
                    f"({', '.join(operation.parameters)})",
                )
