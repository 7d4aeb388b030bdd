"""Checks that values of a type can be sent."""

from __future__ import annotations

from typing import Any

import msgspec

from ..errors import BrokenRule
from .defaults import shared_default
from .type_parts import all_parts_of

__all__ = ["check_sendable"]


def check_sendable(annotation: Any) -> None:
    """Raises:
    BrokenRule: values of this type cannot be sent, or would share a default.
    """
    try:
        info = msgspec.inspect.type_info(annotation)
    except Exception as error:
        raise BrokenRule("types", f"msgspec does not support it: {error}") from None
    for part in all_parts_of(info):
        if isinstance(part, msgspec.inspect.CustomType):
            name = getattr(part.cls, "__name__", str(part.cls))
            cure = "use a dataclass, a msgspec.Struct or a TypedDict"
            raise BrokenRule("types", f"{name} cannot be sent; {cure}")
    shared = shared_default(info)
    if shared is not None:
        raise BrokenRule(
            "types",
            f"the default of {shared} is mutable, and all calls would share it; use a "
            "dataclass with default_factory, or None",
        )
