"""Defaults of parameters and of fields: each call gets its own copy, as if the client had sent it.

Python makes a default once. If a default is or contains a list, all calls that omit the argument
would share that list, and data that one client puts there would reach the next client.
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
    """Makes a function that returns a new copy of the default for each call."""
    return (lambda: value) if _cannot_change(value) else partial(copy.deepcopy, value)


def _cannot_change(value: object) -> bool:
    """Whether the value is immutable, judged by its hash. Classes with mutable instances have no
    hash, or the hash of ``object``, which depends on the identity; a tuple has a hash if all of its
    items have one. ``None`` and ``UNSET`` also have the hash of ``object`` (before Python 3.12).
    """
    if value is None or value is UNSET:
        return True
    try:
        hash(value)
    except TypeError:
        return False
    return type(value).__hash__ is not object.__hash__


def shared_default(info: types.Type) -> str | None:
    """Returns the name of a field in this type with a mutable default that all values would share,
    such as ``Config.names``, or ``None``. msgspec refuses such defaults in its own structures;
    dataclasses refuse only lists, dicts and sets.
    """
    for part in all_parts_of(info):
        if isinstance(part, (types.DataclassType, types.NamedTupleType)):
            for field in part.fields:
                if field.default is not NODEFAULT and not _cannot_change(field.default):
                    return f"{part.cls.__name__}.{field.name}"
    return None
