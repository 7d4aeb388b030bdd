"""Broadcasting: everyone gets everything, and nobody waits for the slow."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Broadcaster, Endpoint, LengthPrefixed, MessageChannel
from ipcpipes.testing import memory_stream_pair

from .channels import MAKERS, Maker, connected, has_native, over_memory
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
            await news.send(b"anybody there?")
        nursery.cancel_scope.cancel()


async def stalled(news: Broadcaster, nursery: trio.Nursery) -> tuple[Any, Any]:
    """(server, client) of a channel that is served and of which nobody receives."""
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
        await news.send(b"to nobody")
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


def quiet(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged, which is nothing worse than INFO."""
    for record in caplog.records:
        assert record.levelno <= logging.INFO, record.getMessage()
        assert record.exc_info is None
    return [record.getMessage() for record in caplog.records]


def as_file(number: int) -> BinaryIO:
    """A descriptor that was received, which on Windows is a handle."""
    if sys.platform == "win32":
        import msvcrt

        number = msvcrt.open_osfhandle(number, os.O_RDONLY)
    return open(number, "rb")


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(30):
        while not condition():
            await trio.sleep(0.005)


@pytest.mark.parametrize("maker", MAKERS)
async def test_quiet_broadcast_notices_a_departure(
    maker: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    news = Broadcaster()
    server, client = await maker()
    async with server:
        with caplog.at_level(logging.INFO, "ipcpipes"), trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(news.serve, server)
                await client.send(b"a message that is not received")
                await news.send(b"news")
                assert await client.receive() == b"news"
                await client.aclose()
        assert news.client_count == 0
        (line,) = quiet(caplog)
        assert "has left the broadcast" in line


framings = pytest.mark.parametrize(
    "framing",
    [
        pytest.param(LengthPrefixed(), id="framed"),
        pytest.param(ipcpipes.Lines(), id="lines"),
        pytest.param(ipcpipes.NATIVE, id="native", marks=has_native),
    ],
)


@framings
async def test_departed_client_frees_its_place(framing: Any, endpoint: Endpoint) -> None:
    news = Broadcaster()
    async with trio.open_nursery() as nursery:
        await nursery.start(
            partial(ipcpipes.serve_messages, news.serve, endpoint, framing=framing, max_instances=2)
        )
        with trio.fail_after(60):
            for _ in range(5):
                clients = [
                    await ipcpipes.connect_messages(endpoint, framing=framing, wait=30)
                    for _ in range(2)
                ]
                await until(lambda: news.client_count == 2)
                for client in clients:
                    await client.aclose()
                await until(lambda: news.client_count == 0)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("maker", MAKERS)
async def test_a_handler_that_receives_too_loses_nothing(maker: Maker) -> None:
    """Expected: the look for the end gives way to who receives, and keeps what has come."""
    news = Broadcaster()
    server, client = await maker()
    async with server, client, trio.open_nursery() as nursery:
        nursery.start_soon(news.serve, server)
        with trio.fail_after(30):
            await client.send(b"first")
            await client.send(b"second")
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert await server.receive() == b"first"
            assert await server.receive_many() == [b"second"]
            async with trio.open_nursery() as inner:
                inner.start_soon(client.send, b"third")
                assert await server.receive() == b"third"
            await news.send(b"news")
            assert await client.receive() == b"news"
            async with trio.open_nursery() as inner:
                inner.start_soon(server.receive)
                await trio.testing.wait_all_tasks_blocked(0.01)
                with pytest.raises(trio.BusyResourceError):
                    await server.receive()
                inner.cancel_scope.cancel()
        nursery.cancel_scope.cancel()


async def test_several_receivers_at_once_are_still_an_error() -> None:
    server, client = await over_memory()
    busy: list[trio.BusyResourceError] = []
    got: list[bytes] = []
    async with server, client, trio.open_nursery() as nursery:
        nursery.start_soon(server.wait_for_end)
        await trio.testing.wait_all_tasks_blocked()

        async def receive() -> None:
            try:
                got.append(await server.receive())
            except trio.BusyResourceError as error:
                busy.append(error)

        async with trio.open_nursery() as inner:
            for _ in range(3):
                inner.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            await client.send(b"for one")
        assert (got, len(busy)) == ([b"for one"], 2)
        nursery.cancel_scope.cancel()


async def test_what_is_read_ahead_keeps_its_descriptors(endpoint: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    async with await ipcpipes.listen_messages(endpoint, max_descriptors=1) as listener:
        client = await ipcpipes.connect_messages(endpoint, max_descriptors=1)
        server = await listener.accept()
    async with server, client, trio.open_nursery() as nursery:
        nursery.start_soon(server.wait_for_end)
        await trio.testing.wait_all_tasks_blocked(0.01)
        with (tmp_path / "file").open("rb") as file:
            await client.send_descriptors(b"with it", [file])
        await client.send(b"without")
        await trio.testing.wait_all_tasks_blocked(0.01)
        message, numbers = await server.receive_descriptors()
        assert message == b"with it"
        with as_file(numbers[0]) as received:
            assert received.read() == b"content"
        assert await server.receive_descriptors() == (b"without", [])
        await client.send(b"again")
        assert await server.receive() == b"again"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("maker", MAKERS)
async def test_cancelled_watch_loses_nothing(maker: Maker) -> None:
    server, client = await maker()
    count = 200
    async with server, client, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            for number in range(count):
                await client.send(b"%d" % number)

        @nursery.start_soon
        async def look() -> None:
            while True:
                with trio.move_on_after(0.0005):
                    await server.wait_for_end()

        with trio.fail_after(30):
            for number in range(count):
                assert await server.receive() == b"%d" % number
        nursery.cancel_scope.cancel()


async def test_what_is_read_ahead_is_bounded() -> None:
    server, client = await connected(LengthPrefixed())()
    async with server, client, trio.open_nursery() as nursery:
        nursery.start_soon(server.wait_for_end)
        sent = 0
        with trio.move_on_after(0.5):
            while sent < 10_000:
                await client.send(bytes(1000))
                sent += 1
        assert sent < 5_000, "the client is held back"
        with trio.fail_after(30):
            assert await server.receive() == bytes(1000)
        nursery.cancel_scope.cancel()


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe has no halves")
@framings
async def test_a_client_that_only_listens_stays(framing: Any) -> None:
    if framing is ipcpipes.NATIVE and sys.platform != "linux":
        pytest.skip("this system has no native messages")
    news = Broadcaster()
    server, client = await connected(framing)()
    async with server, trio.open_nursery() as nursery:
        nursery.start_soon(news.serve, server)
        await client.send_eof()
        await trio.testing.wait_all_tasks_blocked(0.05)
        with trio.fail_after(30):
            await news.send(b"news")
            assert await client.receive() == b"news"
            await client.aclose()
            while news.client_count:
                await news.send(b"anybody there?")


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


two_ways = pytest.mark.parametrize(
    "framing",
    [
        pytest.param(LengthPrefixed(), id="framed"),
        pytest.param(ipcpipes.NATIVE, id="native", marks=has_native),
    ],
)


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


@pytest.mark.parametrize("receives", [False, True])
@two_ways
async def test_slow_client_is_one_log_line(
    framing: Any, receives: bool, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    news = Broadcaster(backlog=5)
    handled = trio.Event()

    async def handler(channel: ipcpipes.abc.MessageChannel) -> None:
        try:
            if receives:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(news.serve, channel)
                    async for _ in channel:
                        pass
            else:
                await news.serve(channel)
        finally:
            handled.set()

    with caplog.at_level(logging.INFO, "ipcpipes"), trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(
                partial(ipcpipes.serve_messages, handler, endpoint, framing=framing)
            )
            async with await ipcpipes.connect_messages(endpoint, framing=framing) as client:
                await until(lambda: news.client_count == 1)
                while news.client_count:
                    await news.send(bytes(min(200_000, client.max_size)))
                await handled.wait()
                await trio.testing.wait_all_tasks_blocked(0.01)
                with pytest.raises((trio.EndOfChannel, trio.BrokenResourceError)):
                    while True:
                        await client.receive()
            nursery.cancel_scope.cancel()
    (line,) = quiet(caplog)
    assert "5 messages were waiting for it" in line


async def test_garbage_from_a_client_removes_it() -> None:
    news = Broadcaster()
    left, right = memory_stream_pair()
    async with MessageChannel(left, LengthPrefixed(max_size=10)) as server, right:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(news.serve, server)
                await right.send_all(b"\xff" * 4)
    assert news.client_count == 0


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
