"""A listener without an event loop over another listener."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._os.common.opened import OpenNumbers
from ..abc.uncopied import Uncopied
from ..opening import ListenerWrapper
from . import abc


class WrappingListener(ListenerWrapper, Uncopied, abc.Listener[Any]):
    """The base of a listener that owns the listener below. A subclass decides what to make of its
    connections.
    """

    _instead = "to serve one endpoint from several processes, use a WorkerGroup"

    def _take_turn(self, taken: list[Callable[[], object]]) -> None:
        self._below._take_turn(taken)

    def _after_turn(self) -> None:
        self._below._after_turn()

    def _is_ready(self) -> bool:
        return bool(self._below._is_ready())

    def _watched(self, opened: OpenNumbers) -> Any:
        return self._below._watched(opened)

    def _wake_within(self) -> float | None:
        seconds: float | None = self._below._wake_within()
        return seconds

    def close(self) -> None:
        self._below.close()
