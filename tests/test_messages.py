"""connect_messages, listen_messages and serve_messages."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Endpoint

from .channels import FRAMINGS, has_native
from .conftest import WINDOWS

ALL = [
    *(pytest.param(framing, id=name) for name, framing in FRAMINGS.items()),
    pytest.param(ipcpipes.NATIVE, id="native", marks=has_native),
]


async def shout(channel: Any) -> None:
    async for message in channel:
        await channel.send(message.upper())


@pytest.mark.parametrize("framing", ALL)
async def test_serve_messages_with_each_framing(framing: Any, endpoint: Endpoint) -> None:
    async with trio.open_nursery() as nursery:

        async def serve(task_status: trio.TaskStatus[Any]) -> None:
            await ipcpipes.serve_messages(
                shout, endpoint, framing=framing, max_instances=5, task_status=task_status
            )

        listener = await nursery.start(serve)
        assert listener.endpoint == endpoint
        assert listener.address
        for _ in range(3):
            async with await ipcpipes.connect_messages(endpoint, framing=framing) as channel:
                assert channel.endpoint == endpoint
                assert channel.peer.pid is not None
                await channel.send(b"hello")
                assert await channel.receive() == b"HELLO"
        nursery.cancel_scope.cancel()


async def test_default_framing_is_four_bytes_little_endian(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint) as listener:
        async with await ipcpipes.connect_messages(endpoint) as channel:
            async with await listener.accept() as stream:
                await channel.send(b"abc")
                assert await stream.receive_some() == b"\x03\0\0\0abc"
                await stream.send_all(b"\x02\0\0\0de")
                assert await channel.receive() == b"de"


async def test_failing_handler_is_logged_and_ends_one_client(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail_at_times(channel: Any) -> None:
        async for message in channel:
            await channel.send(b"%d" % (1 // int(message)))

    async with trio.open_nursery() as nursery:
        await nursery.start(ipcpipes.serve_messages, fail_at_times, endpoint)
        async with await ipcpipes.connect_messages(endpoint) as bad:
            async with await ipcpipes.connect_messages(endpoint) as good:
                with caplog.at_level(logging.ERROR, "ipcpipes"):
                    await bad.send(b"0")
                    with pytest.raises(trio.EndOfChannel):
                        await bad.receive()
                    await trio.testing.wait_all_tasks_blocked(0.01)
                assert "division" in caplog.text
                await good.send(b"1")
                assert await good.receive() == b"1"
        nursery.cancel_scope.cancel()


async def test_closing_the_listener_lets_handlers_finish(endpoint: Endpoint) -> None:
    async with trio.open_nursery() as nursery:
        listener = await nursery.start(ipcpipes.serve_messages, shout, endpoint)
        async with await ipcpipes.connect_messages(endpoint) as channel:
            await channel.send(b"a")
            assert await channel.receive() == b"A"
            assert listener.connection_count == 1
            await listener.aclose()
            await channel.send(b"b")
            assert await channel.receive() == b"B"


async def test_wait_for_a_message_server_and_its_end(endpoint: Endpoint) -> None:
    with pytest.raises(ipcpipes.EndpointNotFound, match=r"waited 0\.05 s"):
        await ipcpipes.connect_messages(endpoint, wait=0.05)
    async with trio.open_nursery() as nursery:

        async def come_late() -> None:
            await trio.sleep(0.05)
            async with await ipcpipes.listen_messages(endpoint) as listener:
                async with await listener.accept() as channel:
                    await channel.send(b"here I am")

        nursery.start_soon(come_late)
        async with await ipcpipes.connect_messages(endpoint, wait=30) as channel:
            assert await channel.receive() == b"here I am"


@pytest.mark.parametrize("door", ["connect_messages", "listen_messages"])
async def test_message_arguments_are_checked(door: str, endpoint: Endpoint) -> None:
    function: Any = getattr(ipcpipes, door)
    for nonsense in ("lines", 4, ipcpipes.LengthPrefixed):
        with pytest.raises(TypeError, match="framing"):
            await function(endpoint, framing=nonsense)

    class Unlimited(ipcpipes.Lines):
        max_size = None  # type: ignore[assignment]

        def __post_init__(self) -> None:
            object.__setattr__(self, "max_size", None)

    with pytest.raises(TypeError, match="max_size"):
        await function(endpoint, framing=Unlimited())
    with pytest.raises(ValueError, match="buffer_size"):
        await function(endpoint, buffer_size=0)
    with pytest.raises(ipcpipes.InvalidEndpoint):
        await function("a name with spaces")


@has_native
async def test_both_ends_must_be_native(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen_messages(endpoint):
        with pytest.raises(ipcpipes.EndpointDenied, match="NATIVE"):
            await ipcpipes.connect_messages(endpoint, framing=ipcpipes.NATIVE)
    if WINDOWS:
        return  # there a client of bytes can connect to a pipe of messages
    async with await ipcpipes.listen_messages(endpoint, framing=ipcpipes.NATIVE):
        with pytest.raises(ipcpipes.EndpointDenied, match="NATIVE"):
            await ipcpipes.connect_messages(endpoint)


@has_native
async def test_native_listener_keeps_max_instances(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen_messages(
        endpoint, framing=ipcpipes.NATIVE, max_instances=1
    ) as listener:
        first = await ipcpipes.connect_messages(endpoint, framing=ipcpipes.NATIVE)
        async with first, await listener.accept():
            with pytest.raises(ipcpipes.EndpointBusy):
                await ipcpipes.connect_messages(endpoint, framing=ipcpipes.NATIVE)
        second = await ipcpipes.connect_messages(endpoint, framing=ipcpipes.NATIVE, wait=30)
        async with second, await listener.accept() as server:
            await second.send(b"my turn")
            assert await server.receive() == b"my turn"


async def test_fifty_clients_send_a_thousand_messages_each(endpoint: Endpoint) -> None:
    async def client(number: int) -> None:
        async with await ipcpipes.connect_messages(endpoint, wait=30) as channel:
            messages = [b"%d %d" % (number, turn) for turn in range(1000)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(channel.send_many, messages)
                answers: list[bytes] = []
                while len(answers) < len(messages):
                    answers += await channel.receive_many()
            assert answers == messages

    async def echo(channel: ipcpipes.MessageChannel) -> None:
        while True:
            try:
                await channel.send_many(await channel.receive_many())
            except trio.EndOfChannel:
                return

    async with trio.open_nursery() as nursery:
        await nursery.start(ipcpipes.serve_messages, echo, endpoint)
        async with trio.open_nursery() as clients:
            for number in range(50):
                clients.start_soon(client, number)
        nursery.cancel_scope.cancel()
