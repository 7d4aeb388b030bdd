"""Fills and empties the streams that have an argument, under trio."""

from __future__ import annotations

import inspect
from typing import Any

import trio

from ...connections.nursery import unseen_nursery
from ..core.client import Feeds
from ..core.stream_call import StreamCall
from ..definition.streams import Stream
from ..errors import RpcError
from .call_driver import CallDriver
from .streams import ReceiveEnd, SendEnd
from .yielding import put_all

__all__ = ["run_streams"]


async def run_streams(driver: CallDriver, feeds: Feeds) -> None:
    """Fills and empties the streams that have an argument, all at the same time. It returns when
    each of them has ended. A failure of the call ends them, and is not raised here.
    """
    ends: list[tuple[ReceiveEnd | SendEnd, Any]] = []
    for stream, (given, _) in feeds.items():
        assert isinstance(stream, Stream)
        ends.append(((SendEnd if stream.into else ReceiveEnd)(driver, stream), given))
    async with unseen_nursery() as emptying:
        for end, given in ends:
            if isinstance(end, ReceiveEnd):
                emptying.start_soon(_empty, end, given)
        async with unseen_nursery() as watching:
            # A source may wait forever, also after the manager has returned.
            watching.start_soon(_cancel_after, driver, watching.cancel_scope)
            async with unseen_nursery() as filling:
                for end, given in ends:
                    if isinstance(end, SendEnd):
                        filling.start_soon(_fill, end, given)
            watching.cancel_scope.cancel()


async def _cancel_after(driver: CallDriver, scope: trio.CancelScope) -> None:
    """Cancels the scope when the call has ended."""
    while not driver.call.has_ended:
        await driver.wait()
    scope.cancel()


async def _fill(end: SendEnd, source: Any) -> None:
    """Sends all values of the source, and ends the stream."""
    call = end._call
    try:
        await put_all(end, source)
    except RpcError as error:
        if not (call.is_stopped_by(error) or _is_of(call, error)):
            raise
    else:
        await end.aclose()


async def _empty(end: ReceiveEnd, sink: Any) -> None:
    """Receives all values into the sink."""
    while True:
        try:
            values = await end.receive_many()
        except trio.EndOfChannel:
            return
        except RpcError as error:
            if not _is_of(end._call, error):
                raise
            return
        if hasattr(sink, "extend"):
            sink.extend(values)
            continue
        take = sink.send if hasattr(sink, "send") else sink
        for value in values:
            taken = take(value)
            if inspect.isawaitable(taken):
                await taken


def _is_of(call: StreamCall, error: RpcError) -> bool:
    """Whether the error is the failure of this call, which its result raises."""
    return call.failure is not None and error.first is call.failure.first
