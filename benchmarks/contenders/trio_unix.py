"""Connects the contenders that use trio's own streams: a Unix domain socket at a path."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from benchmarks.end import Accept, Job


@asynccontextmanager
async def listening(job: Job) -> AsyncIterator[Accept[trio.SocketStream]]:
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(job.path)
        listener.listen(128)

        async def accept() -> trio.SocketStream:
            connection, _ = await listener.accept()
            return trio.SocketStream(connection)

        yield accept


async def connect(job: Job) -> trio.SocketStream:
    return await trio.open_unix_socket(job.path)
