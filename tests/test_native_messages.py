"""Messages that the system keeps apart: the promises that only these channels have."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import NATIVE, Endpoint, MessageTooLarge, Native

from . import drivers
from .channels import connected
from .conftest import WINDOWS

if sys.platform not in ("linux", "win32"):
    pytest.skip("this system has no native messages", allow_module_level=True)


async def pair(native: Native = NATIVE) -> tuple[Any, Any]:
    return await connected(native)()


async def test_message_of_any_size_arrives_whole() -> None:
    left, right = await pair()
    async with left, right:
        for size in (65_535, 65_536, 65_537, 200_001, left.max_size):
            message = bytes([size % 251]) * size
            async with trio.open_nursery() as nursery:
                nursery.start_soon(left.send, message)
                assert await right.receive() == message, size


@pytest.mark.parametrize("size", [1001, 65_536, 100_000])
async def test_too_large_packet_breaks_receiving(size: int) -> None:
    endpoint = ipcpipes.testing.unique_endpoint()
    async with await ipcpipes.listen_messages(endpoint, framing=Native(1000)) as listener:
        sender = await ipcpipes.connect_messages(endpoint, framing=NATIVE)
        async with sender, await listener.accept() as receiver:
            assert receiver.max_size == 1000
            await sender.send(bytes(1000))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.send, bytes(size))
                assert await receiver.receive() == bytes(1000)
                for _ in range(2):
                    with pytest.raises(
                        trio.BrokenResourceError, match=f"{size:,} .* 1,000 "
                    ) as caught:
                        await receiver.receive()
                    assert isinstance(caught.value.__cause__, MessageTooLarge)
                nursery.cancel_scope.cancel()


async def test_error_names_the_limit_of_the_system() -> None:
    left, right = await pair(Native(2**40))
    async with left, right:
        limit = left.max_size
        if WINDOWS:
            assert limit == 2**32 - 1
            return
        assert limit == left._carrier.send_buffer_size - 32
        with pytest.raises(MessageTooLarge, match="the system's limit for one packet is") as caught:
            await left.send(bytes(limit + 1))
        assert (caught.value.size, caught.value.max_size) == (limit + 1, limit)
        await left.send(bytes(limit))
        assert len(await right.receive()) == limit


@pytest.mark.skipif(not WINDOWS, reason="Linux gives a packet in one read")
async def test_receive_cancelled_between_reads_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left, right = await pair()
    async with left, right:
        messages = [bytes([number]) * (70_000 + number) for number in range(20)]
        received: list[bytes] = []
        cancelled = 0
        read = right._carrier._read
        scope = trio.CancelScope()

        async def read_or_be_cancelled(memory: Any, size: int, owner: object) -> tuple[int, int]:
            if right._carrier._part is not None and cancelled <= len(received):
                scope.cancel()
                await trio.lowlevel.checkpoint()
            code: int
            code, count = await read(memory, size, owner)
            return code, count

        monkeypatch.setattr(right._carrier, "_read", read_or_be_cancelled)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.send_many, messages)
            while len(received) < len(messages):
                scope = trio.CancelScope()
                with scope:
                    received.append(await right.receive())
                cancelled += scope.cancelled_caught
        assert received == messages
        assert cancelled == len(messages), "the test met what it is about"


@pytest.mark.skipif(not WINDOWS, reason="Linux gives a packet in one read")
@pytest.mark.parametrize("then", ["closes", "goes on"])
async def test_abandoned_message_is_incomplete(then: str, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = await pair()
    read = right._carrier._read
    scope = trio.CancelScope()

    async def read_or_be_cancelled(memory: Any, size: int, owner: object) -> tuple[int, int]:
        if right._carrier._part is not None:
            scope.cancel()
            await trio.lowlevel.checkpoint()
        code: int
        code, count = await read(memory, size, owner)
        return code, count

    async with left, right:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.send, bytes(1_000_000))
            await trio.testing.wait_all_tasks_blocked(0.05)
            monkeypatch.setattr(right._carrier, "_read", read_or_be_cancelled)
            with scope:
                await right.receive()
            assert scope.cancelled_caught
            monkeypatch.undo()
            nursery.cancel_scope.cancel()
        if then == "closes":
            await left.aclose()
        else:
            # As a program of another library could do.
            left._send_fault = None
            await left.send(b"the next message")
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="inside a message") as caught:
                await right.receive()
            assert isinstance(caught.value.__cause__, ipcpipes.IncompleteMessage)


async def test_native_channel_uses_buffer_size(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen_messages(
        endpoint, framing=NATIVE, buffer_size=8192
    ) as listener:
        left = await ipcpipes.connect_messages(endpoint, framing=NATIVE, buffer_size=8192)
        async with left, await listener.accept() as right:
            if not WINDOWS:
                assert left.max_size < 20_000
            await left.send(bytes(8000))
            assert await right.receive() == bytes(8000)
            assert left.address == right.address
            assert "NativeMessageChannel" in repr(left)


def test_native_is_a_value() -> None:
    assert Native() == NATIVE
    assert NATIVE.max_size == 16 * 2**20
    for nonsense in (0, -1, 2**63):
        with pytest.raises(ValueError, match="max_size"):
            Native(nonsense)
    text: Any = "1000"
    with pytest.raises(TypeError, match="max_size"):
        Native(text)


@pytest.mark.parametrize("doors", [ipcpipes, drivers], ids=["trio", "blocking"])
@pytest.mark.parametrize("max_instances", [None, 1])
async def test_message_sent_before_accept_arrives(doors: Any, max_instances: int | None) -> None:
    """An empty first packet does not mean that the client has left."""
    listener = await doors.listen_messages(
        ipcpipes.testing.unique_endpoint(), framing=NATIVE, max_instances=max_instances
    )
    async with listener:
        for messages in ([b""], [b"", b"x", b""], [b"x", b""]):
            async with await doors.connect_messages(listener.endpoint, framing=NATIVE) as client:
                await client.send_many(messages)
            with trio.fail_after(60):
                server = await listener.accept()
            async with server:
                assert [message async for message in server] == messages
        if max_instances is not None:
            return
        # A client that has sent nothing at all is skipped.
        await (await doors.connect_messages(listener.endpoint, framing=NATIVE)).aclose()
        client = await doors.connect_messages(listener.endpoint, framing=NATIVE)
        async with client, await listener.accept() as server:
            await client.send(b"here")
            assert await server.receive() == b"here"
