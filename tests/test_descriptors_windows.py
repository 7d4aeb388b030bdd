"""Windows: descriptors are refused in time, and the line says what to do instead."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import NATIVE, LengthPrefixed, MessageChannel, blocking
from ipcpipes.testing import unique_endpoint

if sys.platform != "win32":
    pytest.skip("elsewhere they travel", allow_module_level=True)

from . import drivers
from .channels import connected
from .pairs import stream_pair
from .threads import stream_pair as blocking_pair

REFUSED = "carries no handles"


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


@pytest.mark.parametrize("framing", [LengthPrefixed(), NATIVE])
async def test_a_channel_refuses_and_is_as_it_was(framing: Any) -> None:
    left, right = await connected(framing)()
    async with left, right:
        with pytest.raises(ipcpipes.NotSupported, match="not over"):
            await left.send_descriptors(b"not this", [0])
        with pytest.raises(RuntimeError, match="max_descriptors"):
            await right.receive_descriptors()
        await left.send(b"but this")
        assert await right.receive() == b"but this"


@pytest.mark.parametrize("framing", [LengthPrefixed(), NATIVE])
async def test_a_blocking_channel_too(framing: Any) -> None:
    async with await drivers.listen_messages(unique_endpoint(), framing=framing) as listener:
        left = await drivers.connect_messages(listener.endpoint, framing=framing)
        async with left, await listener.accept() as right:
            with pytest.raises(ipcpipes.NotSupported, match="not over"):
                await left.send_descriptors(b"not this", [0])
            with pytest.raises(RuntimeError, match="max_descriptors"):
                await right.receive_descriptors()
            await left.send(b"but this")
            assert await right.receive() == b"but this"


async def test_who_expects_some_is_told_before_anything_is_opened() -> None:
    where = unique_endpoint()
    for framing in (LengthPrefixed(), NATIVE):
        options: Any = {"framing": framing, "max_descriptors": 1}
        for door in (ipcpipes.connect_messages, ipcpipes.listen_messages):
            with pytest.raises(ipcpipes.NotSupported, match=REFUSED):
                await door(where, **options)
        for blocking_door in (blocking.connect_messages, blocking.listen_messages):
            with pytest.raises(ipcpipes.NotSupported, match=REFUSED):
                blocking_door(where, **options)
    left, right = await stream_pair()
    async with left, right:
        with pytest.raises(ipcpipes.NotSupported, match="not over"):
            MessageChannel(left, max_descriptors=1)
    with pytest.raises(trio.ClosedResourceError):
        await left.receive_some()
