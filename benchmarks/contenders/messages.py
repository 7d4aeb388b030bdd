"""The loops of all contenders with an event loop, so that only the channel differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from benchmarks.end import Job, Parts, play

BATCH = 256
# The receiver answers this when all messages of the round have arrived, which ends the round.
DONE = b"!"


class Channel(Protocol):
    async def send(self, message: bytes, /) -> None: ...
    async def receive(self) -> bytes: ...
    async def aclose(self) -> object: ...


class BatchChannel(Channel, Protocol):
    async def send_many(self, messages: Sequence[bytes], /) -> None: ...
    async def receive_many(self) -> list[bytes]: ...


async def ask(channel: Channel, job: Job) -> None:
    size = job.size
    message = b"x" * size

    async def one_round(count: int) -> int:
        for _ in range(count):
            await channel.send(message)
            assert len(await channel.receive()) == size
        return count

    await play(one_round)


async def answer(channel: Channel, job: Job) -> None:
    size = job.size

    async def one_round(count: int) -> int:
        for _ in range(count):
            message = await channel.receive()
            assert len(message) == size
            await channel.send(message)
        return count

    await play(one_round)


async def send_each(channel: Channel, job: Job) -> None:
    message = b"x" * job.size

    async def one_round(count: int) -> int:
        for _ in range(count):
            await channel.send(message)
        assert await channel.receive() == DONE
        return count

    await play(one_round)


async def receive_each(channel: Channel, job: Job) -> None:
    size = job.size

    async def one_round(count: int) -> int:
        for _ in range(count):
            assert len(await channel.receive()) == size
        await channel.send(DONE)
        return count

    await play(one_round)


async def send_batches(channel: BatchChannel, job: Job) -> None:
    batch = [b"x" * job.size] * BATCH

    async def one_round(count: int) -> int:
        for sent in range(0, count, BATCH):
            await channel.send_many(batch[: count - sent])
        assert await channel.receive() == DONE
        return count

    await play(one_round)


async def receive_batches(channel: BatchChannel, job: Job) -> None:
    size = job.size

    async def one_round(count: int) -> int:
        received = 0
        while received < count:
            messages = await channel.receive_many()
            assert all(len(message) == size for message in messages)
            received += len(messages)
        await channel.send(DONE)
        return received

    await play(one_round)


PARTS: Parts[Channel] = {
    ("message-roundtrip", "client"): ask,
    ("message-roundtrip", "server"): answer,
    ("messages", "client"): send_each,
    ("messages", "server"): receive_each,
}
BATCH_PARTS: Parts[BatchChannel] = {
    ("message-batches", "client"): send_batches,
    ("message-batches", "server"): receive_batches,
}
