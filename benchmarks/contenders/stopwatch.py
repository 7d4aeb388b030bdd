"""Measures the time of a part of a round."""

from __future__ import annotations

import time


class Stopwatch:
    """Adds up the seconds from each :meth:`start` to its :meth:`stop`."""

    def __init__(self) -> None:
        self._total = 0.0
        self._started = 0.0

    def start(self) -> None:
        self._started = time.perf_counter()

    def stop(self) -> None:
        self._total += time.perf_counter() - self._started

    def total(self) -> float:
        return self._total
