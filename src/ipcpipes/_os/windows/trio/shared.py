"""Windows: a pipe name of which several processes make instances."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ....endpoint import Endpoint
from ....errors import connect_error, in_use_error, untrusted_error
from .. import calls, listening as instances
from ..opened import Opened
from . import listener as listeners, stream as streams

assert sys.platform == "win32" or not TYPE_CHECKING


class SharedName:
    """Holds a name and accepts no clients. Clients find the instances that children make; while
    there are none, the server is busy.
    """

    def __init__(self, endpoint: Endpoint, permissions: calls.Permissions, backlog: int) -> None:
        address = calls.resolve(endpoint)
        # An instance and its client end: an instance has one client at most, so no other client can
        # connect to this one.
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
        """Returns the handles that a child inherits, by name. There are none, because no handle
        listens.
        """
        return {}

    def close(self) -> None:
        """Releases the name. Idempotent."""
        self._opened.close()


def join_shared(
    endpoint: Endpoint, number: str | None, permissions: calls.Permissions, backlog: int
) -> listeners.Listener[streams.Stream]:
    """Makes a listener of this process at an endpoint where other processes listen too.

    Args:
        number: always ``None``; POSIX has a descriptor to inherit.
    """
    listener = instances.listen(
        listeners.Listener[streams.Stream],
        endpoint,
        permissions=permissions,
        backlog=backlog,
        is_shared=True,
    )
    # All instances have the owner and access list of the first one. If the parent has ended,
    # another user may have made that one.
    try:
        owner = calls.owner(listener._waiting[0].number)
        if owner.sid not in calls.owners_of_ours(endpoint):
            raise untrusted_error(endpoint, listener.address, owner)
    except BaseException:
        listener._close()
        raise
    return listener
