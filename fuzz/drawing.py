"""Decisions, taken from the fuzzer's bytes one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import TypeVar

T = TypeVar("T")


class Drawing:
    """Takes decisions from bytes; when they are used up, each is the first there is."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def more(self) -> bool:
        return self._position < len(self._data)

    def octets(self, size: int) -> bytes:
        """So many, or those that are left."""
        start = self._position
        self._position = min(start + size, len(self._data))
        return self._data[start : self._position]

    def number(self, size: int = 1) -> int:
        """What so many octets say."""
        return int.from_bytes(self.octets(size), "little")

    def one_of(self, choices: Sequence[T]) -> T:
        return choices[self.number() % len(choices)]


def cut(octets: bytes, sizes: Sequence[int], most: int) -> Iterator[bytes]:
    """The octets in parts of these sizes, and the rest in parts of the most there may be."""
    position = 0
    for size in chain(sizes, repeat(most)):
        if position >= len(octets):
            return
        yield octets[position : position + size]
        position += size


def filling(size: int) -> bytes:
    """Octets that show when some of them are missing, or in another place."""
    return (_RAMP * (size // len(_RAMP) + 1))[:size]


_RAMP = bytes(range(251))
