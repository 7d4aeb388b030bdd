"""POSIX: what code without an event loop holds, for each kind of connection."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

from .. import connecting as posix_connection
from . import packets, pipe as anonymous, stream as streams

assert sys.platform != "win32" or not TYPE_CHECKING

BLOCKING: posix_connection.Connections = {
    "duplex": streams.Stream,
    "send": streams.SendStream,
    "receive": streams.ReceiveStream,
    "messages": packets.Packets,
    "anonymous send": anonymous.SendStream,
    "anonymous receive": anonymous.ReceiveStream,
}

connect = functools.partial(posix_connection.connect, connections=BLOCKING)
parent_end = functools.partial(posix_connection.parent_end, connections=BLOCKING)
