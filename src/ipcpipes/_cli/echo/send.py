"""``echo send``: sends a file, or standard input, through an echo server that already runs."""

from __future__ import annotations

import argparse
from contextlib import closing

import trio

import ipcpipes

from .. import output
from ..progress import show_progress
from ..source import open_source
from .ledger import Ledger
from .transfer import fail_when_stalled, stream_through

__all__ = ["send"]


async def send(arguments: argparse.Namespace) -> None:
    """Connects to an echo server, sends FILE through it while checking what comes back,
    and prints one line. On a terminal, long input shows a progress bar (needs rich:
    pip install "ipcpipes[cli]").

    exit status: 0 all came back right, 1 something failed (one line on standard
    error says what), 2 wrong usage, 130 Ctrl-C, 143 SIGTERM.
    """
    with closing(await open_source(arguments.file)) as source:
        async with await ipcpipes.connect(arguments.name, wait=arguments.wait) as stream:
            ledger = Ledger()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_when_stalled, ledger)
                nursery.start_soon(show_progress, ledger, source.size)
                streamed = await stream_through(stream, source.read, ledger)
                nursery.cancel_scope.cancel()
    output.write(
        "{total_bytes} bytes sent and back, every one right, in {seconds:.3f} s, "
        "{megabytes_per_second:.1f} MB/s".format(**streamed)
    )
