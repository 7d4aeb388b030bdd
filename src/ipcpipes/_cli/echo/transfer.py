"""Sends data through a connection, receives its echo at the same time, and checks every byte."""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from ...abc import ByteStream
from ..failure import ConnectionEnded, Failure
from ..source import CHUNK
from .ledger import Ledger
from .report import stream_figures

__all__ = ["Read", "StreamTransfer", "Transfer"]

# This limits the memory if a server receives and never answers. It is far above the buffers of any
# system, so that it does not slow down a real echo.
_MOST_UNDER_WAY = 2**22
_STALLED_AFTER = 30.0  # seconds

Read = Callable[[], Awaitable[bytes]]
"""Returns the next bytes to send, ``b""`` at the end."""


class Transfer(ABC):
    """Sends data through one connection, and checks its echo.

    Attributes:
        ledger: the bytes that are under way.
    """

    def __init__(self) -> None:
        self.ledger = Ledger()

    async def round_trip(self, data: bytes) -> float:
        """Sends one message, receives its echo, and checks it. No other bytes are under way.

        Args:
            data: the message, not empty.

        Returns:
            The seconds between the send and the end of the echo, without the time of the check.

        Raises:
            ConnectionEnded, rpc.CommFailure: the peer closed the connection or died.
            WrongBytes: the echo differs.
        """
        self.ledger.send(data)
        begin = time.perf_counter()
        pieces = await self._exchange(data)
        seconds = time.perf_counter() - begin
        for piece in pieces:
            self.ledger.receive(piece)
        return seconds

    async def stream_through(self, read: Read) -> dict[str, Any]:
        """Sends what ``read`` returns, and checks the echo meanwhile.

        Memory is bounded for any length, also with a server that never answers.

        Returns:
            The figures, as of :func:`stream_figures`.

        Raises:
            ConnectionEnded, rpc.CommFailure: the peer closed the connection or died.
            WrongBytes: the echo differs.
            Failure: ``read`` has failed.
        """
        before = self.ledger.sent
        begin = 0.0

        async def pull(_: int) -> bytes:
            nonlocal begin
            chunk = await read()
            # The wait for the first bytes of the input is not the connection's time.
            begin = begin or time.perf_counter()
            self.ledger.send(chunk)
            return chunk

        await self._exchange_all(pull)
        return stream_figures(self.ledger.sent - before, time.perf_counter() - begin)

    async def fail_when_stalled(self) -> None:
        """Runs until it is cancelled.

        Raises:
            Failure: bytes are under way, and none came back for 30 seconds.
        """
        ledger = self.ledger
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

    @abstractmethod
    async def _exchange(self, data: bytes) -> Sequence[bytes]:
        """Sends one message, and returns the pieces of its echo."""

    @abstractmethod
    async def _exchange_all(self, pull: Callable[[int], Awaitable[bytes]]) -> None:
        """Sends what ``pull(most)`` returns, and records the echo in the ledger until all of it
        has come back.
        """


class StreamTransfer(Transfer):
    """Sends data through a stream.

    It never announces the end of its data, because a Windows pipe has no half-close. It counts, and
    is done when as much has come back as it sent.
    """

    def __init__(self, stream: ByteStream) -> None:
        super().__init__()
        self._stream = stream

    async def _exchange(self, data: bytes) -> list[bytes]:
        # Twice the size, because Linux counts its own overhead against the buffer size it reports.
        if 2 * len(data) <= self._stream.send_buffer_size:
            await self._send(data)
            return await self._receive(len(data))
        # An echo server stops reading while its answers are not received.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, data)
            return await self._receive(len(data))

    async def _exchange_all(self, pull: Callable[[int], Awaitable[bytes]]) -> None:
        returned = trio.lowlevel.ParkingLot()

        async def receive_until_cancelled() -> None:
            # This receives even while no bytes are under way, so that it sees at once when the
            # server ends, or sends more than an echo.
            while True:
                self.ledger.receive(await self._receive_some())
                returned.unpark_all()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive_until_cancelled)
            while chunk := await pull(CHUNK):
                await self._send(chunk)
                while self.ledger.under_way >= _MOST_UNDER_WAY:
                    await returned.park()
            while self.ledger.under_way:
                await returned.park()
            nursery.cancel_scope.cancel()

    async def _receive(self, size: int) -> list[bytes]:
        pieces: list[bytes] = []
        while size > 0:
            pieces.append(await self._receive_some())
            size -= len(pieces[-1])
        return pieces

    async def _send(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            raise self._ended() from None

    async def _receive_some(self) -> bytes:
        with contextlib.suppress(trio.BrokenResourceError):
            if data := await self._stream.receive_some():
                return bytes(data)
        raise self._ended()

    def _ended(self) -> ConnectionEnded:
        ledger = self.ledger
        return ConnectionEnded(
            f"the server closed the connection or died: {ledger.returned} of {ledger.sent} bytes "
            "came back"
        )
