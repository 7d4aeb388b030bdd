"""One server with many connections, and a task for each of them in one event loop.

``crowd``: messages are exchanged over all connections in turn, one at a time. ``idle``: each
connection has carried one message, so that everything that is made at first use exists, and waits.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from typing import Any, Protocol, TypeVar

from benchmarks.contenders.memory import private_memory
from benchmarks.contenders.messages import Channel
from benchmarks.end import Accept, Connect, End, Job, Listening, play, ready


class Event(Protocol):
    def set(self) -> object: ...
    async def wait(self) -> object: ...


@dataclass(frozen=True)
class Tasks:
    """The operations that differ between event loops."""

    start: Callable[[Callable[[], Coroutine[Any, Any, None]]], object]
    event: Callable[[], Event]


ChannelT = TypeVar("ChannelT", bound=Channel)
TaskGroup = Callable[[], AbstractAsyncContextManager[Tasks]]


class Crowd:
    """The server: echoes on every connection, and counts."""

    def __init__(self, accept: Accept[Channel], tasks: Tasks, size: int) -> None:
        self._accept = accept
        self._tasks = tasks
        self._size = size
        self._echoed = 0
        self._awaited = 0
        self._reached = tasks.event()

    async def join(self, count: int) -> int:
        """Accepts ``count`` more connections, each with its first message."""
        for _ in range(count):
            channel = await self._accept()
            self._tasks.start(partial(self._echo, channel))
        return await self.serve(count)

    async def serve(self, count: int) -> int:
        """Returns when ``count`` more messages have been echoed."""
        self._awaited += count
        self._reached = self._tasks.event()
        if self._echoed < self._awaited:
            await self._reached.wait()
        return count - (self._awaited - self._echoed)

    async def _echo(self, channel: Channel) -> None:
        while True:
            message = await channel.receive()
            assert len(message) == self._size
            await channel.send(message)
            self._echoed += 1
            if self._echoed == self._awaited:
                self._reached.set()


def ends(
    listening: Listening[ChannelT], connect: Connect[ChannelT], group: TaskGroup
) -> dict[tuple[str, str], End]:
    async def serve_crowd(job: Job) -> None:
        async with listening(job) as accept, group() as tasks:
            ready()
            crowd = Crowd(accept, tasks, job.size)
            await crowd.join(job.connections)
            await play(crowd.serve)

    async def serve_idle(job: Job) -> None:
        async with listening(job) as accept, group() as tasks:
            ready()
            await play(Crowd(accept, tasks, job.size).join, private_memory)

    async def join(job: Job, count: int) -> list[ChannelT]:
        # Each connection is used before the next is made, so that no backlog is measured.
        channels = []
        for _ in range(count):
            channel = await connect(job)
            await exchange(channel, job)
            channels.append(channel)
        return channels

    async def exchange(channel: ChannelT, job: Job) -> None:
        await channel.send(b"x" * job.size)
        assert len(await channel.receive()) == job.size

    async def ask_crowd(job: Job) -> None:
        everyone = await join(job, job.connections)
        channels = cycle(everyone)
        ready()

        async def one_round(count: int) -> int:
            for channel in islice(channels, count):
                await exchange(channel, job)
            return count

        await play(one_round)
        await close(everyone)

    async def fill_idle(job: Job) -> None:
        everyone: list[ChannelT] = []

        async def one_round(count: int) -> int:
            everyone.extend(await join(job, count))
            return count

        ready()
        await play(one_round)
        await close(everyone)

    async def close(everyone: Iterable[ChannelT]) -> None:
        for channel in everyone:
            await channel.aclose()

    return {
        ("crowd", "server"): serve_crowd,
        ("crowd", "client"): ask_crowd,
        ("idle", "server"): serve_idle,
        ("idle", "client"): fill_idle,
    }
