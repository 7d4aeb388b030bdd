"""Fills and empties the pipes and streams that have an argument, under trio."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import trio

from ..core.client import Feeds
from ..core.feeding import Step, emptying, is_chunk, most_of, pieces_of
from ..definition.operations import Pipe
from ..wire.chunks import Cutter, bytes_of
from .call_driver import CallDriver
from .stream_feeding import run_streams

__all__ = ["run_flows"]


async def run_flows(driver: CallDriver, feeds: Feeds) -> None:
    """Fills and empties the pipes that have an argument, each in its turn, or the streams, all at
    the same time.
    """
    pipes = {flow: given for flow, given in feeds.items() if isinstance(flow, Pipe)}
    if pipes:
        await _run_pipes(driver, pipes)
    else:
        await run_streams(driver, feeds)


async def _run_pipes(driver: CallDriver, feeds: Mapping[Pipe, tuple[Any, Any]]) -> None:
    call = driver.call
    with trio.CancelScope() as scope:
        # A source may wait forever, and then the failure of the call would not be seen.
        driver.scope = scope
        for pipe, (source, _) in feeds.items():
            if pipe.into:
                await driver.wait_turn(pipe.index, into=True)
                call.raise_failure()
                await _fill(driver, source, pipe)
    driver.scope = None
    if scope.cancelled_caught:
        call.raise_failure()
    for pipe, (_, sink) in feeds.items():
        if pipe.out:
            await driver.wait_turn(pipe.index, into=False)
            await _empty(driver, sink, pipe)


async def _fill(driver: CallDriver, source: Any, pipe: Pipe) -> None:
    """Pushes all elements of the source, and closes the pipe."""
    if hasattr(source, "__aiter__") and not hasattr(source, "read"):
        await _fill_from_async_iterable(driver, source, pipe)
    else:
        pieces = pieces_of(source, pipe, trio.current_time)
        try:
            result = None
            while True:
                piece = pieces.send(result)
                result = await _take(piece) if isinstance(piece, Step) else None
                if not isinstance(piece, Step):
                    await driver.push_octets(pipe.index, piece)
        except StopIteration:
            pass
        finally:
            pieces.close()
    await driver.close(pipe.index)


async def _fill_from_async_iterable(driver: CallDriver, source: Any, pipe: Pipe) -> None:
    cutter = Cutter(pipe)
    iterator: AsyncIterator[Any] = source.__aiter__()
    try:
        async for item in iterator:
            # The next item may take long, so an item is not kept to be sent with others.
            octets = bytes_of(item if is_chunk(item) else [item], pipe.element)
            await _push_all(driver, pipe, cutter.add(octets))
    finally:
        if inspect.isasyncgen(iterator):
            await iterator.aclose()
    await _push_all(driver, pipe, cutter.rest())


async def _push_all(driver: CallDriver, pipe: Pipe, chunks: Iterable[memoryview]) -> None:
    for octets in chunks:
        await driver.push_octets(pipe.index, octets)


async def _empty(driver: CallDriver, sink: Any, pipe: Pipe) -> None:
    """Pulls all elements of the pipe into the sink."""
    most = most_of(sink, pipe.element)
    while True:
        chunk = await driver.pull(pipe.index, most)
        steps = emptying(sink, chunk, pipe.element)
        try:
            result = None
            while True:
                result = await _take(steps.send(result))
        except StopIteration:
            pass
        if not len(chunk):
            return


async def _take(step: Step) -> Any:
    if step.may_block and not inspect.iscoroutinefunction(step.function):
        # A disk may be slow; other tasks run in the meantime.
        return await trio.to_thread.run_sync(step.function, step.argument)
    result = step.function(step.argument)
    return await result if inspect.isawaitable(result) else result
