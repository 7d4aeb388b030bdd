"""Limits the keys in arguments whose hashes a client could make collide.

Python seeds the hashes of ``str``, ``bytes`` and ``date``, so a client cannot predict them. The
hashes of numbers, UUIDs, times, and of tuples and objects of these, are the same in every process.
If a client chooses such keys so that their hashes collide, building a set or a dict takes time
proportional to the square of their number: one second for 8,000 UUIDs, or for 45,000 integers
(whose hashes are their values, so that they share only the probes in the table). So such keys are
counted before they are decoded.

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

# The limits for one set or dict. For several, the squares of their sizes are added.
MOST_NUMBERS = 16 * 1024
MOST_OTHERS = 1024
# A max_length may allow four times as many.
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
    """How many such keys the arguments of an operation may have.

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


@dataclass
class _Found:
    """The findings in the types of an operation."""

    is_limited: bool = False
    flags: int = 0
    declared: int = 0

    def add(self, key: types.Type, most: int | None, *, in_array: bool, is_repeated: bool) -> None:
        """A set or a dict with such keys.

        Args:
            most: its ``max_length``.
            in_array: it is a set.
            is_repeated: it is inside another container, so that there may be many of it.
        """
        weight = _weight_of(key)
        if weight == _SEEDED:
            return
        self.is_limited = True
        if most is not None and most * weight <= MOST_DECLARED * MOST_NUMBERS:
            self.declared = max(self.declared, most * weight)
            if not is_repeated:
                return  # its max_length alone limits it
        if in_array:
            self.flags |= ITEMS_OF_ARRAYS
        if _may_be_text(key):
            self.flags |= TEXTS


def key_limit_of(annotations: Iterable[Any]) -> KeyLimit | None:
    """The limit for arguments of these types; ``None`` if a client can predict no key's hash."""
    found = _Found()
    visited: set[tuple[int, bool]] = set()
    infos = types.multi_type_info(annotations)
    for info in infos:
        _look_into(info, found, visited, is_repeated=False)
    if not found.is_limited:
        return None
    return KeyLimit(found.flags, max(MOST_NUMBERS, found.declared) ** 2)


def _look_into(
    info: types.Type, found: _Found, visited: set[tuple[int, bool]], *, is_repeated: bool
) -> None:
    if isinstance(info, RECORDS):
        # A type that can contain itself may occur many times.
        is_repeated = is_repeated or (id(info), False) in visited
        if (id(info), is_repeated) in visited:
            return
        visited.add((id(info), is_repeated))
    if isinstance(info, types.AnyType):
        found.add(info, None, in_array=False, is_repeated=True)
    elif isinstance(info, (types.SetType, types.FrozenSetType)):
        found.add(info.item_type, info.max_length, in_array=True, is_repeated=is_repeated)
    elif isinstance(info, DICTS):
        found.add(info.key_type, info.max_length, in_array=False, is_repeated=is_repeated)
    is_container = isinstance(info, (types.CollectionType, *DICTS))
    for part in parts_of(info):
        _look_into(part, found, visited, is_repeated=is_repeated or is_container)


def _weight_of(key: types.Type, within: tuple[int, ...] = ()) -> int:
    """The weight of a key of this type, as :func:`may_collide` counts."""
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
