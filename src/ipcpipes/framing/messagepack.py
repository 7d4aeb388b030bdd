"""Checks of an encoded MessagePack value before it is decoded: depth, and the cost of its keys."""

from __future__ import annotations

from .._ffi import ffi, lib

__all__ = [
    "DEEPEST",
    "ITEMS_OF_ARRAYS",
    "NO_LIMIT",
    "TEXTS",
    "TooDeep",
    "check_depth",
    "may_collide",
]

DEEPEST: int = lib.IPC_DEEPEST
"""How many levels of arrays and maps a value may have; empty ones do not count. msgspec has no such
option. Python's own limit depends on its version: 1,000 levels together with the stack of the
caller (3.10, 3.11), some thousands (3.12, 3.13), or as many as the thread's stack holds (3.14).
"""
ITEMS_OF_ARRAYS: int = lib.IPC_ITEMS_OF_ARRAYS
"""A flag: the decoder may make sets of arrays, so the items of arrays count as keys too."""
TEXTS: int = lib.IPC_TEXTS
"""A flag: the decoder may make keys of text or bytes whose hashes differ from those of the text."""
NO_LIMIT = 2**64 - 1
"""The cost that keys may have where only the depth is limited."""


class TooDeep(ValueError):
    """A value has more than :data:`DEEPEST` levels."""


def check_depth(encoded: bytes | memoryview) -> None:
    """Raises:
    TooDeep: the value has more than :data:`DEEPEST` levels.
    """
    # Each level takes at least one byte.
    if len(encoded) > DEEPEST:
        may_collide(encoded, 0, NO_LIMIT)


def may_collide(encoded: bytes | memoryview, flags: int, most: int) -> bool:
    """Whether the total cost of the keys is more than ``most``. The cost of one map is the square
    of the sum of the weights of its keys. A number weighs 1, a map 32, and any other key 16; a map
    of 8 keys or fewer costs nothing.

    If the bytes end inside a value, the part before that is counted.

    Args:
        flags: which other values count as keys.

    Raises:
        TooDeep: the value has more than :data:`DEEPEST` levels.
    """
    found = lib.ipc_may_collide(ffi.from_buffer(encoded), len(encoded), flags, most)
    if found < 0:
        raise TooDeep(f"the MessagePack value has more than {DEEPEST} levels of arrays and maps")
    return bool(found)
