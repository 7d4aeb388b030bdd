"""Message channels when the peer or the program makes a mistake."""

from __future__ import annotations

import contextlib
import math
import struct
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import ContentLength, LengthPrefixed, Lines, MessageChannel
from ipcpipes.testing import memory_stream_pair

from .channels import MAKERS, Maker, has_native, over_stream
from .children import python_child
from .pairs import stream_pair


async def channel_and_wire(framing: ipcpipes.Framing | None = None) -> tuple[MessageChannel, Any]:
    """A channel, and the bare stream at its other end."""
    left, right = await stream_pair()
    return MessageChannel(left, framing), right


@pytest.mark.parametrize(
    ("framing", "wire", "size"),
    [
        (LengthPrefixed(max_size=10), struct.pack("<I", 11), 11),
        (LengthPrefixed(max_size=10), struct.pack("<I", 2**32 - 1) + b"anything", 2**32 - 1),
        (LengthPrefixed(8, "big", 10), b"\xff" * 8, 2**64 - 1),
        (ContentLength(10), b"Content-Length: 11\r\n\r\n", 11),
        (Lines(max_size=10), b"eleven char", 11),
    ],
    ids=str,
)
async def test_too_large_message_breaks_receiving(
    framing: ipcpipes.Framing, wire: bytes, size: int
) -> None:
    channel, stream = await channel_and_wire(framing)
    async with channel, stream:
        good = b"".join(map(bytes, framing.frame(b"good")))
        await stream.send_all(good + wire)
        assert await channel.receive() == b"good", "the messages before it are good"
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="10 bytes") as caught:
                await channel.receive()
            cause = caught.value.__cause__
            assert isinstance(cause, ipcpipes.MessageTooLarge)
            assert (cause.size, cause.max_size) == (size, 10)
        with pytest.raises(trio.BrokenResourceError):
            await channel.receive_many()
        await channel.send(b"good too")
        assert await stream.receive_some() != b""
    with pytest.raises(trio.ClosedResourceError):
        await channel.receive()


async def test_announced_size_takes_no_memory_before_it_arrives() -> None:
    import tracemalloc

    framing = LengthPrefixed(8, max_size=2**34)  # 16 GiB, more than most machines have free
    channel, stream = await channel_and_wire(framing)
    async with channel, stream:
        await stream.send_all(struct.pack("<Q", 2**34 + 1))
        tracemalloc.start()
        try:
            with pytest.raises(trio.BrokenResourceError, match=r"17,179,869,185.*17,179,869,184"):
                await channel.receive()
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    ("framing", "wire"),
    [
        (LengthPrefixed(), b"\x05\0\0\0abcd"),
        (LengthPrefixed(), b"\x05\0"),
        (LengthPrefixed(), b"\x01\0\0\0"),
        (Lines(), b"no newline"),
        (ContentLength(), b"Content-Length: 5\r\n\r\nabcd"),
        (ContentLength(), b"Content-"),
    ],
    ids=str,
)
async def test_end_inside_a_message_is_incomplete(framing: ipcpipes.Framing, wire: bytes) -> None:
    channel, stream = await channel_and_wire(framing)
    async with channel:
        await stream.send_all(b"".join(map(bytes, framing.frame(b"good"))) + wire)
        await stream.aclose()
        assert await channel.receive() == b"good"
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="ended inside a message") as caught:
                await channel.receive()
            assert isinstance(caught.value.__cause__, ipcpipes.IncompleteMessage)


async def test_garbage_breaks_receiving() -> None:
    channel, stream = await channel_and_wire(ContentLength())
    async with channel, stream:
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await channel.receive()
        assert isinstance(caught.value.__cause__, ipcpipes.FramingError)


@pytest.mark.parametrize("maker", MAKERS)
async def test_unframeable_message_is_not_sent(maker: Maker) -> None:
    left, right = await maker()
    async with left, right:
        if isinstance(left, MessageChannel) and isinstance(left.framing, Lines):
            bad = b"two" + left.framing.delimiter + b"lines"
            with pytest.raises(ipcpipes.FramingError, match="delimiter"):
                await left.send(bad)
            with pytest.raises(ipcpipes.FramingError, match="delimiter"):
                await left.send_many([b"good", bad])
        await left.send(b"good")
        assert await right.receive() == b"good"


async def test_largest_message_is_sent_and_one_byte_more_is_not() -> None:
    framing = LengthPrefixed(2)
    assert framing.max_size == 65_535
    left, right = memory_stream_pair()
    async with MessageChannel(left, framing) as sender, MessageChannel(right, framing) as receiver:
        await sender.send(bytes(65_535))
        assert len(await receiver.receive()) == 65_535
        with pytest.raises(
            ipcpipes.MessageTooLarge,
            match=r"^a message of 65,536 bytes is too large: the limit is max_size, 65,535 bytes$",
        ):
            await sender.send(bytes(65_536))


async def test_send_cancelled_half_way_breaks_sending() -> None:
    left, right = await over_stream()
    async with left, right:
        with trio.move_on_after(0.1) as scope:
            await left.send(bytes(16 * 2**20))
        assert scope.cancelled_caught
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="cancelled"):
                await left.send(b"more")
        with pytest.raises(trio.BrokenResourceError, match="cancelled"):
            await left.send_many([b"more"])
        if isinstance(left, ipcpipes.abc.HalfCloseableMessageChannel):
            with pytest.raises(trio.BrokenResourceError, match="cancelled"):
                await left.send_eof()
        await right.send(b"the other direction goes on")
        assert await left.receive() == b"the other direction goes on"
        await left.aclose()
        with pytest.raises(trio.BrokenResourceError, match="ended inside a message"):
            await right.receive()


async def test_cancelled_send_over_foreign_stream_breaks_sending() -> None:
    left, right = trio.testing.lockstep_stream_pair()
    async with MessageChannel(left) as sender, MessageChannel(right) as receiver:
        with trio.CancelScope() as scope:
            scope.cancel()
            await sender.send(b"cancelled before it began")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send, b"still good")
            assert await receiver.receive() == b"still good"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send, b"cancelled while it waited")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        with pytest.raises(trio.BrokenResourceError, match="cancelled"):
            await sender.send(b"more")


async def test_waiting_senders_send_in_order() -> None:
    left, right = trio.testing.lockstep_stream_pair()
    async with MessageChannel(left) as sender, MessageChannel(right) as receiver:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(sender.send, b"%d" % number)
                await trio.testing.wait_all_tasks_blocked()
            assert [await receiver.receive() for _ in range(10)] == [b"%d" % n for n in range(10)]


async def test_cancelled_waiting_sender_passes_its_turn_on() -> None:
    left, right = trio.testing.lockstep_stream_pair()
    async with MessageChannel(left) as sender, MessageChannel(right) as receiver:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send, b"first")
            await trio.testing.wait_all_tasks_blocked()
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as inner:
                    inner.start_soon(sender.send, b"never")
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.start_soon(sender.send, b"second")
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()
            assert await receiver.receive() == b"first"
            assert await receiver.receive() == b"second"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send, b"third")
            assert await receiver.receive() == b"third"


async def test_closing_wakes_all_senders() -> None:
    left, right = await over_stream()
    closed = []

    async def send() -> None:
        try:
            await left.send(bytes(2**20))
        except trio.ClosedResourceError:
            closed.append(True)

    async with right:
        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await left.aclose()
    assert len(closed) >= 28  # one or two fit the system's buffer


@pytest.mark.parametrize("how", ["killed", "ended"])
@pytest.mark.parametrize("framing", ["LengthPrefixed()", pytest.param("NATIVE", marks=has_native)])
async def test_dead_peer_ends_the_channel(
    endpoint: ipcpipes.Endpoint, framing: str, how: str
) -> None:
    program = f"""
        channel = await ipcpipes.connect_messages(sys.argv[1], framing=ipcpipes.{framing})
        await channel.send_many([b"last", b"", b"words"])
        say("sent")
        hear()
    """
    value = eval(framing, vars(ipcpipes))
    async with await ipcpipes.listen_messages(endpoint, framing=value) as listener:
        with python_child(program, endpoint.name) as child:
            channel = await listener.accept()
            assert child.hear() == "sent"
            if how == "killed":
                child.kill()
            else:
                child.say("end")
                child.wait()
            async with channel:
                assert [m async for m in channel] == [b"last", b"", b"words"]
                with pytest.raises(trio.EndOfChannel):
                    await channel.receive()
                for _ in range(2):
                    with pytest.raises(trio.BrokenResourceError):
                        for _ in range(10):
                            await channel.send(b"are you there?")


async def test_peer_killed_inside_a_message_leaves_incomplete(endpoint: ipcpipes.Endpoint) -> None:
    program = """
        channel = await ipcpipes.connect_messages(sys.argv[1])
        await channel.send(b"whole")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.send, bytes(16 * 2**20))
            await trio.sleep(0.2)
            say("sending")
    """
    async with await ipcpipes.listen_messages(endpoint) as listener:
        with python_child(program, endpoint.name) as child:
            async with await listener.accept() as channel:
                assert child.hear() == "sending"
                child.kill()
                assert await channel.receive() == b"whole"
                with pytest.raises(trio.BrokenResourceError) as caught:
                    await channel.receive()
                cause = caught.value.__cause__
                assert isinstance(cause, ipcpipes.IncompleteMessage)
                assert cause.expected == 4 + 16 * 2**20
                assert 4 <= cause.received < cause.expected


def test_wrong_stream_or_framing_is_refused() -> None:
    left, _ = memory_stream_pair()
    with pytest.raises(TypeError, match="stream"):
        MessageChannel("no stream")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="framing"):
        MessageChannel(left, "lines")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="connect_messages"):
        MessageChannel(left, ipcpipes.NATIVE)  # type: ignore[arg-type]


async def test_channel_has_the_properties_of_its_stream() -> None:
    left, right = await stream_pair()
    async with MessageChannel(left, Lines()) as channel, right:
        assert channel.framing == Lines()
        assert channel.endpoint == left.endpoint
        assert channel.peer is left.peer
        assert channel.max_size == 16 * 2**20
        assert "Lines" in repr(channel)
        assert repr(left) in repr(channel)
        has_eof = isinstance(left, trio.abc.HalfCloseableStream)
        assert isinstance(channel, ipcpipes.abc.HalfCloseableMessageChannel) == has_eof
        assert channel.stream is left
    plain, other = trio.testing.memory_stream_pair()
    async with MessageChannel(plain) as channel, other:
        assert channel.endpoint is None
        assert channel.peer == ipcpipes.PeerIdentity()
        assert isinstance(channel, ipcpipes.abc.HalfCloseableMessageChannel), "it is stapled"


async def test_slow_consumer_blocks_the_sender() -> None:
    left, right = await over_stream()
    sent = 0

    async def send_for_ever() -> None:
        nonlocal sent
        while True:
            await left.send(bytes(1000))
            sent += 1

    async with left, right:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_for_ever)
            with trio.move_on_after(math.inf) as scope:
                for _ in range(100):
                    await right.receive()
                await trio.testing.wait_all_tasks_blocked(0.05)
                scope.cancel()
            nursery.cancel_scope.cancel()
        assert sent < 5000


@pytest.mark.parametrize("maker", MAKERS)
async def test_closed_channel_raises_closed_in_every_state(maker: Maker) -> None:
    left, right = await maker()
    await left.send_many([b"one", b"two", b"three"])

    async def receive() -> None:
        with contextlib.suppress(trio.ClosedResourceError):
            await right.receive()

    async with trio.open_nursery() as nursery:
        # Closed between the last steps of a receive that has received several messages.
        nursery.start_soon(receive)
        nursery.start_soon(right.aclose)
    for attempt in (right.receive, right.receive_many):
        with pytest.raises(trio.ClosedResourceError):
            await attempt()
    await left.aclose()

    left, right = await maker()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(left.send_many, [bytes(min(left.max_size, 300_000))] * 20)
        await trio.testing.wait_all_tasks_blocked(0.01)
        # Closed in the step in which a send is cancelled half-way.
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await left.aclose()
    for message in (b"small", bytes(min(left.max_size, 100_000))):
        with pytest.raises(trio.ClosedResourceError):
            await left.send(message)
    await right.aclose()


async def test_keyboard_interrupt_does_not_lose_the_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Otherwise the turn to send would be lost, and the next send would wait for ever.
    left, right = await over_stream()
    protected = []
    send_all = left.stream.send_all

    async def look_and_send(data: bytes) -> None:
        protected.append(trio.lowlevel.currently_ki_protected())
        await send_all(data)

    monkeypatch.setattr(left.stream, "send_all", look_and_send)
    async with left, right:
        await left.send(b"one")
        await left.send(bytearray(b"two"))
        await left.send_many([b"three"])
        assert protected == [True] * 3
        assert [await right.receive() for _ in range(3)] == [b"one", b"two", b"three"]
