"""The bytes to send: a file, standard input, or a pipe."""

from __future__ import annotations

import os
import select
import stat
import sys
import tempfile
from contextlib import closing
from functools import partial
from io import FileIO
from typing import IO

import trio

from .failure import Failure

__all__ = ["CHUNK", "Source", "in_thread", "open_source", "rewindable", "unasked_input"]

CHUNK = 2**16
"""How many bytes are read, sent and received at a time."""

in_thread = partial(trio.to_thread.run_sync, abandon_on_cancel=True)
"""Runs a function that waits for another process, such as a read of a pipe, which may never have a
byte. After a cancellation the thread stays in its system call until the process ends: only commands
that end are cancelled."""

_FIRST_BYTE_WITHIN = 1.0  # seconds
_COPY_LIMIT = 2**30


class Source:
    """Bytes that can be read once, or again if they are in a regular file.

    Lifetime: :meth:`close` closes ``file``. Standard input stays open, because ``file`` does not
    own that descriptor.

    Attributes:
        is_regular: whether ``file`` is a regular file.
        size: how many bytes there are, ``None`` if that is not known.
    """

    def __init__(self, name: str, file: IO[bytes] | FileIO) -> None:
        self.name = name
        self._file = file
        found = os.fstat(file.fileno())
        self.is_regular = stat.S_ISREG(found.st_mode)
        # Another program may have read the beginning of standard input.
        self._start = file.tell() if self.is_regular else 0
        self.size = max(found.st_size - self._start, 0) if self.is_regular else None

    def close(self) -> None:
        self._file.close()

    async def read(self) -> bytes:
        """Returns the next bytes, at most :data:`CHUNK`; ``b""`` at the end.

        Raises:
            Failure: the system cannot read them.
        """
        try:
            if self.is_regular:
                # Reading a regular file does not wait for another process.
                await trio.lowlevel.checkpoint()
                return os.read(self._file.fileno(), CHUNK)
            # Windows has no overlapped reads of anonymous pipes and consoles. On POSIX,
            # trio.lowlevel.FdStream would set O_NONBLOCK for all processes that share the
            # descriptor, such as the shell on the same terminal.
            return await in_thread(os.read, self._file.fileno(), CHUNK)
        except OSError as error:
            raise Failure(f"cannot read {self.name}: {error.strerror}") from None

    def rewind(self) -> None:
        """Returns to where reading began; only for a regular file."""
        os.lseek(self._file.fileno(), self._start, os.SEEK_SET)


async def open_source(name: str | None) -> Source:
    """Opens the file of this name; standard input for ``-`` and ``None``.

    Raises:
        Failure: the file cannot be opened.
    """
    if name is None or name == "-":
        return _standard_input()
    try:
        # In a thread: opening a FIFO waits for a process that writes to it.
        file = await in_thread(FileIO, name)
    except OSError as error:
        raise Failure(f"cannot read {name}: {error.strerror}") from None
    except ValueError as error:  # a NUL in the name
        raise Failure(f"cannot read {name!r}: {error}") from None
    return Source(name, file)


async def unasked_input() -> Source | None:
    """Returns standard input if the user has redirected data to it; otherwise ``None``.

    Redirected data is a regular file that is not empty, or a pipe that has a byte within a second.
    A program often inherits a pipe to which no process ever writes.
    """
    if sys.stdin is None:
        return None
    source = _standard_input()
    if not source.is_regular:
        if not await _pipe_speaks(sys.stdin.fileno()):
            return None
        source = await rewindable(source)
    if source.size:
        return source
    source.close()
    return None


async def _pipe_speaks(fd: int) -> bool:
    """Whether ``fd`` is a pipe or socket that has a byte, or ends, within a second."""
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return False
    try:
        readable, _, _ = await in_thread(select.select, [fd], [], [], _FIRST_BYTE_WITHIN)
    except OSError:
        # Windows waits for sockets only. A thread that read a byte instead could not be stopped,
        # and would take the byte from the next reader.
        return False
    return bool(readable)


async def rewindable(source: Source) -> Source:
    """Returns ``source`` itself. If it can be read only once, returns a copy of it in a temporary
    file, and closes ``source``.

    Raises:
        Failure: it has more than 1 GiB.
    """
    if source.is_regular:
        return source
    with closing(source):
        file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - the new Source closes it
        try:
            while chunk := await source.read():
                if file.tell() + len(chunk) > _COPY_LIMIT:
                    raise Failure(
                        f"{source.name} is longer than 1 GiB and can be read only once; "
                        'give a file, or use "echo serve" and "echo send"'
                    )
                file.write(chunk)
            file.seek(0)  # flushes, too
            return Source(source.name, file)
        except BaseException:
            file.close()
            raise


def _standard_input() -> Source:
    # ``None`` if the descriptor was closed when the process started; another file may have 0 now.
    if sys.stdin is None:
        raise Failure("cannot read standard input: it is closed")
    return Source("standard input", FileIO(sys.stdin.fileno(), closefd=False))
