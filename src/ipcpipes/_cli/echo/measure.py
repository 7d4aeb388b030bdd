"""Decides which data is sent through a connection, and measures the time of its transfer."""

from __future__ import annotations

import itertools
import random
import time
from array import array
from collections.abc import Iterator
from typing import Any

import trio

from ..source import CHUNK, Source
from .report import round_trip_figures
from .transfer import Read, Transfer

__all__ = ["SEED", "SIZES", "generated", "measure"]

SEED = 1
SIZES = (1, 64, 2**10, 2**14, 2**16, 2**20)
"""The sizes of generated messages, in bytes."""

_WARM_UP = 20  # round trips
_VARIANTS = 16


async def measure(transfer: Transfer, source: Source | None, seconds: float) -> dict[str, Any]:
    """Sends the user's input, first as messages of at most :data:`CHUNK` bytes and then as a
    stream. Without input, sends generated data for about ``seconds``.

    Returns:
        The figures of each size of message (none if the input is empty) and of the stream, with the
        keys of the JSON document.

    Raises:
        Failure: the input cannot be read, or the echo differs or does not come.
        And all that ``transfer`` raises.
    """
    if source is None:
        share = seconds / (len(SIZES) + 1)
        *message_reads, stream_read = [_reader(generated(size, share)) for size in (*SIZES, CHUNK)]
    else:
        message_reads, stream_read = [source.read], source.read
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transfer.fail_when_stalled)
        # The first round trips include much work that is done only once.
        for turn in range(_WARM_UP):
            await transfer.round_trip(bytes([turn]))
        round_trips = []
        for read in message_reads:
            round_trips += await _send_messages(read, transfer)
        if source is not None:
            source.rewind()
        streamed = await transfer.stream_through(stream_read)
        nursery.cancel_scope.cancel()
    return {"round_trips": round_trips, "stream": streamed}


def generated(size: int, seconds: float) -> Iterator[bytes]:
    """Yields messages of this size until the time is over, at least one. The messages are the same
    in every run. Each differs from the one before it, so that an echo that comes twice or too late
    is noticed.
    """
    data = random.Random(SEED).randbytes(size + _VARIANTS)
    messages = [data[start : start + size] for start in range(_VARIANTS)]
    end = time.perf_counter() + seconds
    for message in itertools.cycle(messages):
        yield message
        if time.perf_counter() >= end:
            return


def _reader(messages: Iterator[bytes]) -> Read:
    async def read() -> bytes:
        return next(messages, b"")

    return read


async def _send_messages(read: Read, transfer: Transfer) -> list[dict[str, Any]]:
    """Returns one entry, or none if there is no message."""
    times = array("d")
    total = largest = 0
    while data := await read():
        times.append(await transfer.round_trip(data))
        total += len(data)
        largest = max(largest, len(data))
    return [round_trip_figures(largest, total, times)] if times else []
