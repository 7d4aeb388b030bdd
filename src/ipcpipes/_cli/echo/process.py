"""The echo in a child of :func:`ipcpipes.open_child`, for the diagnostic."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import ipcpipes

from ..failure import Failure
from ..system import APART
from .ended import LONGEST_MESSAGE, is_about_the_end, process_ended

__all__ = ["child_process"]

_END_WITHIN = 5.0  # seconds
_COMMAND = (sys.executable, "-m", "ipcpipes", "echo", "--as-child")


@asynccontextmanager
async def child_process(command: Sequence[str] = _COMMAND) -> AsyncIterator[ipcpipes.Child]:
    """Starts the child; it is gone when the block is left.

    Raises:
        Failure: it ended before its time, or otherwise than by itself with status 0.
        OSError: it could not be started.
    """
    last = ""

    def hear(line: str) -> None:
        nonlocal last
        if line.strip():
            last = line[-LONGEST_MESSAGE:]

    try:
        async with ipcpipes.open_child(
            command,
            # Not the diagnostic's own, which may be what is to be sent.
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=hear,
            grace=_END_WITHIN,
            # Ctrl-C is for this process alone, as with the server process.
            **APART,
        ) as child:
            yield child
    except Exception as error:
        if is_about_the_end(error):
            raise _failure(child, last) from None
        raise
    if (child.reason, child.status) != ("exited", 0):
        raise _failure(child, last)


def _failure(child: ipcpipes.Child, last: str) -> Failure:
    assert child.status is not None
    if child.reason in ("terminated", "killed"):
        return Failure(
            f"the child process did not end within {_END_WITHIN:g} s after its stream was closed, "
            f"and was {child.reason}: {last}".rstrip(": ")
        )
    return process_ended("child", child.status, last)
