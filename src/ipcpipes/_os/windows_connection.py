"""Windows: from an address, or a connected instance, to what code holds."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ..endpoint import Endpoint
from ..errors import connect_error
from . import windows_calls as calls, windows_packets as packets, windows_trio as streams

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
}


def connect(
    endpoint: Endpoint,
    *,
    kind: Kind,
    buffer_size: int | None,
    waited: float,
    connections: Connections = TRIO,
) -> Any:
    """Connects at once; ``waited`` is for the message of the error. The listener's
    ``buffer_size`` holds for both ends, so that the client's goes unused.
    """
    address = calls.resolve(endpoint)
    code, handle = calls.open_pipe(address, kind)
    if code != 0:
        raise connect_error("winerror", code, endpoint, address, waited=waited)
    return connections[kind](handle, endpoint, address, server_end=False)
