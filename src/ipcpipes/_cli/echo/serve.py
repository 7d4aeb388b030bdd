"""``echo serve``: sends back what each client sends."""

from __future__ import annotations

import argparse
import sys

import trio

import ipcpipes

from ... import abc
from .. import output
from ..source import CHUNK
from ..system import read_some
from .echoing import echo

__all__ = ["serve"]


async def serve(arguments: argparse.Namespace) -> None:
    """Serves until it is cancelled, or with ``--until-stdin-closes`` until that happens.

    Raises:
        EndpointError, InvalidEndpoint: it cannot listen there.
        Failure: standard output cannot be written to.
    """
    async with trio.open_nursery() as nursery:
        if arguments.rpc:
            # Here, so that who does not need it does not load it.
            from . import calls

            listener: abc.Listener[abc.ByteStream] = await nursery.start(
                calls.serve, arguments.name
            )
        else:
            listener = await nursery.start(ipcpipes.serve, echo, arguments.name)
        output.write(f"listening on {listener.endpoint} at {listener.address}")
        if arguments.until_stdin_closes:
            await _stdin_closes()
            nursery.cancel_scope.cancel()


async def _stdin_closes() -> None:
    # The parent holds the other end and never writes. The kernel closes it however the parent
    # ends, also by SIGKILL, which no signal handler or `finally` of the parent survives.
    if sys.stdin is not None:
        while await read_some(sys.stdin.fileno(), CHUNK):
            pass
