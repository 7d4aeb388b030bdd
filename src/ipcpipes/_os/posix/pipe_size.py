"""POSIX: the capacity of a pipe (pipe(7))."""

from __future__ import annotations

import errno
import fcntl
import sys
from typing import TYPE_CHECKING

from ...errors import NotSupported
from ...options import check_count
from ..common.system_error import require_system_error

assert sys.platform != "win32" or not TYPE_CHECKING

_UNKNOWN = "this system can neither tell nor set the capacity of a pipe; Linux can"


def capacity(fd: int) -> int:
    """Returns how many bytes the pipe holds."""
    if sys.platform != "linux":
        raise NotSupported(_UNKNOWN)
    return fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)


def set_capacity(fd: int, size: int) -> None:
    """Asks for ``size``; the system rounds it up (fcntl(2), F_SETPIPE_SZ)."""
    check_count("capacity", size, optional=False)
    if sys.platform != "linux":
        raise NotSupported(_UNKNOWN)
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
    except OSError as error:
        require_system_error(error)
        text = f"a pipe cannot be made to hold {size:,} bytes: "
        if error.errno == errno.EPERM:
            text += (
                "the limits are /proc/sys/fs/pipe-max-size for one pipe and "
                "pipe-user-pages-soft beside it for all pipes of a user (pipe(7))"
            )
        elif error.errno == errno.EBUSY:
            text += "it contains more now"
        else:
            text += str(error.strerror)
        raise type(error)(error.errno, text) from None
