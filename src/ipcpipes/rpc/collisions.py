"""Arguments whose keys a client could choose so that their hashes collide, and how many may come.

Python seeds the hashes of ``str``, ``bytes`` and ``date``, so that a client cannot foresee them.
Those of numbers, UUIDs, times and of tuples and objects of them are the same in every process. Keys
that a client has chosen by them make a set or a dict take time with the square of their number: a
second for 8,000 UUIDs, and 45,000 whole numbers (whose hashes are their values, so that only the
way through the table is shared). So such keys are counted before anything is made of them.

A type is not refused for it: a ``dict[int, ...]`` is too common. A limit for each container by
itself was not enough: there can be many of them in a message.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isqrt
from typing import Any

from msgspec import inspect as types

from ..framing.messagepack import ITEMS_OF_ARRAYS, TEXTS, may_collide
from .type_parts import DICTS, RECORDS, parts_of

__all__ = ["MOST_NUMBERS", "MOST_OTHERS", "KeyLimit", "key_limit_of"]

# In one set or dict; of several, the squares of their numbers are added up.
MOST_NUMBERS = 16 * 1024
MOST_OTHERS = 1024
# A max_length may allow four times as many.
MOST_DECLARED = 4

# What keys weigh: as much as so many numbers, of which the square is what they may cost.
_OTHER = MOST_NUMBERS // MOST_OTHERS
_RECORD = 2 * _OTHER  # dataclasses are compared by Python's own code
_NUMBER = 1
_SEEDED = 0

_SEEDED_TYPES = (types.StrType, types.BytesType, types.MemoryViewType, types.DateType)
# Of which there are few, whatever comes.
_FEW_TYPES = (types.NoneType, types.BoolType, types.EnumType, types.LiteralType)
_NUMBER_TYPES = (types.IntType, types.FloatType)
# Which travel as texts, or may do so.
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
        flags: what may be a key, of :func:`may_collide`.
        most: the largest sum of the squares of what the keys of each container weigh.
    """

    flags: int
    most: int

    def check(self, octets: memoryview) -> None:
        """Raises:
        ValueError: these have more, or are nested too deeply to be made anything of.
        """
        # Each key has one octet at least.
        if (len(octets) * _RECORD) ** 2 <= self.most:
            return
        if may_collide(octets, self.flags, self.most):
            numbers = isqrt(self.most)
            raise ValueError(
                "the arguments have too many set or dict keys whose hashes can collide: more than "
                f"one set of {numbers:,} numbers or {numbers // _OTHER:,} other keys; declare a "
                "max_length, or use a list"
            )


@dataclass
class _Found:
    """Of all the types of an operation."""

    is_limited: bool = False
    flags: int = 0
    declared: int = 0

    def add(self, key: types.Type, most: int | None, *, in_array: bool, is_repeated: bool) -> None:
        """A set or a dict with such keys.

        Args:
            most: its ``max_length``.
            in_array: it is a set.
            is_repeated: there may be many of it, because it is inside of something else.
        """
        weight = _weight_of(key)
        if weight == _SEEDED:
            return
        self.is_limited = True
        if most is not None and most * weight <= MOST_DECLARED * MOST_NUMBERS:
            self.declared = max(self.declared, most * weight)
            if not is_repeated:
                return  # it is bounded by that alone
        if in_array:
            self.flags |= ITEMS_OF_ARRAYS
        if _may_be_text(key):
            self.flags |= TEXTS


def key_limit_of(annotations: Iterable[Any]) -> KeyLimit | None:
    """That of arguments of these types; ``None`` where no key's hash can be foreseen."""
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
        # What it may be a part of itself is there often.
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
    """What a key of this type weighs, as :func:`may_collide` counts."""
    if isinstance(key, (*_SEEDED_TYPES, *_FEW_TYPES)):
        return _SEEDED
    if isinstance(key, _NUMBER_TYPES):
        return _NUMBER
    if id(key) in within:
        return _SEEDED  # the rest of it decides
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
