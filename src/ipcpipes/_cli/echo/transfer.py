"""Sends data through a stream, receives its echo at the same time, and checks every byte.

The client never announces the end of its data, because a Windows pipe has no half-close. It counts,
and is done when as much has come back as it sent.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from ...abc import ByteStream
from ..failure import ConnectionEnded, Failure
from .figures import stream_figures
from .ledger import Ledger

__all__ = ["fail_when_stalled", "round_trip", "stream_through"]

# Bounds the memory if a server receives and never answers. Far above the buffers of any system, so
# that it does not slow a real echo down.
_MOST_UNDER_WAY = 2**22
_STALLED_AFTER = 30.0  # seconds


async def round_trip(stream: ByteStream, data: bytes, ledger: Ledger) -> float:
    """Sends one message, receives its echo, and checks it.

    Args:
        data: the message, not empty.
        ledger: no bytes are under way in it.

    Returns:
        The seconds between the send and the end of the echo, without the time of the check.

    Raises:
        ConnectionEnded: the peer closed the connection or died.
        WrongBytes: the echo differs.
    """
    ledger.send(data)
    begin = time.perf_counter()
    # Twice the size, because Linux counts its own overhead against the buffer size it reports.
    if 2 * len(data) <= stream.send_buffer_size:
        await _send(stream, data, ledger)
        pieces = await _receive(stream, len(data), ledger)
    else:
        # An echo server stops reading while its answers are not received.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send, stream, data, ledger)
            pieces = await _receive(stream, len(data), ledger)
    seconds = time.perf_counter() - begin
    for piece in pieces:
        ledger.receive(piece)
    return seconds


async def stream_through(
    stream: ByteStream, read: Callable[[], Awaitable[bytes]], ledger: Ledger
) -> dict[str, Any]:
    """Sends what ``read`` returns, until ``b""``, and checks the echo meanwhile.

    Memory is bounded for any length, also with a server that never answers.

    Raises:
        ConnectionEnded: the peer closed the connection or died.
        WrongBytes: the echo differs.
        Failure: from ``read``.
    """
    before = ledger.sent
    returned = trio.lowlevel.ParkingLot()

    async def receive_until_cancelled() -> None:
        # Also while no bytes are under way: it sees at once that the server ends, or sends
        # more than an echo.
        while True:
            ledger.receive(await _receive_some(stream, ledger))
            returned.unpark_all()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive_until_cancelled)
        chunk = await read()
        # The wait for the first bytes of the input is not the connection's time.
        begin = time.perf_counter()
        while chunk:
            while ledger.under_way >= _MOST_UNDER_WAY:
                await returned.park()
            ledger.send(chunk)
            await _send(stream, chunk, ledger)
            chunk = await read()
        while ledger.under_way:
            await returned.park()
        nursery.cancel_scope.cancel()
    return stream_figures(ledger.sent - before, time.perf_counter() - begin)


async def fail_when_stalled(ledger: Ledger) -> None:
    """Runs until it is cancelled.

    Raises:
        Failure: bytes are under way, and none came back for 30 seconds.
    """
    returned, since = -1, 0.0
    while True:
        now = trio.current_time()
        if ledger.returned != returned or not ledger.under_way:
            returned, since = ledger.returned, now
        elif now - since >= _STALLED_AFTER:
            raise Failure(
                f"nothing came back for {_STALLED_AFTER:g} s, with {ledger.under_way} of "
                f"{ledger.sent} bytes still to come; is it an echo server?"
            )
        await trio.sleep(1)


async def _receive(stream: ByteStream, size: int, ledger: Ledger) -> list[bytes]:
    pieces: list[bytes] = []
    while size > 0:
        pieces.append(await _receive_some(stream, ledger))
        size -= len(pieces[-1])
    return pieces


async def _send(stream: ByteStream, data: bytes, ledger: Ledger) -> None:
    try:
        await stream.send_all(data)
    except trio.BrokenResourceError:
        raise _ended(ledger) from None


async def _receive_some(stream: ByteStream, ledger: Ledger) -> bytes:
    try:
        data = await stream.receive_some()
    except trio.BrokenResourceError:
        raise _ended(ledger) from None
    if not data:
        raise _ended(ledger)
    return bytes(data)


def _ended(ledger: Ledger) -> ConnectionEnded:
    return ConnectionEnded(
        f"the server closed the connection or died: {ledger.returned} of {ledger.sent} bytes "
        "came back"
    )
