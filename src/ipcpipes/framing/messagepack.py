"""A look at a MessagePack value before anything is made of it: how much work its keys can make."""

from __future__ import annotations

from .._ffi import ffi, lib

__all__ = ["ITEMS_OF_ARRAYS", "TEXTS", "may_collide"]

ITEMS_OF_ARRAYS: int = lib.IPC_ITEMS_OF_ARRAYS
"""Sets may be made of the arrays, so that their items are keys too."""
TEXTS: int = lib.IPC_TEXTS
"""Keys may be made of texts and bytes whose hashes are not those of the texts."""


def may_collide(octets: memoryview, flags: int, most: int) -> bool:
    """Whether the squares of what the keys of each map weigh are more than ``most`` in all: 1 for a
    number, 32 for a map, 16 for what is neither; those of a map of 8 keys or fewer do not count.

    Of what is no whole value, what comes before that is counted.

    Args:
        flags: what else are keys.

    Raises:
        ValueError: it is nested too deeply, by more than 2,048 levels.
    """
    found = lib.ipc_may_collide(ffi.from_buffer(octets), len(octets), flags, most)
    if found < 0:
        raise ValueError("the MessagePack value is nested too deeply")
    return bool(found)
