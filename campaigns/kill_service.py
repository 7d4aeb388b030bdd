"""A service with streams for the campaign of kills, and the programs that it kills."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import trio

from fuzz.output import say
from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking

__all__ = ["DRIVERS", "Manager", "ManagerInThreads", "Talk", "talk", "talk_under_trio"]

DRIVERS = ("trio", "blocking")


class Talk(rpc.Interface, uuid="f8a6a1c9-4a0d-4d5e-8b0a-6f2f6a1d9c03", version=(1, 0)):
    @rpc.operation
    async def chat(self, asked: rpc.InStream[int], answers: rpc.OutStream[int]) -> None: ...
    @rpc.operation
    def numbers(self, first: int) -> AsyncIterator[int]: ...


class Counting:
    """Counts the managers that run.

    Attributes:
        running: how many run now.
        begun: how many have begun.
    """

    def __init__(self) -> None:
        self.running = self.begun = 0
        self._lock = threading.Lock()

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self._lock:
            self.running += 1
            self.begun += 1
        try:
            yield
        finally:
            with self._lock:
                self.running -= 1


class Manager(Talk):
    def __init__(self) -> None:
        self.counting = Counting()

    async def chat(self, asked: Any, answers: Any) -> None:
        with self.counting.counted():
            async for number in asked:
                await answers.send(number)

    async def numbers(self, first: int) -> AsyncIterator[int]:
        with self.counting.counted():
            for number in count(first):
                yield number


class ManagerInThreads(Talk):
    def __init__(self) -> None:
        self.counting = Counting()

    def chat(self, asked: Any, answers: Any) -> None:  # type: ignore[override]  # for threads
        with self.counting.counted():
            for number in asked:
                answers.send(number)

    def numbers(self, first: int) -> Any:
        with self.counting.counted():
            yield from count(first)


async def talk_under_trio(endpoint: Any) -> None:
    """Uses the service until it ends, which raises an RpcError."""
    async with rpc.connect(Talk, endpoint, wait=20) as talk, trio.open_nursery() as nursery:

        async def chat() -> None:
            async with rpc.operation_of(talk.chat).begin() as call:
                for number in count():
                    await call.streams["asked"].send(number)
                    assert await call.streams["answers"].receive() == number

        async def feed() -> None:
            await talk.chat(rpc.stream_from(count()), rpc.stream_into(lambda _: None))

        async def iterate() -> None:
            expected = 5
            async for number in talk.numbers(5):
                assert number == expected
                expected += 1

        for one in (chat, feed, iterate):
            nursery.start_soon(one)


def talk(endpoint: Any) -> None:
    """The same without an event loop, one call after the other."""
    client: Any
    with blocking.connect(Talk, endpoint, wait=20) as client:
        while True:
            with client.chat.begin() as call:
                for number in range(50):
                    call.streams["asked"].send(number)
                    assert call.streams["answers"].receive() == number
            found: list[int] = []
            client.chat(range(500), found)
            assert found == [*range(500)]
            for number in client.numbers(5):
                if number == 500:
                    break


def main() -> None:
    role, driver, name = sys.argv[1:]
    if role == "client":
        with suppress(rpc.RpcError, ConnectionError):
            if driver == "trio":
                trio.run(talk_under_trio, name)
            else:
                talk(name)
    elif driver == "trio":
        trio.run(_serve_under_trio, name)
    else:
        with streams.listen(name) as listener:
            say("listening")
            blocking.serve(ManagerInThreads(), listener)


async def _serve_under_trio(name: str) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.serve, Manager(), name)
        say("listening")


if __name__ == "__main__":
    main()
