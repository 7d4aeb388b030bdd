"""Messages over asyncio's own streams: ``readexactly`` twice, ``write`` and ``drain``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.contenders import crowd, messages
from benchmarks.contenders.crowd import Tasks
from benchmarks.end import Accept, Job, ends, select_end

assert sys.platform != "win32"


class FramedChannel:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, message: bytes) -> None:
        self._writer.write(len(message).to_bytes(4, "little") + message)
        await self._writer.drain()

    async def receive(self) -> bytes:
        header = await self._reader.readexactly(4)
        return await self._reader.readexactly(int.from_bytes(header, "little"))

    async def aclose(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


@asynccontextmanager
async def listening(job: Job) -> AsyncIterator[Accept[FramedChannel]]:
    connected: asyncio.Queue[FramedChannel] = asyncio.Queue()

    def add(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.put_nowait(FramedChannel(reader, writer))

    server = await asyncio.start_unix_server(add, job.path)
    yield connected.get
    # Not "async with", which waits for every connection to close; those of a crowd stay open.
    server.close()


async def connect(job: Job) -> FramedChannel:
    return FramedChannel(*await asyncio.open_unix_connection(job.path))


@asynccontextmanager
async def task_group() -> AsyncIterator[Tasks]:
    # Not asyncio.TaskGroup, which Python 3.10 does not have.
    tasks: list[asyncio.Task[None]] = []
    yield Tasks(lambda start: tasks.append(asyncio.create_task(start())), asyncio.Event)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


ENDS = {
    **ends(listening, connect, messages.PARTS),
    **crowd.ends(listening, connect, task_group),
}

if __name__ == "__main__":
    end, job = select_end(ENDS)
    asyncio.run(end(job))
