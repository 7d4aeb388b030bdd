"""The contenders: programs that are one end of a case.

Each is called with scenario, role, a name and a size, and talks as :mod:`benchmarks.pair`
says. A Python one is a module here and a line in :data:`MODULES`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from . import c_blocking

Command = Sequence[str]

MODULES = {
    "ipcpipes": "ipcpipes_stream",
    "trio.SocketStream": "trio_socket_stream",
    "trio.socket": "trio_socket",
    "bare trio": "trio_bare",
}


def command(name: str, scratch: Path) -> Command:
    """How to start the contender; what must be compiled first goes into ``scratch``."""
    if name == "C":
        return [str(c_blocking.compiled(scratch))]
    return [sys.executable, "-m", f"{__name__}.{MODULES[name]}"]
