"""receive_into of message channels. The contract is checked by the kit of ipcpipes.testing."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes

from .channels import MAKERS, Maker, connected, has_native, two_ways
from .interruptions import interrupted
from .threads import Worker, channel_pair, settle

TEXT = "a message of 5 bytes is too large: the limit is the memory of receive_into, 4 bytes"


@pytest.mark.parametrize("maker", MAKERS)
async def test_memory_is_free_after_every_ending(maker: Maker) -> None:
    sender, receiver = await maker()
    async with sender, receiver:
        memory = bytearray(4)
        with trio.CancelScope() as scope:
            scope.cancel()
            await receiver.receive_into(memory)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receiver.receive_into, memory)
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()
        await sender.send(b"hello")
        with pytest.raises(ipcpipes.MessageTooLarge) as caught:
            await receiver.receive_into(memory)
        assert str(caught.value) == TEXT
        memory.append(0)  # BufferError, if a view of it were still there
        assert await receiver.receive_into(memory) == 5
        memory.clear()


@two_ways
def test_memory_is_free_after_every_ending_without_an_event_loop(framing: Any) -> None:
    client, server = channel_pair(framing)
    with client, server:
        memory = bytearray(4)
        errors: list[BaseException] = []
        with pytest.raises(TimeoutError) as late:
            client.receive_into(memory, timeout=0.01)
        errors.append(late.value)
        server.send(b"hello")
        with pytest.raises(ipcpipes.MessageTooLarge) as large:
            client.receive_into(memory)
        assert str(large.value) == TEXT
        errors.append(large.value)
        worker = Worker(server.receive)
        settle()
        with pytest.raises(trio.BusyResourceError) as busy:
            server.receive_into(memory)
        errors.append(busy.value)
        client.send(b"x")
        assert worker.result() == b"x"
        memory.append(0)  # although the errors, with their tracebacks, are still there
        assert client.receive_into(memory) == 5
        assert memory == b"hello"


@pytest.mark.parametrize(
    "maker", [MAKERS[0], pytest.param(connected(ipcpipes.NATIVE), id="native", marks=has_native)]
)
async def test_the_reply_to_a_cancelled_request_is_discarded(maker: Maker) -> None:
    client, server = await maker()
    async with client, server:
        with trio.move_on_after(0.05):
            await client.transact(b"request")
        assert await server.receive() == b"request"
        await server.send_many([b"late reply", b"message"])
        memory = bytearray(20)
        assert await client.receive_into(memory) == 7
        assert memory[:7] == b"message"


@two_ways
def test_the_reply_to_an_ended_request_is_discarded(framing: Any) -> None:
    client, server = channel_pair(framing)
    with client, server:
        with pytest.raises(TimeoutError):
            client.transact(b"request", timeout=0.01)
        server.send_many([b"late reply", b"message"])
        memory = bytearray(20)
        assert client.receive_into(memory) == 7
        assert memory[:7] == b"message"


async def test_gathered_messages_go_out_first() -> None:
    client, server = await connected(ipcpipes.LengthPrefixed())()
    async with client, server:
        client.send_nowait(b"one")
        client.send_nowait(b"two")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.receive_into, bytearray(10))
            assert [await server.receive(), await server.receive()] == [b"one", b"two"]
            await server.send(b"reply")


@two_ways
def test_an_interrupted_receive_into_loses_nothing(framing: Any) -> None:
    step = broken = 0
    where: str | None = ""
    while where is not None:
        step += 1
        client, server = channel_pair(framing)
        with client, server:
            server.send_many([b"first", b"second"])
            memory = bytearray(10)
            where = interrupted(step, lambda: client.receive_into(memory))  # noqa: B023
            try:
                if where is not None:
                    assert client.receive(timeout=10) == b"first", where
                assert client.receive(timeout=10) == b"second", where
            except trio.BrokenResourceError as error:
                assert "interrupted" in str(error), where
                broken += 1
    assert step > 5
    assert broken < step // 2, "most interrupts leave the channel usable"


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors go along with bytes")
async def test_descriptors_stay_with_a_message_that_does_not_fit() -> None:
    async with await ipcpipes.listen_messages(
        ipcpipes.testing.unique_endpoint(), max_descriptors=1, backlog=1
    ) as listener:
        client = await ipcpipes.connect_messages(listener.endpoint, max_descriptors=1)
        server = await listener.accept()
    async with client, server:
        reading, writing = os.pipe()
        await server.send_descriptors(b"hello", [writing])
        await server.send_descriptors(b"again", [writing])
        os.close(writing)
        with pytest.raises(ipcpipes.MessageTooLarge):
            await client.receive_into(bytearray(1))
        message, (number,) = await client.receive_descriptors()
        assert message == b"hello"
        os.close(number)
        memory = bytearray(5)
        assert await client.receive_into(memory) == 5
        assert memory == b"again"
        assert os.read(reading, 10) == b"", "the descriptor of a message that was taken is closed"
        os.close(reading)


def test_the_timeout_is_checked() -> None:
    client, server = channel_pair()
    with client, server:
        with pytest.raises(ValueError, match="timeout"):
            client.receive_into(bytearray(10), timeout=-1)
        with pytest.raises(TypeError):
            client.receive_into("text")


@two_ways
def test_closing_wakes_a_thread_in_receive_into(framing: Any) -> None:
    client, server = channel_pair(framing)
    with server:
        worker = Worker(client.receive_into, bytearray(10))
        settle()
        client.close()
        with pytest.raises(trio.ClosedResourceError):
            worker.result()
