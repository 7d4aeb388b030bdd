"""Frames as they are sent over a stream."""

from __future__ import annotations

from collections.abc import Sequence

from .format import pack_length

__all__ = ["joined"]


def joined(frames: Sequence[bytes], more: int = 0) -> bytes:
    """Joins the frames, each after its length in four bytes.

    Args:
        more: how many bytes of the last frame follow separately.
    """
    if len(frames) == 1:
        return pack_length(len(frames[0]) + more) + frames[0]
    parts: list[bytes] = []
    for frame in frames:
        parts += (pack_length(len(frame)), frame)
    parts[-2] = pack_length(len(frames[-1]) + more)
    return b"".join(parts)
