"""Anonymous pipes as trio streams. test_handing_over.py has the tests for both drivers."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import open_anonymous_pipe

from .conftest import WINDOWS
from .pairs import clog, receive_all, receive_exactly
from .test_cancel import STEPS, cancelled_at


async def pipe() -> tuple[Any, Any]:
    """Returns (send end, receive end), the order of trio's kit."""
    receiver, sender = open_anonymous_pipe()
    return sender, receiver


async def clogged_pipe() -> tuple[Any, Any]:
    sender, receiver = await pipe()
    clog(sender)
    return sender, receiver


async def test_conformance() -> None:
    await trio.testing.check_one_way_stream(pipe, None if WINDOWS else clogged_pipe)


async def test_types_of_ends_match_their_abilities() -> None:
    sender, receiver = await pipe()
    async with sender, receiver:
        assert isinstance(sender, ipcpipes.AnonymousSendStream)
        assert isinstance(sender, ipcpipes.abc.SendByteStream)
        assert isinstance(receiver, ipcpipes.AnonymousReceiveStream)
        assert isinstance(receiver, ipcpipes.abc.ReceiveByteStream)
        for end in (sender, receiver):
            assert isinstance(end, ipcpipes.abc.AnonymousPipeEnd)
            assert end.peer == ipcpipes.PeerIdentity()
            assert end.endpoint.kind == "inherited"
            assert end.endpoint.name in end.address
            assert repr(end.address) in repr(end)
            assert not hasattr(end, "send_eof")
        assert not hasattr(sender, "receive_some")
        assert not hasattr(receiver, "send_all")
    assert "closed" in repr(sender)


def test_pipe_can_be_opened_outside_trio() -> None:
    for end in open_anonymous_pipe():
        end.hand_over()
        end.dispose_local_copy()


@pytest.mark.parametrize("size", [0, 1, 65_537, 5_000_000])
async def test_any_amount_arrives_whole(size: int) -> None:
    data = (os.urandom(1024) * (size // 1024 + 1))[:size]
    sender, receiver = await pipe()
    async with sender, receiver, trio.open_nursery() as nursery:
        nursery.start_soon(sender.send_all, data)
        assert await receive_exactly(receiver, size) == data


async def test_any_contiguous_buffer_can_be_sent_and_filled() -> None:
    sender, receiver = await pipe()
    async with sender, receiver:
        for data in (b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4]):
            await sender.send_all(data)
            assert await receive_exactly(receiver, 3) == b"abc"
        await sender.send_all(b"into memory")
        buffer = bytearray(20)
        assert await receiver.receive_into(buffer) == 11
        assert bytes(buffer[:11]) == b"into memory"
        with pytest.raises(TypeError, match="encode it"):
            await sender.send_all("text")
        with pytest.raises(ValueError, match="1"):
            await receiver.receive_some(0)


async def test_end_comes_after_all_sent_bytes() -> None:
    sender, receiver = await pipe()
    async with receiver:
        async with sender:
            await sender.send_all(b"last words")
        assert await receive_all(receiver) == b"last words"
        for _ in range(2):
            assert await receiver.receive_some() == b""
            assert await receiver.receive_into(bytearray(1)) == 0


async def test_closed_receive_end_breaks_sending() -> None:
    sender, receiver = await pipe()
    async with sender:
        await sender.send_all(b"unread")
        await receiver.aclose()
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="closed or died"):
                await sender.send_all(b"x")
        if not WINDOWS:
            with pytest.raises(trio.BrokenResourceError):
                await sender.wait_send_all_might_not_block()


async def test_closing_receiver_breaks_a_waiting_send() -> None:
    sender, receiver = await pipe()
    async with sender, receiver:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raises, trio.BrokenResourceError, sender.send_all, bytes(1_000_000))
            await trio.testing.wait_all_tasks_blocked()
            await receiver.aclose()


async def raises(
    kind: type[Exception], operation: Callable[..., Awaitable[object]], *arguments: Any
) -> None:
    with pytest.raises(kind):
        await operation(*arguments)


async def test_cancelled_pipe_receive_loses_nothing() -> None:
    finished = 0
    for step in STEPS[:8]:
        sender, receiver = await pipe()
        async with sender, receiver:
            await sender.send_all(b"abc")
            cancelled, got = await cancelled_at(step, receiver.receive_some)
            finished += not cancelled
            await sender.aclose()
            assert (got or b"") + await receive_all(receiver) == b"abc"
    assert 0 < finished < 8
    sender, receiver = await pipe()
    async with sender, receiver:
        with trio.move_on_after(0.01) as scope:
            await receiver.receive_some()
        assert scope.cancelled_caught
        await sender.send_all(b"later")
        assert await receive_exactly(receiver, 5) == b"later"


async def test_cancelled_small_send_sends_all_or_nothing() -> None:
    finished = 0
    for step in STEPS[:8]:
        sender, receiver = await pipe()
        async with sender, receiver:
            cancelled, error = await cancelled_at(step, partial(sender.send_all, b"abc"))
            finished += not cancelled
            assert error is None
            # On Windows a write that has begun may be sent or not.
            if not (WINDOWS and cancelled and step):
                await sender.send_all(b"still usable")
                await sender.aclose()
                sent = b"" if cancelled else b"abc"
                assert await receive_all(receiver) == sent + b"still usable"
    assert 0 < finished < 8


@pytest.mark.skipif(WINDOWS, reason="Windows accepts a write that does not fit as a pending one")
async def test_send_cancelled_while_it_waits_for_room_sends_nothing() -> None:
    sender, receiver = await clogged_pipe()
    async with sender, receiver:
        with trio.move_on_after(0.01) as scope:
            await sender.send_all(b"not sent")
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send_all, b"usable")
            held = sender.capacity if sys.platform == "linux" else 16384
            while not (await receiver.receive_some(held)).endswith(b"usable"):
                pass


async def test_send_cancelled_half_way_breaks_sending() -> None:
    sender, receiver = await pipe()
    async with sender, receiver:
        with trio.move_on_after(0.05) as scope:
            await sender.send_all(bytes(1_000_000))
        assert scope.cancelled_caught
        for data in (b"x", b""):
            with pytest.raises(trio.BrokenResourceError, match="cancelled"):
                await sender.send_all(data)
        await sender.aclose()
        assert len(await receive_all(receiver)) < 1_000_000


async def test_closing_an_end_wakes_its_task() -> None:
    sender, receiver = await pipe()
    async with sender, receiver:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raises, trio.ClosedResourceError, receiver.receive_some)
            await trio.testing.wait_all_tasks_blocked()
            await receiver.aclose()
    sender, receiver = await pipe()
    async with sender, receiver:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raises, trio.ClosedResourceError, sender.send_all, bytes(1_000_000))
            await trio.testing.wait_all_tasks_blocked()
            await sender.aclose()
        with pytest.raises(trio.ClosedResourceError, match="closed here"):
            await sender.send_all(b"x")


async def test_second_task_is_busy() -> None:
    sender, receiver = await pipe()
    async with sender, receiver:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raises, trio.ClosedResourceError, receiver.receive_some)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await receiver.receive_some()
            await receiver.aclose()
    sender, receiver = await pipe()
    async with sender, receiver:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raises, trio.ClosedResourceError, sender.send_all, bytes(1_000_000))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await sender.send_all(b"x")
            await sender.aclose()


async def test_unclosed_end_warns_and_is_closed() -> None:
    sender, receiver = await pipe()
    with pytest.warns(ResourceWarning, match="unclosed.*SendStream"):
        del sender
        gc.collect()
    assert await receiver.receive_some() == b""
    with pytest.warns(ResourceWarning, match="unclosed.*ReceiveStream"):
        del receiver
        gc.collect()
