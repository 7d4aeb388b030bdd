"""ipcpipes.testing: memory streams, unique endpoints, and kits that find faults."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Endpoint, PeerIdentity
from ipcpipes.testing import check_listener, memory_stream_pair, unique_endpoint


async def test_memory_streams_keep_the_contract() -> None:
    async def make() -> Any:
        return memory_stream_pair()

    await trio.testing.check_two_way_stream(make, None)


async def test_memory_streams_have_the_given_endpoint_and_peer() -> None:
    peer = PeerIdentity(pid=7, user="ann")
    left, right = memory_stream_pair(Endpoint.named("svc"), peer=peer)
    async with left, right:
        assert isinstance(left, ipcpipes.abc.ByteStream)
        assert left.endpoint == right.endpoint == Endpoint.named("svc")
        assert left.peer is peer
        assert "svc" in left.address
        assert left.send_buffer_size == right.receive_buffer_size > 2**30
        await left.send_all(b"x")
        assert type(await right.receive_some()) is bytes
    left, right = memory_stream_pair()
    async with left, right:
        assert left.endpoint == right.endpoint
        assert left.peer == PeerIdentity()


def test_unique_endpoints_are_unique_plain_names() -> None:
    assert len({unique_endpoint() for _ in range(1000)}) == 1000
    assert unique_endpoint().kind == "named"


class BadListener(ipcpipes.abc.Listener[Any]):
    """A listener of memory streams, with one fault."""

    def __init__(self, fault: str) -> None:
        self._fault = fault
        self._send, self._receive = trio.open_memory_channel[Any](100)
        self._endpoint = unique_endpoint()
        self._closed = False

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def address(self) -> str:
        return "memory"

    @property
    def connection_count(self) -> int:
        return 5 if self._fault == "counts wrong" else 0

    async def connect(self) -> Any:
        client, server = memory_stream_pair(self._endpoint)
        await self._send.send(server)
        return client

    async def accept(self) -> Any:
        if self._fault == "no checkpoint" and self._receive.statistics().current_buffer_used:
            return self._receive.receive_nowait()
        return await self._receive.receive()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("fault", ["counts wrong", "no checkpoint", "none but the count"])
async def test_listener_kit_finds_faults(fault: str) -> None:
    async def make() -> Any:
        listener = BadListener(fault)
        return listener, listener.connect

    with pytest.raises(AssertionError):
        await check_listener(make)
