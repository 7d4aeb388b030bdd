"""Finds the messages in received bytes, each of which follows its length, in C."""

from __future__ import annotations

from .._ffi import ffi, lib

__all__ = ["CAPACITY", "find"]

# How many messages one call into C can find: 16 KiB of numbers during the call.
CAPACITY = 1024
_new_found = ffi.new_allocator(should_clear_after_alloc=False)


def find(
    data: bytes, position: int, width: int, max_size: int, *, big_endian: bool = False
) -> list[int]:
    """Finds messages that are complete, :data:`CAPACITY` at most.

    Args:
        position: where the length of the first message begins.
        width: the bytes of a length: 1, 2, 4 or 8.
        max_size: the largest message, in bytes; the search ends before a larger one.

    Returns:
        Where the search ended; the length of the message there, 2**64 - 1 if that is not known; and
        then the start and the end of each message that was found.
    """
    capacity = min(CAPACITY, (len(data) - position) // width)
    found = _new_found("uint64_t[]", 2 + 2 * capacity)
    count = lib.ipc_split(data, position, len(data), width, big_endian, max_size, found, capacity)
    numbers: list[int] = ffi.unpack(found, 2 + 2 * count)  # type: ignore[assignment]
    return numbers
