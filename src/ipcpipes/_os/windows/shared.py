"""Windows: one pipe of which several processes make instances."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ...endpoint import Endpoint
from ...errors import connect_error, in_use_error, untrusted_error
from ..common.accept_status import AcceptStatus
from . import calls, listening as instances
from .opened import Opened
from .trio import listener as listeners, stream as streams

assert sys.platform == "win32" or not TYPE_CHECKING


class SharedName:
    """A name that is held, and takes no clients: they find the instances that children make, or
    hear that the server has no room while there are none.
    """

    def __init__(self, endpoint: Endpoint, permissions: calls.Permissions, backlog: int) -> None:
        address = calls.resolve(endpoint)
        # The instance, and its client: an instance that has one cannot have another one.
        self._opened = Opened()
        result = calls.create_instance(
            self._opened,
            address,
            first=True,
            kind="duplex",
            buffer_size=instances.DEFAULT_BUFFER_SIZE,
            permissions=permissions.at(endpoint),
        )
        if -result in (calls.ERROR_ACCESS_DENIED, calls.ERROR_PIPE_BUSY):
            raise in_use_error(endpoint, address, None)
        if result >= 0:
            result = calls.open_pipe(self._opened, address, "duplex")
        if result < 0:
            self._opened.close()
            raise connect_error("winerror", -result, endpoint, address)

    def copies(self) -> dict[str, int]:
        """What a child inherits, by name: nothing, because nothing listens by a handle."""
        return {}

    def close(self) -> None:
        """Gives the name up. Idempotent."""
        self._opened.close()


def join_shared(
    endpoint: Endpoint, number: str | None, permissions: calls.Permissions, backlog: int
) -> listeners.Listener[streams.Stream]:
    """A listener of this process beside those of others.

    Args:
        endpoint: the shared one.
        number: ``None``.
    """
    listener = instances.listen(
        listeners.Listener[streams.Stream],
        endpoint,
        kind="duplex",
        max_instances=None,
        backlog=backlog,
        buffer_size=None,
        permissions=permissions,
        is_shared=True,
    )
    # The first instance's owner and access list are those of all. If our parent has ended, somebody
    # else may have made it.
    owner = calls.owner(listener._waiting[0].number)
    if owner.sid not in calls.owners_of_ours(endpoint):
        listener._close()
        raise untrusted_error(endpoint, listener.address, owner)
    return listener


def accept_waiting(
    listener: listeners.Listener[streams.Stream], limit: int
) -> list[streams.Stream]:
    """Those who have come already, ``limit`` at most. Nobody else may be accepting."""
    found: list[streams.Stream] = []
    while len(found) < limit:
        stream = listener._try_accept()
        if isinstance(stream, AcceptStatus):
            break
        found.append(stream)
    return found
