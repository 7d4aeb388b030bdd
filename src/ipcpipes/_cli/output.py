"""The only module of the command line that writes to the standard streams."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from io import RawIOBase
from typing import TextIO

from ..errors import printable
from .failure import Failure

__all__ = ["complain", "prepare", "printable", "write", "write_all", "write_bytes", "write_path"]


def prepare() -> None:
    """Escapes characters that the encoding of a stream does not have, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write(text: str) -> None:
    """Writes ``text`` and a newline to standard output and flushes it. Each line is made
    :func:`printable`.

    Raises:
        Failure: standard output is closed, has no reader, or its disk is full.
    """
    lines = "\n".join(map(printable, text.split("\n"))) + "\n"
    with _stdout() as stdout:
        stdout.write(lines)


def write_path(path: str) -> None:
    """Writes ``path`` and a newline to standard output and flushes it, as the bytes that the
    system has for the path: another program reads them.

    Raises:
        Failure: standard output is closed, has no reader, or its disk is full.
    """
    write_bytes(os.fsencode(path + os.linesep))


def write_bytes(data: bytes) -> None:
    """Writes bytes to standard output as they are, and flushes it.

    Raises:
        Failure: standard output is closed, has no reader, or its disk is full.
    """
    with _stdout() as stdout:
        # Not through the buffer, so that this can run in a thread that is abandoned: a thread that
        # waits in the buffer holds its lock, without which the interpreter cannot exit.
        raw: RawIOBase = getattr(stdout.buffer, "raw", stdout.buffer)  # type: ignore[arg-type]
        write_all(raw, data)


def write_all(file: RawIOBase, data: bytes) -> None:
    """Writes bytes to a file without a buffer, which may take a part of them at a time.

    Raises:
        OSError: the system cannot write them.
    """
    rest = memoryview(data)
    while rest:
        count = file.write(rest)
        if count is None:  # another process has set O_NONBLOCK
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        rest = rest[count:]


def complain(line: str) -> None:
    """Writes the one line about a failure to standard error. Without a standard error, only the
    exit status reports the failure.
    """
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"ipcpipes: {printable(line)}\n")
        sys.stderr.flush()
    except OSError:
        _discard_rest(sys.stderr)


@contextlib.contextmanager
def _stdout() -> Iterator[TextIO]:
    # ``None`` if the descriptor was closed when the process started.
    if sys.stdout is None:
        raise Failure("cannot write to standard output: it is closed")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except OSError as error:
        _discard_rest(sys.stdout)
        raise Failure(f"cannot write to standard output: {error.strerror}") from None


def _discard_rest(stream: TextIO) -> None:
    # The interpreter flushes at its exit. Data that cannot be written then would cause a message
    # and another exit status. From the notes on SIGPIPE in the documentation of `signal`.
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)
