"""Plain sockets of trio: the minimal cost of a connection in trio."""

from __future__ import annotations

import trio

from benchmarks.end import Job, play, ready, select_end


async def accept_and_close(job: Job) -> None:
    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(job.path)
        listener.listen(256)

        async def one_round(count: int) -> int:
            for _ in range(count):
                connection, _ = await listener.accept()
                connection.close()
            return count

        ready()
        await play(one_round)


async def connect_and_close(job: Job) -> None:
    path = job.path

    async def one_round(count: int) -> int:
        for _ in range(count):
            connection = trio.socket.socket(trio.socket.AF_UNIX)
            await connection.connect(path)
            # Waits until the server has closed its end: one client at a time.
            assert await connection.recv(1) == b""
            connection.close()
        return count

    ready()
    await play(one_round)


if __name__ == "__main__":
    ends = {("connect", "server"): accept_and_close, ("connect", "client"): connect_and_close}
    end, job = select_end(ends)
    trio.run(end, job)
