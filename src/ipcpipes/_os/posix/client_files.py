"""POSIX: opening a path that a client has sent (Linux; elsewhere no thread can act as a client)."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

from ...errors import NotSupported
from . import calls

assert sys.platform != "win32" or not TYPE_CHECKING

# The errors of a sandbox that does not know the call; some return EPERM (libseccomp before 2.5).
_NO_OPENAT2 = (errno.ENOSYS, errno.EPERM)


def check_path(path: str) -> None:
    """Raises:
    NotSupported: this is not Linux.
    ValueError: the path is relative. It would start in the working directory of this process, to
        which the client may have no access.
    """
    if sys.platform != "linux":
        raise NotSupported("run_as_client and open_for_client work on Linux and Windows only")
    if not path.startswith("/"):
        raise ValueError(f"a path from a client must be absolute, not {path!r}")


def open_path(path: str, flags: int, mode: int) -> int:
    """Opens a file of any kind, except files in procfs. Returns its descriptor.

    Raises:
        OSError: the file cannot be opened; or the path leads through a magic link (ELOOP), or into
            procfs (a PermissionError).
    """
    # With O_NONBLOCK, open waits neither for the other end of a FIFO nor for the holder of a lease.
    flags |= os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    code, fd = calls.open_without_magic_links(os.fsencode(path), flags, mode)
    if code in _NO_OPENAT2:
        fd = _open_step_by_step(path, flags, mode)
    elif code == errno.ELOOP:
        raise OSError(
            code, "the path contains a magic link of /proc, or too many symbolic links", path
        )
    elif code:
        raise OSError(code, os.strerror(code), path)
    try:
        if calls.is_of_procfs(fd):
            raise PermissionError(
                errno.EACCES, "the file is in procfs, which shows the server itself", path
            )
        os.set_blocking(fd, True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _open_step_by_step(path: str, flags: int, mode: int) -> int:
    """Does the same as :func:`open_path`, before Linux 5.6. Links are resolved as text first, so a
    magic link is only the path that it shows. Then the kernel follows no links, even if a link has
    appeared meanwhile.
    """
    if sys.platform != "linux":
        raise NotSupported("O_PATH is Linux'")
    folder, name = os.path.split(path)
    if not name or name in (".", "..") or not flags & (os.O_NOFOLLOW | os.O_EXCL):
        folder, name = os.path.split(os.path.realpath(path))
    step = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
    where = os.open("/", step)
    try:
        for part in os.path.realpath(folder).split("/"):
            inner = os.open(part or ".", step, dir_fd=where)
            os.close(where)
            where = inner
        return os.open(name or ".", flags | os.O_NOFOLLOW, mode, dir_fd=where)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(where)
