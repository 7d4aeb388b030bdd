"""Calls over messages of each framing, over trio's channels, and over a child's stream."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import rpc
from ipcpipes.testing import memory_stream_pair

from .programs import trio_program
from .rpc_all_kinds import ALL_KINDS, all_kinds
from .rpc_over_links import FIND_TESTS, SECONDS
from .rpc_over_managers import Calls


@pytest.mark.parametrize(
    "framing",
    [
        ipcpipes.ContentLength(),
        ipcpipes.LengthPrefixed(8, "big"),
        pytest.param(
            ipcpipes.NATIVE,
            marks=pytest.mark.skipif(
                sys.platform not in ("linux", "win32"), reason="no native messages here"
            ),
        ),
    ],
    ids=repr,
)
async def test_calls_over_messages(framing: Any, endpoint: ipcpipes.Endpoint) -> None:
    with trio.fail_after(SECONDS):
        async with await ipcpipes.listen_messages(endpoint, framing=framing) as listener:
            channel = await ipcpipes.connect_messages(endpoint, framing=framing)
            async with trio.open_nursery() as nursery:
                accepted = await listener.accept()
                nursery.start_soon(rpc.serve_connection, ALL_KINDS, accepted)
                async with rpc.bind(Calls, channel) as acc:
                    await all_kinds(rpc.client_of(acc))
                    with pytest.raises(ValueError, match="through a pipe"):
                        await acc.plain(bytes(channel.max_size))


async def test_calls_over_channels_of_trio() -> None:
    """Such a channel passes one message at a time."""
    to_server, from_client = trio.open_memory_channel[bytes](0)
    to_client, from_server = trio.open_memory_channel[bytes](0)

    class Stapled(trio.abc.Channel[bytes]):
        def __init__(self, sending: Any, receiving: Any) -> None:
            self.sending = sending
            self.receiving = receiving

        async def send(self, value: bytes) -> None:
            await self.sending.send(bytes(value))

        async def receive(self) -> bytes:
            return bytes(await self.receiving.receive())

        async def aclose(self) -> None:
            await self.sending.aclose()
            await self.receiving.aclose()

    client = Stapled(to_server, from_server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve_connection, ALL_KINDS, Stapled(to_client, from_client))
        with trio.fail_after(SECONDS):
            async with rpc.bind(Calls, client) as acc:
                await all_kinds(rpc.client_of(acc))


async def test_a_channel_with_too_small_messages_is_refused() -> None:
    left, _ = memory_stream_pair()
    framing = ipcpipes.LengthPrefixed(2)
    with pytest.raises(ValueError, match="65,536"):
        async with rpc.bind(Calls, ipcpipes.MessageChannel(left, framing)):
            raise AssertionError("it is bound")


@pytest.mark.parametrize("serves", ["child", "parent"])
async def test_calls_over_the_stream_of_a_child(serves: str) -> None:
    if serves == "child":
        program = f"""
            {FIND_TESTS}
            from ipcpipes import rpc
            from tests.rpc_all_kinds import ALL_KINDS
            async with ipcpipes.parent_stream() as stream:
                await rpc.serve_connection(ALL_KINDS, stream)
        """
    else:
        program = f"""
            {FIND_TESTS}
            from ipcpipes import rpc
            from tests.rpc_all_kinds import all_kinds
            from tests.rpc_over_managers import Calls
            async with ipcpipes.parent_stream() as stream:
                async with rpc.bind(Calls, stream) as acc:
                    await all_kinds(acc)
        """
    with trio.fail_after(SECONDS):
        async with ipcpipes.open_child(trio_program(program)) as child:
            if serves == "child":
                async with rpc.bind(Calls, child.stream) as acc:
                    await all_kinds(rpc.client_of(acc))
            else:
                await rpc.serve_connection(ALL_KINDS, child.stream)
            assert await child.wait() == 0
