"""send_nowait: what goes at once, what is gathered, and what becomes of it at the end."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Endpoint
from ipcpipes.messages import sending

from .channels import MAKERS, Maker, connected, over_stream, two_ways

only_posix = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows cannot send without waiting"
)


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
    send_now = ours._send_now

    def counted(data: Any) -> int:
        calls.append(len(data))
        sent: int = send_now(data)
        return sent

    ours._send_now = counted
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


@pytest.mark.parametrize("maker", MAKERS)
async def test_send_eof_comes_after_what_was_gathered(maker: Maker) -> None:
    ours, theirs = await maker()
    async with ours, theirs:
        if not isinstance(ours, ipcpipes.abc.HalfCloseableMessageChannel):
            pytest.skip("a Windows pipe has no half-close")
        for number in range(5):
            ours.send_nowait(b"%d" % number)
        await ours.send_eof()
        assert [message async for message in theirs] == [b"0", b"1", b"2", b"3", b"4"]
        with pytest.raises((trio.ClosedResourceError, trio.BrokenResourceError)):
            ours.send_nowait(b"x")
            await ours.wait_sent()


@two_ways
async def test_a_dead_peer_is_told_once_with_what_was_lost(framing: Any) -> None:
    ours, theirs = await connected(framing)()
    async with ours:
        ours.send_nowait(b"first")
        assert await theirs.receive() == b"first"
        await theirs.aclose()
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(3):
                ours.send_nowait(b"lost")
            await ours.wait_sent()
            ours.send_nowait(b"lost")
            await ours.wait_sent()
        with pytest.raises(trio.BrokenResourceError):
            await ours.send(b"x")


@two_ways
async def test_closing_tells_about_lost_messages(framing: Any) -> None:
    ours, theirs = await connected(framing)()
    count = await fill(ours, b"x" * 1000)
    await theirs.aclose()
    words = r"; up to (\d+) messages of send_nowait were not sent$"
    with pytest.raises(trio.BrokenResourceError, match=words) as caught:
        await ours.aclose()
    lost = int(str(caught.value).split("up to ")[1].split()[0])
    assert 30 < lost <= min(count, 200)
    await ours.aclose()


@two_ways
async def test_an_error_of_the_block_is_more_important_than_lost_messages(framing: Any) -> None:
    ours, theirs = await connected(framing)()
    with pytest.raises(ZeroDivisionError) as caught:
        async with ours:
            await fill(ours, b"x" * 1000)
            await theirs.aclose()
            raise ZeroDivisionError
    assert caught.value.__context__ is None
    ours, theirs = await connected(framing)()
    with pytest.raises(trio.BrokenResourceError, match="were not sent"):
        async with ours:
            await fill(ours, b"x" * 1000)
            await theirs.aclose()


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


async def clog(channel: Any) -> int:
    """Sends until a system task waits for room. Returns how many messages of 50,000 bytes."""
    count = 0
    while channel._sent is None:
        channel.send_nowait(bytes(50_000))
        count += 1
        await trio.testing.wait_all_tasks_blocked(0.01)
    return count


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


async def test_nothing_is_taken_after_the_end_of_sending() -> None:
    ours, theirs = await connected(ipcpipes.LengthPrefixed())()
    async with ours, theirs:
        if not isinstance(ours, ipcpipes.abc.HalfCloseableMessageChannel):
            pytest.skip("a Windows pipe has no half-close")
        for _ in range(20):
            ours.send_nowait(b"first")
        await ours.send_eof()
        await ours.send_eof()
        for _ in range(20):
            with pytest.raises(trio.ClosedResourceError, match="after send_eof"):
                ours.send_nowait(b"late")


_CHILD = """
import sys, time, trio, ipcpipes

async def main():
    async with ipcpipes.parent_channel() as channel:
        if "reads" not in sys.argv:
            await channel.aclose()
        await trio.sleep(0.5)

trio.run(main)
sys.exit(7)
"""


async def test_lost_messages_do_not_change_the_end_of_a_child() -> None:
    with pytest.raises(trio.BrokenResourceError, match="of send_nowait w"):
        async with ipcpipes.open_child(
            [sys.executable, "-c", _CHILD], framing=ipcpipes.LengthPrefixed(), grace=60
        ) as child:
            await fill(child.channel, bytes(1000))
    assert child.status == 7
    with pytest.raises(ZeroDivisionError):
        async with ipcpipes.open_child(
            [sys.executable, "-c", _CHILD], framing=ipcpipes.LengthPrefixed(), grace=60
        ) as child:
            await fill(child.channel, bytes(1000))
            raise ZeroDivisionError
    assert child.status == 7


async def test_a_cancelled_block_does_not_wait_for_a_child_to_read() -> None:
    with trio.move_on_after(60) as scope:
        async with ipcpipes.open_child(
            [sys.executable, "-c", _CHILD, "reads"], framing=ipcpipes.LengthPrefixed(), grace=60
        ) as child:
            await clog(child.channel)
            start = trio.current_time()
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() - start < 4.9, "closing would take 5 seconds"


@two_ways
async def test_closing_waits_for_a_peer_that_does_not_read(
    framing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "_LINGER", 0.1)
    ours, theirs = await connected(framing)()
    async with theirs:
        await fill(ours, b"x" * 1000)
        with pytest.raises(
            trio.BrokenResourceError, match=r"^the other end has not read all within 0.1 s"
        ):
            await ours.aclose()
        with pytest.raises(trio.ClosedResourceError):
            ours.send_nowait(b"x")


@two_ways
async def test_closing_delivers_to_a_slow_peer(framing: Any) -> None:
    ours, theirs = await connected(framing)()
    count = await fill(ours, b"x" * 1000)
    async with trio.open_nursery() as nursery, theirs:
        nursery.start_soon(ours.aclose)
        await trio.sleep(0.1)
        assert [message async for message in theirs] == [b"x" * 1000] * count


@two_ways
async def test_cancelled_closing_closes_at_once(framing: Any) -> None:
    ours, theirs = await connected(framing)()
    async with theirs:
        count = await fill(ours, b"x" * 1000)
        with trio.move_on_after(0.02) as scope:
            await ours.aclose()
        assert scope.cancelled_caught
        with pytest.raises(trio.ClosedResourceError):
            await ours.wait_sent()
        got = 0
        with pytest.raises((trio.EndOfChannel, trio.BrokenResourceError)):
            while True:
                got += len(await theirs.receive_many())
        assert got < count


class Faulty(trio.abc.Stream):
    """A stream of another library with a fault."""

    async def send_all(self, data: object) -> None:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError("a fault")

    async def wait_send_all_might_not_block(self) -> None: ...

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_a_fault_of_a_stream_does_not_end_the_run() -> None:
    channel = ipcpipes.MessageChannel(Faulty())
    channel.send_nowait(b"1")
    channel.send_nowait(b"2")
    words = "^a fault; up to 2 messages of send_nowait were not sent$"
    with pytest.raises(trio.BrokenResourceError, match=words):
        await channel.wait_sent()
    await channel.aclose()


def test_what_was_gathered_in_the_last_pass_of_a_run_is_sent(endpoint: Endpoint) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows cannot send without waiting")
    ends: dict[str, Any] = {}

    async def main() -> None:
        async with await ipcpipes.listen_messages(endpoint) as listener:
            ends["client"] = await ipcpipes.connect_messages(listener.endpoint)
            ends["server"] = await listener.accept()
        for number in range(3):
            ends["client"].send_nowait(b"%d" % number)

    trio.run(main)

    async def read() -> list[bytes]:
        got = [await ends["server"].receive() for _ in range(3)]
        await ends["server"].aclose()
        await ends["client"].aclose()
        return got

    assert trio.run(read) == [b"0", b"1", b"2"]


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


_RECEIVER = """
import sys, trio, ipcpipes

async def main():
    async with await ipcpipes.connect_messages(sys.argv[1]) as channel:
        print("ready", flush=True)
        while True:
            await channel.receive_many()

trio.run(main)
"""


@two_ways
async def test_a_killed_peer_ends_sending(framing: Any, endpoint: Endpoint) -> None:
    program = _RECEIVER
    if framing is ipcpipes.NATIVE:
        program = program.replace("sys.argv[1])", "sys.argv[1], framing=ipcpipes.NATIVE)")
    async with await ipcpipes.listen_messages(endpoint, framing=framing) as listener:
        with subprocess.Popen(
            [sys.executable, "-c", program, listener.address], stdout=subprocess.PIPE
        ) as process:
            channel = await listener.accept()
            assert process.stdout is not None
            await trio.to_thread.run_sync(process.stdout.readline)
            process.kill()

            async def send() -> None:
                while True:
                    try:
                        channel.send_nowait(b"x" * 100)
                    except trio.WouldBlock:
                        await channel.wait_sent()

            with pytest.raises(trio.BrokenResourceError), trio.fail_after(60):
                await send()
            await channel.aclose()
