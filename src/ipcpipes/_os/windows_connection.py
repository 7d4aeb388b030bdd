"""Windows: from an address, or a connected instance, to what code holds."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ..endpoint import Endpoint
from ..errors import EndpointError, connect_error, untrusted_error
from ..options import Impersonation
from . import (
    windows_anonymous as anonymous,
    windows_calls as calls,
    windows_inherited as inherited,
    windows_packets as packets,
    windows_synchronous as synchronous,
    windows_trio as streams,
)

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
        if kind in ("send", "receive"):
            way = "synchronous" if calls.is_synchronous(handle) else "anonymous"
            return connections[f"{way} {kind}"](handle, endpoint)
        return connections[kind](handle, endpoint, inherited.address_of(handle), server_end=False)
    address = calls.resolve(endpoint)
    code, handle = calls.open_pipe(address, kind, impersonation)
    if code != 0:
        raise connect_error("winerror", code, endpoint, address, waited=waited)
    if trusts is not None:
        try:
            owner = calls.owner(handle)
            if not trusts(owner.sid or ""):
                raise untrusted_error(endpoint, address, owner)
        except BaseException as error:
            calls.close(handle)
            if not isinstance(error, OSError) or isinstance(error, EndpointError):
                raise
            raise connect_error("winerror", error.winerror or -1, endpoint, address) from None
    return connections[kind](handle, endpoint, address, server_end=False)


def parent_end(
    number: int,
    endpoint: Endpoint,
    kind: Kind,
    pid: int,
    *,
    connections: Connections = TRIO,
) -> Any:
    """Our end of a pair; process ``pid`` finds the other one at ``endpoint``."""
    if kind in ("send", "receive"):
        return connections[f"anonymous {kind}"](number, endpoint)
    # The system would name who opened the pipe: us.
    return connections[kind](
        number, endpoint, f"handle {endpoint.name}", server_end=True, process=pid
    )


def still_receives(carrier: object) -> bool:
    """Whether a peer that sends no more has ended only that half: a pipe has no halves."""
    return False
