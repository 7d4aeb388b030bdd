"""Messages over trio's own stream, optimised: with as few receives as possible."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from benchmarks.contenders import messages, trio_unix
from benchmarks.end import Accept, Job, ends, select_end

CHUNK = 65536
HEADER = 4


class BufferedChannel:
    """Receives all bytes that have arrived, but only when the buffer has no whole message."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._start = 0

    async def send(self, message: bytes) -> None:
        await self._stream.send_all(len(message).to_bytes(HEADER, "little") + message)

    async def receive(self) -> bytes:
        buffer = self._buffer
        await self._ensure(HEADER)
        start = self._start + HEADER
        size = int.from_bytes(buffer[start - HEADER : start], "little")
        await self._ensure(HEADER + size)
        start = self._start + HEADER
        self._start = start + size
        return bytes(memoryview(buffer)[start : self._start])

    async def _ensure(self, count: int) -> None:
        """Returns when the buffer holds ``count`` bytes from its start on."""
        buffer = self._buffer
        if len(buffer) - self._start >= count:
            return
        # Only before receiving, not for each message, because it moves the rest of the buffer.
        del buffer[: self._start]
        self._start = 0
        while len(buffer) < count:
            data = await self._stream.receive_some(CHUNK)
            assert data, "the sender has gone"
            buffer += data

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def listening(job: Job) -> AsyncIterator[Accept[BufferedChannel]]:
    async with trio_unix.listening(job) as accept_stream:

        async def accept() -> BufferedChannel:
            return BufferedChannel(await accept_stream())

        yield accept


async def connect(job: Job) -> BufferedChannel:
    return BufferedChannel(await trio_unix.connect(job))


if __name__ == "__main__":
    end, job = select_end(ends(listening, connect, messages.PARTS))
    trio.run(end, job)
