"""The heads of the arrays in which the values of a stream are sent (the MessagePack specification,
"Array format family").
"""

from __future__ import annotations

import struct

from ..errors import ProtocolError

__all__ = ["LARGEST_HEAD", "content_of", "head_of"]

LARGEST_HEAD = 5
"""The largest head, in bytes."""

_FIX, _MOST_FIX = 0x90, 15
_ARRAY_16, _ARRAY_32 = 0xDC, 0xDD
_head_16 = struct.Struct(">BH")
_head_32 = struct.Struct(">BI")


def head_of(count: int) -> bytes:
    """Returns the head of an array with so many values."""
    if count <= _MOST_FIX:
        return bytes((_FIX + count,))
    if count < 2**16:
        return _head_16.pack(_ARRAY_16, count)
    return _head_32.pack(_ARRAY_32, count)


def content_of(batch: memoryview) -> tuple[int, memoryview]:
    """Returns how many values an array announces, and the values, which are not checked. No octets
    at all are no values.

    Raises:
        ProtocolError: it is not an array, or announces more values than it has octets.
    """
    if not batch:
        return 0, batch
    first = batch[0]
    if _FIX <= first <= _FIX + _MOST_FIX:
        count, content = first - _FIX, batch[1:]
    elif first == _ARRAY_16 and len(batch) >= _head_16.size:
        count, content = _head_16.unpack_from(batch)[1], batch[_head_16.size :]
    elif first == _ARRAY_32 and len(batch) >= _head_32.size:
        count, content = _head_32.unpack_from(batch)[1], batch[_head_32.size :]
    else:
        raise ProtocolError("the body of STREAM is not an array")
    if count > len(content):
        raise ProtocolError(f"STREAM announces {count:,} values in {len(content):,} octets")
    return count, content
