"""POSIX: the addresses of sockets.

A plain name belongs to one user, and can be in up to three directories, in this order:
``$XDG_RUNTIME_DIR/ipcpipes``, ``/run/user/<uid>/ipcpipes`` and ``/tmp/ipcpipes-<uid>``. A server
uses the first that exists. Programs of one user do not all have the same environment: programs
started by cron, by sudo or at boot have no XDG_RUNTIME_DIR, and /run/user/<uid> exists only while
its user is logged in. So clients try the other directories too, and a server refuses a name that is
taken in one of them.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import stat
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..._ffi import lib
from ...endpoint import Endpoint, posix_address
from ...errors import (
    EndpointDenied,
    EndpointError,
    EndpointNotFound,
    InvalidEndpoint,
    NotSupported,
    UnsafeDirectory,
)
from . import calls

assert sys.platform != "win32" or not TYPE_CHECKING

logger = logging.getLogger("ipcpipes")

_KINDS_OF_FILES = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISREG, "a regular file"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISSOCK, "a socket"),
)


def resolve(endpoint: Endpoint) -> bytes:
    """Returns the socket address of ``endpoint`` for this user on this machine; the first one if
    there are several.

    Raises:
        InvalidEndpoint: ``endpoint`` cannot be a socket address here.
        NotSupported: ``endpoint`` is an abstract name, and this is not Linux.
    """
    if endpoint.kind == "abstract" and sys.platform != "linux":
        raise NotSupported(
            f"{endpoint}: the abstract namespace is Linux's; a plain name works on every system"
        )
    directory = next(_directories()) if endpoint.kind == "named" else ""
    temporary = _dotnet_directory(endpoint) if endpoint.kind == "dotnet" else ""
    return _address(endpoint, directory, temporary)


def resolve_text(endpoint: Endpoint) -> str:
    """Returns the address where a server of ``endpoint`` listens; if there is none, the address
    that ``listen`` would use. The result is a str that the functions of :mod:`socket` accept.
    """
    address = resolve(endpoint)
    if endpoint.kind == "named" and calls.is_bound(address) != 1:
        for other in elsewhere(endpoint, address):
            if is_safe(endpoint, other) and calls.is_bound(other) == 1:
                return os.fsdecode(other)
    return os.fsdecode(address)


def elsewhere(endpoint: Endpoint, address: bytes) -> list[bytes]:
    """Returns the other addresses where ``endpoint`` may be, in order, without ``address``."""
    if endpoint.kind != "named":
        return []
    found = []
    for directory in _directories():
        try:
            other = _address(endpoint, directory)
        except InvalidEndpoint:
            continue  # too long for a socket, so no server can listen there
        if other != address and not _is_same_directory(other, address):
            found.append(other)
    return found


def kind_of_file(mode: int) -> str:
    """Returns the kind of a file, as text for an error message."""
    for test, what in _KINDS_OF_FILES:
        if test(mode):
            return what
    return "a special file"


def is_safe(endpoint: Endpoint, address: bytes) -> bool:
    """Returns whether the directory of a plain name exists, and only this user can write in it."""
    try:
        check_directory_safety(endpoint, address, create=False)
    except EndpointError:
        return False
    return True


def _address(endpoint: Endpoint, directory: str, temporary: str = "") -> bytes:
    return posix_address(
        endpoint,
        runtime_directory=directory,
        temporary_directory=temporary,
        limit=lib.ipc_address_limit(),
    )


def _is_same_directory(one: bytes, other: bytes) -> bool:
    """Returns whether both paths are in one directory. The directory may have two names, such as
    /run and /var/run.
    """
    try:
        return os.path.samefile(os.path.dirname(one), os.path.dirname(other))
    except OSError as error:
        calls.require_system_error(error)
        return False


def _dotnet_directory(endpoint: Endpoint) -> str:
    """Returns the directory of .NET's ``Path.GetTempPath()``."""
    directory = os.environ.get("TMPDIR") or "/tmp"
    if not directory.startswith("/"):
        raise InvalidEndpoint(
            f"{endpoint}: TMPDIR is {directory!r}, a relative path, which .NET resolves in the "
            "working directory of each program; set TMPDIR to an absolute path, or use "
            "Endpoint.path"
        )
    return directory


def _directories() -> Iterator[str]:
    """Yields the directories of plain names; a server uses the first. There is always at least
    one.
    """
    wanted = os.environ.get("XDG_RUNTIME_DIR", "")
    # A subdirectory, because other programs have sockets with plain names in the directory itself
    # (docker.sock, pipewire-0).
    if wanted:
        yield from _usable(wanted, f"XDG_RUNTIME_DIR is not used for plain names: {wanted!r}")
    given = f"/run/user/{os.geteuid()}"
    if given != wanted.rstrip("/") and os.path.isdir(given):
        yield from _usable(given, f"{given} is not used for plain names: it")
    yield _last_resort()


def _usable(runtime_directory: str, refusal: str) -> Iterator[str]:
    """Yields the directory for plain names in a runtime directory, unless the runtime directory has
    a fault.
    """
    fault = _runtime_directory_fault(runtime_directory)
    if fault:
        _log_once(f"{refusal} {fault}")
    else:
        yield runtime_directory.rstrip("/") + "/ipcpipes"


def _last_resort() -> str:
    # Not $TMPDIR: it differs between the programs of one user.
    return f"/tmp/ipcpipes-{os.geteuid()}"


def is_last_resort(directory: bytes) -> bool:
    """Returns whether this is the directory of plain names that is used without a directory of the
    session.
    """
    return os.fsdecode(directory) == _last_resort()


def _runtime_directory_fault(directory: str) -> str:
    """Returns why the directory cannot contain files of this user; "" if it can contain them. An
    unsafe directory is not skipped: :func:`check_directory_safety` refuses it.
    """
    if not directory.startswith("/"):
        return "is a relative path"  # to be ignored (XDG Base Directory Specification, Basics)
    try:
        found = os.lstat(directory)
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except OSError as error:
        calls.require_system_error(error)
        return f"cannot be examined ({error.strerror})"
    if stat.S_ISDIR(found.st_mode) and found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid}, and this process runs as user {os.geteuid()}"
    return ""


@functools.lru_cache(maxsize=64)
def _log_once(text: str) -> None:
    logger.warning("%s", text)


def check_directory_safety(endpoint: Endpoint, address: bytes, *, create: bool) -> None:
    """Checks that no other user can replace the socket of ``endpoint``.

    Args:
        endpoint: named in error messages. Its kind determines whether its directory may be made
            here.
        address: the address of ``endpoint``.
        create: if true, the directory of a plain name is made if it is missing (0700), and the
            directory of any path is checked. If false, only directories of plain names are checked.

    Raises:
        EndpointNotFound: there is no such directory.
        UnsafeDirectory: other users could replace the socket in it.
        EndpointError: the directory cannot be made.
    """
    if address[:1] == b"\0":
        return
    directory = os.fsdecode(os.path.dirname(address))
    where = calls.readable(address)
    if endpoint.kind != "named":
        if create:
            _check_writers(endpoint, where, directory)
        return
    parent = os.path.dirname(directory)
    if directory == _last_resort():
        _check_writers(endpoint, where, parent)
    else:
        _check_owner(endpoint, where, parent)
    if create:
        _make_directory(endpoint, where, directory)
    _check_owner(endpoint, where, directory)


def _make_directory(endpoint: Endpoint, where: str, directory: str) -> None:
    """Makes the directory, with all rights for this user and none for others, whatever the umask
    is. No other user can replace it meanwhile: the parent belongs to this user only, or is sticky.
    """
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, 0o700)
        found = os.lstat(directory)
        # An earlier process may have made the directory and been killed before this line.
        is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
        if is_ours and found.st_mode & 0o700 != 0o700:
            os.chmod(directory, stat.S_IMODE(found.st_mode) | 0o700)
    except OSError as error:
        calls.require_system_error(error)
        kind = UnsafeDirectory if isinstance(error, PermissionError) else EndpointError
        raise kind(
            endpoint,
            where,
            f"cannot make its directory {directory}: {error.strerror}; fix that, or set "
            "XDG_RUNTIME_DIR to a directory of this user",
            error.errno,
        ) from None


def _check_owner(endpoint: Endpoint, where: str, directory: str) -> None:
    found = _stat(endpoint, where, directory, follow=False)
    if not stat.S_ISDIR(found.st_mode):
        fault = "is a link or not a directory"
    elif found.st_uid != os.geteuid():
        fault = f"belongs to user {found.st_uid}, and this process runs as user {os.geteuid()}"
    elif found.st_mode & 0o022:
        fault = f"can be written by others (mode {stat.S_IMODE(found.st_mode):04o})"
    else:
        return
    raise UnsafeDirectory(
        endpoint,
        where,
        f"{directory} {fault}; fix that, or set XDG_RUNTIME_DIR to a directory of this user",
    )


def _check_writers(endpoint: Endpoint, where: str, directory: str) -> None:
    found = _stat(endpoint, where, directory, follow=True)
    mode = found.st_mode
    if not stat.S_ISDIR(mode):
        raise EndpointNotFound(endpoint, where, f"{directory} is not a directory")
    # In a sticky directory (/tmp) only the owner can remove or rename a file (inode(7)).
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise UnsafeDirectory(
            endpoint,
            where,
            f"every user can write in {directory} (mode {stat.S_IMODE(mode):04o}) and could "
            "replace the socket; chmod o-w it, or use another directory",
        )
    if sys.platform != "linux" and os.geteuid() == 0:
        _check_for_root(endpoint, where, directory, found)


def _check_for_root(endpoint: Endpoint, where: str, directory: str, found: os.stat_result) -> None:
    """Without O_PATH, a socket gets its mode through its path. A user that can replace files in the
    directory could make root change another file of root.
    """
    can_exchange = found.st_mode & stat.S_IWGRP and not found.st_mode & stat.S_ISVTX
    if found.st_uid == 0 and not can_exchange:
        return
    raise UnsafeDirectory(
        endpoint,
        where,
        f"other users can write in {directory} (user {found.st_uid}, mode "
        f"{stat.S_IMODE(found.st_mode):04o}), and on this system root cannot make a socket there "
        "safely; use a directory that only root can write in",
    )


def _stat(endpoint: Endpoint, where: str, directory: str, *, follow: bool) -> os.stat_result:
    try:
        return os.stat(directory, follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        raise EndpointNotFound(
            endpoint, where, f"its directory {directory} does not exist; make it first"
        ) from None
    except OSError as error:
        calls.require_system_error(error)
        advice = f"cannot look at its directory {directory}: {error.strerror}"
        kind = EndpointDenied if isinstance(error, PermissionError) else EndpointError
        raise kind(endpoint, where, advice, error.errno) from None
