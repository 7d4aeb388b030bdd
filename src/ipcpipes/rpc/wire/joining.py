"""Frames as they are sent over a stream."""

from __future__ import annotations

import struct
from collections.abc import Sequence

__all__ = ["joined"]

_pack = struct.Struct("<I").pack


def joined(frames: Sequence[bytes], more: int = 0) -> bytes:
    """Joins the frames, each after its length in four bytes.

    Args:
        more: how many bytes of the last frame follow separately.
    """
    if len(frames) == 1:
        return _pack(len(frames[0]) + more) + frames[0]
    parts: list[bytes] = []
    for frame in frames:
        parts += (_pack(len(frame)), frame)
    parts[-2] = _pack(len(frames[-1]) + more)
    return b"".join(parts)
