"""Windows: the trio connections."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .. import connecting
from . import packets, pipe, stream, synchronous

assert sys.platform == "win32" or not TYPE_CHECKING

connector = connecting.Connector(stream, packets, pipe, synchronous)


def still_receives(carrier: object) -> bool:
    """Returns whether a peer that sends no more can still receive: never, because a pipe has no
    halves.
    """
    return False
