"""The loops for ends of anonymous pipes, for contenders with an event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from benchmarks.end import Job, play


async def send(put: Callable[[bytes], Awaitable[object]], job: Job) -> None:
    chunk = b"x" * job.size

    async def one_round(count: int) -> int:
        for _ in range(count):
            await put(chunk)
        return count

    await play(one_round)


async def receive(get: Callable[[bytearray], Awaitable[int]], job: Job) -> None:
    """Plays the receiving end. ``get`` fills the buffer or a part of it, and returns how much."""
    buffer = bytearray(job.size)

    async def one_round(count: int) -> int:
        total = count * job.size
        received = 0
        while received < total:
            got = await get(buffer)
            assert got, "the sender has gone"
            received += got
        assert received == total, "more than was sent"
        return count

    await play(one_round)
