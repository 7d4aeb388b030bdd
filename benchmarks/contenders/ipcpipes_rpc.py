"""ipcpipes.rpc under trio, as users use it: with a plain name and the defaults."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import repeat
from typing import Any

import trio

from benchmarks.contenders.rpc_interface import IN_FLIGHT, Benchmark, Element
from benchmarks.end import Job, play, ready, report, select_end
from ipcpipes import rpc


class Manager(Benchmark):
    """The server: counts the operations of a round.

    Args:
        size: the bytes that count as one operation of a stream.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = 0
        self._done = trio.lowlevel.ParkingLot()

    async def round(self, count: int) -> int:
        """Returns when ``count`` more operations are done."""
        self._left += count
        while self._left > 0:
            await self._done.park()
        return count

    def _add(self, count: int) -> None:
        self._left -= count
        if self._left <= 0:
            self._done.unpark_all()

    async def echo(self, message: bytes) -> bytes:
        self._add(1)
        return message

    async def collect(self, data: rpc.InPipe[rpc.byte]) -> int:
        size = 0
        async for chunk in data:
            size += len(chunk)
        self._add(size // self._size)
        return size

    async def count(self, data: rpc.InPipe[Element]) -> int:
        count = 0
        async for chunk in data:
            count += len(chunk)
        self._add(count)
        return count

    async def gather(self, values: rpc.InStream[bytes]) -> int:
        count = 0
        async for value in values:
            assert len(value) == self._size
            count += 1
        self._add(count)
        return count

    async def scatter(self, count: int, size: int) -> AsyncIterator[bytes]:
        value = b"x" * size
        for _ in range(count):
            yield value
        self._add(count)


async def serve(job: Job) -> None:
    manager = Manager(job.size)
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.serve, manager, job.name)
        ready()
        # In a thread, because a client needs the event loop to connect.
        while order := await trio.to_thread.run_sync(sys.stdin.readline):
            start = time.perf_counter()
            completed = await manager.round(int(order))
            report(time.perf_counter() - start, completed)
        nursery.cancel_scope.cancel()


def client(round_of: Callable[[Any, Job], Callable[[int], Awaitable[int]]]) -> Any:
    async def end(job: Job) -> None:
        async with rpc.connect(Benchmark, job.name) as server:
            ready()
            await play(round_of(server, job))

    return end


def ask(server: Any, job: Job) -> Callable[[int], Awaitable[int]]:
    size = job.size
    message = b"x" * size

    async def one_round(count: int) -> int:
        for _ in range(count):
            assert len(await server.echo(message)) == size
        return count

    return one_round


def ask_many(server: Any, job: Job) -> Callable[[int], Awaitable[int]]:
    size = job.size
    message = b"x" * size

    async def one_round(count: int) -> int:
        left = count

        async def ask_on() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                assert len(await server.echo(message)) == size

        async with trio.open_nursery() as nursery:
            for _ in range(job.connections if job.connections > 1 else IN_FLIGHT):
                nursery.start_soon(ask_on)
        return count

    return one_round


def push(server: Any, job: Job) -> Callable[[int], Awaitable[int]]:
    chunk = b"x" * job.size

    async def one_round(count: int) -> int:
        async with server.collect.begin() as call:
            pipe = call.pipes["data"]
            for _ in range(count):
                await pipe.push(chunk)
            await pipe.close()
            assert await call.complete() == count * len(chunk)
        return count

    return one_round


def push_each(server: Any, job: Job) -> Callable[[int], Awaitable[int]]:
    element = b"x" * job.size

    async def one_round(count: int) -> int:
        async with server.count.begin() as call:
            pipe = call.pipes["data"]
            for _ in range(count):
                try:
                    pipe.push_nowait(element)
                except trio.WouldBlock:
                    await pipe.push(element)
            await pipe.close()
            assert await call.complete() == count
        return count

    return one_round


def send_values(server: Any, job: Job) -> Callable[[int], Awaitable[int]]:
    value = b"x" * job.size

    async def one_round(count: int) -> int:
        assert await server.gather(repeat(value, count)) == count
        return count

    return one_round


def receive_values(server: Any, job: Job) -> Callable[[int], Awaitable[int]]:
    size = job.size

    async def one_round(count: int) -> int:
        received = 0
        async for value in server.scatter(count, size):
            assert len(value) == size
            received += 1
        return received

    return one_round


if __name__ == "__main__":
    end, job = select_end(
        {
            ("rpc-call", "server"): serve,
            ("rpc-call", "client"): client(ask),
            ("rpc-calls", "server"): serve,
            ("rpc-calls", "client"): client(ask_many),
            ("bulk", "server"): serve,
            ("bulk", "client"): client(push),
            ("values-in", "server"): serve,
            ("values-in", "client"): client(send_values),
            ("values-out", "server"): serve,
            ("values-out", "client"): client(receive_values),
            ("elements", "server"): serve,
            ("elements", "client"): client(push_each),
        }
    )
    trio.run(end, job)
