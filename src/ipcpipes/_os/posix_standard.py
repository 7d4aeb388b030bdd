"""POSIX: the numbers of the standard streams, 0 to 2, which no descriptor of ours ever has.

Where a process runs with standard streams that are closed (a daemon, ``2>&-``), the system gives
their numbers to whatever is opened next. What any code prints would go into it then, and to a
child it would be its standard input. What the C layer opens has another number from the start.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

assert sys.platform != "win32" or not TYPE_CHECKING

_FIRST = 3  # that is none of them


def lifted(fd: int) -> int:
    """The same descriptor by another number, if it has one of theirs; the caller's, as ``fd`` was.

    Raises:
        OSError: there are no more; ``fd`` is closed.
    """
    if fd >= _FIRST:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST)
    finally:
        os.close(fd)


def pipe() -> tuple[int, int]:
    """(receive end, send end), as :func:`os.pipe`."""
    receiving, sending = os.pipe()
    try:
        receiving = lifted(receiving)
    except OSError:
        os.close(sending)
        raise
    try:
        return receiving, lifted(sending)
    except OSError:
        os.close(receiving)
        raise


@contextmanager
def occupied() -> Iterator[None]:
    """While it lasts, those that are closed lead nowhere, so that what others open has other
    numbers: subprocess and trio make the pipes of PIPE. No child inherits that.
    """
    with ExitStack() as stack:
        # The lowest is what the system gives; dup2(2) could take it from another thread.
        while any(map(_is_closed, range(_FIRST))):
            stack.callback(os.close, os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        yield


def _is_closed(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return True
    return False
