"""trio's own stream over a descriptor, which cannot receive into a buffer."""

from __future__ import annotations

import sys

import trio

from benchmarks.contenders import pipes
from benchmarks.end import Job, ready, select_end

assert sys.platform != "win32"


async def send(job: Job) -> None:
    async with trio.lowlevel.FdStream(job.number) as stream:
        ready()
        await pipes.send(stream.send_all, job)


async def receive(job: Job) -> None:
    async with trio.lowlevel.FdStream(job.number) as stream:

        async def get(buffer: bytearray) -> int:
            return len(await stream.receive_some(len(buffer)))

        ready()
        await pipes.receive(get, job)


if __name__ == "__main__":
    end, job = select_end({("pipe", "client"): send, ("pipe", "server"): receive})
    trio.run(end, job)
