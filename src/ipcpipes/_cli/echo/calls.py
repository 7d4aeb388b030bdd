"""An echo by remote calls: the interface, its manager, and the transfer through them."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import trio

from ... import rpc
from .figures import stream_figures
from .ledger import Ledger

__all__ = ["Echo", "EchoManager", "round_trip", "stream_through"]


class Echo(rpc.Interface, uuid="b6a0b8f4-7a3b-4a0e-8d2a-3f0f5f6d2a51", version=(1, 0)):
    """Returns what it receives."""

    @rpc.operation
    async def echo(self, message: bytes) -> bytes:
        """Returns the message."""
        raise NotImplementedError

    @rpc.operation
    async def there(self, number: int, data: rpc.InPipe[rpc.byte]) -> None:
        """Passes the data to the call of :meth:`back` with the same number."""
        raise NotImplementedError

    @rpc.operation
    async def back(self, number: int, data: rpc.OutPipe[rpc.byte]) -> None:
        """Returns the data of :meth:`there`. One call with a pipe in both directions would not
        do: it sends the first byte back only after the last one has come.
        """
        raise NotImplementedError


class EchoManager(Echo):
    """The echo itself."""

    def __init__(self) -> None:
        self._channels: dict[int, tuple[Any, Any]] = {}

    async def echo(self, message: bytes) -> bytes:
        return message

    async def there(self, number: int, data: rpc.InPipe[rpc.byte]) -> None:
        async with self._channel(number)[0] as into:
            async for chunk in data:
                await into.send(chunk)

    async def back(self, number: int, data: rpc.OutPipe[rpc.byte]) -> None:
        async with self._channel(number)[1] as out:
            async for chunk in out:
                await data.push(chunk)
        del self._channels[number]
        await data.close()

    def _channel(self, number: int) -> tuple[Any, Any]:
        """The channel between two calls; the first of them creates it."""
        # It holds one chunk: the credit of the pipes limits the client, not this buffer.
        return self._channels.setdefault(number, trio.open_memory_channel(1))


async def round_trip(client: rpc.Client[Echo], data: bytes, ledger: Ledger) -> float:
    """Sends one message by a call, and checks what that returns.

    Returns:
        The seconds of the call.

    Raises:
        WrongBytes: the echo differs.
        rpc.CommFailure: the peer closed the connection or died.
    """
    ledger.send(data)
    begin = time.perf_counter()
    answer = await client.echo(data)
    seconds = time.perf_counter() - begin
    ledger.receive(answer)
    return seconds


async def stream_through(
    client: rpc.Client[Echo], read: Callable[[], Awaitable[bytes]], ledger: Ledger
) -> dict[str, Any]:
    """Sends what ``read`` returns, until ``b""``, through a pipe of one call, and checks what comes
    back through a pipe of another call.

    Raises:
        WrongBytes: the echo differs.
        rpc.CommFailure: the peer closed the connection or died.
        Failure: from ``read``.
    """
    before = ledger.sent
    begin = time.perf_counter()
    number = secrets.randbits(32)  # the server's other clients use other ones

    async def chunks() -> AsyncIterator[bytes]:
        while chunk := await read():
            ledger.send(chunk)
            yield chunk

    def check(chunk: Any) -> None:
        ledger.receive(bytes(chunk))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(client.there, number, data=chunks()))
        await client.back(number, data=check)
    return stream_figures(ledger.sent - before, time.perf_counter() - begin)
