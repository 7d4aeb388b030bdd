"""What a type consists of, as msgspec describes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import inspect as types

__all__ = ["DICTS", "RECORDS", "all_parts_of", "parts_of"]

# Later versions of msgspec have a frozen one, too.
DICTS: tuple[Any, ...] = (types.DictType, getattr(types, "FrozenDictType", types.DictType))
RECORDS = (types.StructType, types.DataclassType, types.TypedDictType, types.NamedTupleType)


def parts_of(info: types.Type) -> Iterator[types.Type]:
    """The types that this type directly consists of."""
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
    """The type itself and each type anywhere inside it, once."""
    # They live as long as what they are parts of, so that their numbers tell them apart.
    seen = {id(info)}
    left = [info]
    while left:
        part = left.pop()
        yield part
        for inner in parts_of(part):
            if id(inner) not in seen:
                seen.add(id(inner))
                left.append(inner)
