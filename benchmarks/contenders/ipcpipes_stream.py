"""ipcpipes, used as its users do: by a plain name, with every default."""

from __future__ import annotations

import ipcpipes
from benchmarks.contenders import streams
from benchmarks.end import End, Job, play, ready, run


def server(scenario: str) -> End:
    async def end(job: Job) -> None:
        async with await ipcpipes.listen(job.name) as listener:
            ready()
            async with await listener.accept() as stream:
                await streams.ROUNDS[scenario, "server"](stream, job)

    return end


def client(scenario: str) -> End:
    async def end(job: Job) -> None:
        async with await ipcpipes.connect(job.name) as stream:
            ready()
            await streams.ROUNDS[scenario, "client"](stream, job)

    return end


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
            # Until the server has closed its end: one client at a time.
            assert await stream.receive_some(1) == b""
            await stream.aclose()
        return count

    ready()
    await play(one_round)


if __name__ == "__main__":
    run(
        {
            ("bulk", "server"): server("bulk"),
            ("bulk", "client"): client("bulk"),
            ("roundtrip", "server"): server("roundtrip"),
            ("roundtrip", "client"): client("roundtrip"),
            ("connect", "server"): accept_and_close,
            ("connect", "client"): connect_and_close,
        }
    )
