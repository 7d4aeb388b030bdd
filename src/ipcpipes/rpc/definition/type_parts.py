"""Finds the types that a type consists of, as msgspec describes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import inspect as types

__all__ = ["DICTS", "RECORDS", "all_parts_of", "can_nest", "parts_of"]

# Later versions of msgspec also have a type for frozen dicts.
DICTS: tuple[Any, ...] = (types.DictType, getattr(types, "FrozenDictType", types.DictType))
RECORDS = (types.StructType, types.DataclassType, types.TypedDictType, types.NamedTupleType)


def parts_of(info: types.Type) -> Iterator[types.Type]:
    """Yields the types that this type directly consists of."""
    if isinstance(info, types.CollectionType):
        yield info.item_type
    elif isinstance(info, DICTS):
        yield info.key_type
        yield info.value_type
    elif isinstance(info, types.TupleType):
        yield from info.item_types
    elif isinstance(info, types.UnionType):
        yield from info.types
    elif isinstance(info, types.Metadata):
        yield info.type
    elif isinstance(info, RECORDS):
        yield from (field.type for field in info.fields)


def all_parts_of(info: types.Type) -> Iterator[types.Type]:
    """Yields the type itself and each type inside it at any depth, each once."""
    # msgspec keeps the parts alive as long as ``info``, so their ids are unique.
    seen = {id(info)}
    left = [info]
    while left:
        part = left.pop()
        yield part
        for inner in parts_of(part):
            if id(inner) not in seen:
                seen.add(id(inner))
                left.append(inner)


def can_nest(annotations: Iterable[Any]) -> bool:
    """Whether a value of one of these types can have any number of levels: a type contains ``Any``,
    ``msgspec.Raw``, or itself.

    Data for fields that a class does not have does not count: the decoder skips it, and builds
    nothing.
    """
    finished: set[int] = set()
    return any(_can_nest(info, (), finished) for info in types.multi_type_info(annotations))


def _can_nest(info: types.Type, outer: tuple[int, ...], finished: set[int]) -> bool:
    if isinstance(info, (types.AnyType, types.RawType)) or id(info) in outer:
        return True
    if id(info) in finished:
        return False
    outer = (*outer, id(info))
    found = any(_can_nest(part, outer, finished) for part in parts_of(info))
    finished.add(id(info))
    return found
