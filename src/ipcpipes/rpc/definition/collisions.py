"""Limits the number of keys in arguments if a client could make the hashes of the keys collide.

Python seeds the hashes of ``str``, ``bytes`` and ``date``, so a client cannot predict them. The
hashes of numbers, UUIDs, times, and of tuples and objects of these, are the same in every process.
If a client chooses such keys so that their hashes collide, building a set or a dict takes time
proportional to the square of their number: one second for 8,000 UUIDs, or for 45,000 integers (the
hash of an integer is its value, so that only the places in the table collide). Therefore such keys
are counted before they are decoded.

Such types are not refused, because a ``dict[int, ...]`` is too common. A limit for each single
container is not enough, because one message can contain many containers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isqrt
from typing import Any

from msgspec import inspect as types

from ...framing.messagepack import DEEPEST, ITEMS_OF_ARRAYS, TEXTS, may_collide
from .type_parts import DICTS, RECORDS, parts_of

__all__ = ["MOST_NUMBERS", "MOST_OTHERS", "SHORT", "KeyLimit", "key_limit_of"]

# The limits for one set or dict. For several, the squares of their sizes are added, and the sum is
# compared with the square of the limit.
MOST_NUMBERS = 16 * 1024
MOST_OTHERS = 1024
# A declared max_length can raise the limit to four times as many.
MOST_DECLARED = 4

# The weight of a key, where a number weighs 1. The cost of a container is the square of the sum.
_OTHER = MOST_NUMBERS // MOST_OTHERS
_RECORD = 2 * _OTHER  # dataclasses are compared by Python's own code
_NUMBER = 1
_SEEDED = 0

# Each key and each level takes at least one byte: a value of so many bytes exceeds no limit.
SHORT = min(DEEPEST, MOST_NUMBERS // _RECORD)

_SEEDED_TYPES = (types.StrType, types.BytesType, types.MemoryViewType, types.DateType)
# Types that have only few different values.
_FEW_TYPES = (types.NoneType, types.BoolType, types.EnumType, types.LiteralType)
_NUMBER_TYPES = (types.IntType, types.FloatType)
# Types that are sent as text, or may be.
_AS_TEXT_TYPES = (
    types.UUIDType,
    types.DecimalType,
    types.DateTimeType,
    types.TimeType,
    types.TimeDeltaType,
)


@dataclass(frozen=True)
class KeyLimit:
    """The limit for keys in the arguments of an operation whose hashes a client can make collide.

    Attributes:
        flags: which values may be keys; see :func:`may_collide`.
        most: the highest total cost of all containers.
    """

    flags: int
    most: int

    def check(self, encoded: bytes | memoryview) -> None:
        """Raises:
        ValueError: the arguments have more such keys, or more than :data:`DEEPEST` levels.
        """
        if may_collide(encoded, self.flags, self.most):
            numbers = isqrt(self.most)
            raise ValueError(
                "the arguments have too many set or dict keys whose hashes can collide: more than "
                f"one set of {numbers:,} numbers or {numbers // _OTHER:,} other keys; declare a "
                "max_length, or use a list"
            )


class _Search:
    """Searches the types of an operation for keys whose hashes a client can make collide."""

    def __init__(self) -> None:
        self.is_limited = False
        self.flags = 0
        self.declared = 0
        self._visited: set[tuple[int, bool]] = set()

    def look_into(self, info: types.Type, *, is_repeated: bool = False) -> None:
        """Looks into a type, and into the types that it consists of.

        Args:
            is_repeated: the type is inside another container, so that there may be many values of
                it.
        """
        if isinstance(info, RECORDS):
            # A type that can contain itself may occur many times.
            is_repeated = is_repeated or (id(info), False) in self._visited
            if (id(info), is_repeated) in self._visited:
                return
            self._visited.add((id(info), is_repeated))
        if isinstance(info, types.AnyType):
            self._add(info, None, 0, is_repeated=True)
        elif isinstance(info, (types.SetType, types.FrozenSetType)):
            self._add(info.item_type, info.max_length, ITEMS_OF_ARRAYS, is_repeated=is_repeated)
        elif isinstance(info, DICTS):
            self._add(info.key_type, info.max_length, 0, is_repeated=is_repeated)
        is_container = isinstance(info, (types.CollectionType, *DICTS))
        for part in parts_of(info):
            self.look_into(part, is_repeated=is_repeated or is_container)

    def _add(self, key: types.Type, most: int | None, flags: int, *, is_repeated: bool) -> None:
        """Records a set or a dict with keys of this type.

        Args:
            most: the ``max_length`` of the set or dict.
        """
        weight = _weight_of(key)
        if weight == _SEEDED:
            return
        self.is_limited = True
        if most is not None and most * weight <= MOST_DECLARED * MOST_NUMBERS:
            self.declared = max(self.declared, most * weight)
            if not is_repeated:
                return  # its max_length alone limits it
        self.flags |= flags | (TEXTS if _may_be_text(key) else 0)


def key_limit_of(annotations: Iterable[Any]) -> KeyLimit | None:
    """Returns the limit for arguments of these types; ``None`` if a client cannot predict the hash
    of any key.
    """
    search = _Search()
    for info in types.multi_type_info(annotations):
        search.look_into(info)
    if not search.is_limited:
        return None
    return KeyLimit(search.flags, max(MOST_NUMBERS, search.declared) ** 2)


def _weight_of(key: types.Type, within: tuple[int, ...] = ()) -> int:
    """Returns the weight of a key of this type, as :func:`may_collide` counts."""
    if isinstance(key, (*_SEEDED_TYPES, *_FEW_TYPES)):
        return _SEEDED
    if isinstance(key, _NUMBER_TYPES):
        return _NUMBER
    if id(key) in within:
        return _SEEDED  # a recursive type: its other parts decide
    weights = [_weight_of(part, (*within, id(key))) for part in parts_of(key)]
    if isinstance(key, (types.UnionType, types.Metadata)):
        return max(weights)
    if weights and not any(weights):
        return _SEEDED
    return _RECORD if isinstance(key, (types.DataclassType, types.StructType)) else _OTHER


def _may_be_text(key: types.Type) -> bool:
    if isinstance(key, (types.UnionType, types.Metadata)):
        return any(map(_may_be_text, parts_of(key)))
    return isinstance(key, _AS_TEXT_TYPES)
