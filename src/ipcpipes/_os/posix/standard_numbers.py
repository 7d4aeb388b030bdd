"""POSIX: keeps the numbers of the standard streams, 0 to 2, away from descriptors of ipcpipes.

If a process runs with closed standard streams (a daemon, ``2>&-``), the system gives their numbers
to the next files that are opened. Then the output of any code would go into such a file, and a
child would have it as its standard input. Descriptors that the C layer opens have other numbers
from the start.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, starmap
from typing import TYPE_CHECKING, TypeVar

from ..common.system_error import require_system_error
from .opened import OpenDescriptors

assert sys.platform != "win32" or not TYPE_CHECKING

ResultT = TypeVar("ResultT")

_FIRST = 3  # the lowest number after those of the standard streams


def lifted(fd: int) -> int:
    """Returns ``fd``. If it has the number of a standard stream, closes it and returns a copy with
    another number. The result belongs to the caller, as ``fd`` did.

    Raises:
        OSError: no more descriptors can be opened; ``fd`` is closed.
    """
    if fd >= _FIRST:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST)
    finally:
        os.close(fd)


def lift(descriptors: OpenDescriptors) -> None:
    """Does the same as :func:`lifted` for all descriptors in ``descriptors``. If this fails, they
    stay there.
    """
    for index, fd in enumerate(descriptors.numbers):
        if fd < _FIRST:
            # The new number takes the place of the old one in the step that makes it.
            lifting = map(fcntl.fcntl, (fd,), (fcntl.F_DUPFD_CLOEXEC,), (_FIRST,))
            descriptors.numbers[index : index + 1] = lifting
            os.close(fd)


def open_pipe(descriptors: OpenDescriptors) -> None:
    """Adds the receive end and, after it, the send end of a new pipe(2) to ``descriptors``."""
    # One step makes the call and stores its result; see OpenNumbers.
    descriptors.numbers.extend(chain.from_iterable(starmap(os.pipe, ((),))))
    lift(descriptors)


@contextmanager
def occupied(result: ResultT) -> Iterator[ResultT]:
    """Yields ``result``. Within this context, closed standard streams are opened on the null
    device, so that files opened by other code (the pipes that subprocess and trio make for PIPE)
    get other numbers. No child inherits them.
    """
    with ExitStack() as stack:
        # open(2) gives the lowest free number. dup2(2) could close the file of another thread.
        while any(map(_is_closed, range(_FIRST))):
            stack.callback(os.close, os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        yield result


def _is_closed(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError as error:
        require_system_error(error)
        return True
    return False
