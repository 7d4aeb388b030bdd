"""Windows: any descriptor read without holding the event loop up, processes out of reach of Ctrl-C,
and what connects one with its parent.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import trio

assert sys.platform == "win32" or not TYPE_CHECKING

__all__ = ["APART", "child_transport", "read_some", "ready_within"]

# "CTRL+C signals will be disabled for all processes within the new process group" (Process
# Creation Flags).
APART: dict[str, Any] = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
"""The options of subprocess.Popen for a process that Ctrl-C does not reach."""

child_transport = "Windows named pipe, inherited"
"""What :func:`ipcpipes.open_child` connects with."""


async def read_some(fd: int, size: int) -> bytes:
    """1 to ``size`` bytes as soon as there are any; ``b""`` at the end."""
    # Anonymous pipes and consoles know no overlapped reads. Cancelled, the thread is left
    # behind with its read and ends with the process: only commands that are ending cancel.
    return await trio.to_thread.run_sync(os.read, fd, size, abandon_on_cancel=True)


async def ready_within(fd: int, seconds: float) -> bool:
    """``False``: a thread that waited for a byte could not be told to stop, and would take it
    from whoever reads next.
    """
    await trio.lowlevel.checkpoint()
    return False
