"""No descriptor is lost or stays open if a channel is cancelled, closed or forgotten."""

from __future__ import annotations

import gc
import itertools
import sys
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import NATIVE, LengthPrefixed, blocking
from ipcpipes.testing import unique_endpoint

if sys.platform == "win32":
    pytest.skip("a Windows pipe carries none", allow_module_level=True)

from .conftest import open_descriptors
from .descriptor_channels import TWO_KINDS, channels, numbered_files, which
from .descriptors import PAIRS, close_all, watched
from .pairs import clog
from .threads import Worker


@pytest.fixture(params=PAIRS)
def doors(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("framing", TWO_KINDS)
async def test_cancelled_receive_loses_no_descriptor(framing: Any) -> None:
    left, right = await channels((ipcpipes, ipcpipes), framing)
    async with left, right:
        with numbered_files(60) as files:
            send, cancels = left.send_descriptors, itertools.cycle([0, 1, 2, 3])

            async def receive_until_cancelled() -> None:
                while True:
                    message, numbers = await right.receive_descriptors()
                    got.append((message, which(numbers)))

            got: list[tuple[bytes, list[int]]] = []
            async with trio.open_nursery() as nursery:
                for number in range(60):
                    with trio.CancelScope() as scope:
                        async with trio.open_nursery() as receiving:
                            receiving.start_soon(receive_until_cancelled)
                            nursery.start_soon(send, b"%d" % number, [files[number]])
                            for _ in range(next(cancels)):
                                await trio.lowlevel.checkpoint()
                            scope.cancel()
            while len(got) < 60:
                message, numbers = await right.receive_descriptors()
                got.append((message, which(numbers)))
            assert sorted(got) == sorted((b"%d" % number, [number]) for number in range(60))


async def test_cancelled_send_is_whole_or_breaks_sending() -> None:
    for size in (10, 100_000, 3_000_000):
        for passes in range(3):
            left, right = await channels((ipcpipes, ipcpipes))
            async with left, right:
                with watched() as pipe:
                    with trio.CancelScope() as scope:
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(left.send_descriptors, bytes(size), [pipe])
                            for _ in range(passes):
                                await trio.lowlevel.checkpoint()
                            scope.cancel()
                    pipe.close_here()
                    try:
                        await left.send(b"")
                    except trio.BrokenResourceError as error:
                        assert "cancelled" in str(error)
                        assert pipe.is_open_anywhere, "it went with the first byte"
                    else:
                        if pipe.is_open_anywhere:
                            message, numbers = await right.receive_descriptors()
                            assert message == bytes(size)
                            assert len(numbers) == 1
                            close_all(numbers)
                    await left.aclose()
                    await right.aclose()
                    assert not pipe.is_open_anywhere


async def test_send_cancelled_before_first_byte_sends_nothing() -> None:
    for size in (10, 100_000, 3_000_000):
        left, right = await channels((ipcpipes, ipcpipes))
        async with left, right:
            with watched() as pipe:
                clog(left.stream)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(left.send_descriptors, bytes(size), [pipe])
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.cancel_scope.cancel()
                pipe.close_here()
                assert not pipe.is_open_anywhere
                assert left._send_fault is None
                assert left.stream._send_fault is None


async def test_channel_closed_while_receiving_keeps_none() -> None:
    # The read has ended, and its task has not run yet when another task closes.
    for framing in (LengthPrefixed(), NATIVE):
        left, right = await channels((ipcpipes, ipcpipes), framing)
        async with left:
            with watched() as pipe:
                await left.send_descriptors(b"x", [pipe])
                pipe.close_here()
                outcomes: list[Any] = []

                async def receive(right: Any = right, outcomes: Any = outcomes) -> None:
                    try:
                        _, numbers = await right.receive_descriptors()
                    except trio.ClosedResourceError:
                        outcomes.append("closed")
                    else:
                        close_all(numbers)
                        outcomes.append(len(numbers))

                async with trio.open_nursery() as nursery:
                    nursery.start_soon(receive)
                    await trio.lowlevel.checkpoint()
                    await right.aclose()
                assert outcomes in (["closed"], [1])
                assert not pipe.is_open_anywhere


def test_close_from_another_thread_keeps_no_descriptor() -> None:
    before = open_descriptors()
    for _ in range(50):
        with blocking.listen_messages(unique_endpoint(), max_descriptors=3) as listener:
            with blocking.connect_messages(listener.endpoint) as left:
                right = listener.accept()
                with watched() as pipe:

                    def receive(right: Any = right) -> None:
                        try:
                            while True:
                                _, numbers = right.receive_descriptors()
                                close_all(numbers)
                        except trio.ClosedResourceError:
                            pass

                    thread = Worker(receive)
                    for _ in range(5):
                        left.send_descriptors(b"x", [pipe] * 3)
                    right.close()
                    thread.result()
                    pipe.close_here()
                    assert not pipe.is_open_anywhere
    assert open_descriptors() == before


async def test_forgotten_channel_closes_its_descriptors(doors: Any) -> None:
    left, right = await channels(doors)
    with watched() as pipe:
        for _ in range(3):
            await left.send_descriptors(b"x", [pipe])
        pipe.close_here()
        await right.receive()
        await left.aclose()
        with pytest.warns(ResourceWarning, match="unclosed"):
            del right
            gc.collect()
        assert not pipe.is_open_anywhere


@pytest.mark.parametrize("framing", TWO_KINDS)
async def test_thousand_channels_leave_no_descriptor(doors: Any, framing: Any) -> None:
    left, right = await channels(doors, framing)
    async with left, right:
        before = open_descriptors()
        with watched() as pipe:
            for number in range(1000):
                await left.send_descriptors(b"x", [pipe] * (1 + number % 8))
                if number % 2:
                    assert await right.receive() == b"x"
                else:
                    _, numbers = await right.receive_descriptors()
                    assert len(numbers) == 1 + number % 8
                    close_all(numbers)
        assert open_descriptors() == before
