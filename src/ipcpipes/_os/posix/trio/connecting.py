"""POSIX: the trio connections."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .. import calls, connecting
from . import packets, pipe, stream

assert sys.platform != "win32" or not TYPE_CHECKING

connector = connecting.Connector(stream, packets, pipe)


def still_receives(carrier: object) -> bool:
    """Returns whether a peer that has ended its sending half (shutdown(2)) can still receive. For a
    carrier that is not a connection of ipcpipes, the answer is no.
    """
    if not isinstance(carrier, (stream.Stream, packets.Packets)):
        return False
    return calls.peer_left(carrier._number) == 0
