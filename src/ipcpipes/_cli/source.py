"""Where the bytes to send come from: a file, standard input, a pipe."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from io import FileIO
from pathlib import Path
from typing import IO

import trio

from .failure import Failure
from .system import read_some, ready_within

__all__ = ["CHUNK", "Source", "open_source", "rewindable", "unasked_input"]

CHUNK = 2**16
"""How much is read, sent and received at a time."""

_FIRST_BYTE_WITHIN = 1.0  # seconds
_COPY_LIMIT = 2**30


class Source:
    """Bytes to read once, or again where the file is a regular one.

    Lifetime: closing it closes ``file``; without one (standard input) the descriptor is the
    process's own and stays open.
    """

    def __init__(self, name: str, fd: int, file: IO[bytes] | FileIO | None = None) -> None:
        self.name = name
        self._fd = fd
        self._file = file
        found = os.fstat(fd)
        self.is_regular = stat.S_ISREG(found.st_mode)
        # Standard input may have been read in part by another program.
        self._start = os.lseek(fd, 0, os.SEEK_CUR) if self.is_regular else 0
        self.size = max(found.st_size - self._start, 0) if self.is_regular else None

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    async def read(self) -> bytes:
        """The next bytes, at most :data:`CHUNK`; ``b""`` at the end.

        Raises:
            Failure: the system cannot read it.
        """
        try:
            return await read_some(self._fd, CHUNK)
        except OSError as error:
            raise Failure(f"cannot read {self.name}: {error.strerror}") from None

    def rewind(self) -> None:
        """Back to where reading began; for a regular file only."""
        os.lseek(self._fd, self._start, os.SEEK_SET)


async def open_source(name: str | None) -> Source:
    """The file of this name; standard input for ``-`` and ``None``.

    Raises:
        Failure: it cannot be opened.
    """
    if name is None or name == "-":
        return _standard_input()
    try:
        # In a thread: to open a FIFO waits for somebody who writes to it.
        file = await trio.to_thread.run_sync(_open, name, abandon_on_cancel=True)
    except OSError as error:
        raise Failure(f"cannot read {name}: {error.strerror}") from None
    except ValueError as error:  # a NUL in the name
        raise Failure(f"cannot read {name!r}: {error}") from None
    return Source(name, file.fileno(), file)


async def unasked_input() -> Source | None:
    """Standard input where the user has plainly put something there, else ``None``.

    That is a regular file that is not empty, or a pipe that says something within a second.
    What programs inherit from their parents is often a pipe that nobody ever writes to.
    """
    if sys.stdin is None:
        return None
    source = _standard_input()
    if source.is_regular:
        return source if source.size else None
    fd = sys.stdin.fileno()
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return None
    if not await ready_within(fd, _FIRST_BYTE_WITHIN):
        return None
    first = await source.read()
    return await _copy(source, first) if first else None


async def rewindable(source: Source) -> Source:
    """``source``, or where it can be read only once a copy of it in a temporary file, for which
    it is closed.

    Raises:
        Failure: it is longer than 1 GiB.
    """
    if source.is_regular:
        return source
    with source:
        return await _copy(source, b"")


async def _copy(source: Source, chunk: bytes) -> Source:
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - the new Source closes it
    try:
        while True:
            file.write(chunk)
            if file.tell() > _COPY_LIMIT:
                raise Failure(
                    f"{source.name} is longer than 1 GiB and can be read only once; "
                    'give a file, or use "echo serve" and "echo send"'
                )
            chunk = await source.read()
            if not chunk:
                break
        file.flush()
        file.seek(0)
        return Source(source.name, file.fileno(), file)
    except BaseException:
        file.close()
        raise


def _standard_input() -> Source:
    # ``None`` when the descriptor was closed at the start; 0 may be another file by now.
    if sys.stdin is None:
        raise Failure("cannot read standard input: it is closed")
    return Source("standard input", sys.stdin.fileno())


def _open(name: str) -> FileIO:
    return Path(name).open("rb", buffering=0)
