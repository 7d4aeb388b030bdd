"""An interface with streams for the tests of both drivers, and managers that run scripts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

from ipcpipes import rpc

from .rpc_drivers import BlockingDriver, Driver, Options, with_trio_face
from .rpc_waiting import SECONDS, run_here


class Note(msgspec.Struct):
    """A record."""

    number: int
    text: str = ""


class Streams(rpc.Interface, uuid="c9a4e2f7-0d35-4a0b-9a5e-2b8f6d1f4e01", version=(1, 0)):
    @rpc.operation
    async def plain(self, value: Any) -> Any: ...
    @rpc.operation
    async def into(self, numbers: rpc.InStream[int]) -> Any: ...
    @rpc.operation
    async def notes_into(self, notes: rpc.InStream[Note]) -> Any: ...
    @rpc.operation
    async def out(self, numbers: rpc.OutStream[int]) -> Any: ...
    @rpc.operation
    async def out_only(self, numbers: rpc.OutStream[int]) -> None: ...
    @rpc.operation
    async def two(self, first: rpc.InStream[int], second: rpc.InStream[str]) -> Any: ...
    @rpc.operation
    async def chat(self, asked: rpc.InStream[str], answers: rpc.OutStream[str]) -> Any: ...
    @rpc.operation
    async def octets(self, into: rpc.InStream[bytes], out: rpc.OutStream[bytes]) -> Any: ...
    @rpc.operation
    def numbers(self, count: int) -> AsyncIterator[int]: ...
    @rpc.operation
    def upper(self, words: rpc.InStream[str]) -> AsyncIterator[str]: ...


class ScriptedStreams(Streams):
    """Each operation calls the script of its name."""

    def __init__(self, **scripts: Callable[..., Any]) -> None:
        self.scripts = scripts

    async def plain(self, value: Any) -> Any:
        return value

    async def into(self, numbers: Any) -> Any:
        return await self.scripts["into"](numbers)

    async def notes_into(self, notes: Any) -> Any:
        return await self.scripts["notes_into"](notes)

    async def out(self, numbers: Any) -> Any:
        return await self.scripts["out"](numbers)

    async def out_only(self, numbers: Any) -> None:
        await self.scripts["out_only"](numbers)

    async def two(self, first: Any, second: Any) -> Any:
        return await self.scripts["two"](first, second)

    async def chat(self, asked: Any, answers: Any) -> Any:
        return await self.scripts["chat"](asked, answers)

    async def octets(self, into: Any, out: Any) -> Any:
        return await self.scripts["octets"](into, out)

    def numbers(self, count: int) -> Any:
        return self.scripts["numbers"](count)

    def upper(self, words: Any) -> Any:
        return self.scripts["upper"](words)


def _in_thread(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of :class:`ScriptedStreams` as one that blocks, or yields in the thread."""

    @functools.wraps(method)
    def call(self: Any, *given: Any) -> Any:
        result = method(self, *map(with_trio_face, given))
        if inspect.iscoroutine(result):
            return run_here(result)
        return _yielded_here(result) if inspect.isasyncgen(result) else result

    return call


def _yielded_here(values: Any) -> Iterator[Any]:
    try:
        while True:
            try:
                value = run_here(values.__anext__())
            except StopAsyncIteration:
                return
            yield value
    finally:
        run_here(values.aclose())


InThreads: Any = type(
    "InThreads",
    (ScriptedStreams,),
    {name: _in_thread(vars(ScriptedStreams)[name]) for name in Streams._rpc_definition.operations},
)


@asynccontextmanager
async def streaming(
    driver: Driver, *, client: Options = None, server: Options = None, **scripts: Any
) -> AsyncIterator[Any]:
    """A client of a server; each script implements the operation of its name. At the end, the
    connection still works.
    """
    manager = (InThreads if isinstance(driver, BlockingDriver) else ScriptedStreams)(**scripts)
    with trio.fail_after(SECONDS):
        async with driver.serving(manager, **(server or {})) as listener:
            async with driver.connect(Streams, listener.endpoint, **(client or {})) as acc:
                yield acc
                assert await acc.plain("still there") == "still there"
                await driver.no_calls_left(acc)
