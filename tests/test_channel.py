"""Message channels: the contract, on every kind of channel."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Endpoint
from ipcpipes.testing import check_message_channel

from .channels import MAKERS, Maker, over_stream


@pytest.mark.parametrize("maker", MAKERS)
async def test_channel_conformance(maker: Maker) -> None:
    await check_message_channel(maker)


@pytest.mark.parametrize("value", ["text", {"a": 1}, 5, None])
@pytest.mark.parametrize("maker", MAKERS)
async def test_a_message_that_is_not_bytes_is_refused(maker: Maker, value: Any) -> None:
    ours, theirs = await maker()
    words = rf"^a message is bytes, not {type(value).__name__}; encode it$"
    async with ours, theirs:
        with pytest.raises(TypeError, match=words):
            await ours.send(value)
        with pytest.raises(TypeError, match=words):
            await ours.send_many([b"good", value])
        await ours.send(b"after it")
        assert await theirs.receive() == b"after it"


@pytest.mark.parametrize("maker", MAKERS)
async def test_an_idle_channel_takes_little_memory(maker: Maker) -> None:
    # CPython shares the names of the attributes between the objects of a class if there are fewer
    # than 30. A subclass of a user may add some. This is a third of an idle connection's memory.
    for channel in await maker():
        async with channel:
            assert len(vars(channel)) <= 27


@pytest.mark.skipif(sys.platform == "win32", reason="a read has more steps there")
@pytest.mark.parametrize(
    "use", [lambda channel: channel.receive(), lambda channel: channel.transact(b"request")]
)
async def test_a_waiting_receiver_consists_of_two_coroutines(use: Any) -> None:
    # Each of them costs time whenever the task continues.
    ours, theirs = await over_stream()
    waiting = use(ours)

    async def wait() -> None:
        await waiting

    async with ours, theirs, trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        ours_below = []
        coroutine = waiting
        while coroutine.cr_code.co_filename.startswith(os.path.dirname(ipcpipes.__file__)):
            ours_below.append(coroutine.cr_code.co_name)
            coroutine = coroutine.cr_await
        assert len(ours_below) == 2, ours_below
        nursery.cancel_scope.cancel()


@pytest.mark.skipif(sys.platform == "win32", reason="the buffer of a pipe is smaller")
@pytest.mark.parametrize("size", [60_000, 65_532, 65_533, 65_536])
async def test_a_message_of_up_to_64_kib_arrives_in_one_read(
    size: int, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0

    def counted(read: Any) -> Any:
        async def counting(*arguments: Any) -> Any:
            nonlocal reads
            reads += 1
            return await read(*arguments)

        return counting

    async with await ipcpipes.listen(endpoint) as listener:
        sender = ipcpipes.MessageChannel(await ipcpipes.connect(endpoint))
        stream = await listener.accept()
        for name in ("_receive_up_to", "receive_some", "receive_into"):
            monkeypatch.setattr(stream, name, counted(getattr(stream, name)))
        async with sender, ipcpipes.MessageChannel(stream) as receiver:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.send, bytes(size))
                await trio.testing.wait_all_tasks_blocked()
                assert len(await receiver.receive()) == size
    assert reads == 1
