"""Blocking message channels: the differences from trio's, and what the kit does not test."""

from __future__ import annotations

import gc
import struct
import time
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import ContentLength, LengthPrefixed, Lines, MessageTooLarge, blocking
from ipcpipes.framing import Native
from ipcpipes.testing import unique_endpoint

from .channels import has_native
from .children import SECONDS
from .conftest import WINDOWS
from .threads import Worker, channel_pair, framings, receive_all, settle, stream_pair


def channel_and_wire(framing: Any = None) -> tuple[blocking.MessageChannel, Any]:
    """A channel, and the bare stream at its other end."""
    left, right = stream_pair()
    return blocking.MessageChannel(left, framing), right


@pytest.mark.parametrize("framing", framings(), ids=str)
def test_channel_has_endpoint_and_peer(framing: Any) -> None:
    client, server = channel_pair(framing)
    with client, server:
        assert client.endpoint == server.endpoint
        assert client.peer == server.peer
        assert client.max_size <= 16 * 2**20
        assert "MessageChannel" in repr(client)
        assert isinstance(client, blocking.NativeMessageChannel) is isinstance(framing, Native)
        assert hasattr(client, "send_eof") is not WINDOWS


@pytest.mark.parametrize("framing", framings(), ids=str)
def test_iterating_ends_at_the_end_of_the_channel(framing: Any) -> None:
    client, server = channel_pair(framing)
    with client, server:
        client.send_many([b"one", b"", b"two"])
        assert next(server) == b"one"
        client.close()
        assert list(server) == [b"", b"two"]
        assert list(server) == []
        with pytest.raises(trio.EndOfChannel):
            server.receive(timeout=0)


@pytest.mark.parametrize("framing", framings(), ids=str)
def test_closed_channel_drops_waiting_messages(framing: Any) -> None:
    client, server = channel_pair(framing)
    with client, server:
        client.send_many([b"one", b"two", b"three"])
        assert server.receive() == b"one"
        server.close()
        for attempt in (server.receive, server.receive_many):
            with pytest.raises(trio.ClosedResourceError):
                attempt()


@pytest.mark.parametrize(
    ("framing", "wire", "size"),
    [
        (LengthPrefixed(max_size=10), struct.pack("<I", 11), 11),
        (LengthPrefixed(8, "big", 10), b"\xff" * 8, 2**64 - 1),
        (ContentLength(10), b"Content-Length: 11\r\n\r\n", 11),
        (Lines(max_size=10), b"eleven char", 11),
    ],
    ids=str,
)
def test_too_large_message_breaks_receiving(framing: Any, wire: bytes, size: int) -> None:
    channel, stream = channel_and_wire(framing)
    with channel, stream:
        stream.send_all(b"".join(map(bytes, framing.frame(b"good"))) + wire)
        assert channel.receive() == b"good", "the messages before it are good"
        for timeout in (None, 0):
            with pytest.raises(trio.BrokenResourceError, match="10 bytes") as caught:
                channel.receive(timeout=timeout)
            assert isinstance(caught.value.__cause__, MessageTooLarge)
            assert caught.value.__cause__.size == size
        channel.send(b"goes on")
        assert stream.receive_some(timeout=SECONDS)
        channel.close()
        with pytest.raises(trio.ClosedResourceError):
            channel.receive()


@has_native
@pytest.mark.parametrize("size", [11, 70_000])
def test_too_large_packet_breaks_receiving(size: int) -> None:
    with blocking.listen_messages(
        unique_endpoint(), framing=Native(10), buffer_size=200_000
    ) as listener:
        client = blocking.connect_messages(listener.endpoint, framing=Native())
        with client, listener.accept() as server:
            client.send_many([b"good", bytes(size)])
            assert server.receive() == b"good"
            for _ in range(2):
                with pytest.raises(trio.BrokenResourceError, match="10 bytes"):
                    server.receive()


@pytest.mark.parametrize("wire", [b"\x05", struct.pack("<I", 5), struct.pack("<I", 5) + b"abc"])
def test_end_inside_a_message_is_incomplete(wire: bytes) -> None:
    channel, stream = channel_and_wire()
    with channel, stream:
        stream.send_all(struct.pack("<I", 4) + b"good" + wire)
        stream.close()
        assert channel.receive() == b"good"
        for attempt in (channel.receive, channel.receive_many):
            with pytest.raises(trio.BrokenResourceError) as caught:
                attempt()
            assert isinstance(caught.value.__cause__, ipcpipes.IncompleteMessage)


def test_wire_format_is_that_of_trio() -> None:
    channel, stream = channel_and_wire()
    with channel, stream:
        large = bytes(range(256)) * 300
        messages: list[Any] = [b"", b"small", large, b"x", memoryview(large)[1:], bytearray(b"yy")]
        expected = b"".join(struct.pack("<I", len(m)) + bytes(m) for m in messages)
        receiving = Worker(receive_all, stream)
        channel.send_many(messages)
        for message in messages:
            channel.send(message)
        channel.close()
        assert receiving.result() == 2 * expected


def test_unframeable_message_is_not_sent() -> None:
    client, server = channel_pair(Lines())
    with client, server:
        with pytest.raises(ipcpipes.FramingError, match="delimiter"):
            client.send(b"two\nlines")
        client.send(b"one line")
        assert server.receive() == b"one line"


def test_wrong_stream_or_framing_is_refused() -> None:
    nonsense: Any = object()
    with pytest.raises(TypeError, match="send_all"):
        blocking.MessageChannel(nonsense)
    client, server = stream_pair()
    with client, server:
        with pytest.raises(TypeError, match="native"):
            blocking.MessageChannel(client, Native())  # type: ignore[arg-type]  # on purpose
        with pytest.raises(TypeError, match="framing"):
            blocking.MessageChannel(client, nonsense)
    for door in (blocking.connect_messages, blocking.listen_messages):
        with pytest.raises(TypeError, match="framing"):
            door(unique_endpoint(), framing=nonsense)


# Several threads


@pytest.mark.parametrize("framing", framings(), ids=str)
def test_messages_of_several_threads_do_not_mix(framing: Any) -> None:
    client, server = channel_pair(framing)
    count, rounds = 8, 40
    large = bytes(70_000)

    def send(number: int) -> None:
        for turn in range(rounds):
            head = b"%d %d " % (number, turn)
            if turn % 3:
                client.send(head if turn % 2 else head + large)
            else:
                client.send_many([head, head], timeout=SECONDS)

    with client, server:
        workers = [Worker(send, number) for number in range(count)]
        seen: dict[int, list[int]] = {number: [] for number in range(count)}
        previous = b""
        total = count * sum(1 if turn % 3 else 2 for turn in range(rounds))
        for _ in range(total):
            message = server.receive(timeout=SECONDS)
            number, turn = map(int, message.split(b" ")[:2])
            if turn in seen[number]:
                assert previous == message, "no other message comes between those of a batch"
            seen[number].append(turn)
            previous = message
        for worker in workers:
            worker.result()
        assert all(turns == sorted(turns) for turns in seen.values())


@pytest.mark.parametrize("framing", framings(), ids=str)
def test_second_receiving_thread_is_busy(framing: Any) -> None:
    client, server = channel_pair(framing)
    with client, server:
        first = Worker(client.receive)
        settle()
        for timeout in (None, 0, 10):
            for attempt in (client.receive, client.receive_many):
                with pytest.raises(trio.BusyResourceError):
                    attempt(timeout=timeout)
        server.send(b"for the first")
        assert first.result() == b"for the first"
        client.send(b"sending was free all the time")


@pytest.mark.parametrize("framing", framings(), ids=str)
def test_both_ends_send_large_messages_at_once(framing: Any) -> None:
    client, server = channel_pair(framing)
    messages = [bytes([number]) * 150_000 for number in range(30)]

    def receive(channel: Any) -> list[bytes]:
        return [channel.receive() for _ in messages]

    with client, server:
        receivers = [Worker(receive, channel) for channel in (client, server)]
        senders = [Worker(channel.send_many, messages) for channel in (client, server)]
        for worker in senders:
            worker.result()
        for worker in receivers:
            assert worker.result() == messages


@pytest.mark.skipif(WINDOWS, reason="a Windows pipe has no half-close")
@pytest.mark.parametrize("framing", framings(), ids=str)
def test_send_eof_waits_for_sending_threads(framing: Any) -> None:
    client, server = channel_pair(framing)
    with client, server:
        sending = Worker(client.send_many, [bytes(100_000)] * 50)
        settle()
        ending = Worker(client.send_eof)
        settle()
        assert not ending.is_done
        assert [len(message) for message in server] == [100_000] * 50
        sending.result()
        ending.result()
        with pytest.raises(trio.ClosedResourceError, match="send_eof"):
            client.send(b"more")
        server.send(b"still open")
        assert client.receive() == b"still open"


def test_messages_flow_while_another_thread_computes() -> None:
    """A waiting channel releases the interpreter lock."""
    client, server = channel_pair()
    with client, server:
        waiting = Worker(client.receive)
        until = time.monotonic() + 0.2
        turns = 0
        while time.monotonic() < until:
            turns += 1
        assert turns > 1000
        assert not waiting.is_done
        server.send(b"now")
        assert waiting.result() == b"now"


@pytest.mark.parametrize("door", [blocking.connect_messages, blocking.listen_messages])
def test_framing_without_limit_is_refused_first(door: Any) -> None:
    class Unlimited(ipcpipes.Lines):
        def __post_init__(self) -> None:
            object.__setattr__(self, "max_size", None)

    with pytest.raises(TypeError, match="max_size"):
        door("no-server-is-here", framing=Unlimited())


@pytest.mark.parametrize("framing", [ipcpipes.LengthPrefixed(), ipcpipes.Lines()])
def test_an_abandoned_channel_is_closed_at_once(framing: Any) -> None:
    where = unique_endpoint()
    with blocking.listen_messages(where, framing=framing) as listener:
        left = blocking.connect_messages(where, framing=framing)
        with listener.accept() as right:
            gc.disable()
            try:
                left.send(b"one")
                with pytest.warns(ResourceWarning):
                    del left
                assert right.receive(timeout=60) == b"one"
                with pytest.raises(trio.EndOfChannel):
                    right.receive(timeout=60)
            finally:
                gc.enable()
