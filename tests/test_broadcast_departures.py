"""A broadcaster notices that a client has gone, and loses nothing that the client has sent."""

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

from .channels import MAKERS, Maker, connected, has_native, over_memory, two_ways


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
    """The broadcaster lets the handler receive, and keeps the messages that have come."""
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


@pytest.mark.skipif(sys.platform == "win32", reason="a Windows pipe cannot close one direction")
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
                await news.send(b"still there?")


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
