"""ipcpipes under trio: requests by ``transact``, and messages by ``send_nowait``."""

from __future__ import annotations

import trio

import ipcpipes
from benchmarks.contenders import messages
from benchmarks.contenders.ipcpipes_trio import connect_for_messages, listening_for_messages
from benchmarks.end import Job, Parts, ends, play, select_end


async def ask(channel: ipcpipes.MessageChannel, job: Job) -> None:
    size = job.size
    message = b"x" * size

    async def one_round(count: int) -> int:
        for _ in range(count):
            assert len(await channel.transact(message)) == size
        return count

    await play(one_round)


async def answer(channel: ipcpipes.MessageChannel, job: Job) -> None:
    size = job.size

    async def one_round(count: int) -> int:
        for _ in range(count):
            message = await channel.receive()
            assert len(message) == size
            channel.send_nowait(message)
        return count

    await play(one_round)


async def send_each(channel: ipcpipes.MessageChannel, job: Job) -> None:
    message = b"x" * job.size

    async def one_round(count: int) -> int:
        for _ in range(count):
            try:
                channel.send_nowait(message)
            except trio.WouldBlock:
                await channel.send(message)
        assert await channel.receive() == messages.DONE
        return count

    await play(one_round)


PARTS: Parts[ipcpipes.MessageChannel] = {
    ("message-roundtrip", "client"): ask,
    ("message-roundtrip", "server"): answer,
    ("messages", "client"): send_each,
    ("messages", "server"): messages.receive_batches,
}

if __name__ == "__main__":
    end, job = select_end(ends(listening_for_messages, connect_for_messages, PARTS))
    trio.run(end, job)
