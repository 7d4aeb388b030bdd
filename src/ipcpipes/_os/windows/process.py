"""Windows: starts a child process, and waits for its end, without an event loop."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from ..common.opened import OpenNumbers

assert sys.platform == "win32" or not TYPE_CHECKING

# The longest wait in seconds, so that Python's signal handlers run: Ctrl-C does not end a wait of
# the system.
_SLICE = 0.1


class NotStarted(Exception):
    """A child that should start only quickly was not started; never raised here."""


def is_quick(options: Mapping[str, Any]) -> bool:
    """Returns whether :func:`start` has a quicker way than subprocess with these options."""
    return False


def start(
    words: Sequence[Any],
    options: Mapping[str, Any],
    kept: list[subprocess.Popen[bytes]],
    *,
    only_quickly: bool = False,
) -> subprocess.Popen[bytes]:
    """Does what ``subprocess.Popen(words, **options)`` does, and puts the object into ``kept``."""
    kept.append(subprocess.Popen(words, **options))
    return kept[-1]


def give_up(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that :func:`start` has put into ``kept``."""
    process.kill()
    process.wait()


def watched(process: subprocess.Popen[bytes], opened: OpenNumbers) -> tuple[tuple[int, ...], None]:
    """Returns what ``wait_for_any`` watches for the process."""
    handle: Any = process
    return (int(handle._handle),), None


def close_input(file: IO[bytes]) -> None:
    """Closes the pipe that a child reads from. Unflushed data in the buffer, a few KiB, is written
    first, which waits if the child does not read: such a pipe has no other way to close.
    """
    with suppress(OSError, ValueError):
        file.close()


def forgets_children() -> bool:
    """Returns whether the system discards the exit status of this process' children. Windows never
    does, because the handle of a process keeps the status.
    """
    return False


def ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Waits until the process has ended, for ``seconds`` at most. Returns whether it has ended."""
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
