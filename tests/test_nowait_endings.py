"""send_nowait: what becomes of messages that wait when a channel, a peer or a run ends."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Endpoint
from ipcpipes.messages import sending

from .channels import MAKERS, Maker, clog, connected, fill, two_ways


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
