"""Nurseries that functions of ipcpipes use internally, and that callers do not notice."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


@asynccontextmanager
async def unseen_nursery() -> AsyncIterator[trio.Nursery]:
    """Opens a nursery for tasks of ipcpipes around a block of the user. A single exception leaves
    the block unchanged, and not in an exception group.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            alone = group.exceptions[0]
            context, suppressed = alone.__context__, alone.__suppress_context__
            try:
                raise alone
            finally:
                alone.__context__, alone.__suppress_context__ = context, suppressed
                del alone, context
        raise


async def first_of(*events: trio.Event) -> None:
    """Waits until one of the events is set."""
    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(_cancel_when, event, nursery.cancel_scope)


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel()
