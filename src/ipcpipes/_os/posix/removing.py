"""POSIX: removing a file that is identified by more than its path.

unlink(2) takes a path, and a user who may write in the directory can put another file there at any
moment before. Such a user could also remove that file, and so gains nothing; but this process
would be the one that removed it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
import tempfile
from typing import TYPE_CHECKING

from . import calls

assert sys.platform != "win32" or not TYPE_CHECKING

logger = logging.getLogger("ipcpipes")


def file_id(found: os.stat_result) -> calls.FileId:
    return calls.FileId(found.st_dev, found.st_ino)


def file_at(path: bytes) -> calls.FileId | None:
    """Returns the identity of the file at ``path``; ``None`` if the path names no file."""
    try:
        return file_id(os.lstat(path))
    except OSError as error:
        calls.require_system_error(error)
        return None
    except ValueError:  # an abstract name begins with a NUL
        return None


def is_at(path: bytes, file: calls.FileId | None) -> bool:
    """Returns whether ``file`` is at ``path``; false for ``None``."""
    return file is not None and file_at(path) == file


def remove(path: bytes, file: calls.FileId | None) -> None:
    """Removes ``file``, if it is still at ``path``; no other file is removed.

    Raises:
        OSError: the system refuses to remove the file.
    """
    if not is_at(path, file):
        return
    with contextlib.suppress(FileNotFoundError):
        if _others_can_exchange(os.stat(os.path.dirname(path))):
            _remove_apart(path, file)
        else:
            os.unlink(path)


def _others_can_exchange(directory: os.stat_result) -> bool:
    """Returns whether users other than this one and root can move this user's files in the
    directory (inode(7), sticky bit).
    """
    if directory.st_uid not in (0, os.geteuid()):
        return True
    return bool(directory.st_mode & 0o022) and not directory.st_mode & stat.S_ISVTX


def _remove_apart(path: bytes, file: calls.FileId | None) -> None:
    """Moves the file at ``path`` to a place that no other user can reach, and checks the file
    there.
    """
    apart = tempfile.mkdtemp(prefix=b".ipcpipes-", dir=os.path.dirname(path))
    # Other users can move this directory too, but not the one that the descriptor refers to.
    descriptor = os.open(apart, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    name = os.path.basename(apart)  # any new name will do
    try:
        os.rename(path, name, dst_dir_fd=descriptor)
        if file_id(os.stat(name, dir_fd=descriptor, follow_symlinks=False)) == file:
            os.unlink(name, dir_fd=descriptor)
        else:
            _put_back(name, descriptor, path)
    finally:
        os.close(descriptor)
        # If it is not empty, it holds a file that could not be moved back.
        with contextlib.suppress(OSError):
            os.rmdir(apart)


def _put_back(name: bytes, descriptor: int, path: bytes) -> None:
    try:
        # Not with rename(2), which would replace a file that has appeared there meanwhile.
        os.link(name, path, src_dir_fd=descriptor, follow_symlinks=False)
    except OSError as error:
        calls.require_system_error(error)
        logger.warning(
            "another process's file at %r was moved and cannot be moved back (%s); it is in %r, in "
            "the same directory",
            os.fsdecode(path),
            error.strerror,
            os.fsdecode(name),
        )
    else:
        os.unlink(name, dir_fd=descriptor)
