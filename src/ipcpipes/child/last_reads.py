"""Decides when to stop reading the data of a process after the process has ended."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

ReadT = TypeVar("ReadT")

_PATIENCE = 0.5  # seconds without anything


class LastReads:
    """Reads from a pipe of a child until a moment after the end of the child.

    The pipe may stay open when the child has ended: a process that the child has started may have
    inherited it, and may continue to send. When the child has ended, the rest of its data is in the
    pipe, and the next reads return it. More than that comes from another process.

    Args:
        most: the largest number of reads after the end of the child.
    """

    def __init__(self, most: int) -> None:
        self._reads_left = most
        self._has_ended = False
        self._waiting = trio.CancelScope()

    def child_ended(self) -> None:
        self._has_ended = True
        self._waiting.deadline = trio.current_time() + _PATIENCE

    async def read(self, receive: Callable[[], Awaitable[ReadT]]) -> ReadT | None:
        """Returns what ``receive`` returns; ``None`` if there is nothing left of the child."""
        for _ in range(2):
            with trio.CancelScope(deadline=self._deadline()) as self._waiting:
                return await receive()
            # Other tasks may have used up the time, so this reads once more.
        return None

    def _deadline(self) -> float:
        if not self._has_ended:
            return math.inf
        self._reads_left -= 1
        return trio.current_time() + _PATIENCE if self._reads_left > 0 else -math.inf
