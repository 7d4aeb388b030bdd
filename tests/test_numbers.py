"""``fileno()`` and ``handle``: the system's number of a stream, a channel and a listener."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import blocking
from ipcpipes.testing import unique_endpoint

from .channels import connected, two_ways
from .pairs import stream_pair

WINDOWS = sys.platform == "win32"


def number_of(thing: Any) -> int:
    """Returns the number, and checks that the name of the other system is absent."""
    present, absent = ("handle", "fileno") if WINDOWS else ("fileno", "handle")
    assert not hasattr(type(thing), absent)
    assert hasattr(type(thing), present)
    number: int = thing.handle if WINDOWS else thing.fileno()
    assert type(number) is int
    assert number >= 0
    return number


@contextmanager
def blocking_pair(**options: Any) -> Iterator[tuple[Any, Any]]:
    with (
        blocking.listen_messages(unique_endpoint(), backlog=1, **options) as listener,
        blocking.connect_messages(listener.endpoint, **options) as client,
        listener.accept(timeout=10) as server,
    ):
        yield client, server


async def test_a_stream_has_its_number_until_it_is_closed() -> None:
    for stream in await stream_pair():
        assert number_of(stream) == stream._number
        await stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            number_of(stream)


@two_ways
async def test_a_channel_has_the_number_of_its_connection(framing: Any) -> None:
    for channel in await connected(framing)():
        assert number_of(channel) == channel._carrier._number
        await channel.aclose()
        with pytest.raises(trio.ClosedResourceError):
            number_of(channel)


@two_ways
def test_a_blocking_channel_has_the_number_of_its_connection(framing: Any) -> None:
    with blocking_pair(framing=framing) as pair:
        for channel in pair:
            assert number_of(channel) == channel._carrier._number
            channel.close()
            with pytest.raises(trio.ClosedResourceError):
                number_of(channel)


def test_a_blocking_stream_has_its_number_until_it_is_closed() -> None:
    with (
        blocking.listen(unique_endpoint(), backlog=1) as listener,
        blocking.connect(listener.endpoint) as stream,
    ):
        assert number_of(stream) == stream._number
        stream.close()
        with pytest.raises(trio.ClosedResourceError):
            number_of(stream)


@pytest.mark.parametrize("authkey", [None, bytes(32)])
@pytest.mark.parametrize("messages", [False, True])
async def test_a_listener_has_a_number_until_it_is_closed(
    messages: bool, authkey: bytes | None
) -> None:
    listen: Any = ipcpipes.listen_messages if messages else ipcpipes.listen
    listener = await listen(unique_endpoint(), authkey=authkey)
    number_of(listener)
    await listener.aclose()
    with pytest.raises(trio.ClosedResourceError):
        number_of(listener)


@pytest.mark.parametrize("authkey", [None, bytes(32)])
@pytest.mark.parametrize("messages", [False, True])
def test_a_blocking_listener_has_a_number_until_it_is_closed(
    messages: bool, authkey: bytes | None
) -> None:
    listen: Any = blocking.listen_messages if messages else blocking.listen
    with listen(unique_endpoint(), authkey=authkey) as listener:
        number_of(listener)
        listener.close()
        with pytest.raises(trio.ClosedResourceError):
            number_of(listener)


def test_the_number_of_a_pipe_does_not_count_as_use() -> None:
    receiving, sending = blocking.open_anonymous_pipe()
    with receiving, sending:
        number = number_of(receiving)
        assert receiving.hand_over() == str(number)
        with pytest.raises(trio.ClosedResourceError, match="handed over"):
            number_of(receiving)


async def test_the_number_of_a_pipe_does_not_count_as_use_under_trio() -> None:
    receiving, sending = ipcpipes.open_anonymous_pipe()
    async with receiving, sending:
        number = number_of(sending)
        assert sending.hand_over() == str(number)
        with pytest.raises(trio.ClosedResourceError, match="handed over"):
            number_of(sending)


async def test_a_channel_over_another_stream_has_the_number_of_that_stream_or_none() -> None:
    left, right = trio.testing.memory_stream_pair()
    async with ipcpipes.MessageChannel(left) as channel, right:
        with pytest.raises(ipcpipes.NotSupported, match=r"has no (fileno|handle)"):
            number_of(channel)
        stream: Any = left
        setattr(stream, *(("handle", 7) if WINDOWS else ("fileno", lambda: 7)))
        assert number_of(channel) == 7


def test_a_blocking_channel_over_another_stream_has_the_number_of_that_stream_or_none() -> None:
    class Stream:
        def send_all(self, data: Any, *, timeout: float | None = None) -> None: ...
        def receive_some(self, size: int | None = None, *, timeout: float | None = None) -> bytes:
            return b""

        def close(self) -> None: ...

    stream: Any = Stream()
    with blocking.MessageChannel(stream) as channel:
        with pytest.raises(ipcpipes.NotSupported, match=r"has no (fileno|handle)"):
            number_of(channel)
        setattr(stream, *(("handle", 7) if WINDOWS else ("fileno", lambda: 7)))
        assert number_of(channel) == 7


async def test_the_descriptor_goes_into_a_selector_and_to_fstat() -> None:
    if sys.platform == "win32":
        pytest.skip("a handle of Windows is not for a selector")
    client, server = await stream_pair()
    async with client, server:
        assert stat.S_ISSOCK(os.fstat(server.fileno()).st_mode)
        poll = select.poll()
        poll.register(server, select.POLLIN)
        assert poll.poll(0) == []
        await client.send_all(b"x")
        assert poll.poll(0) == [(server.fileno(), select.POLLIN)]
        assert await server.receive_some() == b"x"


@pytest.mark.skipif(not WINDOWS, reason="elsewhere there is a descriptor")
async def test_the_handle_of_a_listener_is_set_when_a_client_connects() -> None:
    async with await ipcpipes.listen(unique_endpoint(), backlog=1) as listener:
        handle: int = getattr(listener, "handle")  # noqa: B009  # unknown on other systems
        async with await ipcpipes.connect(listener.endpoint):
            with trio.fail_after(10):
                await trio.lowlevel.WaitForSingleObject(handle)  # type: ignore[attr-defined,unused-ignore]
            async with await listener.accept():
                pass
