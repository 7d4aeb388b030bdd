"""What the diagnostic sends through the connection, and what it learns from that."""

from __future__ import annotations

import itertools
import time
from array import array
from dataclasses import dataclass

import trio

from ...abc import ByteStream
from ..source import CHUNK, Source
from . import generated
from .figures import RoundTrips, Streamed, summarise
from .ledger import Ledger
from .transfer import round_trip, stream_through

__all__ = ["Measured", "warm_up", "with_generated_data", "with_input"]

_WARM_UP = 20  # round trips


@dataclass(frozen=True)
class Measured:
    """``round_trips`` has one entry for each size of message; none for empty input."""

    round_trips: list[RoundTrips]
    streamed: Streamed


async def warm_up(stream: ByteStream, ledger: Ledger) -> None:
    """A few round trips that do not count: the first ones pay for much that comes only once."""
    for turn in range(_WARM_UP):
        await round_trip(stream, bytes([turn]), ledger, fits_buffer=True)


async def with_generated_data(stream: ByteStream, ledger: Ledger, seconds: float) -> Measured:
    """Messages of growing sizes, then a stream; ``seconds`` is for all of them together."""
    data = generated.pool()
    share = seconds / (len(generated.SIZES) + 1)
    results = []
    for size in generated.SIZES:
        fits = _fits_buffer(stream, size)
        times = array("d")
        end = time.perf_counter() + share
        while not times or time.perf_counter() < end:
            message = generated.message(data, size, len(times))
            times.append(await round_trip(stream, message, ledger, fits_buffer=fits))
        results.append(summarise(size, size * len(times), times))
    end = time.perf_counter() + share
    pieces = itertools.cycle(generated.chunks(data, CHUNK))
    first = next(pieces)

    async def read() -> bytes:
        nonlocal first
        piece, first = first, b""
        return piece or (next(pieces) if time.perf_counter() < end else b"")

    return Measured(results, await stream_through(stream, read, ledger))


async def with_input(stream: ByteStream, ledger: Ledger, source: Source) -> Measured:
    """The user's input, first as messages of at most :data:`CHUNK` bytes, then as a stream.

    Raises:
        Failure: it cannot be read.
    """
    times = array("d")
    before, largest = ledger.sent, 0
    while message := await source.read():
        fits = _fits_buffer(stream, len(message))
        times.append(await round_trip(stream, message, ledger, fits_buffer=fits))
        largest = max(largest, len(message))
    results = [summarise(largest, ledger.sent - before, times)] if times else []
    source.rewind()
    await trio.lowlevel.checkpoint()
    return Measured(results, await stream_through(stream, source.read, ledger))


def _fits_buffer(stream: ByteStream, size: int) -> bool:
    # Twice, because Linux counts its own overhead against the size that it tells.
    return 2 * size <= stream.send_buffer_size
