"""A name on the file system, held without a gap: never stolen while it lives, never
blocked by the dead.

An exclusive flock(2) on a file beside the socket (``<path>.lock``) is held as long as the
listener lives; the kernel drops it however the process ends. Whoever holds it may remove a
dead socket file. The alternatives fall short: connecting to see whether somebody answers
takes a full queue for a dead server on macOS and the BSDs (which is left for the sockets of
other programs there), and two starters can both find it dead;
unlinking first, as many do, takes over live servers.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
from typing import TYPE_CHECKING

from ..endpoint import Endpoint
from ..errors import (
    EndpointDenied,
    EndpointError,
    NotAnEndpoint,
    connect_error,
    in_use_error,
)
from . import posix_calls as calls, posix_standard as standard

assert sys.platform != "win32" or not TYPE_CHECKING

_MARK = b"ipcpipes listener, process "


class Claim:
    """The right to listen at one address.

    Lifetime: from :meth:`__init__`, which takes the lock, to :meth:`release`, which removes
    what is still ours. A forked child inherits the object, but only the process that made it
    releases anything.
    """

    def __init__(self, endpoint: Endpoint, address: bytes) -> None:
        self._endpoint = endpoint
        self._path = address
        self._readable = calls.readable(address)
        self._owner = os.getpid()
        self._socket_file: tuple[int, int] | None = None
        self._lock_path = address + b".lock"
        self._lock = self._take_lock()
        try:
            self._clear_dead_socket()
        except BaseException:
            self.release()
            raise

    def bound(self) -> None:
        """Remembers the socket file, once it has been bound, as ours to remove."""
        found = os.lstat(self._path)
        self._socket_file = (found.st_dev, found.st_ino)

    def socket_is_ours(self) -> bool:
        """Whether the file at our address is still the socket that we bound."""
        try:
            found = os.lstat(self._path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._socket_file

    def release(self) -> None:
        """Removes the socket file if it is still the one we bound, and gives the lock up."""
        lock, self._lock = self._lock, -1
        if lock == -1:
            return
        # In a forked child only the descriptor goes: while it is open, the lock is held.
        if os.getpid() == self._owner:
            # An OSError here: the directory has gone, or is no longer ours to write in.
            with contextlib.suppress(OSError):
                if self.socket_is_ours():
                    os.unlink(self._path)
            with contextlib.suppress(OSError):
                # While we hold the lock, so that nobody takes a lock on a file without a name.
                if self._is_current(lock):
                    os.unlink(self._lock_path)
        os.close(lock)

    def _take_lock(self) -> int:
        while True:
            try:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
                lock = standard.lifted(os.open(self._lock_path, flags, 0o600))
            except OSError as error:
                raise self._lock_error(error) from None
            try:
                holder = self._lock_or_holder(lock)
                if holder is None:
                    if self._is_current(lock):
                        # For messages only: on a full disk the lock is none the worse.
                        with contextlib.suppress(OSError):
                            os.ftruncate(lock, 0)
                            os.pwrite(lock, b"%s%d\n" % (_MARK, self._owner), 0)
                        return lock
                    # The previous holder removed the file after we had opened it.
                    os.close(lock)
                    continue
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)
            raise in_use_error(self._endpoint, self._readable, holder or None)

    def _lock_or_holder(self, lock: int) -> int | None:
        """``None`` when the lock is ours now, else the pid of its holder (0: unknown)."""
        found = os.fstat(lock)
        # A file that has another name too may be somebody's, put here to be written into.
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise self._obstacle(os.fsdecode(self._lock_path), "not a lock file")
        text = os.pread(lock, 64, 0)
        if text and not text.startswith(_MARK):
            raise self._obstacle(os.fsdecode(self._lock_path), "not a lock file of ipcpipes")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            number = text[len(_MARK) :].strip()
            return int(number) if number.isdigit() else 0
        return None

    def _is_current(self, lock: int) -> bool:
        try:
            return os.path.samestat(os.fstat(lock), os.lstat(self._lock_path))
        except FileNotFoundError:
            return False

    def _clear_dead_socket(self) -> None:
        try:
            found = os.lstat(self._path)
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(found.st_mode):
            raise self._obstacle(self._readable, "not a socket")
        # No listener of ipcpipes is alive, but another program's may be.
        fd = calls.connect(self._path, packets=False)
        if fd >= 0:
            os.close(fd)
        if fd >= 0 or fd in (-errno.EAGAIN, -errno.EPROTOTYPE):
            raise in_use_error(self._endpoint, self._readable, None)
        if fd == -errno.ECONNREFUSED:
            self._remove_dead_socket()
        elif fd != -errno.ENOENT:
            raise connect_error("errno", -fd, self._endpoint, self._readable)

    def _remove_dead_socket(self) -> None:
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise EndpointDenied(
                self._endpoint,
                self._readable,
                f"a dead server left this socket, and it cannot be removed: {error.strerror}",
                error.errno,
            ) from None

    def _obstacle(self, path: str, what: str) -> NotAnEndpoint:
        return NotAnEndpoint(
            self._endpoint,
            self._readable,
            f"{path} is in the way and is {what}; it was left alone, move it or take another name",
        )

    def _lock_error(self, error: OSError) -> EndpointError:
        path = os.fsdecode(self._lock_path)
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EOPNOTSUPP):
            return self._obstacle(path, "not a lock file")
        kind = EndpointDenied if isinstance(error, PermissionError) else EndpointError
        try:
            # Root too is denied what others have made in a sticky directory (proc_sys_fs(5)).
            what = f"open its lock file {path}, of user {os.lstat(path).st_uid}"
        except OSError:
            what = f"make its lock file {path}"
        advice = f"cannot {what}: {error.strerror}"
        return kind(self._endpoint, self._readable, advice, code=error.errno)
