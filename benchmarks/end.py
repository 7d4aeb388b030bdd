"""What the Python contenders share: their side of the talk with :mod:`benchmarks.pair`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import trio

from .output import say


@dataclass(frozen=True)
class Job:
    """What one end was started for.

    Attributes:
        name: differs for every pair of a run, and is a good name for an endpoint.
        size: bytes in a chunk or message.
    """

    name: str
    size: int

    @property
    def path(self) -> str:
        """Where a contender that wants a path can put its socket."""
        return str(Path(os.environ["XDG_RUNTIME_DIR"]) / self.name)


End = Callable[[Job], Awaitable[None]]
Round = Callable[[int], Awaitable[int]]


def run(ends: Mapping[tuple[str, str], End]) -> None:
    """Runs the end that the command line asks for, by scenario and role."""
    scenario, role, name, size = sys.argv[1:]
    trio.run(ends[scenario, role], Job(name, int(size)))


def ready() -> None:
    say("ready")


async def play(one_round: Round) -> None:
    """Plays rounds until there are no more; ``one_round`` returns what it completed.

    Between rounds it blocks the whole event loop, which has nothing else to do then.
    """
    for count in _orders():
        start = time.perf_counter()
        completed = await one_round(count)
        say(f"{time.perf_counter() - start:.9f} {completed}")


def _orders() -> Iterator[int]:
    return map(int, iter(sys.stdin.readline, ""))
