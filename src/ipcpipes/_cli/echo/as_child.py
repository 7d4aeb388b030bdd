"""``echo --as-child``: the other end of ``echo --child``."""

from __future__ import annotations

import argparse

import ipcpipes

from .echoing import echo

__all__ = ["as_child"]


async def as_child(arguments: argparse.Namespace) -> None:
    """Sends back what the parent sends, until it closes the stream or dies, however it dies.

    Raises:
        NoParent: somebody has typed this.
    """
    async with ipcpipes.parent_stream() as stream:
        await echo(stream)
