"""What the diagnostic sends by remote calls, and what it learns from that."""

from __future__ import annotations

import itertools
import time
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import trio

from ... import rpc
from ..failure import ConnectionEnded
from ..source import CHUNK, Source
from . import generated
from .calls import Echo
from .figures import RoundTrips, Streamed, summarise
from .ledger import Ledger
from .measure import Measured

__all__ = ["measure"]

_WARM_UP = 20  # calls


async def measure(
    client: rpc.Client[Echo], ledger: Ledger, source: Source | None, seconds: float
) -> Measured:
    """The user's input, or generated data for so many seconds: as messages, and then as a stream.

    Raises:
        WrongBytes: something else came back.
        ConnectionEnded: the server closed or died.
        Failure: the input cannot be read.
    """
    try:
        for turn in range(_WARM_UP):
            await _call(client, bytes([turn]), ledger)
        if source is None:
            return await _generated(client, ledger, seconds)
        return await _given(client, ledger, source)
    except rpc.CommFailure as error:
        raise ConnectionEnded(
            f"{error.message}: {ledger.returned} of {ledger.sent} bytes came back"
        ) from None


async def _generated(client: rpc.Client[Echo], ledger: Ledger, seconds: float) -> Measured:
    data = generated.pool()
    share = seconds / (len(generated.SIZES) + 1)
    results: list[RoundTrips] = []
    for size in generated.SIZES:
        times = array("d")
        end = time.perf_counter() + share
        while not times or time.perf_counter() < end:
            times.append(await _call(client, generated.message(data, size, len(times)), ledger))
        results.append(summarise(size, size * len(times), times))
    end = time.perf_counter() + share
    pieces = itertools.cycle(generated.chunks(data, CHUNK))

    async def read() -> bytes:
        return next(pieces) if time.perf_counter() < end else b""

    return Measured(results, await _stream(client, read, ledger))


async def _given(client: rpc.Client[Echo], ledger: Ledger, source: Source) -> Measured:
    times = array("d")
    before, largest = ledger.sent, 0
    while message := await source.read():
        times.append(await _call(client, message, ledger))
        largest = max(largest, len(message))
    results = [summarise(largest, ledger.sent - before, times)] if times else []
    source.rewind()
    return Measured(results, await _stream(client, source.read, ledger))


async def _call(client: rpc.Client[Echo], message: bytes, ledger: Ledger) -> float:
    ledger.send(message)
    begin = time.perf_counter()
    answer = await client.echo(message)
    seconds = time.perf_counter() - begin
    ledger.receive(answer)
    return seconds


async def _stream(
    client: rpc.Client[Echo], read: Callable[[], Awaitable[bytes]], ledger: Ledger
) -> Streamed:
    """Through a pipe of one call to the server, and through a pipe of another one back."""
    before = ledger.sent
    begin = time.perf_counter()

    async def pieces() -> AsyncIterator[bytes]:
        while chunk := await read():
            ledger.send(chunk)
            yield chunk

    def check(chunk: Any) -> None:
        ledger.receive(bytes(chunk))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: client.there(0, data=pieces()))
        nursery.start_soon(lambda: client.back(0, data=check))
    return Streamed(ledger.sent - before, time.perf_counter() - begin)
