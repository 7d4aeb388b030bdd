"""trio's own stream over a Unix domain socket."""

from __future__ import annotations

import trio

from benchmarks.contenders import streams
from benchmarks.end import End, Job, ready, run


def server(scenario: str) -> End:
    async def end(job: Job) -> None:
        with trio.socket.socket(trio.socket.AF_UNIX) as listener:
            await listener.bind(job.path)
            listener.listen(1)
            ready()
            connection, _ = await listener.accept()
            async with trio.SocketStream(connection) as stream:
                await streams.ROUNDS[scenario, "server"](stream, job)

    return end


def client(scenario: str) -> End:
    async def end(job: Job) -> None:
        async with await trio.open_unix_socket(job.path) as stream:
            ready()
            await streams.ROUNDS[scenario, "client"](stream, job)

    return end


if __name__ == "__main__":
    run(
        {
            ("bulk", "server"): server("bulk"),
            ("bulk", "client"): client("bulk"),
            ("roundtrip", "server"): server("roundtrip"),
            ("roundtrip", "client"): client("roundtrip"),
        }
    )
