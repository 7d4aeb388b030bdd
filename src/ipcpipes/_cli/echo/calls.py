"""An echo by remote calls: the interface, its manager, and the transfer through them."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio

from ... import rpc
from .transfer import Transfer

__all__ = ["CallTransfer", "Echo", "EchoManager"]


class Echo(rpc.Interface, uuid="b6a0b8f4-7a3b-4a0e-8d2a-3f0f5f6d2a51", version=(1, 0)):
    """Returns what it receives."""

    @rpc.operation
    async def echo(self, message: bytes) -> bytes:
        """Returns the message."""

    @rpc.operation
    async def there(self, number: int, data: rpc.InPipe[rpc.byte]) -> None:
        """Passes the data to the call of :meth:`back` with the same number."""

    @rpc.operation
    async def back(self, number: int, data: rpc.OutPipe[rpc.byte]) -> None:
        """Returns the data of :meth:`there`. One call with a pipe in both directions is not enough:
        it sends the first byte back only after the last one has arrived.
        """


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


class CallTransfer(Transfer):
    """Sends a message through a call that returns it. Sends a stream through a pipe of one call,
    and receives it through a pipe of another call.
    """

    def __init__(self, client: Echo) -> None:
        super().__init__()
        self._client = client

    async def _exchange(self, data: bytes) -> list[bytes]:
        return [await self._client.echo(data)]

    async def _exchange_all(self, pull: Callable[[int], Awaitable[bytes]]) -> None:
        number = secrets.randbits(32)  # other clients of the server use other numbers

        def check(chunk: Any) -> None:
            self.ledger.receive(bytes(chunk))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(self._client.there, number, data=rpc.feed(pull)))
            await self._client.back(number, data=rpc.drain(check))
