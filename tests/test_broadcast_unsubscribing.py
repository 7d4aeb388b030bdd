"""The end of serving a broadcast: ``unsubscribe`` and cancellation."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Broadcaster, LengthPrefixed

from .channels import connected, over_memory, two_ways

# More than the buffers of any system take at once.
LARGE = bytes(4_000_000)


async def under_way(news: Broadcaster, nursery: trio.Nursery, framing: Any) -> tuple[Any, Any]:
    """A client that reads nothing: a large message is on its way to it, and a small one waits."""
    server, client = await connected(framing)()
    nursery.start_soon(news.serve, server)
    await trio.testing.wait_all_tasks_blocked(0.01)
    await news.send(LARGE[: min(len(LARGE), server.max_size)])
    await trio.testing.wait_all_tasks_blocked(0.01)
    for _ in range(20 if framing is ipcpipes.NATIVE else 1):
        await news.send(bytes(min(200_000, server.max_size)))
    await trio.testing.wait_all_tasks_blocked(0.01)
    return server, client


@two_ways
@pytest.mark.parametrize("how", ["unsubscribe", "cancel"])
async def test_unsubscribed_channel_stays_usable(framing: Any, how: str) -> None:
    news = Broadcaster()
    received: list[bytes] = []
    async with trio.open_nursery() as outer:
        with trio.CancelScope() as scope, trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                server, client = await under_way(news, nursery, framing)

                @outer.start_soon
                async def receive() -> None:
                    async for message in client:
                        received.append(message)

                if how == "unsubscribe":
                    await news.unsubscribe(server)
                else:
                    scope.cancel()
        assert news.client_count == 0
        await news.send(b"sent after unsubscribe")
        await server.send(b"for you alone")
        await server.aclose()
    await client.aclose()
    assert received[0] == LARGE[: len(received[0])], "whole"
    assert received[-1] == b"for you alone"
    assert b"sent after unsubscribe" not in received
    if framing is not ipcpipes.NATIVE:
        assert len(received) == 2, "what waited is withdrawn"


async def test_unsubscribe_waits_for_the_client_and_can_be_cancelled() -> None:
    news = Broadcaster()
    async with trio.open_nursery() as nursery:
        server, client = await under_way(news, nursery, LengthPrefixed())
        with trio.move_on_after(0.05) as scope:
            await news.unsubscribe(server)
        assert scope.cancelled_caught
        assert news.client_count == 0
        with trio.fail_after(30):
            assert await client.receive() == LARGE
            await trio.testing.wait_all_tasks_blocked(0.01)
            await server.send(b"usable")
            assert await client.receive() == b"usable"
    await server.aclose()
    await client.aclose()


async def test_cancelled_serve_waits_one_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipcpipes.broadcast._LEAVE_WITHIN", 0.05)
    news = Broadcaster()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            server, client = await under_way(news, nursery, LengthPrefixed())
            nursery.cancel_scope.cancel()
    with pytest.raises(trio.BrokenResourceError, match="half-way"):
        await server.send(b"there is a part of a message before it")
    await server.aclose()
    with pytest.raises(trio.BrokenResourceError, match="inside"):
        await client.receive()
    await client.aclose()


async def test_unsubscribing_an_unserved_channel_is_a_checkpoint() -> None:
    news = Broadcaster()
    server, client = await over_memory()
    async with server, client:
        with trio.testing.assert_checkpoints():
            await news.unsubscribe(server)
