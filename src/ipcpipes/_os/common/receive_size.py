"""The size and the memory of a receive; the same on every system."""

from __future__ import annotations

_DEFAULT = 64 * 1024
# The buffer is allocated before data arrives, so its size is limited. One receive seldom returns
# more than this.
_LARGEST = 256 * 1024

RECEIVE_INTERRUPTED = "an earlier receive was interrupted, and some received data is lost"
"""The error text of every later receive, after a signal handler's exception has made the result of
a receive unknown.
"""


def receive_size(max_bytes: int | None) -> int:
    """Returns how many bytes one receive asks the system for.

    Raises:
        TypeError: ``max_bytes`` is neither an int nor ``None``.
        ValueError: ``max_bytes`` is less than 1.
    """
    if max_bytes is None:
        return _DEFAULT
    if type(max_bytes) is int and 1 <= max_bytes <= _LARGEST:  # for speed
        return max_bytes
    if not isinstance(max_bytes, int):
        raise TypeError(f"max_bytes must be an int or None, not {max_bytes!r}")
    if max_bytes < 1:
        raise ValueError(f"max_bytes must be at least 1, not {max_bytes}")
    return min(max_bytes, _LARGEST)


def writable_bytes(buffer: bytearray | memoryview) -> memoryview:
    """Returns a view, in bytes, of the memory that the caller of ``receive_into`` passes.

    Raises:
        TypeError: ``buffer`` is not a bytes-like object.
        ValueError: ``buffer`` is read-only, not contiguous, or empty.
    """
    view = memoryview(buffer)
    if view.readonly or not view.c_contiguous or not view.nbytes:
        raise ValueError("the buffer must be writable, contiguous and hold one byte or more")
    return view.cast("B")
