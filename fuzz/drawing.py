"""Decisions that are read one after the other from the bytes of the fuzzer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import TypeVar

T = TypeVar("T")


class Drawing:
    """Reads decisions from bytes; after the last byte, each decision is the first choice."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def more(self) -> bool:
        return self._position < len(self._data)

    def take(self, size: int) -> bytes:
        """Returns the next ``size`` bytes, or those that are left."""
        start = self._position
        self._position = min(start + size, len(self._data))
        return self._data[start : self._position]

    def number(self, size: int = 1) -> int:
        """Returns the next ``size`` bytes as a number."""
        return int.from_bytes(self.take(size), "little")

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[self.number() % len(choices)]


def cut(data: bytes, sizes: Sequence[int], most: int) -> Iterator[bytes]:
    """Yields the data in parts of these sizes, and the rest in parts of ``most``."""
    position = 0
    for size in chain(sizes, repeat(most)):
        if position >= len(data):
            return
        yield data[position : position + size]
        position += size


def filling(size: int) -> bytes:
    """Returns bytes that differ when some are missing or in another place."""
    return (_RAMP * (size // len(_RAMP) + 1))[:size]


_RAMP = bytes(range(251))
