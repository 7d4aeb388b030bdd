"""Decoders of what a client sends, with the limits that msgspec does not have."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeAlias

from ...framing.messagepack import check_depth
from .collisions import SHORT, key_limit_of
from .type_parts import can_nest

__all__ = ["Decode", "limited"]

Decode: TypeAlias = Callable[[bytes | memoryview], Any]


def limited(decode: Decode, types: Collection[Any]) -> Decode:
    """Returns a decoder that refuses data with too many levels, or with too many keys whose hashes
    a client can make collide.

    Args:
        decode: the decoder of msgspec.
        types: what it decodes.
    """
    limit = key_limit_of(types)
    if limit is not None:
        return _checked(limit.check, decode)
    return _checked(check_depth, decode) if can_nest(types) else decode


def _checked(check: Callable[[bytes | memoryview], None], decode: Decode) -> Decode:
    def decode_checked(encoded: bytes | memoryview) -> Any:
        if len(encoded) > SHORT:
            check(encoded)
        return decode(encoded)

    return decode_checked
