"""Defaults of parameters and of fields: each call gets its own, as if the client had sent it.

Python makes a default once. If a default is or contains a list, all calls that leave the argument
out would share that list, and data that one client puts there would reach the next client.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import NODEFAULT, UNSET, inspect as types

from .type_parts import all_parts_of

__all__ = ["factory_of", "shared_default"]


def factory_of(value: object) -> Callable[[], Any]:
    """A function that makes a new default, of the same value, for each call."""
    return (lambda: value) if _cannot_change(value) else partial(copy.deepcopy, value)


def _cannot_change(value: object) -> bool:
    """Whether the hash depends on the value. Classes with mutable instances have no hash, or the
    hash of ``object``, which depends on the identity; a tuple has a hash if all of its items have.
    ``None`` and ``UNSET`` have the hash of ``object`` too (before Python 3.12), and cannot change.
    """
    if value is None or value is UNSET:
        return True
    try:
        hash(value)
    except TypeError:
        return False
    return type(value).__hash__ is not object.__hash__


def shared_default(info: types.Type) -> str | None:
    """A field in this type with a mutable default that all values would share, such as
    ``Config.names``. msgspec refuses these in its own structures, and dataclasses refuse lists.
    """
    for part in all_parts_of(info):
        if isinstance(part, (types.DataclassType, types.NamedTupleType)):
            for field in part.fields:
                if field.default is not NODEFAULT and not _cannot_change(field.default):
                    return f"{part.cls.__name__}.{field.name}"
    return None
