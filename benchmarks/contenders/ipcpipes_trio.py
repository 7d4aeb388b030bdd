"""ipcpipes under trio, as users use it: with a plain name and the defaults."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

import ipcpipes
from benchmarks.contenders import crowd, messages, pipes, streams
from benchmarks.contenders.stopwatch import Stopwatch
from benchmarks.contenders.trio_tasks import task_group
from benchmarks.end import Accept, Job, Parts, ends, play, ready, select_end


@asynccontextmanager
async def listening(job: Job) -> AsyncIterator[Accept[ipcpipes.Stream]]:
    async with await ipcpipes.listen(job.name) as listener:
        yield listener.accept


async def connect(job: Job) -> ipcpipes.Stream:
    return await ipcpipes.connect(job.name)


@asynccontextmanager
async def listening_for_messages(job: Job) -> AsyncIterator[Accept[ipcpipes.MessageChannel]]:
    async with await ipcpipes.listen_messages(job.name) as listener:
        yield listener.accept


async def connect_for_messages(job: Job) -> ipcpipes.MessageChannel:
    return await ipcpipes.connect_messages(job.name)


async def accept_and_close(job: Job) -> None:
    async with await ipcpipes.listen(job.name) as listener:

        async def one_round(count: int) -> int:
            for _ in range(count):
                stream = await listener.accept()
                await stream.aclose()
            return count

        ready()
        await play(one_round)


async def connect_and_close(job: Job) -> None:
    name = job.name

    async def one_round(count: int) -> int:
        for _ in range(count):
            stream = await ipcpipes.connect(name)
            # Waits until the server has closed its end: one client at a time.
            assert await stream.receive_some(1) == b""
            await stream.aclose()
        return count

    ready()
    await play(one_round)


async def send_through_pipe(job: Job) -> None:
    where = ipcpipes.Endpoint.inherited(job.number)
    async with await ipcpipes.connect(where, direction="send") as stream:
        ready()
        await pipes.send(stream.send_all, job)


async def receive_through_pipe(job: Job) -> None:
    where = ipcpipes.Endpoint.inherited(job.number)
    async with await ipcpipes.connect(where, direction="receive") as stream:
        ready()
        await pipes.receive(stream.receive_into, job)


async def start_children(job: Job) -> None:
    command = [job.child]
    watch = Stopwatch()

    async def one_round(count: int) -> int:
        for _ in range(count):
            watch.start()
            async with ipcpipes.open_child(command) as child:
                await child.stream.send_all(b"x")
                assert await child.stream.receive_some(1) == b"x"
                watch.stop()
        return count

    ready()
    await play(one_round, watch.total)


MESSAGE_PARTS: Parts[ipcpipes.MessageChannel] = {
    **messages.PARTS,
    **messages.BATCH_PARTS,
    # Each message is sent alone, but received with receive_many: every consumer can use that,
    # while only some producers have batches to send.
    ("messages", "server"): messages.receive_batches,
}
ENDS = {
    ("connect", "server"): accept_and_close,
    ("connect", "client"): connect_and_close,
    ("pipe", "client"): send_through_pipe,
    ("pipe", "server"): receive_through_pipe,
    ("child", "client"): start_children,
    **ends(listening, connect, streams.PARTS),
    **ends(listening_for_messages, connect_for_messages, MESSAGE_PARTS),
    **crowd.ends(listening_for_messages, connect_for_messages, task_group),
}

if __name__ == "__main__":
    end, job = select_end(ENDS)
    trio.run(end, job)
