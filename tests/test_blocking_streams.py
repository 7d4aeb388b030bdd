"""Blocking byte streams: the differences from trio's, and what the kits do not test."""

from __future__ import annotations

import array
import gc
import os
from typing import TYPE_CHECKING, Any

import pytest
import trio

import ipcpipes
from ipcpipes import blocking
from ipcpipes.testing import unique_endpoint

from .children import SECONDS
from .conftest import WINDOWS
from .threads import Worker, receive_all, receive_exactly, settle, stream_pair

if TYPE_CHECKING:

    def contracts(
        stream: blocking.Stream, sender: blocking.SendStream, receiver: blocking.ReceiveStream
    ) -> tuple[
        blocking.abc.ByteStream, blocking.abc.SendByteStream, blocking.abc.ReceiveByteStream
    ]:
        return stream, sender, receiver

    def listener_contract(
        listener: blocking.Listener[blocking.Stream],
    ) -> blocking.abc.Listener[blocking.abc.ByteStream]:
        return listener


def test_types_match_the_direction() -> None:
    client, server = stream_pair()
    with client, server:
        for stream in (client, server):
            assert isinstance(stream, blocking.Stream)
            assert hasattr(stream, "send_eof") is not WINDOWS
    for direction, kind in (("send", blocking.SendStream), ("receive", blocking.ReceiveStream)):
        client, server = stream_pair(direction)
        with client, server:
            assert isinstance(client, kind)
            for stream in (client, server):
                sends = isinstance(stream, blocking.SendStream)
                assert hasattr(stream, "send_all") is sends
                assert hasattr(stream, "receive_some") is not sends


def test_stream_has_endpoint_and_peer() -> None:
    client, server = stream_pair(buffer_size=30_000)
    with client, server:
        assert client.endpoint == server.endpoint
        assert client.address == server.address
        for stream in (client, server):
            assert stream.peer.pid == os.getpid()
            assert stream.peer.user
            assert repr(stream.address) in repr(stream)
        assert 30_000 <= server.send_buffer_size < 200_000
        assert server.receive_buffer_size >= 30_000
    assert client.peer.pid == os.getpid(), "what was looked up stays known"
    assert "closed" in repr(client)
    for name in ("send_buffer_size", "receive_buffer_size"):
        with pytest.raises(trio.ClosedResourceError):
            getattr(server, name)
    client, server = stream_pair()
    client.close()
    server.close()
    with pytest.raises(trio.ClosedResourceError):
        _ = client.peer


@pytest.mark.parametrize("size", [0, 1, 65_537, 5_000_000])
def test_any_amount_arrives_whole(size: int) -> None:
    data = (os.urandom(1024) * (size // 1024 + 1))[:size]
    client, server = stream_pair()
    with client, server:
        for sender, receiver in ((client, server), (server, client)):
            sending = Worker(sender.send_all, data)
            assert receive_exactly(receiver, size) == data
            sending.result()


def test_both_ends_may_send_more_than_fits() -> None:
    data = bytes(3_000_000)
    client, server = stream_pair()
    with client, server:
        workers = []
        for sender, receiver in ((client, server), (server, client)):
            workers += [
                Worker(sender.send_all, data),
                Worker(receive_exactly, receiver, len(data)),
            ]
        for worker in workers:
            worker.result()


def test_any_contiguous_buffer_can_be_sent() -> None:
    client, server = stream_pair()
    with client, server:
        numbers = array.array("i", [1, 2, 3])
        for data in (b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4], memoryview(numbers)):
            client.send_all(data)
            assert receive_exactly(server, memoryview(data).nbytes) == bytes(data)
        grows = bytearray(b"abc")
        client.send_all(grows)
        grows += b"d" * 1000  # the buffer was released
        assert receive_exactly(server, 3) == b"abc"
        for wrong in ("text", 5, None, ["a"]):
            with pytest.raises(TypeError):
                client.send_all(wrong)
        with pytest.raises((BufferError, ValueError)):
            client.send_all(memoryview(b"abcdef")[::2])
        client.send_all(b"still usable")
        assert receive_exactly(server, 12) == b"still usable"


def test_receive_into_fills_the_buffer() -> None:
    client, server = stream_pair()
    with client, server:
        memory = bytearray(10)
        client.send_all(b"abcdef")
        assert server.receive_into(memoryview(memory)[2:6]) == 4
        assert server.receive_into(memory, timeout=SECONDS) == 2
        assert memory == b"efabcd\0\0\0\0"
        for wrong in (bytearray(), b"read-only", "text", memoryview(bytearray(10))[::2]):
            with pytest.raises((TypeError, ValueError)):
                server.receive_into(wrong)
        with pytest.raises(TimeoutError):
            server.receive_into(memory, timeout=0)
        memory += b"the buffer is given back"
        client.close()
        for _ in range(2):
            assert server.receive_into(memory) == 0


def test_iterating_yields_data_until_the_end() -> None:
    client, server = stream_pair()
    with client, server:
        client.send_all(b"one")
        assert next(server) == b"one"
        client.send_all(b"two")
        client.close()
        assert list(server) == [b"two"]
        assert list(server) == []


@pytest.mark.parametrize("max_bytes", [0, -1, 1.5, "5"])
def test_max_bytes_is_checked(max_bytes: Any) -> None:
    client, server = stream_pair()
    with client, server, pytest.raises((ValueError, TypeError), match="max_bytes"):
        client.receive_some(max_bytes)


# A closed peer


def check_dead_peer(stream: Any, *, in_flight: bytes) -> None:
    if hasattr(stream, "receive_some"):
        assert receive_all(stream) == in_flight
        for timeout in (None, 0, 1):
            assert stream.receive_some(timeout=timeout) == b""
    if hasattr(stream, "send_all"):
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(1000):
                stream.send_all(b"x" * 1000)
        for timeout in (None, 0, 1):
            with pytest.raises(trio.BrokenResourceError):
                stream.send_all(b"x", timeout=timeout)


@pytest.mark.parametrize("unread", [0, 10], ids=lambda n: f"unread={n}")
@pytest.mark.parametrize("in_flight", [b"", b"last words", bytes(60_000)], ids=len)
@pytest.mark.parametrize("closer", ["client", "server"])
def test_closed_peer_ends_receiving_and_breaks_sending(
    closer: str, in_flight: bytes, unread: int
) -> None:
    client, server = stream_pair()
    leaver, stayer = (client, server) if closer == "client" else (server, client)
    with leaver, stayer:
        stayer.send_all(bytes(unread))
        leaver.send_all(in_flight)
        leaver.close()
        check_dead_peer(stayer, in_flight=in_flight)


@pytest.mark.parametrize("direction", ["send", "receive"])
def test_closed_peer_of_a_one_way_stream(direction: str) -> None:
    client, server = stream_pair(direction)
    with client, server:
        in_flight = b""
        if direction == "send":
            in_flight = b"last words"
            client.send_all(in_flight)
        client.close()
        check_dead_peer(server, in_flight=in_flight)


def test_killed_peer_wakes_blocked_threads() -> None:
    client, server = stream_pair()
    with client, server:
        sender = Worker(client.send_all, bytes(10_000_000))
        receiver = Worker(client.receive_some)
        settle()
        server.close()
        assert receiver.result() == b""
        with pytest.raises(trio.BrokenResourceError, match="closed or died"):
            sender.result()
        check_dead_peer(client, in_flight=b"")


@pytest.mark.skipif(WINDOWS, reason="a Windows pipe has no half-close; the type has no send_eof")
def test_send_eof_leaves_the_other_direction_open() -> None:
    client, server = stream_pair()
    with client, server:
        client.send_all(b"question")
        client.send_eof()
        client.send_eof()
        assert receive_all(server) == b"question"
        server.send_all(b"answer")
        server.send_eof()
        assert receive_all(client) == b"answer"
        for data in (b"more", b""):
            with pytest.raises(trio.ClosedResourceError, match="send_eof"):
                client.send_all(data)
    with pytest.raises(trio.ClosedResourceError):
        client.send_eof()


def test_closed_stream_raises_closed() -> None:
    client, server = stream_pair()
    with client, server:
        client.close()
        client.close()
        for timeout in (None, 0, 1):
            for data in (b"", b"x"):
                with pytest.raises(trio.ClosedResourceError):
                    client.send_all(data, timeout=timeout)
            with pytest.raises(trio.ClosedResourceError):
                client.receive_some(timeout=timeout)
            with pytest.raises(trio.ClosedResourceError):
                client.receive_into(bytearray(1), timeout=timeout)


def test_forgotten_stream_warns_and_is_closed() -> None:
    client, server = stream_pair()
    with server:
        with pytest.warns(ResourceWarning, match="unclosed <ipcpipes Stream"):
            del client
            gc.collect()
        assert server.receive_some() == b""


def test_forgotten_stream_frees_its_instance() -> None:
    with blocking.listen(unique_endpoint(), max_instances=1) as listener:
        with blocking.connect(listener.endpoint) as client:
            server = listener.accept()
            with pytest.warns(ResourceWarning):
                del server
                gc.collect()
            assert client.receive_some(timeout=SECONDS) == b""
            assert listener.connection_count == 0
        with blocking.connect(listener.endpoint) as client, listener.accept() as server:
            client.send_all(b"x")
            assert server.receive_some() == b"x"


def test_connect_arguments_are_checked(endpoint: ipcpipes.Endpoint) -> None:
    options: Any
    for options in ({"wait": "1"}, {"wait": True}, {"buffer_size": "1"}):
        with pytest.raises(TypeError, match="must be"):
            blocking.connect(endpoint, **options)
    for options in ({"wait": -1}, {"buffer_size": 0}, {"direction": "in"}):
        with pytest.raises(ValueError, match="must be"):
            blocking.connect(endpoint, **options)
    with pytest.raises(ipcpipes.EndpointNotFound):
        blocking.connect(endpoint)
    with pytest.raises(ipcpipes.EndpointNotFound, match=r"waited 0\.05 s"):
        blocking.connect(endpoint, wait=0.05)


def test_connect_waits_for_the_server(endpoint: ipcpipes.Endpoint) -> None:
    client = Worker(blocking.connect, endpoint, wait=SECONDS)
    settle()
    with blocking.listen(endpoint) as listener, listener.accept() as server:
        with client.result() as stream:
            stream.send_all(b"there you are")
            assert receive_exactly(server, 13) == b"there you are"
