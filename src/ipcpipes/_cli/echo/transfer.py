"""The client's side of an echo: sends, receives at the same time, and checks every byte.

It never says that it has sent everything, because a Windows pipe cannot (there is no
half-close): it counts, and is done when as much has come back as went out.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import trio

from ..failure import ConnectionEnded, Failure
from .figures import Streamed
from .ledger import Ledger

__all__ = ["fail_when_stalled", "round_trip", "stream_through"]

# So that memory stays bounded with a server that takes and takes and never answers. Far above
# what the buffers of any system hold, so that it slows no real echo down.
_MOST_UNDER_WAY = 2**22
_PATIENCE = 30.0  # seconds


async def round_trip(
    stream: trio.abc.Stream, data: bytes, ledger: Ledger, *, fits_buffer: bool
) -> float:
    """Sends one message, waits until it is back, and checks it.

    Args:
        data: the message, not empty.
        ledger: nothing is under way in it.
        fits_buffer: the system takes ``data`` at one go, so that it can be sent first and
            received then. Anything larger has to be received while it is sent: an echo does
            not go on reading when nobody takes its answers.

    Returns:
        How long it took, in seconds. The time for the check is not in it.

    Raises:
        ConnectionEnded: the other end closed or died.
        WrongBytes: something else came back.
    """
    ledger.send(data)
    pieces: list[bytes] = []
    begin = time.perf_counter()
    if fits_buffer:
        await _send(stream, data, ledger)
        await _receive(stream, len(data), pieces, ledger)
    else:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send, stream, data, ledger)
            await _receive(stream, len(data), pieces, ledger)
    seconds = time.perf_counter() - begin
    for piece in pieces:
        ledger.receive(piece)
    return seconds


async def stream_through(
    stream: trio.abc.Stream, read: Callable[[], Awaitable[bytes]], ledger: Ledger
) -> Streamed:
    """Sends all that ``read`` gives, until ``b""``, and checks what comes back meanwhile.

    Memory is bounded whatever the length, also with a server that does not answer.

    Raises:
        ConnectionEnded: the other end closed or died.
        WrongBytes: something else came back.
        Failure: from ``read``.
    """
    before = ledger.sent
    room = trio.lowlevel.ParkingLot()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_receive_on, stream, ledger, room)
        chunk = await read()
        # What the first bytes are waited for is not the connection's time.
        begin = time.perf_counter()
        while chunk:
            while ledger.under_way >= _MOST_UNDER_WAY:
                await room.park()
            ledger.send(chunk)
            await _send(stream, chunk, ledger)
            chunk = await read()
        while ledger.under_way:
            await room.park()
        nursery.cancel_scope.cancel()
    return Streamed(ledger.sent - before, time.perf_counter() - begin)


async def fail_when_stalled(ledger: Ledger) -> None:
    """Watches, until it is cancelled, that what was sent comes back.

    Raises:
        Failure: bytes are under way, and none has come back for half a minute.
    """
    returned, since = -1, 0.0
    while True:
        now = trio.current_time()
        if ledger.returned != returned or not ledger.under_way:
            returned, since = ledger.returned, now
        elif now - since >= _PATIENCE:
            raise Failure(
                f"nothing came back for {_PATIENCE:g} s, with {ledger.under_way} of "
                f"{ledger.sent} bytes still to come; is it an echo server?"
            )
        await trio.sleep(1)


async def _receive_on(
    stream: trio.abc.Stream, ledger: Ledger, room: trio.lowlevel.ParkingLot
) -> None:
    # Until it is cancelled: also while nothing is under way, to notice at once when the server
    # ends, or says what it was not asked.
    while True:
        ledger.receive(await _receive_some(stream, ledger))
        room.unpark_all()


async def _receive(stream: trio.abc.Stream, size: int, pieces: list[bytes], ledger: Ledger) -> None:
    while size > 0:
        piece = await _receive_some(stream, ledger)
        pieces.append(piece)
        size -= len(piece)


async def _send(stream: trio.abc.Stream, data: bytes, ledger: Ledger) -> None:
    try:
        await stream.send_all(data)
    except trio.BrokenResourceError:
        raise _ended(ledger) from None


async def _receive_some(stream: trio.abc.Stream, ledger: Ledger) -> bytes:
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
