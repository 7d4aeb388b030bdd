"""The progress bar of long transfers: only on a terminal, and only if rich is installed."""

from __future__ import annotations

import sys
from typing import Protocol

import trio

__all__ = ["show_progress"]

_SHOWN_AFTER = 0.5  # seconds; a shorter transfer needs no bar
_REFRESHED_EVERY = 0.1


class Counter(Protocol):
    """Counts the bytes that are done."""

    returned: int


async def show_progress(counter: Counter, total: int | None) -> None:
    """Shows on standard error how many bytes are done, until it is cancelled.

    Args:
        total: how many bytes there will be, ``None`` if that is not known.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        return
    await trio.sleep(_SHOWN_AFTER)
    try:
        # Imported here, so that a short transfer neither needs nor loads rich.
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
            await trio.sleep(_REFRESHED_EVERY)
