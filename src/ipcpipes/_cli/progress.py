"""The progress bar of long transfers: on a terminal only, and only if rich is installed."""

from __future__ import annotations

import sys
from typing import Protocol

import trio

__all__ = ["show_progress"]

_LONG = 0.5  # seconds; what is done sooner needs no bar
_FRAME = 0.1


class Counter(Protocol):
    """What says how far it is."""

    returned: int


async def show_progress(counter: Counter, total: int | None) -> None:
    """Shows on standard error how much has come back, until it is cancelled.

    Args:
        total: how much it will be, ``None`` where that is not known.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        return
    await trio.sleep(_LONG)
    try:
        # Here, so that rich is neither needed nor loaded for anything short.
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn
    except ImportError:
        return
    with Progress(
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        # rich would draw from a thread of its own.
        auto_refresh=False,
        transient=True,
    ) as progress:
        task = progress.add_task("", total=total)
        while True:
            progress.update(task, completed=counter.returned, refresh=True)
            await trio.sleep(_FRAME)
