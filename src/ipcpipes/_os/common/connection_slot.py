"""The count of a listener's open connections; the same on every system and driver."""

from __future__ import annotations

from typing import Any

__all__ = ["ConnectionSlot"]


class ConnectionSlot:
    """One open connection of a listener. It is in the listener's set as long as the connection is
    open; the size of the set is the number of connections.

    A counter could be wrong after a signal handler has raised during an accept: it is unknown
    whether the counter was already incremented, and whether a connection exists that will decrement
    it. Adding to a set and discarding from it are single, idempotent steps.
    """

    __slots__ = ("_listener", "_taken")

    def __init__(self, listener: Any, taken: set[ConnectionSlot]) -> None:
        self._listener = listener
        self._taken = taken

    def released(self, *handle: int) -> None:
        """The connection calls this when it is closed. In the blocking driver, this can run in any
        thread, in a signal handler or in a finalizer.

        Args:
            handle: on Windows, the handle of the connection, which the listener closes.
        """
        self._taken.discard(self)
        self._listener.released(*handle)

    def released_elsewhere(self, *handle: int) -> None:
        """Does the same as :meth:`released`. The finalizers of trio's connections call this."""
        self._taken.discard(self)
        self._listener.released_elsewhere(*handle)
