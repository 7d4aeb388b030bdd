"""The minimum that trio's rules allow: a system call and a checkpoint, without a stream.

A stream over a descriptor cannot be faster as long as each of its methods is a checkpoint.
"""

from __future__ import annotations

import os

import trio

from benchmarks.end import Job, play, ready, select_end


async def send(fd: int, message: bytes) -> None:
    assert os.write(fd, message) == len(message)
    await trio.lowlevel.checkpoint()


async def receive(fd: int, size: int) -> bytes:
    await trio.lowlevel.wait_readable(fd)
    return os.read(fd, size)


async def ask(fd: int, job: Job) -> None:
    message = b"x" * job.size

    async def one_round(count: int) -> int:
        for _ in range(count):
            await send(fd, message)
            assert len(await receive(fd, job.size)) == job.size
        return count

    await play(one_round)


async def answer(fd: int, job: Job) -> None:
    async def one_round(count: int) -> int:
        for _ in range(count):
            message = await receive(fd, job.size)
            assert len(message) == job.size
            await send(fd, message)
        return count

    await play(one_round)


async def serve(job: Job) -> None:
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(job.path)
        listener.listen(1)
        ready()
        connection, _ = await listener.accept()
        with connection:
            await answer(connection.fileno(), job)


async def call(job: Job) -> None:
    with trio.socket.socket(trio.socket.AF_UNIX) as connection:
        await connection.connect(job.path)
        ready()
        await ask(connection.fileno(), job)


if __name__ == "__main__":
    end, job = select_end({("roundtrip", "server"): serve, ("roundtrip", "client"): call})
    trio.run(end, job)
