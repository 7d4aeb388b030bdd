"""Connected channels of every kind for the tests."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes.testing import memory_stream_pair, unique_endpoint

from .pairs import stream_pair

Pair = tuple[Any, Any]
Maker = Callable[[], Awaitable[Pair]]

FRAMINGS = {
    "length4": ipcpipes.LengthPrefixed(),
    "length8-big": ipcpipes.LengthPrefixed(8, "big"),
    "length2": ipcpipes.LengthPrefixed(2),
    "content-length": ipcpipes.ContentLength(),
    "lines": ipcpipes.Lines(b"\0\xff\0"),
}
has_native = pytest.mark.skipif(
    sys.platform not in ("linux", "win32"), reason="this system has no native messages"
)
two_ways = pytest.mark.parametrize(
    "framing",
    [
        pytest.param(ipcpipes.LengthPrefixed(), id="framed"),
        pytest.param(ipcpipes.NATIVE, id="native", marks=has_native),
    ],
)


def connected(framing: Any) -> Maker:
    async def maker() -> Pair:
        async with await ipcpipes.listen_messages(
            unique_endpoint(), framing=framing, backlog=1
        ) as listener:
            client = await ipcpipes.connect_messages(listener.endpoint, framing=framing)
            return client, await listener.accept()

    return maker


async def over_memory() -> Pair:
    left, right = memory_stream_pair()
    return ipcpipes.MessageChannel(left), ipcpipes.MessageChannel(right)


async def over_streams_of_trio() -> Pair:
    left, right = trio.testing.memory_stream_pair()
    return ipcpipes.MessageChannel(left), ipcpipes.MessageChannel(right)


async def over_stream() -> Pair:
    left, right = await stream_pair()
    return ipcpipes.MessageChannel(left), ipcpipes.MessageChannel(right)


MAKERS = [
    *(pytest.param(connected(framing), id=name) for name, framing in FRAMINGS.items()),
    pytest.param(connected(ipcpipes.NATIVE), id="native", marks=has_native),
    pytest.param(over_memory, id="memory"),
    pytest.param(over_streams_of_trio, id="trio-memory"),
]


def take_until_full(channel: Any, message: bytes) -> int:
    """Returns how many messages the channel takes without waiting."""
    for count in range(1_000_000):
        try:
            channel.send_nowait(message)
        except trio.WouldBlock:
            return count
    raise AssertionError("the channel takes messages without a limit")


async def fill(channel: Any, message: bytes) -> int:
    """Sends until the system accepts nothing more, and the channel is full. Returns how many
    messages the channel has taken.
    """
    count = 0
    while True:
        count += take_until_full(channel, message)
        with trio.move_on_after(0.05) as scope:
            await channel.wait_sent()
        if scope.cancelled_caught:
            return count


async def clog(channel: Any) -> int:
    """Sends until a system task waits for room. Returns how many messages of 50,000 bytes."""
    count = 0
    while channel._task is None:
        channel.send_nowait(bytes(50_000))
        count += 1
        await trio.testing.wait_all_tasks_blocked(0.01)
    return count
