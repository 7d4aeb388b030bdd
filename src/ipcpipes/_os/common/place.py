"""A place among the connections that a listener allows; the same on every system and driver."""

from __future__ import annotations

from typing import Any

__all__ = ["Place"]


class Place:
    """What owns one accepted stream: in the listener's set as long as the stream is open.

    The listener counts its streams by this set. A number would be wrong after an accept that an
    exception of a signal handler has ended: the handler may run before the number was changed or
    after it, and before there is a stream, which takes it back, or after it. To add to a set and
    to discard from it are one step each, and both are idempotent.
    """

    __slots__ = ("_listener", "_taken")

    def __init__(self, listener: Any, taken: set[Place]) -> None:
        self._listener = listener
        self._taken = taken

    def released(self, *handle: int) -> None:
        """The stream is closed. See the owners of the streams, one for each system and driver."""
        self._taken.discard(self)
        self._listener.released(*handle)

    def released_elsewhere(self, *handle: int) -> None:
        """The same, from a finalizer."""
        self._taken.discard(self)
        self._listener.released_elsewhere(*handle)
