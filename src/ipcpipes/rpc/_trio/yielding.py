"""Sends what a manager yields."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import trio

from ..core.current import current_call
from ..definition.streams import Stream
from .call_driver import CallDriver
from .streams import END, SendEnd, next_of

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = ["put_all", "sending"]

# After so many values that did not wait for anything, other tasks run.
PAUSE = 64


def sending(method: Callable[..., Any], stream: Stream) -> Callable[..., Any]:
    """Returns a method that runs a manager's method, and sends what it yields."""

    async def send(*arguments: Any) -> None:
        values = method(*arguments)
        if inspect.isawaitable(values):
            values = await values
        driver = current_call()._call.owner
        assert isinstance(driver, CallDriver)
        try:
            await put_all(SendEnd(driver, stream), values)
        finally:
            # It may be the iterator of another call, which nothing else would close.
            if hasattr(values, "aclose"):
                await _aclose(values)

    return send


@trio.lowlevel.enable_ki_protection
async def put_all(end: SendEnd, values: Any) -> None:
    """Sends all values of an iterable or an async iterable. Values between which the iterable does
    not wait are sent together.

    Raises:
        TypeError: ``values`` is neither.
        RpcError: what :meth:`ipcpipes.rpc.OutStream.send` raises.
        And what the iterable raises.
    """
    is_async = hasattr(values, "__aiter__")
    iterator = values.__aiter__() if is_async else iter(values)
    passed = 0
    try:
        while True:
            value = await _anext(iterator) if is_async else next_of(iterator)
            if value is END:
                return
            passed = 0 if await end.put(value) else passed + 1
            if passed >= PAUSE:
                await trio.lowlevel.checkpoint()
                passed = 0
    finally:
        # Without this, a generator would go on to exist until the garbage collector finds it.
        if inspect.isasyncgen(iterator):
            await _aclose(iterator)
        elif inspect.isgenerator(iterator):
            iterator.close()


# The code of users can be interrupted by KeyboardInterrupt.


@trio.lowlevel.disable_ki_protection
async def _anext(iterator: AsyncIterator[Any]) -> Any:
    try:
        return await iterator.__anext__()
    except StopAsyncIteration:
        return END


@trio.lowlevel.disable_ki_protection
async def _aclose(iterator: Any) -> None:
    try:
        await iterator.aclose()
    except BaseExceptionGroup as group:
        # A generator that yields in a nursery: the nursery wraps the GeneratorExit that closes it.
        _, others = group.split(GeneratorExit)
        if others is not None:
            raise others from None
