"""The second process of the diagnostic."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

import ipcpipes

from ... import _os
from ...abc import ByteStream
from ...errors import single_errors
from ..failure import ConnectionEnded, Failure, WrongBytes

__all__ = ["AS_CHILD", "second_process", "server_stream"]

_ECHO = (sys.executable, "-m", "ipcpipes", "echo")
AS_CHILD = (*_ECHO, "--as-child")
"""The command of a child that echoes through the stream that it inherits."""

_START_WITHIN = 20.0  # seconds; enough for a cold start from a slow disk
_END_WITHIN = 5.0
_LONGEST_MESSAGE = 4096  # characters


@asynccontextmanager
async def second_process(what: str, command: Sequence[str]) -> AsyncIterator[ipcpipes.Child]:
    """Runs a child for the length of a block. Its last line on standard error, which usually says
    why it ended, becomes part of the failure.

    Args:
        what: ``"server"`` or ``"child"``, for the text of the failure.

    Raises:
        Failure: the child ended too early, did not end by itself, or ended with a status other than
            0.
        OSError: the child cannot be started.
    """
    last = ""

    def note(line: str) -> None:
        nonlocal last
        if line.strip():
            last = line[-_LONGEST_MESSAGE:]

    try:
        async with ipcpipes.open_child(
            command,
            # Not the standard input of the diagnostic, which may be the data to send.
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=note,
            grace=_END_WITHIN,
            # Ctrl-C reaches the diagnostic only. The child may still be importing, and would
            # print a traceback.
            **_os.APART,
        ) as child:
            yield child
    except Exception as error:
        # The end of the process explains better why the connection ended.
        if not _is_about_the_end(error) or _ended_well(child):
            raise
    if not _ended_well(child):
        raise _failure(what, child, last)


@asynccontextmanager
async def server_stream(*options: str) -> AsyncIterator[ByteStream]:
    """Starts a server with a name of its own, and connects to it.

    Args:
        options: the options of ``echo serve``.

    Raises:
        Failure: the server ended too early.
        EndpointError: the server does not listen in time.
    """
    name = f"echo-{secrets.token_hex(4)}"
    command = [*_ECHO, "serve", name, *options, "--as-child"]
    async with second_process("server", command) as server, trio.open_nursery() as nursery:
        nursery.start_soon(_fail_when_ended, server)
        async with await ipcpipes.connect(name, wait=_START_WITHIN) as stream:
            yield stream
        nursery.cancel_scope.cancel()


async def _fail_when_ended(process: ipcpipes.Child) -> None:
    await process.wait()
    raise ConnectionEnded("the server process ended")


def _is_about_the_end(error: BaseException) -> bool:
    found = list(single_errors(error))
    # rpc.CommFailure is a ConnectionError.
    return any(isinstance(each, (ConnectionEnded, ConnectionError)) for each in found) and not any(
        isinstance(each, WrongBytes) for each in found
    )


def _ended_well(child: ipcpipes.Child) -> bool:
    return (child.reason, child.status) == ("exited", 0)


def _failure(what: str, child: ipcpipes.Child, last: str) -> Failure:
    status = child.status
    assert status is not None
    if child.reason in ("terminated", "killed"):
        how = (
            f"did not end within {_END_WITHIN:g} s after its stream was closed, "
            f"and was {child.reason}"
        )
    else:
        how = f"ended by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"
    return Failure(f"the {what} process {how}: {last}".rstrip(": "))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"
