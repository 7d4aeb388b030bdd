"""The least that trio's rules allow: a system call and a checkpoint, and no stream around them.

What a stream over a descriptor can come down to at best, as long as each of its methods is a
checkpoint.
"""

from __future__ import annotations

import os
import socket

import trio

from benchmarks.end import End, Job, play, ready, run


async def send(fd: socket.socket, message: bytes) -> None:
    assert fd.send(message) == len(message)
    await trio.lowlevel.checkpoint()


async def receive(fd: socket.socket, size: int) -> bytes:
    await trio.lowlevel.wait_readable(fd.fileno())
    return os.read(fd.fileno(), size)


async def play_ask(fd: socket.socket, job: Job) -> None:
    message = b"x" * job.size

    async def one_round(count: int) -> int:
        for _ in range(count):
            await send(fd, message)
            assert len(await receive(fd, job.size)) == job.size
        return count

    await play(one_round)


async def play_answer(fd: socket.socket, job: Job) -> None:
    async def one_round(count: int) -> int:
        for _ in range(count):
            message = await receive(fd, job.size)
            assert len(message) == job.size
            await send(fd, message)
        return count

    await play(one_round)


def server() -> End:
    async def end(job: Job) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(job.path)
            listener.listen(1)
            ready()
            await trio.lowlevel.wait_readable(listener.fileno())
            connection, _ = listener.accept()
            with connection:
                await play_answer(connection, job)

    return end


def client() -> End:
    async def end(job: Job) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(job.path)
            ready()
            await play_ask(connection, job)

    return end


if __name__ == "__main__":
    run({("roundtrip", "server"): server(), ("roundtrip", "client"): client()})
