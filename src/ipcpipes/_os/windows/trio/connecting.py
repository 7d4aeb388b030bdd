"""Windows: the trio connections."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .. import connecting
from . import packets, pipe, stream as streams, synchronous

assert sys.platform == "win32" or not TYPE_CHECKING

connector = connecting.Connector(
    {
        "duplex": streams.Stream,
        "send": streams.SendStream,
        "receive": streams.ReceiveStream,
        "messages": packets.Packets,
    },
    {"send": pipe.SendStream, "receive": pipe.ReceiveStream},
    {"send": synchronous.SendStream, "receive": synchronous.ReceiveStream},
)
connect = connector.connect
parent_end = connector.parent_end


def still_receives(carrier: object) -> bool:
    """Whether a peer that sends no more has ended only that half: a pipe has no halves."""
    return False
