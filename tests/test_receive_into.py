"""receive_into does what receive_some does, into a buffer of the caller."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes.testing import memory_stream_pair

from .pairs import stream_pair


async def memory_pair() -> tuple[Any, Any]:
    return memory_stream_pair()


@pytest.fixture(params=[stream_pair, memory_pair], ids=["system", "memory"])
async def pair(request: pytest.FixtureRequest) -> Any:
    left, right = await request.param()
    async with left, right:
        yield left, right


async def test_received_bytes_fill_the_buffer(pair: Any) -> None:
    left, right = pair
    await left.send_all(b"hello")
    memory = bytearray(b"." * 10)
    with trio.testing.assert_checkpoints():
        assert await right.receive_into(memory) == 5
    assert memory == b"hello....."
    await left.send_all(b"abcdef")
    assert await right.receive_into(memoryview(memory)[2:5]) == 3
    assert memory == b"heabc....."
    assert await right.receive_into(memory) == 3
    assert memory[:3] == b"def"


async def test_end_of_stream_returns_zero(pair: Any) -> None:
    left, right = pair
    await left.send_all(b"x")
    await left.aclose()
    memory = bytearray(10)
    assert await right.receive_into(memory) == 1
    for _ in range(2):
        assert await right.receive_into(memory) == 0


async def test_large_buffers_are_filled_in_order() -> None:
    left, right = await stream_pair()
    async with left, right:
        data = bytes(range(256)) * 8192
        memory = bytearray(len(data))
        view = memoryview(memory)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.send_all, data)
            while len(view):
                view = view[await right.receive_into(view) :]
        assert memory == data


async def test_cancelled_receive_into_loses_nothing(pair: Any) -> None:
    left, right = pair
    memory = bytearray(10)
    await left.send_all(b"there")
    with trio.CancelScope() as scope:
        scope.cancel()
        await right.receive_into(memory)
    assert scope.cancelled_caught
    assert await right.receive_into(memory) == 5
    async with trio.open_nursery() as nursery:
        nursery.start_soon(right.receive_into, memory)
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    await left.send_all(b"later")
    assert await right.receive_into(memory) == 5
    assert memory[:5] == b"later"


async def test_second_receiver_is_busy(pair: Any) -> None:
    _, right = pair
    async with trio.open_nursery() as nursery:
        nursery.start_soon(right.receive_into, bytearray(10))
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(trio.BusyResourceError):
            await right.receive_into(bytearray(10))
        nursery.cancel_scope.cancel()


async def test_invalid_buffers_are_refused(pair: Any) -> None:
    left, right = pair
    await left.send_all(b"x")
    for nonsense, error in (
        (b"read only", ValueError),
        (bytearray(), ValueError),
        (memoryview(bytearray(10))[::2], ValueError),
        ("text", TypeError),
        (10, TypeError),
    ):
        with pytest.raises(error):
            await right.receive_into(nonsense)
    assert await right.receive_into(bytearray(5)) == 1


async def test_closed_stream_raises() -> None:
    left, right = await stream_pair()
    async with left:
        await right.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await right.receive_into(bytearray(5))
