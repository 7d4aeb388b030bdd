"""The contracts of blocking objects: the same kits as for trio, and both drivers mixed."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import blocking
from ipcpipes.testing import check_listener, check_message_channel, unique_endpoint

from . import drivers
from .channels import FRAMINGS, Maker, Pair, has_native

# The module that makes the server's end, and the one that makes the client's.
DRIVERS: list[Any] = [
    pytest.param((drivers, drivers), id="blocking"),
    pytest.param((ipcpipes, drivers), id="blocking-client"),
    pytest.param((drivers, ipcpipes), id="blocking-server"),
]


def connected(pair: tuple[Any, Any], framing: Any) -> Maker:
    server_side, client_side = pair

    async def maker() -> Pair:
        async with await server_side.listen_messages(
            unique_endpoint(), framing=framing, backlog=1
        ) as listener:
            client = await client_side.connect_messages(listener.endpoint, framing=framing)
            return client, await listener.accept()

    return maker


@pytest.mark.parametrize(
    "framing",
    [
        *(pytest.param(framing, id=name) for name, framing in FRAMINGS.items()),
        pytest.param(ipcpipes.NATIVE, id="native", marks=has_native),
    ],
)
@pytest.mark.parametrize("pair", DRIVERS)
async def test_message_channel_conformance(pair: tuple[Any, Any], framing: Any) -> None:
    await check_message_channel(connected(pair, framing), cancels_sends=False, nowait=False)


class Foreign:
    """A blocking stream of another library, with only the methods that a channel needs."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.send_all = stream.send_all
        self.receive_some = stream.receive_some
        self.close = stream.close


async def test_channel_over_a_foreign_stream_conformance() -> None:
    async def maker() -> Pair:
        with blocking.listen(unique_endpoint(), backlog=1) as listener:
            ends = [blocking.connect(listener.endpoint), listener.accept()]
        left, right = (drivers.TrioChannel(blocking.MessageChannel(Foreign(end))) for end in ends)
        return left, right

    await check_message_channel(maker, cancels_sends=False, nowait=False)


@pytest.mark.parametrize("pair", DRIVERS)
async def test_stream_conformance(pair: tuple[Any, Any]) -> None:
    server_side, client_side = pair

    async def maker() -> Pair:
        async with await server_side.listen(unique_endpoint(), backlog=1) as listener:
            return await client_side.connect(listener.endpoint), await listener.accept()

    if sys.platform == "win32":
        await trio.testing.check_two_way_stream(maker, None)
    else:
        await trio.testing.check_half_closeable_stream(maker, None)


@pytest.mark.parametrize("options", [{"backlog": 4}, {"max_instances": 4}], ids=str)
@pytest.mark.parametrize("pair", DRIVERS)
async def test_listener_conformance(pair: tuple[Any, Any], options: Any) -> None:
    server_side, client_side = pair

    async def maker() -> tuple[Any, Any]:
        listener = await server_side.listen(unique_endpoint(), **options)
        return listener, lambda: client_side.connect(listener.endpoint)

    await check_listener(maker)
