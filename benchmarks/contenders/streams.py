"""The loops of all contenders with trio streams, so that only the stream differs."""

from __future__ import annotations

import trio

from benchmarks.end import Job, Parts, play


async def bulk_send(stream: trio.abc.Stream, job: Job) -> None:
    chunk = b"x" * job.size

    async def one_round(count: int) -> int:
        for _ in range(count):
            await stream.send_all(chunk)
        # The round ends with the answer of the receiver that everything has arrived.
        assert await stream.receive_some(1) == b"!"
        return count

    await play(one_round)


async def bulk_receive(stream: trio.abc.Stream, job: Job) -> None:
    size = job.size

    async def one_round(count: int) -> int:
        total = count * size
        received = 0
        while received < total:
            data = await stream.receive_some(size)
            assert data, "the sender has gone"
            received += len(data)
        assert received == total, "more than was sent"
        await stream.send_all(b"!")
        return count

    await play(one_round)


async def ask(stream: trio.abc.Stream, job: Job) -> None:
    size = job.size
    message = b"x" * size

    async def one_round(count: int) -> int:
        for _ in range(count):
            await stream.send_all(message)
            assert len(await stream.receive_some(size)) == size
        return count

    await play(one_round)


async def answer(stream: trio.abc.Stream, job: Job) -> None:
    size = job.size

    async def one_round(count: int) -> int:
        for _ in range(count):
            message = await stream.receive_some(size)
            assert len(message) == size
            await stream.send_all(message)
        return count

    await play(one_round)


PARTS: Parts[trio.abc.Stream] = {
    ("bulk", "client"): bulk_send,
    ("bulk", "server"): bulk_receive,
    ("roundtrip", "client"): ask,
    ("roundtrip", "server"): answer,
}
