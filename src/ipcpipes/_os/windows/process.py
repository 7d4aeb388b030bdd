"""Windows: the end of a process, and waiting for it without an event loop."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING

assert sys.platform == "win32" or not TYPE_CHECKING

# Seconds. No wait is longer, so that Python's signal handlers run: Ctrl-C does not end a wait of
# the system.
_SLICE = 0.1


def close_input(file: IO[bytes]) -> None:
    """Closes what a child reads from. What is left in the buffer, a few KiB that were not flushed,
    may have to wait for a child that does not read: this side of the pipe knows no other way.
    """
    with suppress(OSError, ValueError):
        file.close()


def forgets_children() -> bool:
    """Whether the system keeps no status of this process' children. A handle keeps it here."""
    return False


def ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Waits until it has ended, so many seconds at most; whether it has."""
    deadline = math.inf if seconds == math.inf else time.monotonic() + seconds
    while process.poll() is None:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return False
        try:
            process.wait(min(remaining, _SLICE))
        except subprocess.TimeoutExpired:
            continue
    return True
