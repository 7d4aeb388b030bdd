"""A listener without an event loop over another listener."""

from __future__ import annotations

from typing import Any

from ..abc.uncopied import Uncopied
from ..opening import ListenerWrapper
from . import abc


class WrappingListener(ListenerWrapper, Uncopied, abc.Listener[Any]):
    """The base of a listener that owns the listener below. A subclass decides what to make of its
    connections.
    """

    _instead = "to serve one endpoint from several processes, use a WorkerGroup"

    def close(self) -> None:
        self._below.close()
