"""Windows: the connections without an event loop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .. import connecting
from . import packets, pipe, stream, synchronous

assert sys.platform == "win32" or not TYPE_CHECKING

connector = connecting.Connector(stream, packets, pipe, synchronous)
