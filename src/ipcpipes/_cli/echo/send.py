"""``echo send``: a file, or standard input, through an echo server that runs elsewhere."""

from __future__ import annotations

import argparse

import trio

import ipcpipes

from .. import output
from ..progress import show_progress
from ..source import open_source
from .ledger import Ledger
from .transfer import fail_when_stalled, stream_through

__all__ = ["send"]


async def send(arguments: argparse.Namespace) -> None:
    """Sends everything, checks all that comes back, and writes one line about it.

    Raises:
        Failure: the input cannot be read, or something else or nothing comes back.
        EndpointError, InvalidEndpoint: no connection comes about.
    """
    with await open_source(arguments.file) as source:
        async with await ipcpipes.connect(arguments.name, wait=arguments.wait) as stream:
            ledger = Ledger()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_when_stalled, ledger)
                nursery.start_soon(show_progress, ledger, source.size)
                streamed = await stream_through(stream, source.read, ledger)
                nursery.cancel_scope.cancel()
    output.write(
        f"{streamed.total_bytes} bytes sent and back, every one right, "
        f"in {streamed.seconds:.3f} s, {streamed.bytes_per_second / 1e6:.1f} MB/s"
    )
