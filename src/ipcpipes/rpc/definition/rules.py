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
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from ..errors import BrokenRule, DefinitionError
from .declared import Declared
from .elements import element_of
from .flow_types import bare, flow_in, is_flow_type, is_pipe_type, is_stream_type, word_for
from .operations import Definition, Operation, Options, Pipe
from .parameters import LONGEST_NAME, PipeName, PipeType, Range, unaliased
from .sendable import check_sendable
from .stream_types import StreamType
from .streams import RESULT, Stream
from .yielding import yielded_type

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
        yielded = yielded_type(function, result)
        if yielded is None:
            _check_result(result, options)
        else:
            _check_flow_options(options, "what it yields")
            _check_type(yielded)
            result = NoneType
    types: dict[str, Any] = {}
    pipes: list[Pipe] = []
    streams: list[Stream] = []
    for parameter in parameters:
        annotation = hints[parameter.name]
        with checking(f"{where}, parameter {parameter.name}"):
            kind, notes = _split(annotation)
            if not is_flow_type(get_origin(kind)):
                _check_value(kind, annotation)
                types[parameter.name] = annotation
            elif is_pipe_type(get_origin(kind)):
                _check_flow(parameter, options, "a pipe")
                pipes.append(_pipe(parameter.name, kind, notes, len(pipes)))
            else:
                _check_flow(parameter, options, "a stream")
                streams.append(_stream(parameter.name, kind, notes, len(streams)))
    if yielded is not None:
        streams.append(Stream(RESULT, len(streams), False, yielded))
    with checking(where):
        _check_mixture(pipes, streams)
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
        tuple(streams),
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
    flow = flow_in(result)
    if flow is not None:
        word = word_for(flow)
        raise BrokenRule(
            "only a parameter",
            f"a {word} cannot be a result; use a parameter of rpc.Out{word.title()}",
        )
    if options.maybe and result is not NoneType:
        raise BrokenRule("maybe", "the client does not wait for a result; annotate it with -> None")
    _check_type(result)


def _check_type(annotation: Any) -> None:
    flow = flow_in(annotation)
    if flow is not None:
        raise BrokenRule(
            "only a parameter",
            f"a {word_for(flow)} cannot be part of another type; make it a parameter of its own",
        )
    check_sendable(annotation)


def _split(annotation: Any) -> tuple[Any, list[Any]]:
    """Returns a type and the notes of its ``Annotated``."""
    if get_origin(annotation) is Annotated:
        kind, *notes = get_args(annotation)
        return kind, notes
    return annotation, []


def _check_value(kind: Any, annotation: Any) -> None:
    """Raises:
    BrokenRule: a parameter is neither a pipe, nor a stream, nor a value that can be sent.
    """
    if isinstance(kind, PipeType | StreamType):
        word = word_for(type(kind))
        raise BrokenRule("by reference", f"the annotation is an instance of a {word}; use its type")
    if is_pipe_type(kind):
        raise BrokenRule(
            "elements", f"the type of the elements is missing; write {kind.__name__}[rpc.byte]"
        )
    if is_stream_type(kind):
        raise BrokenRule("types", f"the type of the values is missing; write {kind.__name__}[str]")
    optional = _optional_flow(kind)
    if optional is not None:
        word = word_for(optional)
        raise BrokenRule(
            "never optional",
            f"a {word} cannot be optional; remove None, and pass an empty {word}",
        )
    _check_type(annotation)


def _check_flow(parameter: inspect.Parameter, options: Options, what: str) -> None:
    if parameter.default is not parameter.empty:
        raise BrokenRule("never optional", f"{what} cannot have a default; remove the default")
    _check_flow_options(options, what)


def _check_flow_options(options: Options, what: str) -> None:
    for flag, reason in (
        ("idempotent", f"the data of {what} cannot be sent again"),
        (
            "maybe",
            f"the client of a maybe call does not wait, and {what} needs a client that waits",
        ),
    ):
        if getattr(options, flag):
            other = what.replace("a ", "the ")
            raise BrokenRule(f"not {flag}", f"{reason}; remove {flag}=True or {other}")


def _check_mixture(pipes: list[Pipe], streams: list[Stream]) -> None:
    if pipes and streams:
        other = "what it yields" if streams[0].name == RESULT else streams[0].name
        raise BrokenRule(
            "no mixture",
            f"it has the pipe {pipes[0].name} and the stream {other}: pipes have turns, and "
            "streams have none, so the order between them would be undefined; use two operations",
        )


def _pipe(name: str, kind: Any, notes: list[Any], index: int) -> Pipe:
    pipe_type = get_origin(kind)
    (carried,) = get_args(kind)
    if flow_in(carried) is not None:
        raise BrokenRule(
            "only a parameter", "a pipe cannot carry pipes; make it a parameter of its own"
        )
    element = element_of(carried)
    limits, type_name = _notes_of(notes)
    return Pipe(name, index, pipe_type._into, pipe_type._out, element, limits, type_name)


def _stream(name: str, kind: Any, notes: list[Any], index: int) -> Stream:
    (carried,) = get_args(kind)
    carried = unaliased(carried)
    if notes:
        raise BrokenRule(
            "no transmit_as",
            f"a stream has no annotations; remove {notes[0]!r}, or annotate the type of its values",
        )
    _check_type(carried)
    return Stream(name, index, get_origin(kind)._into, carried)


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


def _optional_flow(annotation: Any) -> type[PipeType | StreamType] | None:
    """Returns the pipe or the stream in a union with ``None``."""
    arms = get_args(annotation)
    if NoneType not in arms:
        return None
    kinds = (get_origin(bare(unaliased(arm))) for arm in arms)
    return next(filter(is_flow_type, kinds), None)


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
