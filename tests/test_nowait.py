"""send_nowait: what goes at once, what is gathered, and in which order it is sent."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes

from .channels import MAKERS, Maker, clog, connected, over_stream, take_until_full, two_ways

only_posix = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows cannot send without waiting"
)


@only_posix
@two_ways
async def test_the_first_message_goes_at_once(framing: Any) -> None:
    ours, theirs = await connected(framing)()
    async with ours, theirs:
        ours.send_nowait(b"first")
        assert theirs.receive_nowait() == b"first"
        ours.send_nowait(b"gathered")
        with pytest.raises(trio.WouldBlock):
            theirs.receive_nowait()
        assert await theirs.receive() == b"gathered"


@only_posix
async def test_messages_of_one_pass_are_one_system_call() -> None:
    ours, theirs = await over_stream()
    calls: list[int] = []
    send_now = ours.stream._send_now

    def counted(data: Any) -> int:
        calls.append(len(data))
        sent: int = send_now(data)
        return sent

    ours.stream._send_now = counted
    async with ours, theirs:
        for _ in range(3):
            calls.clear()
            for number in range(101):
                ours.send_nowait(b"%3d" % number)
            got: list[bytes] = []
            while len(got) < 101:
                got += await theirs.receive_many()
            assert got == [b"%3d" % number for number in range(101)]
            assert calls in ([7, 700], [707]), "the first one alone, unless a pass had begun"


@pytest.mark.parametrize("maker", MAKERS)
async def test_what_waits_is_limited(maker: Maker) -> None:
    ours, theirs = await maker()
    async with ours, theirs:
        count = take_until_full(ours, b"x" * 1000)
        assert count < 2000, "the buffer of the system, and little more"
        with pytest.raises(trio.WouldBlock):
            ours.send_nowait(b"")
        got: list[bytes] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.wait_sent)
            while len(got) < count:
                got += await theirs.receive_many()
        assert got == [b"x" * 1000] * count
        large = bytes(min(300_000, ours.max_size))
        ours.send_nowait(large)
        assert await theirs.receive() == large


@pytest.mark.parametrize("maker", MAKERS)
async def test_a_cancelled_wait_loses_nothing(maker: Maker) -> None:
    ours, theirs = await maker()
    async with ours, theirs:
        count = take_until_full(ours, b"x" * 1000)
        with trio.move_on_after(0.02) as scope:
            await ours.wait_sent()
        if not scope.cancelled_caught:
            pytest.skip("the stream takes everything: it is in memory")
        got: list[bytes] = []
        while len(got) < count:
            got += await theirs.receive_many()
        assert got == [b"x" * 1000] * count
        await ours.wait_sent()


@two_ways
async def test_it_would_block_while_another_task_sends(framing: Any) -> None:
    ours, theirs = await connected(framing)()
    async with ours, theirs, trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ours.send, bytes(50_000))
        await trio.testing.wait_all_tasks_blocked(0.05)
        with pytest.raises(trio.WouldBlock):
            ours.send_nowait(b"x")
        for _ in range(100):
            assert await theirs.receive() == bytes(50_000)
        await trio.testing.wait_all_tasks_blocked(0.05)
        ours.send_nowait(b"x")
        assert await theirs.receive() == b"x"


async def test_a_message_that_the_framing_refuses_leaves_the_others() -> None:
    ours, theirs = await connected(ipcpipes.Lines())()
    async with ours, theirs:
        for number in range(5):
            ours.send_nowait(b"%d" % number)
            with pytest.raises(ipcpipes.FramingError):
                ours.send_nowait(b"two\nlines")
        assert [await theirs.receive() for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


@two_ways
async def test_a_message_that_comes_after_a_waiting_send_is_not_sent_before_it(
    framing: Any,
) -> None:
    ours, theirs = await connected(framing)()
    async with ours, theirs, trio.open_nursery() as nursery:
        count = await clog(ours)
        ours.send_nowait(b"before")
        ours.send_nowait(b"before")
        nursery.start_soon(ours.send, b"waiting")
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(trio.WouldBlock):
            ours.send_nowait(b"later")
        got = [await theirs.receive() for _ in range(count + 3)]
        assert got == [*[bytes(50_000)] * count, b"before", b"before", b"waiting"]


@two_ways
async def test_waiting_does_not_spin_while_another_task_sends(framing: Any) -> None:
    ours, theirs = await connected(framing)()
    async with ours, theirs, trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ours.send, bytes(50_000))
        await trio.testing.wait_all_tasks_blocked(0.05)
        with trio.move_on_after(0.1) as scope:
            await ours.wait_sent()
        assert scope.cancelled_caught
        nursery.start_soon(ours.wait_sent)
        for _ in range(100):
            assert await theirs.receive() == bytes(50_000)


@two_ways
async def test_waiting_ends_while_another_task_goes_on(framing: Any) -> None:
    ours, theirs = await connected(framing)()

    async def read() -> None:
        while True:
            await theirs.receive_many()

    async def flood() -> None:
        while True:
            try:
                ours.send_nowait(bytes(50_000))
            except trio.WouldBlock:
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        await clog(ours)
        nursery.start_soon(flood)
        nursery.start_soon(read)
        with trio.fail_after(60):
            for _ in range(20):
                await ours.wait_sent()
        nursery.cancel_scope.cancel()
    with trio.move_on_after(0):
        await ours.aclose()
    await theirs.aclose()


async def test_nothing_is_taken_outside_of_the_run() -> None:
    ours, theirs = await connected(ipcpipes.LengthPrefixed())()
    async with ours, theirs:
        ours.send_nowait(b"first")
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            with pytest.raises(RuntimeError):
                await trio.to_thread.run_sync(ours.send_nowait, b"from a thread")
        ours.send_nowait(b"second")
        assert await theirs.receive() == b"first"
        assert await theirs.receive() == b"second"
        with pytest.raises(trio.WouldBlock):
            theirs.receive_nowait()


@pytest.mark.parametrize("maker", MAKERS)
async def test_every_method_keeps_the_order(maker: Maker) -> None:
    randoms = random.Random(5)
    ours, theirs = await maker()
    number = 0
    sent: list[bytes] = []

    def some(count: int) -> Sequence[bytes]:
        nonlocal number
        messages = []
        for _ in range(count):
            size = randoms.choice((0, 0, 0, 100, 5000, 40_000))
            messages.append(b"%d " % number + bytes(min(size, ours.max_size - 10)))
            number += 1
        sent.extend(messages)
        return messages

    async def send() -> None:
        for _ in range(300):
            way = randoms.randrange(5)
            if way == 0:
                await ours.send(*some(1))
            elif way == 1:
                await ours.send_many(some(3))
            elif way == 2:
                await ours.wait_sent()
            else:
                for message in some(randoms.randrange(8)):
                    try:
                        ours.send_nowait(message)
                    except trio.WouldBlock:
                        await ours.wait_sent()
                        ours.send_nowait(message)
                if randoms.random() < 0.3:
                    await trio.lowlevel.checkpoint()
        await ours.aclose()

    got: list[bytes] = []
    async with theirs, trio.open_nursery() as nursery:
        nursery.start_soon(send)
        async for message in theirs:
            got.append(message)
            if randoms.random() < 0.01:
                await trio.sleep(0.005)
    assert got == sent


@pytest.mark.parametrize("maker", MAKERS)
async def test_several_tasks_send_in_every_way(maker: Maker) -> None:
    ours, theirs = await maker()

    async def send(name: int) -> None:
        for step in range(60):
            message = b"%d %d " % (name, step) + bytes(step * 50)
            if (name + step) % 3:
                while True:
                    try:
                        ours.send_nowait(message)
                        break
                    except trio.WouldBlock:
                        await ours.wait_sent()
                        await trio.lowlevel.checkpoint()
            else:
                await ours.send(message)

    async with theirs, trio.open_nursery() as nursery:
        for name in range(8):
            nursery.start_soon(send, name)
        steps: dict[int, int] = dict.fromkeys(range(8), 0)
        for _ in range(8 * 60):
            message = await theirs.receive()
            name, step = map(int, message.split()[:2])
            assert step == steps[name]
            assert len(message) == len(b"%d %d " % (name, step)) + step * 50
            steps[name] += 1
    await ours.aclose()
