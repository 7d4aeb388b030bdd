"""Checks a MessagePack value before it is decoded: how much work its keys can cause."""

from __future__ import annotations

from .._ffi import ffi, lib

__all__ = ["ITEMS_OF_ARRAYS", "TEXTS", "may_collide"]

ITEMS_OF_ARRAYS: int = lib.IPC_ITEMS_OF_ARRAYS
"""Sets may be made of the arrays, so that their items are keys too."""
TEXTS: int = lib.IPC_TEXTS
"""Keys may be made of texts and bytes whose hashes are not those of the texts."""


def may_collide(octets: memoryview, flags: int, most: int) -> bool:
    """Whether the total cost of the keys is more than ``most``. The cost of one map is the square
    of the sum of the weights of its keys. A number weighs 1, a map 32, and any other key 16; a map
    of 8 keys or fewer costs nothing.

    If the octets end inside a value, the part before that is counted.

    Args:
        flags: which other values count as keys.

    Raises:
        ValueError: the value is nested more than 2,048 levels deep.
    """
    found = lib.ipc_may_collide(ffi.from_buffer(octets), len(octets), flags, most)
    if found < 0:
        raise ValueError("the MessagePack value is nested too deeply")
    return bool(found)
