"""``max_descriptors``: where it is accepted, and how it is checked."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import MessageChannel, blocking, rpc
from ipcpipes.testing import memory_stream_pair, unique_endpoint

if sys.platform == "win32":
    pytest.skip("a Windows pipe carries none", allow_module_level=True)

from .conftest import open_descriptors
from .descriptors import close_all, watched
from .pairs import stream_pair
from .processes import SECONDS


@pytest.mark.parametrize("blocking_ends", [False, True])
async def test_foreign_streams_do_not_carry_descriptors(blocking_ends: bool) -> None:
    if blocking_ends:

        class Foreign:
            def send_all(self, data: object, *, timeout: object = None) -> None: ...
            def receive_some(self, max_bytes: object = None, *, timeout: object = None) -> bytes:
                return b""

            def close(self) -> None: ...

        end = Foreign()
        with pytest.raises(ipcpipes.NotSupported, match="not over"):
            blocking.MessageChannel(end, max_descriptors=1)
        with blocking.MessageChannel(end) as channel:
            with pytest.raises(ipcpipes.NotSupported, match="not over"):
                channel.send_descriptors(b"x", [0])
        return
    for make in (memory_stream_pair, trio.testing.memory_stream_pair):
        foreign: Any = make()
        with pytest.raises(ipcpipes.NotSupported, match="not over"):
            MessageChannel(foreign[0], max_descriptors=1)
        async with MessageChannel(foreign[0]) as over_foreign:
            with pytest.raises(ipcpipes.NotSupported, match="not over"):
                await over_foreign.send_descriptors(b"x", [0])
        await foreign[1].aclose()


async def test_message_channel_accepts_max_descriptors() -> None:
    client, server = await stream_pair()
    async with MessageChannel(client) as left, MessageChannel(server, max_descriptors=1) as right:
        with watched() as pipe:
            await left.send_descriptors(b"x", [pipe])
            message, (number,) = await right.receive_descriptors()
            assert pipe.comes_through(number)
            os.close(number)
            assert message == b"x"


async def test_max_descriptors_is_checked_first() -> None:
    async def nothing(channel: MessageChannel) -> None: ...

    wrong: Any
    nowhere = unique_endpoint()
    for wrong, error in ((-1, ValueError), (254, ValueError), (True, TypeError), (0.0, TypeError)):
        for door in (ipcpipes.connect_messages, ipcpipes.listen_messages):
            with pytest.raises(error, match="max_descriptors"):
                await door(nowhere, max_descriptors=wrong)
        with pytest.raises(error, match="max_descriptors"):
            await ipcpipes.serve_messages(nothing, nowhere, max_descriptors=wrong)
        for blocking_door in (blocking.connect_messages, blocking.listen_messages):
            with pytest.raises(error, match="max_descriptors"):
                blocking_door(nowhere, max_descriptors=wrong)
        client, server = await stream_pair()
        async with client, server:
            with pytest.raises(error, match="max_descriptors"):
                MessageChannel(client, max_descriptors=wrong)


async def test_serve_messages_accepts_max_descriptors() -> None:
    async def handler(channel: MessageChannel) -> None:
        message, numbers = await channel.receive_descriptors()
        os.write(numbers[0], message)
        close_all(numbers)
        await channel.send(b"done")

    with watched() as pipe:
        async with trio.open_nursery() as nursery:

            async def serve(task_status: Any) -> None:
                await ipcpipes.serve_messages(
                    handler, unique_endpoint(), max_descriptors=1, task_status=task_status
                )

            listener = await nursery.start(serve)
            async with await ipcpipes.connect_messages(listener.endpoint) as client:
                await client.send_descriptors(b"written there", [pipe])
                assert await client.receive() == b"done"
            nursery.cancel_scope.cancel()
        assert os.read(pipe._receiving, 100) == b"written there"


async def test_rpc_server_drops_descriptors_and_continues() -> None:
    class Adder(rpc.Interface, uuid="6bffd098-a112-3610-9833-46c3f87e345a", version=(1, 0)):
        @rpc.operation
        async def add(self, left: int, right: int) -> int:
            raise NotImplementedError

    class Manager(Adder):
        async def add(self, left: int, right: int) -> int:
            return left + right

    with watched() as pipe, trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            where = unique_endpoint()
            await nursery.start(rpc.serve, Manager(), where)
            async with rpc.connect(Adder, where) as adder:
                assert await adder.add(1, 2) == 3
                before = open_descriptors()
                # Another client sends garbage with descriptors.
                async with await ipcpipes.connect(where) as stream:
                    await stream.send_descriptors(b"\xff" * 100, [pipe] * 100)
                    with trio.move_on_after(1):
                        while await stream.receive_some():
                            pass
                for number in range(20):
                    assert await adder.add(number, 1) == number + 1
                pipe.close_here()
                assert not pipe.is_open_anywhere
                assert len(open_descriptors() - before) <= 1
            nursery.cancel_scope.cancel()
