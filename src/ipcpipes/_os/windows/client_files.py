"""Windows: opens a path that a client has named."""

from __future__ import annotations

import ntpath
import os
import re
import sys
from typing import TYPE_CHECKING

assert sys.platform == "win32" or not TYPE_CHECKING

_DRIVE = re.compile("[A-Za-z]:")


def check_path(path: str) -> None:
    r"""Raises:
    ValueError: the path does not begin with a drive and its root. A relative path starts from the
        server's own directory, `\\server\share` makes the server connect to another machine,
        `\\.\pipe\name` to another server, and `\\?\GLOBALROOT` leads to every device.
    """
    drive, rest = ntpath.splitdrive(path)
    if not _DRIVE.fullmatch(drive) or not rest.startswith(("\\", "/")):
        raise ValueError(
            f"a path from a client must begin with a drive (C:\\...) here, not {path!r}"
        )


def open_path(path: str, flags: int, mode: int) -> int:
    """Opens a file of any kind. Returns its descriptor.

    Raises:
        OSError: the file cannot be opened. A directory can never be opened (PermissionError).
    """
    return os.open(path, flags | os.O_BINARY | os.O_NOINHERIT, mode)
