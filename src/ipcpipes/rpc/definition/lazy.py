"""Attributes that are computed when they are first read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

__all__ = ["Lazy"]

ValueT = TypeVar("ValueT")


class Lazy(Generic[ValueT]):
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
    def __get__(self, instance: None, owner: type) -> Lazy[ValueT]: ...
    @overload
    def __get__(self, instance: Any, owner: type) -> ValueT: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        value = self._compute(instance)
        object.__setattr__(instance, self._name, value)
        return value
