"""The Python contenders' side of the protocol with :mod:`benchmarks.pair`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .output import say


@dataclass(frozen=True)
class Job:
    """The task of one end.

    Attributes:
        name: a name for an endpoint, which differs for every pair of a run. Without an endpoint,
            the number of a descriptor or the name of a program.
        size: bytes in a chunk or message.
        connections: the number of connections between the two ends; or of calls in flight.
    """

    name: str
    size: int
    connections: int

    @property
    def path(self) -> str:
        """A path for the socket of a contender that needs one."""
        return self._in_scratch(self.name)

    @property
    def number(self) -> int:
        """The descriptor of this end, if there is a pipe between the two."""
        return int(self.name)

    @property
    def child(self) -> str:
        """The program to start, if there is one."""
        return self._in_scratch(self.name)

    def _in_scratch(self, name: str) -> str:
        return str(Path(os.environ["XDG_RUNTIME_DIR"]) / name)


class Closable(Protocol):
    async def aclose(self) -> object: ...


T = TypeVar("T")
ClosableT = TypeVar("ClosableT", bound=Closable)
End = Callable[[Job], Coroutine[Any, Any, None]]
Part = Callable[[T, Job], Awaitable[None]]  # what one end does with its connection
Parts = Mapping[tuple[str, str], Part[T]]  # by scenario and role
Accept = Callable[[], Awaitable[T]]
Listening = Callable[[Job], AbstractAsyncContextManager[Accept[T]]]
Connect = Callable[[Job], Awaitable[T]]


def select_end(ends: Mapping[tuple[str, str], T]) -> tuple[T, Job]:
    """Returns the end that the command line names, by scenario and role, and its job."""
    scenario, role, name, size, connections = sys.argv[1:]
    return ends[scenario, role], Job(name, int(size), int(connections))


def ends(
    listening: Listening[ClosableT], connect: Connect[ClosableT], parts: Parts[ClosableT]
) -> dict[tuple[str, str], End]:
    """Combines the connections of a library with what the ends do with them."""
    doors = {"server": serving(listening), "client": connecting(connect)}
    return {(scenario, role): doors[role](part) for (scenario, role), part in parts.items()}


def serving(listening: Listening[ClosableT]) -> Callable[[Part[ClosableT]], End]:
    def end_for(part: Part[ClosableT]) -> End:
        async def end(job: Job) -> None:
            async with listening(job) as accept:
                ready()
                await _use(await accept(), part, job)

        return end

    return end_for


def connecting(connect: Connect[ClosableT]) -> Callable[[Part[ClosableT]], End]:
    def end_for(part: Part[ClosableT]) -> End:
        async def end(job: Job) -> None:
            connection = await connect(job)
            ready()
            await _use(connection, part, job)

        return end

    return end_for


async def _use(connection: ClosableT, part: Part[ClosableT], job: Job) -> None:
    try:
        await part(connection, job)
    finally:
        await connection.aclose()


def ready() -> None:
    say("ready")


Meter = Callable[[], float]


async def play(
    one_round: Callable[[int], Awaitable[int]], meter: Meter = time.perf_counter
) -> None:
    """Plays rounds until the input ends.

    Between rounds it blocks the event loop, which has nothing else to do then.

    Args:
        one_round: plays a number of operations, and returns the number completed.
        meter: is read before and after each round; its growth is reported.
    """
    for count in orders():
        start = meter()
        completed = await one_round(count)
        report(meter() - start, completed)


def play_blocking(one_round: Callable[[int], int], meter: Meter = time.perf_counter) -> None:
    """Does what :func:`play` does, without an event loop."""
    for count in orders():
        start = meter()
        completed = one_round(count)
        report(meter() - start, completed)


def orders() -> Iterator[int]:
    return map(int, iter(sys.stdin.readline, ""))


def report(growth: float, completed: int) -> None:
    say(f"{growth:.9f} {completed}")
