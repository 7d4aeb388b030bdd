"""Windows: what cannot be sent as a handle, and sends that are cancelled."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import NATIVE, LengthPrefixed, Lines, MessageChannel, blocking
from ipcpipes.testing import memory_stream_pair, unique_endpoint

if sys.platform != "win32":
    pytest.skip("elsewhere the system passes them", allow_module_level=True)

import msvcrt
import socket

from ipcpipes._os.windows import calls

from .descriptors import PAIRS
from .handle_channels import KINDS, channels, watched
from .handles import open_handles
from .pairs import stream_pair
from .threads import Worker, stream_pair as blocking_pair

REFUSED = "carries no handles"


@pytest.fixture(params=PAIRS)
def doors(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=KINDS)
def framing(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_what_cannot_be_given_is_the_callers_fault(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing)
    wrong: Any
    async with left, right:
        with watched() as pipe, socket.socket() as some_socket:
            closed = os.open(os.devnull, os.O_RDONLY)
            closed_handle = msvcrt.get_osfhandle(closed)
            os.close(closed)
            before = open_handles()
            for wrong in ([0x7FFFFFF0], [pipe.handle, closed_handle]):
                with pytest.raises(OSError, match="not open") as caught:
                    await left.send_descriptors(b"x", wrong)
                assert caught.value.errno == errno.EBADF
            for wrong in ([], [-1], [2**31], [pipe.handle] * 254):
                with pytest.raises(ValueError, match="descriptor"):
                    await left.send_descriptors(b"x", wrong)
            for wrong in ("x", [None], [True], [1.5]):
                with pytest.raises(TypeError, match="descriptor"):
                    await left.send_descriptors(b"x", wrong)
            with pytest.raises(TypeError, match="share"):
                await left.send_descriptors(b"x", [some_socket])
            text: Any = "text"
            with pytest.raises(TypeError):
                await left.send_descriptors(text, [pipe.handle])
            with pytest.raises(ipcpipes.MessageTooLarge):
                await left.send_descriptors(bytes(left.max_size + 1), [pipe.handle])
            assert open_handles() <= before
            await left.send_descriptors(b"as it was", [pipe.handle])
            message, (handle,) = await right.receive_descriptors()
            assert message == b"as it was"
            assert pipe.comes_through(handle)
            pipe.close_here()
            assert not pipe.is_open_anywhere


@pytest.mark.parametrize("kind", [LengthPrefixed, Lines, ipcpipes.framing.Native])
async def test_max_size_is_the_messages_own(doors: Any, kind: Any) -> None:
    framing = kind(max_size=40)
    left, right = await channels(doors, framing, 100)
    async with left, right:
        assert left.max_size == 40
        with watched() as pipe:
            await left.send(bytes(40))
            await left.send_descriptors(bytes(40), [pipe.handle])
            assert await right.receive_descriptors() == (bytes(40), [])
            message, (handle,) = await right.receive_descriptors()
            assert message == bytes(40)
            calls.close(handle)
            with pytest.raises(ipcpipes.MessageTooLarge, match=r"header.*40 bytes"):
                await left.send_descriptors(b"", [pipe.handle] * 40)
            pipe.close_here()
            assert not pipe.is_open_anywhere
        await left.send(b"as it was")
        assert await right.receive() == b"as it was"
    left, right = await channels(doors, kind(max_size=6))
    async with left, right:
        with pytest.raises(ipcpipes.MessageTooLarge, match=r"header.* 6 bytes"):
            await left.send(b"")


async def test_framing_that_cannot_carry_a_header_says_so(doors: Any) -> None:
    left, right = await channels(doors, Lines(b"handles"))
    async with left, right:
        with watched() as pipe:
            with pytest.raises(ipcpipes.FramingError, match="delimiter"):
                await left.send_descriptors(b"x", [pipe.handle])
            with pytest.raises(ipcpipes.FramingError, match="delimiter"):
                await left.send(b"x")
            pipe.close_here()
            assert not pipe.is_open_anywhere


@pytest.mark.parametrize("kind", [LengthPrefixed(), NATIVE])
async def test_a_sender_that_was_cancelled_before_has_taken_them_back(kind: Any) -> None:
    left, right = await channels((ipcpipes, ipcpipes), kind)
    async with left, right:
        with watched() as pipe:
            with trio.CancelScope() as scope:
                scope.cancel()
                await left.send_descriptors(b"never", [pipe.handle])
            assert scope.cancelled_caught
            pipe.close_here()
            assert not pipe.is_open_anywhere
        await left.send(b"as it was")
        assert await right.receive_descriptors() == (b"as it was", [])


@pytest.mark.parametrize("kind", [LengthPrefixed(), NATIVE])
async def test_a_sender_that_was_cancelled_half_way_is_broken(kind: Any) -> None:
    left, right = await channels((ipcpipes, ipcpipes), kind)
    async with left, right:
        with watched() as pipe:
            with trio.move_on_after(0.2) as scope:
                await left.send_descriptors(bytes(1_000_000), [pipe.handle])
            assert scope.cancelled_caught
            with pytest.raises(trio.BrokenResourceError, match="cancelled half-way"):
                await left.send(b"x")
            await left.aclose()
            with pytest.raises((trio.BrokenResourceError, trio.EndOfChannel)):
                await right.receive_descriptors()


# Streams and channels that carry no handles


async def test_a_stream_refuses_and_is_as_it_was() -> None:
    left, right = await stream_pair()
    async with left, right:
        assert not left.carries_descriptors
        with pytest.raises(ipcpipes.NotSupported, match=rf"{REFUSED}.*open_child"):
            await left.send_descriptors(b"not this", [0])
        with pytest.raises(ipcpipes.NotSupported, match=REFUSED):
            await right.receive_descriptors()
        await left.send_all(b"but this")
        assert await right.receive_some() == b"but this"


def test_a_blocking_stream_too() -> None:
    left, right = blocking_pair()
    with left, right:
        assert not left.carries_descriptors
        with pytest.raises(ipcpipes.NotSupported, match=rf"{REFUSED}.*open_child"):
            left.send_descriptors(b"not this", [0], timeout=1)
        with pytest.raises(ipcpipes.NotSupported, match=REFUSED):
            right.receive_descriptors(timeout=1)
        left.send_all(b"but this")
        assert right.receive_some() == b"but this"


async def test_a_channel_without_max_descriptors_refuses(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing, 0)
    async with left, right:
        with pytest.raises(RuntimeError, match="both ends were made with max_descriptors="):
            await left.send_descriptors(b"not this", [0])
        with pytest.raises(RuntimeError, match="max_descriptors"):
            await right.receive_descriptors()
        await left.send(b"but this")
        assert await right.receive() == b"but this"


def test_a_channel_over_memory_refuses() -> None:
    left, _ = memory_stream_pair()
    with pytest.raises(ipcpipes.NotSupported, match="not over"):
        MessageChannel(left, max_descriptors=1)


def test_a_timeout_in_the_middle_breaks_the_channel() -> None:
    where = unique_endpoint()
    with blocking.listen_messages(where, max_descriptors=1) as listener:
        left = blocking.connect_messages(where, max_descriptors=1)
        with left, listener.accept() as right, watched() as pipe:
            with pytest.raises(TimeoutError):
                left.send_descriptors(bytes(1_000_000), [pipe.handle], timeout=0.1)
            with pytest.raises(trio.BrokenResourceError, match="interrupted"):
                left.send(b"x")
            worker = Worker(right.receive)
            left.close()
            with pytest.raises((trio.BrokenResourceError, trio.EndOfChannel)):
                worker.result()
