"""Operations that yield their results one by one: recognized by the type of the result."""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from types import NoneType
from typing import Any, get_args, get_origin

from ..errors import BrokenRule
from .flow_types import bare
from .parameters import unaliased

__all__ = ["yielded_type"]

_ITERATORS = (AsyncGenerator, AsyncIterator, Generator, Iterator)
_ITERABLES = (AsyncIterable, Iterable)


def yielded_type(function: Callable[..., Any], result: Any) -> Any:
    """Returns the type of the values that an operation yields; ``None`` if it has a plain result.

    Raises:
        BrokenRule: the type of the values is missing, or the method cannot yield them.
    """
    result = bare(result)
    origin = get_origin(result) or result
    if origin in _ITERABLES:
        raise BrokenRule(
            "yields", "an operation that yields returns an iterator; write AsyncIterator[...]"
        )
    if origin not in _ITERATORS:
        return None
    if not get_args(result):
        raise BrokenRule(
            "yields", "the type of the values is missing; write AsyncIterator[str], for example"
        )
    yielded, *others = get_args(result)
    if any(one not in (None, NoneType) for one in others):
        raise BrokenRule(
            "yields",
            "a client can neither send values into a generator nor get its return value; write "
            "AsyncGenerator[..., None], and use an rpc.InStream to send values",
        )
    if inspect.iscoroutinefunction(function):
        raise BrokenRule(
            "yields",
            "write def instead of async def: the operation returns an iterator at once, and a "
            "manager is async def with yield",
        )
    return NoneType if yielded is None else unaliased(yielded)
