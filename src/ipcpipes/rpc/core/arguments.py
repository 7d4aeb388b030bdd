"""From what a client passes to what is sent: which argument is which, and which ones are pipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..definition.operations import Operation, Pipe
from ..definition.values import encode, keep_offsets, may_have_times

__all__ = ["bind_arguments", "encoded"]


def bind_arguments(
    operation: Operation, given: Sequence[Any], named: Mapping[str, Any]
) -> tuple[list[Any], dict[Pipe, Any]]:
    """(the arguments in order, what was given for pipes).

    Raises:
        TypeError: one is missing, unknown, or there twice.
    """
    parameters = operation.parameters
    if not operation.pipes and len(given) == len(parameters) and not named:
        return list(given), {}
    if len(given) > len(parameters):
        raise TypeError(
            f"{operation}() takes {len(parameters)} arguments, and {len(given)} were given"
        )
    values = dict(zip(parameters, given))  # noqa: B905  # the rest is named, or missing
    for name, value in named.items():
        if name not in parameters:
            raise TypeError(f"{operation}() has no parameter {name!r}")
        if name in values:
            raise TypeError(f"{operation}() got {name!r} twice")
        values[name] = value
    pipes = {pipe: values.pop(pipe.name) for pipe in operation.pipes if pipe.name in values}
    for name in operation.types:
        if name not in values:
            if name not in operation.defaults:
                raise TypeError(f"{operation}() lacks the argument {name!r}")
            values[name] = operation.defaults[name]
    return [values[name] for name in operation.types], pipes


def _without_defaults(operation: Operation, values: Sequence[Any]) -> Sequence[Any]:
    """The values up to the last one that is not its default: an older server may not know the rest.

    Equal values can still differ in octets, such as 1 and True, so the octets are compared.
    """
    defaults = operation.encoded_defaults
    count = len(values)
    while count:
        known = defaults[count - 1]
        if known is None:
            break
        value = values[count - 1]
        default, octets = known
        # The cheapest comparison first; mostly one of these decides.
        if value is not default and (
            type(value) is not type(default) or value != default or _octets_of(value) != octets
        ):
            break
        count -= 1
    return values if count == len(values) else values[:count]


def _octets_of(value: object) -> bytes | None:
    try:
        return encode(value)
    except (TypeError, ValueError, OverflowError):
        return None  # encoding all of the arguments raises the error


def encoded(operation: Operation, values: Sequence[Any]) -> bytes:
    """The arguments as octets.

    Raises:
        TypeError, ValueError, OverflowError: one of them cannot be sent.
    """
    if operation.defaults:
        values = _without_defaults(operation, values)
    times = operation.times
    try:
        octets = encode(values)
        if times and may_have_times(octets):
            octets = encode([*map(keep_offsets, values, times)])
        return octets
    except (TypeError, ValueError, OverflowError):
        named = zip(operation.types, values)  # noqa: B905  # some are left out
        for place, (name, value) in enumerate(named):
            try:
                encode(keep_offsets(value, times[place]) if times else value)
            except (TypeError, ValueError, OverflowError) as error:
                text = f"{operation}(): the argument {name} cannot be sent: {error}"
                if isinstance(error, UnicodeError):  # which is made of other things than a text
                    raise ValueError(text) from None
                raise type(error)(text) from None
        raise
