"""POSIX: from an address, or an accepted descriptor, to what code holds."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ...endpoint import Endpoint
from ...errors import (
    EndpointError,
    EndpointNotFound,
    NotAnEndpoint,
    NotSupported,
    connect_error,
    untrusted_error,
)
from ...options import Impersonation
from . import address as places, calls, impersonation as impersonating, inheritance as inherited
from .opened import Opened
from .trio import packets, pipe as anonymous, stream as streams

assert sys.platform != "win32" or not TYPE_CHECKING

# More in flight for each wake-up of the receiver: without it, bulk data moves at half the speed.
# Systems clamp it (Linux: to twice net.core.wmem_max); the memory is taken only while in use.
DEFAULT_BUFFER_SIZE = 512 * 1024

Kind = Literal["duplex", "send", "receive", "messages"]
ConnectionT = TypeVar(
    "ConnectionT", streams.Stream, streams.SendStream, streams.ReceiveStream, packets.Packets
)
_NO_SERVER = (-errno.ENOENT, -errno.ECONNREFUSED)
# The errors for a file that is not a socket: of Linux, of Linux without rights to it, of macOS.
_NO_SOCKET = (errno.ECONNREFUSED, errno.EACCES, errno.ENOTSOCK)
# Any: that the kind and the type go together is said once, in the overloads of the doors.
Connections = Mapping[str, Any]
TRIO: Connections = {
    "duplex": streams.Stream,
    "send": streams.SendStream,
    "receive": streams.ReceiveStream,
    "messages": packets.Packets,
    "anonymous send": anonymous.SendStream,
    "anonymous receive": anonymous.ReceiveStream,
}


def connect(
    endpoint: Endpoint,
    *,
    kind: Kind,
    buffer_size: int | None,
    waited: float,
    trusts: calls.ServerCheck | None = None,
    impersonation: Impersonation = "identify",
    connections: Connections = TRIO,
) -> Any:
    """Connects at once; ``waited`` is for the message of the error."""
    check_kind(kind)
    if endpoint.kind == "inherited":
        return _take_over_inherited(connections, endpoint, kind, buffer_size)
    address = places.resolve(endpoint)
    packets = kind == "messages"
    with Opened() as opened:
        fd = _open(opened, endpoint, address, packets, impersonation)
        if fd in _NO_SERVER:
            # It may have been started with another environment.
            others = places.elsewhere(endpoint, address)
            for other in others:
                found = -errno.ENOENT
                if places.is_safe(endpoint, other):
                    found = _open(opened, endpoint, other, packets, impersonation)
                if found not in _NO_SERVER:
                    fd, address = found, other
                    break
            else:
                raise _refusal(-fd, endpoint, address, waited, others)
        if fd < 0:
            raise _refusal(-fd, endpoint, address, waited)
        server = None
        try:
            if trusts is not None:
                server = _trusted_server(fd, trusts, endpoint, address)
            return take_over(
                connections, opened, endpoint, address, kind, buffer_size, None, server
            )
        except EndpointError:
            raise
        except OSError as error:
            calls.require_system_error(error)
            code = error.errno or errno.EIO
            raise connect_error("errno", code, endpoint, calls.readable(address)) from None


def _open(
    opened: Opened,
    endpoint: Endpoint,
    address: bytes,
    packets: bool,
    impersonation: Impersonation,
) -> int:
    """A connected descriptor, which is in ``opened``; or ``-errno``."""
    try:
        places.check_directory_safety(endpoint, address, create=False)
    except EndpointNotFound:
        # No server has made the directory yet. Not to be tried all the same: somebody else
        # could make it just now.
        return -errno.ENOENT
    source = impersonating.source(impersonation)
    return calls.connect(opened, address, packets=packets, source=source)


def _refusal(
    code: int, endpoint: Endpoint, address: bytes, waited: float, others: Sequence[bytes] = ()
) -> EndpointError:
    where = calls.readable(address)
    if code in _NO_SOCKET and address[:1] != b"\0":
        try:
            mode = os.stat(address).st_mode
        except OSError as error:
            calls.require_system_error(error)  # it cannot be examined either, or it has gone
        else:
            if not stat.S_ISSOCK(mode):
                advice = f"this is {places.kind_of_file(mode)}, not a socket; give a server's path"
                return NotAnEndpoint(endpoint, where, advice, code)
    elsewhere = [calls.readable(other) for other in others]
    return connect_error("errno", code, endpoint, where, waited=waited, elsewhere=elsewhere)


def _trusted_server(
    fd: int, trusts: calls.ServerCheck, endpoint: Endpoint, address: bytes
) -> calls.Credentials:
    """Who called listen(2), if it is somebody we trust."""
    server = calls.peer_credentials(fd)
    if not trusts(server):
        raise untrusted_error(endpoint, calls.readable(address), server.identity(fd))
    return server


def _take_over_inherited(
    connections: Connections, endpoint: Endpoint, kind: Kind, buffer_size: int | None
) -> Any:
    fd, is_pipe = inherited.claim(endpoint, kind)
    with Opened(fd) as opened:
        if is_pipe:
            return connections[f"anonymous {kind}"](opened, endpoint)
        address = inherited.address_of(fd)
        return take_over(connections, opened, endpoint, address, kind, buffer_size, None)


def parent_end(
    number: int,
    endpoint: Endpoint,
    kind: Kind,
    pid: int,
    *,
    connections: Connections = TRIO,
) -> Any:
    """Our end of a pair; process ``pid`` finds the other one at ``endpoint``."""
    with Opened(number) as opened:
        if kind in ("send", "receive"):
            return connections[f"anonymous {kind}"](opened, endpoint)
        # The credentials of a socketpair(2) are those of who made it: of us.
        child = calls.UnknownPeer(pid)
        address = b"descriptor " + endpoint.name.encode()
        return take_over(connections, opened, endpoint, address, kind, None, None, child)


def check_kind(kind: Kind) -> None:
    if kind == "messages" and sys.platform != "linux":
        raise NotSupported(
            "this system has no sockets that keep messages apart (SOCK_SEQPACKET for AF_UNIX); "
            "LengthPrefixed(), the default framing, works on every system"
        )


def take_over(
    connections: Connections,
    opened: Opened,
    endpoint: Endpoint,
    address: bytes,
    kind: Kind,
    buffer_size: int | None,
    owner: object,
    credentials: calls.Credentials | calls.UnknownPeer | None = None,
) -> Any:
    """Takes the descriptor in ``opened`` over: it belongs to what is returned, or stays there."""
    fd = opened.numbers[-1]
    calls.hint_buffer_size(fd, DEFAULT_BUFFER_SIZE if buffer_size is None else buffer_size)
    if kind == "messages":
        calls.ask_credentials(fd)
    else:
        calls.keep_urgent_inline(fd)
    if credentials is None:
        credentials = (
            inherited.credentials(fd)
            if endpoint.kind == "inherited"
            else calls.peer_credentials(fd)
        )
    return connections[kind](opened, endpoint, address, credentials, owner)


def still_receives(carrier: object) -> bool:
    """Whether a peer that sends no more has ended only that half (shutdown(2)). Where the carrier
    is no connection of ours, the peer is taken to have gone.
    """
    if not isinstance(carrier, (streams.Stream, packets.Packets)):
        return False
    return calls.peer_left(carrier._fd) == 0
