"""A user's subclass of a channel keeps what the channel has."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import blocking


class TrioChannel(ipcpipes.MessageChannel):
    """A subclass with a parameter of its own."""

    def __init__(self, stream: trio.abc.Stream, name: str) -> None:
        super().__init__(stream)
        self.name = name


class BlockingChannel(blocking.MessageChannel):
    """A subclass with a parameter of its own."""

    def __init__(self, stream: Any, name: str) -> None:
        super().__init__(stream)
        self.name = name


class OneWay:
    """A blocking stream that records its calls."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send_all(self, data: bytes, *, timeout: float | None = None) -> None:
        self.sent.append(bytes(data))

    def receive_some(self, max_bytes: int | None = None, *, timeout: float | None = None) -> bytes:
        return b""

    def close(self) -> None:
        self.sent.append(b"closed")


class TwoWay(OneWay):
    """The same with a half-close."""

    def send_eof(self) -> None:
        self.sent.append(b"end")


@pytest.mark.parametrize("as_keyword", [False, True])
async def test_trio_subclass_keeps_send_eof(as_keyword: bool) -> None:
    left, right = trio.testing.memory_stream_pair()
    mine: Any = TrioChannel(stream=left, name="a") if as_keyword else TrioChannel(left, name="a")
    assert isinstance(mine, TrioChannel)
    assert isinstance(mine, ipcpipes.abc.HalfCloseableMessageChannel)
    assert (type(mine).__name__, mine.name) == ("TrioChannel", "a")
    async with mine, ipcpipes.MessageChannel(right) as peer:
        await mine.send(b"last")
        await mine.send_eof()
        assert [message async for message in peer] == [b"last"]
        await peer.send(b"answer")
        assert await mine.receive() == b"answer"


@pytest.mark.parametrize("as_keyword", [False, True])
def test_blocking_subclass_keeps_send_eof(as_keyword: bool) -> None:
    stream = TwoWay()
    mine: Any = (
        BlockingChannel(stream=stream, name="a") if as_keyword else BlockingChannel(stream, "a")
    )
    assert isinstance(mine, BlockingChannel)
    assert hasattr(mine, "send_eof")
    assert (type(mine).__name__, mine.name) == ("BlockingChannel", "a")
    with mine:
        mine.send(b"last")
        mine.send_eof()
    assert stream.sent == [b"\4\0\0\0last", b"end", b"closed"]


class WithoutHalfClose(trio.abc.Stream):
    """A stream for trio, without a half-close."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None: ...
    async def wait_send_all_might_not_block(self) -> None: ...
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return b""

    async def aclose(self) -> None: ...


def test_without_half_close_there_is_no_send_eof() -> None:
    assert not hasattr(TrioChannel(WithoutHalfClose(), "a"), "send_eof")
    assert not hasattr(BlockingChannel(OneWay(), "a"), "send_eof")


def test_a_subclass_is_made_once() -> None:
    assert type(BlockingChannel(TwoWay(), "a")) is type(BlockingChannel(TwoWay(), "b"))
