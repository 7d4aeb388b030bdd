"""The arguments of a call: assigns them to the parameters, and encodes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..definition.operations import Flow, Operation
from ..definition.values import encode, encode_raw, encoded_or_none, keep_offsets, may_have_times

__all__ = ["bind_arguments", "encode_arguments"]


def bind_arguments(
    operation: Operation, given: Sequence[Any], named: Mapping[str, Any]
) -> tuple[list[Any], dict[Flow, Any]]:
    """Returns the arguments in the order of the parameters, and the argument that was given for
    each pipe and stream.

    Raises:
        TypeError: an argument is missing, unknown, or given twice.
    """
    parameters = operation.parameters
    if not operation.flows and len(given) == len(parameters) and not named:
        return list(given), {}
    if len(given) > len(parameters):
        raise TypeError(
            f"{operation}() takes {len(parameters)} arguments, and {len(given)} were given"
        )
    values = dict(zip(parameters, given))  # noqa: B905  # the rest is named or missing
    for name, value in named.items():
        if name not in parameters:
            raise TypeError(f"{operation}() has no parameter {name!r}")
        if name in values:
            raise TypeError(f"{operation}() got {name!r} twice")
        values[name] = value
    flows = operation.flows.items()
    taken = {flow: values.pop(name) for name, flow in flows if name in values}
    for name in operation.types:
        if name not in values:
            if name not in operation.defaults:
                raise TypeError(f"{operation}() is missing the argument {name!r}")
            values[name] = operation.defaults[name]
    return [values[name] for name in operation.types], taken


def _without_defaults(operation: Operation, values: Sequence[Any]) -> Sequence[Any]:
    """Returns the values up to the last one that differs from its default. An older server may not
    know the parameters after it.

    Equal values can be encoded differently, such as 1 and True. So the encoded bytes are compared.
    """
    defaults = operation.encoded_defaults
    count = len(values)
    while count:
        known = defaults[count - 1]
        if known is None:
            break
        value = values[count - 1]
        default, encoded_default = known
        # The cheapest comparison comes first; it usually decides.
        if value is not default and (
            type(value) is not type(default)
            or value != default
            or encoded_or_none(value) != encoded_default
        ):
            break
        count -= 1
    return values if count == len(values) else values[:count]


def encode_arguments(operation: Operation, values: Sequence[Any]) -> bytes:
    """Encodes the arguments in MessagePack.

    Raises:
        TypeError, ValueError, OverflowError: an argument cannot be sent.
    """
    if operation.defaults:
        values = _without_defaults(operation, values)
    times = operation.times
    try:
        encoded = encode_raw(values)
        if times and may_have_times(encoded):
            encoded = encode([*map(keep_offsets, values, times)])
        return encoded
    except (TypeError, ValueError, OverflowError):
        named = zip(operation.types, values)  # noqa: B905  # defaults are left out
        for place, (name, value) in enumerate(named):
            try:
                encode(keep_offsets(value, times[place]) if times else value)
            except (TypeError, ValueError, OverflowError) as error:
                text = f"{operation}(): the argument {name} cannot be sent: {error}"
                if isinstance(error, UnicodeError):  # a UnicodeError takes other arguments
                    raise ValueError(text) from None
                raise type(error)(text) from None
        raise
