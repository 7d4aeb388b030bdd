"""Windows: from an address, or a connected instance, to what code holds."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ...endpoint import Endpoint
from ...errors import EndpointError, connect_error, untrusted_error
from ...options import Impersonation
from . import calls, inheritance as inherited
from .opened import Opened
from .trio import packets, pipe as anonymous, stream as streams, synchronous

assert sys.platform == "win32" or not TYPE_CHECKING

Kind = Literal["duplex", "send", "receive", "messages"]
ConnectionT = TypeVar(
    "ConnectionT", streams.Stream, streams.SendStream, streams.ReceiveStream, packets.Packets
)
# Any: that the kind and the type go together is said once, in the overloads of the doors.
Connections = Mapping[str, Any]
TRIO: Connections = {
    "duplex": streams.Stream,
    "send": streams.SendStream,
    "receive": streams.ReceiveStream,
    "messages": packets.Packets,
    "anonymous send": anonymous.SendStream,
    "anonymous receive": anonymous.ReceiveStream,
    "synchronous send": synchronous.SendStream,
    "synchronous receive": synchronous.ReceiveStream,
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
    """Connects at once; ``waited`` is for the message of the error. The listener's
    ``buffer_size`` holds for both ends, so that the client's goes unused.
    """
    if endpoint.kind == "inherited":
        handle = inherited.claim(endpoint, kind)
        with Opened(handle) as opened:
            if kind in ("send", "receive"):
                way = "synchronous" if calls.is_synchronous(handle) else "anonymous"
                return connections[f"{way} {kind}"](opened, endpoint)
            where = inherited.address_of(handle)
            return connections[kind](opened, endpoint, where, server_end=False)
    address = calls.resolve(endpoint)
    with Opened() as opened:
        handle = calls.open_pipe(opened, address, kind, impersonation)
        if handle < 0:
            raise connect_error("winerror", -handle, endpoint, address, waited=waited)
        if trusts is not None:
            _require_trusted(handle, trusts, endpoint, address)
        return connections[kind](opened, endpoint, address, server_end=False)


def _require_trusted(
    handle: int, trusts: calls.ServerCheck, endpoint: Endpoint, address: str
) -> None:
    """Raises unless we trust the owner of the pipe."""
    try:
        owner = calls.owner(handle)
        if not trusts(owner.sid or ""):
            raise untrusted_error(endpoint, address, owner)
    except EndpointError:
        raise
    except OSError as error:
        calls.require_system_error(error)
        raise connect_error("winerror", error.winerror or -1, endpoint, address) from None


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
        # The system would name the process that opened the pipe: this one.
        where = f"handle {endpoint.name}"
        return connections[kind](opened, endpoint, where, server_end=True, process=pid)


def still_receives(carrier: object) -> bool:
    """Whether a peer that sends no more has ended only that half: a pipe has no halves."""
    return False
