"""What the commands write. Nothing else here writes to a standard stream."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from ..errors import printable
from .failure import Failure

__all__ = ["complain", "prepare", "printable", "write", "write_path"]


def prepare() -> None:
    """Lets every path be written, also one that the terminal's encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write(text: str) -> None:
    """Writes ``text`` and a newline to standard output, at once. Each line is made
    :func:`printable`.

    Raises:
        Failure: nobody reads it (any more), or the disk is full.
    """
    lines = "\n".join(map(printable, text.split("\n"))) + "\n"
    with _to_stdout() as stdout:
        stdout.write(lines)


def write_path(path: str) -> None:
    """Writes ``path`` and a newline to standard output, at once and as the bytes that the system
    has for it, because another program is to use them.

    Raises:
        Failure: as for :func:`write`.
    """
    with _to_stdout() as stdout:
        stdout.buffer.write(os.fsencode(path + os.linesep))


@contextlib.contextmanager
def _to_stdout() -> Iterator[TextIO]:
    # ``None`` when the descriptor was closed at the start.
    if sys.stdout is None:
        raise Failure("cannot write to standard output: it is closed")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except OSError as error:
        raise _gave_up(error) from None


def complain(line: str) -> None:
    """The one line about a failure, to standard error; where there is none, the exit status
    has to do.
    """
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(f"ipcpipes: {printable(line)}\n")
        sys.stderr.flush()
    except OSError:
        _discard_rest(sys.stderr)


def _gave_up(error: OSError) -> Failure:
    _discard_rest(sys.stdout)
    return Failure(f"cannot write to standard output: {error.strerror}")


def _discard_rest(stream: TextIO) -> None:
    # The interpreter flushes at its exit; what cannot be written would then make a message
    # and another exit status. From the notes on SIGPIPE in the documentation of `signal`.
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
