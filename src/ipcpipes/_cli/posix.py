"""POSIX: any descriptor read without holding the event loop up, processes out of reach of Ctrl-C,
and what connects one with its parent.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Any

import trio

assert sys.platform != "win32" or not TYPE_CHECKING

__all__ = ["APART", "child_transport", "read_some", "ready_within"]

# The terminal sends SIGINT to its foreground process group, which is of its session.
APART: dict[str, Any] = {"start_new_session": True}
"""The options of subprocess.Popen for a process that Ctrl-C does not reach."""

child_transport = "socketpair(2)"
"""What :func:`ipcpipes.open_child` connects with."""


async def read_some(fd: int, size: int) -> bytes:
    """1 to ``size`` bytes as soon as there are any; ``b""`` at the end."""
    # A regular file never keeps us waiting, and cannot be waited for (epoll refuses it, kqueue
    # does not wake up at its end).
    if stat.S_ISREG(os.fstat(fd).st_mode):
        await trio.lowlevel.checkpoint()
        return os.read(fd, size)
    while True:
        # O_NONBLOCK, as trio.lowlevel.FdStream sets it, would hold for every process that
        # shares the descriptor, such as the shell at the same terminal.
        try:
            await trio.lowlevel.wait_readable(fd)
        except OSError:
            # A device that cannot be waited for, such as /dev/zero.
            return await trio.to_thread.run_sync(os.read, fd, size, abandon_on_cancel=True)
        try:
            return os.read(fd, size)
        except BlockingIOError:
            pass


async def ready_within(fd: int, seconds: float) -> bool:
    """Whether a pipe or socket has a byte, or has ended, before the time is up."""
    with trio.move_on_after(seconds):
        await trio.lowlevel.wait_readable(fd)
        return True
    return False
