"""Defaults of parameters and of fields: each call has its own, as if the client had sent it.

Python makes a default once. A list that is one, or holds one, would be the same for every call of a
server that a client leaves it out of, and what one client has put there would reach the next one.
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
    """What gives each call its own, of the same value."""
    return (lambda: value) if _cannot_change(value) else partial(copy.deepcopy, value)


def _cannot_change(value: object) -> bool:
    """Whether its hash is made of what it is. Classes whose instances can change have no hash, or
    that of any object, which says only which one it is; a tuple has one if all in it have. ``None``
    and ``UNSET`` have that of any object, too (Python 3.11), and there is only one of each.
    """
    if value is None or value is UNSET:
        return True
    try:
        hash(value)
    except TypeError:
        return False
    return type(value).__hash__ is not object.__hash__


def shared_default(info: types.Type) -> str | None:
    """A field in this type with a default that can change and that all values would share, such as
    ``Config.names``. msgspec finds these in its own structures; and dataclasses find lists.
    """
    for part in all_parts_of(info):
        if isinstance(part, (types.DataclassType, types.NamedTupleType)):
            for field in part.fields:
                if field.default is not NODEFAULT and not _cannot_change(field.default):
                    return f"{part.cls.__name__}.{field.name}"
    return None
