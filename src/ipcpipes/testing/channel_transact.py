"""The checks of the conformance kit for ``transact``."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from ..abc import MessageChannel
from ..errors import MessageTooLarge
from .expecting import cancels, checkpoints, raises


async def check_transact(client: MessageChannel, server: MessageChannel) -> None:
    async def answer() -> None:
        async for message in server:
            await server.send(b"reply to " + message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        for message in (b"one", b"", bytearray(b"two"), bytes(min(100_000, client.max_size - 9))):
            assert await client.transact(message) == b"reply to " + message
        assert await checkpoints(client.transact, b"three") == b"reply to three"
        await cancels(client.transact, b"never sent")
        nonsense: Any
        for nonsense in ("text", 5, None, [b"list"], memoryview(b"abcdef")[::2]):
            await raises(TypeError, client.transact, nonsense)
        if client.max_size < 2**31:
            await raises(MessageTooLarge, client.transact, bytes(client.max_size + 1))
        assert await client.transact(b"four") == b"reply to four"
        nursery.cancel_scope.cancel()
    await client.aclose()
    await raises(trio.ClosedResourceError, client.transact, b"after it")


async def check_cancelled_transact(client: MessageChannel, server: MessageChannel) -> None:
    async def ask(message: bytes, nursery: trio.Nursery) -> None:
        nursery.start_soon(client.transact, message)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await raises(trio.BusyResourceError, client.transact, b"at the same time")
        await raises(trio.BusyResourceError, client.receive)
        nursery.cancel_scope.cancel()

    for message in (b"one", b"two"):
        async with trio.open_nursery() as nursery:
            await ask(message, nursery)
    assert [await server.receive(), await server.receive()] == [b"one", b"two"]
    await server.send_many([b"reply to one", b"reply to two"])

    async def answer_three() -> None:
        assert await server.receive() == b"three"
        await server.send(b"reply to three")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_three)
        reply = await client.transact(b"three")
    assert reply == b"reply to three", "replies to cancelled requests are not returned"
    async with trio.open_nursery() as nursery:
        await ask(b"four", nursery)
    await server.send_many([b"reply to four", b"a message"])
    assert await client.receive() == b"a message"
