"""The data that is sent when the user gives none. Pure, and the same in every run."""

from __future__ import annotations

import random

__all__ = ["SEED", "SIZES", "chunks", "message", "pool"]

SEED = 1
SIZES = (1, 64, 2**10, 2**14, 2**16, 2**20)

_SHIFTS = 251  # prime, so that no size falls in step with it


def message(data: bytes, size: int, turn: int) -> bytes:
    """The message of this size in this turn. Its neighbours differ from it, so that one which
    comes back twice or too late is noticed.

    Args:
        data: from :func:`pool`.
    """
    start = turn % _SHIFTS
    return data[start : start + size]


def pool() -> bytes:
    """What the messages are cut from; no byte pattern repeats in it."""
    return random.Random(SEED).randbytes(max(SIZES) + _SHIFTS)


def chunks(data: bytes, size: int) -> list[bytes]:
    """The pieces of a stream without an end, to be sent in turn.

    Args:
        data: from :func:`pool`.
    """
    return [data[start : start + size] for start in range(0, len(data) - size + 1, size)]
