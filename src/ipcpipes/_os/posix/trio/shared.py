"""POSIX: one listening socket from which several processes accept."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ....endpoint import Endpoint
from ...common.listening import ListenOptions
from .. import calls, listening, standard_numbers as standard
from . import listener as listeners, stream as streams

assert sys.platform != "win32" or not TYPE_CHECKING


class SharedName:
    """A name and its listening socket, for the children that inherit the socket. Clients wait in
    its queue until a child accepts them.
    """

    def __init__(self, endpoint: Endpoint, permissions: calls.Permissions, backlog: int) -> None:
        self._listener: listeners.Listener[streams.Stream] = listening.listen(
            listeners.Listener, endpoint, permissions=permissions, backlog=backlog
        )

    def copies(self) -> dict[str, int]:
        """Returns the descriptors that a child inherits, by name. The caller owns them, so that
        closing this object does not disturb the start of a child.
        """
        return {"listener": standard.lifted(os.dup(self._listener._fd))}

    def close(self) -> None:
        """Releases the name. Idempotent."""
        self._listener._close()


def join_shared(
    endpoint: Endpoint, number: str | None, permissions: calls.Permissions, backlog: int
) -> listeners.Listener[streams.Stream]:
    """Makes a listener of this process beside the listeners of other processes.

    Args:
        endpoint: the endpoint that the processes share.
        number: the number of the inherited socket.
    """
    assert number is not None
    options = ListenOptions(permissions, backlog)
    return listening.adopt(listeners.Listener, endpoint, Endpoint.inherited(number), options)
