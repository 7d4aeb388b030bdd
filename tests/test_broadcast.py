"""Broadcasting: every client gets each message, and no client waits for a slow one."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Broadcaster, Endpoint, LengthPrefixed, MessageChannel
from ipcpipes.testing import memory_stream_pair

from .channels import connected, has_native, over_memory
from .processes import SECONDS


async def receive_count(channel: Any, count: int) -> list[bytes]:
    return [await channel.receive() for _ in range(count)]


@pytest.mark.parametrize(
    "framing",
    [
        pytest.param(LengthPrefixed(), id="framed"),
        pytest.param(ipcpipes.NATIVE, id="native", marks=has_native),
    ],
)
async def test_serve_is_a_handler_for_serve_messages(framing: Any, endpoint: Endpoint) -> None:
    news = Broadcaster()
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[Any]) -> None:
            await ipcpipes.serve_messages(
                news.serve, endpoint, framing=framing, task_status=task_status
            )

        await nursery.start(serve)
        clients = [await ipcpipes.connect_messages(endpoint, framing=framing) for _ in range(5)]
        while news.client_count < 5:
            await trio.testing.wait_all_tasks_blocked(0.01)
        expected = [b"%d" % number for number in range(100)] + [b""]
        for message in expected:
            await news.send(message)
        for client in clients:
            assert await receive_count(client, len(expected)) == expected
            await client.aclose()
        while news.client_count:
            await news.send(b"still there?")
        nursery.cancel_scope.cancel()


async def stalled(news: Broadcaster, nursery: trio.Nursery) -> tuple[Any, Any]:
    """(server, client) of a channel that is served; the client does not receive."""
    server, client = await connected(LengthPrefixed())()
    nursery.start_soon(news.serve, server)
    await trio.testing.wait_all_tasks_blocked(0.01)
    return server, client


async def test_stalled_client_is_disconnected_and_delays_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    news = Broadcaster(backlog=10)
    large = bytes(100_000)
    async with trio.open_nursery() as nursery:
        server, client = await stalled(news, nursery)
        quick_server, quick = await connected(LengthPrefixed())()
        nursery.start_soon(news.serve, quick_server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.fail_after(30), caplog.at_level(logging.INFO, "ipcpipes"):
            for number in range(100):
                await news.send(large)
                assert await quick.receive() == large, number
        assert news.client_count == 1
        assert "10 messages were waiting for it" in caplog.text
        with pytest.raises(trio.ClosedResourceError):
            await server.send(b"it is closed")
        got = 0
        with pytest.raises((trio.EndOfChannel, trio.BrokenResourceError)):
            while True:
                assert await client.receive() == large
                got += 1
        assert got < 60
        assert news.dropped_count == 0
        nursery.cancel_scope.cancel()
    for channel in (client, quick_server, quick):
        await channel.aclose()


async def test_stalled_client_misses_the_oldest_messages() -> None:
    news = Broadcaster(backlog=5, when_slow="drop")
    async with trio.open_nursery() as nursery:
        server, client = await stalled(news, nursery)
        quick_server, quick = await connected(LengthPrefixed())()
        nursery.start_soon(news.serve, quick_server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        messages = [b"%d;" % number + bytes(100_000) for number in range(100)]
        with trio.fail_after(30):
            for message in messages:
                await news.send(message)
                assert await quick.receive() == message
        assert news.client_count == 2
        assert news.dropped_count > 50
        got: list[bytes] = []
        while not got or got[-1] != messages[-1]:
            got.append(await client.receive())
        assert len(got) == len(messages) - news.dropped_count
        assert got == sorted(got, key=messages.index), "in order"
        assert got[-5:] == messages[-5:], "the latest are there"
        nursery.cancel_scope.cancel()
    for channel in (server, client, quick_server, quick):
        await channel.aclose()


async def test_many_stalled_clients() -> None:
    news = Broadcaster(backlog=3)
    async with trio.open_nursery() as nursery:
        ends = [await stalled(news, nursery) for _ in range(30)]
        assert news.client_count == 30
        for _ in range(100):
            await news.send(bytes(100_000))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert news.client_count == 0
    for end in ends:
        for channel in end:
            await channel.aclose()


async def test_a_loop_that_does_not_yield_fills_the_queues() -> None:
    news = Broadcaster(backlog=10)
    server, client = await over_memory()
    async with server, client, trio.open_nursery() as nursery:
        nursery.start_soon(news.serve, server)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(10):
            news.send_nowait(b"%d" % number)
        assert await receive_count(client, 10) == [b"%d" % n for n in range(10)]
        for _ in range(11):
            news.send_nowait(b"too many")
        await trio.testing.wait_all_tasks_blocked()
        assert news.client_count == 0


async def test_message_too_large_for_one_reaches_none() -> None:
    news = Broadcaster()
    left, right = memory_stream_pair()
    server, client = await over_memory()
    async with MessageChannel(left, LengthPrefixed(1)) as narrow, right, server, client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(news.serve, narrow)
            nursery.start_soon(news.serve, server)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ipcpipes.MessageTooLarge):
                await news.send(bytes(256))
            for nonsense in ("text", 5, None):
                with pytest.raises(TypeError):
                    await news.send(nonsense)  # type: ignore[arg-type]
            message = bytearray(b"borrowed")
            news.send_nowait(message)
            message[:] = b"changed!"
            assert await client.receive() == b"borrowed"
            nursery.cancel_scope.cancel()


async def test_message_that_cannot_be_framed_reaches_none() -> None:
    news = Broadcaster()
    left, right = memory_stream_pair()
    async with MessageChannel(left, ipcpipes.Lines()) as server:
        async with MessageChannel(right, ipcpipes.Lines()) as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(news.serve, server)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(ipcpipes.FramingError, match="delimiter"):
                    await news.send(b"two\nlines")
                await news.send(b"one line")
                assert await client.receive() == b"one line"
                nursery.cancel_scope.cancel()


async def test_serving_ends_with_the_channel_and_with_cancellation() -> None:
    news = Broadcaster()
    server, client = await over_memory()
    async with client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(news.serve, server)
            await trio.testing.wait_all_tasks_blocked()
            await server.aclose()
            await news.send(b"into the void")
        assert news.client_count == 0
    server, client = await over_memory()
    async with server, client:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(news.serve, server)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        assert scope.cancelled_caught
        assert news.client_count == 0
        await server.send(b"the channel is as it was")
        assert await client.receive() == b"the channel is as it was"


async def test_nursery_start_returns_once_the_client_is_served() -> None:
    news = Broadcaster()
    server, client = await connected(LengthPrefixed())()
    async with server, client, trio.open_nursery() as nursery:
        await nursery.start(news.serve, server)
        news.send_nowait(b"news")
        with trio.fail_after(SECONDS):
            assert await client.receive() == b"news"
        await news.unsubscribe(server)


async def test_a_channel_is_served_once_at_a_time() -> None:
    news = Broadcaster()
    server, client = await connected(LengthPrefixed())()
    async with server, client, trio.open_nursery() as nursery:
        await nursery.start(news.serve, server)
        with pytest.raises(trio.BusyResourceError, match="is in this broadcast already"):
            await news.serve(server)
        for message in (b"one", b"two"):
            news.send_nowait(message)
            with trio.fail_after(SECONDS):
                assert await client.receive() == message
        await news.unsubscribe(server)
        await nursery.start(news.serve, server)
        assert news.client_count == 1
        await news.unsubscribe(server)


async def test_cancelled_broadcast_sends_nothing() -> None:
    news = Broadcaster()
    with trio.testing.assert_checkpoints():
        await news.send(b"to no client")
    server, client = await over_memory()
    async with server, client, trio.open_nursery() as nursery:
        nursery.start_soon(news.serve, server)
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await news.send(b"never")
        await news.send(b"sent")
        assert await client.receive() == b"sent"
        nursery.cancel_scope.cancel()


def test_arguments() -> None:
    with pytest.raises(ValueError, match="backlog"):
        Broadcaster(backlog=0)
    with pytest.raises(TypeError, match="backlog"):
        Broadcaster(backlog="many")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="when_slow"):
        Broadcaster(when_slow="wait")  # type: ignore[arg-type]


async def test_a_stream_is_refused() -> None:
    stream, _ = memory_stream_pair()
    with pytest.raises(TypeError, match=r"use serve_messages$"):
        await Broadcaster().serve(stream)  # type: ignore[arg-type]


async def test_foreign_channel_is_served() -> None:
    """It is only not looked after while nothing is sent."""
    news = Broadcaster()
    left, right = await over_memory()

    class Other:
        """Has what a broadcast needs."""

        max_size = 100
        send_many = staticmethod(left.send_many)
        aclose = staticmethod(left.aclose)

    other: Any = Other()
    async with left, right, trio.open_nursery() as nursery:
        nursery.start_soon(news.serve, other)
        await trio.testing.wait_all_tasks_blocked()
        await news.send(b"news")
        assert await right.receive() == b"news"
        nursery.cancel_scope.cancel()
