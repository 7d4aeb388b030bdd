"""What a program gives to :meth:`.Endpoint.from_socket`: a socket or a number of its own, which the
program owns until a connection or a listener takes it over.
"""

from __future__ import annotations

import errno
import socket
from contextlib import suppress

from ...endpoint import Endpoint
from ...errors import EndpointNotFound
from .opened import OpenNumbers

__all__ = ["require_given", "take_given"]

_GONE = "it was taken over before, closed or detached"


def require_given(endpoint: Endpoint, where: str) -> None:
    """Raises:
    EndpointNotFound: what was given was taken over before, or is no longer open.
    """
    given = endpoint._given
    is_there = given.fileno() != -1 if isinstance(given, socket.socket) else given
    if not is_there:
        raise EndpointNotFound(endpoint, where, _GONE, errno.EBADF)


def take_given(opened: OpenNumbers, endpoint: Endpoint, where: str) -> None:
    """Moves the number from its owner to ``opened``, in one step.

    Raises:
        EndpointNotFound: another thread was faster.
    """
    given = endpoint._given
    number = -1
    if isinstance(given, socket.socket):
        # The method of socket.socket is a Python function, in which a signal handler could raise
        # after the number was taken out of the socket.
        number = opened.open(super(socket.socket, given).detach)
        given.detach()  # there is nothing left to detach: this marks the socket as closed
    else:
        with suppress(IndexError):
            number = opened.open(list.pop, given)
    if number < 0:
        raise EndpointNotFound(endpoint, where, _GONE, errno.EBADF)
