"""Messages over trio's own stream, in the simplest way: the header, and then the body."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from benchmarks.contenders import messages, trio_unix
from benchmarks.end import Accept, Job, ends, select_end


class FramedChannel:
    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    async def send(self, message: bytes) -> None:
        await self._stream.send_all(len(message).to_bytes(4, "little") + message)

    async def receive(self) -> bytes:
        header = await self._receive_exactly(4)
        return await self._receive_exactly(int.from_bytes(header, "little"))

    async def _receive_exactly(self, count: int) -> bytes:
        received = bytearray()
        while len(received) < count:
            data = await self._stream.receive_some(count - len(received))
            assert data, "the sender has gone"
            received += data
        return bytes(received)

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def listening(job: Job) -> AsyncIterator[Accept[FramedChannel]]:
    async with trio_unix.listening(job) as accept_stream:

        async def accept() -> FramedChannel:
            return FramedChannel(await accept_stream())

        yield accept


async def connect(job: Job) -> FramedChannel:
    return FramedChannel(await trio_unix.connect(job))


if __name__ == "__main__":
    end, job = select_end(ends(listening, connect, messages.PARTS))
    trio.run(end, job)
