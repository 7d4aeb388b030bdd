"""trio's tasks for :mod:`benchmarks.contenders.crowd`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from benchmarks.contenders.crowd import Tasks


@asynccontextmanager
async def task_group() -> AsyncIterator[Tasks]:
    async with trio.open_nursery() as nursery:
        yield Tasks(nursery.start_soon, trio.Event)
        nursery.cancel_scope.cancel()
