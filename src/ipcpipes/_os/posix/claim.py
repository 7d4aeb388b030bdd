"""POSIX: a name on the file system, held without a gap. The name of a running server is never
taken, and a dead server never blocks its name.

The listener holds an exclusive flock(2) on a file beside the socket (``<path>.lock``); the kernel
drops the lock however the process ends. The holder of the lock may remove a dead socket file. The
alternatives are not enough. If servers only check whether the socket is alive, two servers that
start together can both find it dead. Unlinking first, as many programs do, takes the address away
from running servers. Other programs hold no such lock, so their sockets are checked as well.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ...endpoint import Endpoint
from ...errors import (
    EndpointDenied,
    EndpointError,
    EndpointInUse,
    NotAnEndpoint,
    connect_error,
    in_use_error,
)
from . import address as addresses, calls, removing, standard_numbers as standard
from .opened import OpenDescriptors

assert sys.platform != "win32" or not TYPE_CHECKING

_MARK = b"ipcpipes listener, process "


class Claim:
    """The right to listen at one address.

    Lifetime: :meth:`take` acquires the lock. :meth:`release` removes the files that are still ours;
    it must be called also if :meth:`take` fails or is interrupted. A forked child inherits the
    object, but only the process that made it removes files.

    Attributes:
        bound: the file that was bound, which this object may remove.
    """

    def __init__(self, endpoint: Endpoint, address: bytes) -> None:
        self._endpoint = endpoint
        self._path = address
        self._readable = calls.readable(address)
        self._owner = os.getpid()
        self.bound = calls.BoundFile()
        self._lock_path = address + b".lock"
        self._lock_is_ours = False
        self._lock_is_held = False
        self._lock = OpenDescriptors()

    def take(self) -> None:
        self._take_lock()
        # This comes after this process has acquired its own lock. So if two servers start at the
        # same time in two directories that both servers know, at least one of them sees the other's
        # lock.
        for other in addresses.elsewhere(self._endpoint, self._path):
            self._require_free(other)
        self._clear_dead_socket()

    @property
    def socket_file(self) -> calls.FileId | None:
        """The file that was bound; ``None`` before that."""
        return self.bound.id

    def socket_is_ours(self) -> bool:
        """Returns whether the file at our address is still the socket that we bound."""
        return removing.is_at(self._path, self.socket_file)

    def release(self) -> None:
        """Removes the socket file if it is still the one that was bound, and releases the lock."""
        lock = self._lock.number
        if lock == -1:
            return
        # A forked child only closes its copy of the descriptor. The lock is held while any copy is
        # open.
        with self._lock:
            if os.getpid() == self._owner:
                self._remove_files(lock)

    def _remove_files(self, lock: int) -> None:
        # If the system raises here, the directory is gone, or this user may no longer write in it.
        try:
            removing.remove(self._path, self.socket_file)
        except OSError as error:
            calls.require_system_error(error)
        try:
            # The lock file is removed while the lock is held, so that no process locks a file
            # without a name. An interrupted take() may not have acquired the lock.
            is_ours = self._lock_is_ours or (self._lock_is_held and _is_marked(lock))
            if is_ours and self._try_lock(lock):
                removing.remove(self._lock_path, removing.file_id(os.fstat(lock)))
        except OSError as error:
            calls.require_system_error(error)

    def _take_lock(self) -> None:
        while True:
            try:
                self._open_lock()
            except OSError as error:
                calls.require_system_error(error)
                raise self._lock_error(error) from None
            lock = self._lock.number
            try:
                self._check_lock(lock)
                if self._lock_is_ours:
                    # Another process can lock the file that this one has made. It has to know that
                    # the file is a lock, so that it removes the file.
                    _mark(lock, b"")
                if not self._try_lock(lock):
                    raise self._taken(lock)
                if removing.is_at(self._lock_path, removing.file_id(os.fstat(lock))):
                    self._lock_is_held = True
                    # An unmarked file may be an empty file of another program.
                    self._lock_is_ours = self._lock_is_ours or _is_marked(lock)
                    if self._lock_is_ours:
                        _mark(lock, b"%d" % self._owner)
                    return
            except EndpointError:
                raise
            except OSError as error:
                calls.require_system_error(error)
                raise self._lock_error(error) from None
            # The previous holder removed the file after we had opened it.
            self._lock.close()

    def _open_lock(self) -> None:
        """Opens the lock file. The file is ours if this call makes it. ``_lock_is_ours`` records
        that before the call.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        self._lock_is_ours = True
        try:
            self._lock.open(os.open, self._lock_path, flags | os.O_EXCL, 0o600)
        except FileExistsError:
            self._lock_is_ours = False
            self._lock.open(os.open, self._lock_path, flags, 0o600)
        standard.lift(self._lock)

    def _check_lock(self, lock: int) -> None:
        """Raises:
        NotAnEndpoint: it is not a lock file of a listener. An empty file can be one: the process
            that has made it marks it next, or was killed before that.
        """
        found = os.fstat(lock)
        # A file with a second name may be a hard link that an attacker made, so that this process
        # writes into another file.
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise self._not_an_endpoint(os.fsdecode(self._lock_path), "not a lock file")
        if os.pread(lock, len(_MARK), 0) not in (b"", _MARK):
            raise self._not_an_endpoint(os.fsdecode(self._lock_path), "not a lock file of ipcpipes")
        if found.st_uid == os.geteuid() and found.st_mode & 0o600 != 0o600:
            # With a umask that removes the owner's rights, the next server could not open the file.
            os.fchmod(lock, stat.S_IMODE(found.st_mode) | 0o600)

    def _try_lock(self, lock: int) -> bool:
        """Tries to acquire the lock. Returns whether this process has the lock now."""
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _taken(self, lock: int) -> EndpointInUse:
        """Makes the error for a lock that another process holds."""
        holder = _holder(lock)
        if holder is None or not _has_ended(holder):
            return in_use_error(self._endpoint, self._readable, holder)
        return EndpointInUse(
            self._endpoint,
            self._readable,
            f"process {holder}, which took this name, has ended, and a process that it forked "
            f"still holds the lock {os.fsdecode(self._lock_path)} (fuser(1) and lsof(8) tell "
            "which); end that process, or take another name",
        )

    def _require_free(self, other: bytes) -> None:
        """Raises if the name is taken at ``other``, where this user's clients also look for it."""
        if not addresses.is_safe(self._endpoint, other):
            return
        held = True
        holder = None
        with OpenDescriptors() as descriptors:
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
                lock = descriptors.open(os.open, other + b".lock", flags)
            except OSError as error:
                calls.require_system_error(error)
                held = False
            else:
                try:
                    # The lock is a shared one, so that two servers that check at the same time do
                    # not disturb each other. It is held only for an instant.
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    held = False
                except OSError as error:
                    calls.require_system_error(error)
                    holder = _holder(lock)
        if held or calls.is_bound(other) == 1:
            where = calls.readable(other)
            raise in_use_error(self._endpoint, where, holder, instead_of=self._readable)

    def _clear_dead_socket(self) -> None:
        # No listener of ipcpipes is alive, but another program's may be.
        found, bound = _look_at(self._path)
        if found is not None and not stat.S_ISSOCK(found.st_mode):
            what = f"{addresses.kind_of_file(found.st_mode)}, not a socket"
            raise self._not_an_endpoint(self._readable, what)
        if bound == 1:
            raise in_use_error(self._endpoint, self._readable, None)
        if found is not None and bound == 0:
            self._remove_dead_socket(removing.file_id(found))
        elif bound != -errno.ENOENT:
            raise connect_error("errno", -bound, self._endpoint, self._readable)

    def _remove_dead_socket(self, dead: calls.FileId) -> None:
        try:
            removing.remove(self._path, dead)
        except OSError as error:
            calls.require_system_error(error)
            raise EndpointDenied(
                self._endpoint,
                self._readable,
                f"a dead server left this socket, and it cannot be removed: {error.strerror}",
                error.errno,
            ) from None

    def _not_an_endpoint(self, path: str, what: str) -> NotAnEndpoint:
        return NotAnEndpoint(
            self._endpoint,
            self._readable,
            f"{path} exists and is {what}; it was left alone; move it, or take another name",
        )

    def _lock_error(self, error: OSError) -> EndpointError:
        path = os.fsdecode(self._lock_path)
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EOPNOTSUPP):
            return self._not_an_endpoint(path, "not a lock file")
        kind = EndpointDenied if isinstance(error, PermissionError) else EndpointError
        try:
            # In a sticky directory, even root may not open files that other users have made
            # (proc_sys_fs(5)).
            what = f"open its lock file {path}, of user {os.lstat(path).st_uid}"
        except OSError as failure:
            calls.require_system_error(failure)
            what = f"make its lock file {path}"
        advice = f"cannot {what}: {error.strerror}; fix that, or use another path"
        return kind(self._endpoint, self._readable, advice, code=error.errno)


def _look_at(path: bytes) -> tuple[os.stat_result | None, int]:
    """Returns the stat result of ``path`` (``None`` if there is no file), and whether a process has
    bound it (:func:`.calls.is_bound`). On Linux both results are of the same file, even if another
    user exchanges files meanwhile.
    """
    try:
        if sys.platform != "linux":
            return os.lstat(path), calls.is_bound(path)
        with OpenDescriptors() as descriptors:
            file = descriptors.open(os.open, path, os.O_PATH | os.O_NOFOLLOW)
            return os.fstat(file), calls.is_bound(b"/proc/self/fd/%d" % file)
    except FileNotFoundError:
        return None, -errno.ENOENT


def _mark(lock: int, process: bytes) -> None:
    """Marks the file as a lock. On a full disk, the lock works without the mark."""
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%s%s\n" % (_MARK, process), 0)
    except OSError as error:
        calls.require_system_error(error)


def _is_marked(lock: int) -> bool:
    return os.pread(lock, len(_MARK), 0) == _MARK


def _holder(lock: int) -> int | None:
    """Returns the id of the process that the lock file names."""
    number = os.pread(lock, 64, 0).partition(_MARK)[2].strip()
    return int(number) if number.isdigit() else None


def _has_ended(pid: int) -> bool:
    """Returns whether the process has ended, as far as this process can see."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OverflowError:
        return False
    except OSError as error:
        calls.require_system_error(error)
        return False  # another user's
    try:
        # "pid (name) state …", where the name may contain any character (proc_pid_stat(5)). A
        # process that has ended stays there until its parent has reaped it.
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
    except OSError as error:
        calls.require_system_error(error)
        return False  # no such files here
    return state in (b"Z", b"X")
