"""Windows: what code without an event loop holds, for each kind of connection."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

from .. import connecting as windows_connection
from . import packets, pipe as anonymous, stream as streams, synchronous

assert sys.platform == "win32" or not TYPE_CHECKING

BLOCKING: windows_connection.Connections = {
    "duplex": streams.Stream,
    "send": streams.SendStream,
    "receive": streams.ReceiveStream,
    "messages": packets.Packets,
    "anonymous send": anonymous.SendStream,
    "anonymous receive": anonymous.ReceiveStream,
    "synchronous send": synchronous.SendStream,
    "synchronous receive": synchronous.ReceiveStream,
}

connect = functools.partial(windows_connection.connect, connections=BLOCKING)
parent_end = functools.partial(windows_connection.parent_end, connections=BLOCKING)
