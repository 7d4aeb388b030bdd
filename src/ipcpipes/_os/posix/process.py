"""POSIX: the start and the end of a process, and waiting for it without an event loop."""

from __future__ import annotations

import math
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from ..common.opened import OpenNumbers
from ..common.system_error import require_system_error
from . import spawning, standard_numbers as standard

assert sys.platform != "win32" or not TYPE_CHECKING

NotStarted = spawning.NotStarted
is_quick = spawning.is_quick
start = spawning.start
give_up = spawning.give_up

_LONGEST = 1_000_000.0  # seconds; poll(2) counts milliseconds in 32 bits


def forgets_children() -> bool:
    """Returns whether the system keeps no exit status of this process' children, because the
    process ignores SIGCHLD (sigaction(2), wait(2)). The process may have inherited that setting
    from its parent.
    """
    return signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN


def ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Waits until the process has ended, for ``seconds`` at most. Returns whether it has ended."""
    if process.poll() is not None:
        return True
    if seconds > 0 and not _waited(process.pid, seconds):
        try:
            process.wait(None if seconds > _LONGEST else seconds)
        except subprocess.TimeoutExpired:
            return False
    return process.poll() is not None


def watched(process: subprocess.Popen[bytes], opened: OpenNumbers) -> tuple[int, ...]:
    """Returns what ``wait_for_any`` watches for the process: a descriptor that becomes readable
    when the process ends (Linux 5.3), and that the caller closes; otherwise nothing.
    """
    if sys.platform != "linux":
        return ()
    try:
        return (opened.open(os.pidfd_open, process.pid),)
    except OSError as error:
        require_system_error(error)
        return ()


def close_input(file: IO[bytes]) -> None:
    """Closes the file that a child reads from, without waiting: a child that no longer reads does
    not get the rest of the buffer.
    """
    with suppress(OSError, ValueError):
        os.set_blocking(file.fileno(), False)
        file.close()


def _waited(pid: int, seconds: float) -> bool:
    """Waits with a descriptor of the process (Linux 5.3). Returns ``False`` if the system has no
    such descriptors. The alternative, the wait of subprocess with a timeout, polls and sleeps in
    between.
    """
    if sys.platform != "linux":
        return False
    try:
        fd = standard.lifted(os.pidfd_open(pid))
    except OSError as error:
        require_system_error(error)
        return False
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.poll(None if seconds > _LONGEST else math.ceil(seconds * 1000))
    finally:
        os.close(fd)
    return True
