"""Windows: any descriptor read without holding the event loop up, and a process out of reach
of Ctrl-C.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

assert sys.platform == "win32" or not TYPE_CHECKING

__all__ = ["open_apart", "read_some", "ready_within"]


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


async def open_apart(command: Sequence[str]) -> trio.Process:
    """Starts ``command`` with pipes for standard input and error, and without Ctrl-C."""
    return await trio.lowlevel.open_process(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # "CTRL+C signals will be disabled for all processes within the new process group"
        # (Process Creation Flags).
        creationflags=subprocess.CREATE_NEW_PROCESS_GROUP,
    )
