"""Byte streams: trio's contract, one-way pipes, and closed or dead peers."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from typing import Any, Literal

import pytest
import trio
import trio.lowlevel
import trio.testing

import ipcpipes
from ipcpipes.testing import unique_endpoint

from .children import SECONDS, python_child
from .conftest import WINDOWS
from .pairs import (
    clogged_both_ways,
    clogged_pair,
    receive_all,
    receive_exactly,
    stream_pair,
)

Direction = Literal["send", "receive"]


async def flipped_pair() -> tuple[Any, Any]:
    client, server = await stream_pair()
    return server, client


async def one_way_pair() -> tuple[Any, Any]:
    return await stream_pair("send")


async def one_way_clogged() -> tuple[Any, Any]:
    return await clogged_pair("send")


async def one_way_from_server() -> tuple[Any, Any]:
    client, server = await stream_pair("receive")
    return server, client


async def test_conformance_of_the_duplex_stream() -> None:
    if sys.platform == "win32":
        await trio.testing.check_two_way_stream(stream_pair, None)
    else:
        # A superset of the two-way kit. The kit swaps the ends, so both are clogged.
        await trio.testing.check_half_closeable_stream(stream_pair, clogged_both_ways)


async def test_conformance_of_one_way_streams() -> None:
    clogged = None if WINDOWS else one_way_clogged
    await trio.testing.check_one_way_stream(one_way_pair, clogged)
    await trio.testing.check_one_way_stream(one_way_from_server, None)


async def test_types_of_streams_match_their_abilities() -> None:
    client, server = await stream_pair()
    async with client, server:
        for stream in (client, server):
            assert isinstance(stream, ipcpipes.abc.ByteStream)
            assert isinstance(stream, trio.abc.Stream)
            assert isinstance(stream, trio.abc.HalfCloseableStream) is not WINDOWS
            assert hasattr(stream, "send_eof") is not WINDOWS
    sender, receiver = await stream_pair("send")
    async with sender, receiver:
        assert isinstance(sender, ipcpipes.abc.SendByteStream)
        assert isinstance(receiver, ipcpipes.abc.ReceiveByteStream)
        assert not hasattr(sender, "receive_some")
        assert not hasattr(receiver, "send_all")


async def test_stream_has_endpoint_address_and_peer() -> None:
    client, server = await stream_pair()
    async with client, server:
        assert client.endpoint == server.endpoint
        assert client.address == server.address
        for stream in (client, server):
            assert stream.peer.pid == os.getpid()
            assert stream.peer.user
            if sys.platform == "win32":
                assert stream.peer.sid.startswith("S-1-")
                assert stream.peer.executable is not None
                assert stream.peer.uid is None
            else:
                assert (stream.peer.uid, stream.peer.gid) == (os.geteuid(), os.getegid())
                assert stream.peer.sid is None
            assert str(os.getpid()) in str(stream.peer)
    assert client.peer.pid == os.getpid(), "a peer that was looked up stays known"
    client, server = await stream_pair()
    await client.aclose()
    await server.aclose()
    with pytest.raises(trio.ClosedResourceError):
        _ = client.peer


async def test_peer_is_the_other_process(endpoint: ipcpipes.Endpoint) -> None:
    with python_child(
        """
        async with await ipcpipes.listen(sys.argv[1]) as listener:
            say("ready")
            async with await listener.accept() as stream:
                say(stream.peer.pid)
                hear()
        """,
        endpoint.name,
    ) as child:
        assert child.hear() == "ready"
        async with await ipcpipes.connect(endpoint) as stream:
            assert int(child.hear()) == os.getpid()
            if not WINDOWS:  # On Windows, Popen may start a launcher that starts the server.
                assert stream.peer.pid == child.pid
            child.say("done")
        assert child.wait() == 0


async def test_buffer_sizes_are_set_and_read_back(endpoint: ipcpipes.Endpoint) -> None:
    async with await ipcpipes.listen(endpoint, buffer_size=30_000, backlog=1) as listener:
        client = await ipcpipes.connect(endpoint, buffer_size=40_000)
        async with client, await listener.accept() as server:
            assert server.send_buffer_size >= 30_000
            assert server.receive_buffer_size >= 30_000
            if not WINDOWS:
                assert client.send_buffer_size >= 40_000
            assert server.send_buffer_size < 200_000
    with pytest.raises(trio.ClosedResourceError):
        _ = server.send_buffer_size
    with pytest.raises(trio.ClosedResourceError):
        _ = client.receive_buffer_size


@pytest.mark.parametrize("size", [1, 65_535, 65_537, 5_000_000])
async def test_any_amount_arrives_whole(size: int) -> None:
    data = os.urandom(1024) * (size // 1024 + 1)
    data = data[:size]
    client, server = await stream_pair()
    async with client, server:
        for sender, receiver in ((client, server), (server, client)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.send_all, data)
                assert await receive_exactly(receiver, size) == data


async def test_both_ends_can_send_more_than_the_buffers_hold() -> None:
    data = bytes(3_000_000)
    client, server = await stream_pair()
    async with client, server, trio.open_nursery() as nursery:
        for sender, receiver in ((client, server), (server, client)):
            nursery.start_soon(sender.send_all, data)
            nursery.start_soon(receive_exactly, receiver, len(data))


async def test_any_contiguous_buffer_can_be_sent() -> None:
    import array

    client, server = await stream_pair()
    async with client, server:
        numbers = array.array("i", [1, 2, 3])
        for data in (b"abc", bytearray(b"abc"), memoryview(b"xabcx")[1:4], memoryview(numbers)):
            await client.send_all(data)
            assert await receive_exactly(server, memoryview(data).nbytes) == bytes(data)
        grows = bytearray(b"abc")
        await client.send_all(grows)
        grows += b"d" * 1000  # possible only if the buffer was released
        assert await receive_exactly(server, 3) == b"abc"
        for wrong in ("text", 5, None, ["a"]):
            with pytest.raises(TypeError):
                await client.send_all(wrong)
        with pytest.raises((BufferError, ValueError)):
            await client.send_all(memoryview(b"abcdef")[::2])
        await client.send_all(b"still usable")
        assert await receive_exactly(server, 12) == b"still usable"


# Closed peers look the same on every system: after close or kill, with data in flight.


async def check_dead_peer(stream: Any, *, in_flight: bytes) -> None:
    if hasattr(stream, "receive_some"):
        assert await receive_all(stream) == in_flight
        for _ in range(3):
            with trio.testing.assert_checkpoints():
                assert await stream.receive_some() == b""
    if hasattr(stream, "send_all"):
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(1000):
                await stream.send_all(b"x" * 1000)
        for _ in range(3):
            with pytest.raises(trio.BrokenResourceError):
                await stream.send_all(b"x")


@pytest.mark.parametrize("unread", [0, 10, 300_000], ids=lambda n: f"unread={n}")
@pytest.mark.parametrize("in_flight", [b"", b"last words", bytes(60_000)], ids=len)
@pytest.mark.parametrize("closer", ["client", "server"])
async def test_peer_closed(closer: str, in_flight: bytes, unread: int) -> None:
    client, server = await stream_pair()
    leaver, stayer = (client, server) if closer == "client" else (server, client)
    async with leaver, stayer:
        async with trio.open_nursery() as nursery:
            # More than the buffers hold stays half sent, and breaks when the peer closes.
            async def send_unread() -> None:
                try:
                    await stayer.send_all(bytes(unread))
                except trio.BrokenResourceError:
                    assert unread > 65536

            nursery.start_soon(send_unread)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await leaver.send_all(in_flight)
            await leaver.aclose()
        await check_dead_peer(stayer, in_flight=in_flight)


@pytest.mark.parametrize("in_flight", [0, 60_000])
@pytest.mark.parametrize("unread", [0, 10])
async def test_peer_killed(in_flight: int, unread: int, endpoint: ipcpipes.Endpoint) -> None:
    with python_child(
        """
        async with await ipcpipes.connect(sys.argv[1], wait=30) as stream:
            await stream.send_all(bytes(int(sys.argv[2])))
            say("sent")
            await trio.sleep_forever()
        """,
        endpoint.name,
        str(in_flight),
    ) as child:
        async with await ipcpipes.listen(endpoint) as listener:
            async with await listener.accept() as stream:
                await stream.send_all(bytes(unread))
                assert child.hear() == "sent"
                child.kill()
                await check_dead_peer(stream, in_flight=bytes(in_flight))


async def test_server_killed(endpoint: ipcpipes.Endpoint) -> None:
    with python_child(
        """
        async with await ipcpipes.listen(sys.argv[1]) as listener:
            say("ready")
            async with await listener.accept() as stream:
                await stream.send_all(b"last words")
                say("sent")
                await trio.sleep_forever()
        """,
        endpoint.name,
    ) as child:
        assert child.hear() == "ready"
        async with await ipcpipes.connect(endpoint) as stream:
            assert child.hear() == "sent"
            child.kill()
            await check_dead_peer(stream, in_flight=b"last words")
    async with await ipcpipes.listen(endpoint):
        pass  # the name is free, and the socket file of the dead server is gone


async def test_blocked_sender_sees_closed_peer() -> None:
    client, server = await stream_pair()
    async with client, server:
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await client.send_all(bytes(10_000_000))

            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await server.aclose()
        await check_dead_peer(client, in_flight=b"")


async def test_blocked_receiver_sees_closed_peer() -> None:
    client, server = await stream_pair()
    async with client, server, trio.open_nursery() as nursery:

        async def receive() -> None:
            assert await client.receive_some() == b""

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        await server.aclose()


@pytest.mark.parametrize("direction", ["send", "receive"])
async def test_one_way_peer_closed(direction: Direction) -> None:
    client, server = await stream_pair(direction)
    async with client, server:
        in_flight = b""
        if direction == "send":
            in_flight = b"last words"
            await client.send_all(in_flight)
        await client.aclose()
        await check_dead_peer(server, in_flight=in_flight)


@pytest.mark.skipif(WINDOWS, reason="Windows refuses the connection: see test_windows.py")
async def test_client_of_wrong_direction_sees_closed_half(
    endpoint: ipcpipes.Endpoint,
) -> None:
    async with await ipcpipes.listen(endpoint, direction="receive") as listener:
        async with await ipcpipes.connect(endpoint) as client, await listener.accept() as server:
            assert await client.receive_some() == b""
            await client.send_all(b"one way")
            assert await server.receive_some() == b"one way"
    async with await ipcpipes.listen(endpoint, direction="send") as listener:
        async with await ipcpipes.connect(endpoint) as client, await listener.accept() as server:
            with pytest.raises(trio.BrokenResourceError):
                await client.send_all(b"wrong way")
            await server.send_all(b"one way")
            assert await client.receive_some() == b"one way"


@pytest.mark.skipif(WINDOWS, reason="a Windows pipe has no half-close; the type has no send_eof")
async def test_send_eof_leaves_the_other_direction_open() -> None:
    client, server = await stream_pair()
    async with client, server:
        await client.send_all(b"question")
        await client.send_eof()
        await client.send_eof()
        assert await receive_all(server) == b"question"
        await server.send_all(b"answer")
        await server.send_eof()
        assert await receive_all(client) == b"answer"
        with pytest.raises(trio.ClosedResourceError, match="send_eof"):
            await client.send_all(b"more")


async def test_closing_wakes_every_blocked_method() -> None:
    operations: list[Callable[[Any], Any]] = [
        lambda stream: stream.receive_some(),
        lambda stream: stream.send_all(bytes(10_000_000)),
    ]
    for operation in operations:
        client, server = await stream_pair()
        async with client, server, trio.open_nursery() as nursery:

            async def expect_closed(
                operation: Callable[[Any], Any] = operation, client: Any = client
            ) -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await operation(client)

            nursery.start_soon(expect_closed)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await client.aclose()


@pytest.mark.parametrize("max_bytes", [0, -1, 1.5, "5"])
async def test_max_bytes_is_checked(max_bytes: Any) -> None:
    client, server = await stream_pair()
    async with client, server:
        with pytest.raises((ValueError, TypeError), match="max_bytes"):
            await client.receive_some(max_bytes)


async def test_closed_and_cancelled_in_the_same_instant() -> None:
    """trio may have to cancel an operation after its stream was closed."""
    for operation in ("receive_some", "send_all"):
        client, server = await stream_pair()
        async with client, server:
            signal = trio.Event()

            async def work(
                scope: trio.CancelScope, operation: str = operation, client: Any = client
            ) -> None:
                with scope:
                    try:
                        if operation == "send_all":
                            await client.send_all(bytes(10_000_000))
                        else:
                            await client.receive_some()
                    except trio.ClosedResourceError:
                        return
                    assert operation == "send_all", "nothing was there to be received"

            async def cancel(scope: trio.CancelScope, signal: trio.Event = signal) -> None:
                await signal.wait()
                scope.cancel()

            async def close(signal: trio.Event = signal, client: Any = client) -> None:
                await signal.wait()
                await client.aclose()

            with trio.fail_after(SECONDS):
                async with trio.open_nursery() as nursery:
                    scope = trio.CancelScope()
                    nursery.start_soon(work, scope)
                    nursery.start_soon(close)
                    nursery.start_soon(cancel, scope)
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    signal.set()
                while await server.receive_some():
                    pass


async def test_ctrl_c_leaves_a_half_sent_stream_broken() -> None:
    with python_child(
        """
        import signal, trio.testing
        listener = await ipcpipes.listen(sys.argv[1])
        client = await ipcpipes.connect(sys.argv[1])
        server = await listener.accept()
        async def interrupt():
            await trio.testing.wait_all_tasks_blocked(0.05)
            signal.raise_signal(signal.SIGINT)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(interrupt)
                await client.send_all(bytes(10_000_000))
        except BaseException:
            say("interrupted")
        try:
            await client.send_all(b"NEXT")
        except trio.BrokenResourceError as error:
            say(error)
        for resource in (client, server, listener):
            await resource.aclose()
        """,
        unique_endpoint().name,
    ) as child:
        assert child.hear() == "interrupted"
        assert "cancelled" in child.hear()
        assert child.wait() == 0


async def test_unclosed_stream_warns_and_is_closed() -> None:
    client, server = await stream_pair()
    async with server:
        assert repr(client.address) in repr(client)
        with pytest.warns(ResourceWarning, match="unclosed <ipcpipes Stream"):
            del client
            gc.collect()
        assert await server.receive_some() == b""
    assert "closed" in repr(server)


async def test_unclosed_stream_frees_its_place(endpoint: ipcpipes.Endpoint) -> None:
    async with await ipcpipes.listen(endpoint, max_instances=1) as listener:
        async with await ipcpipes.connect(endpoint) as client:
            server = await listener.accept()
            with pytest.warns(ResourceWarning):
                del server
                gc.collect()
            with trio.fail_after(SECONDS):
                assert await client.receive_some() == b""
                while listener.connection_count:
                    await trio.lowlevel.checkpoint()
        async with await ipcpipes.connect(endpoint) as client, await listener.accept() as server:
            await client.send_all(b"x")
            assert await server.receive_some() == b"x"


async def test_unclosed_stream_is_closed_if_the_warning_raises() -> None:
    client, server = await stream_pair()
    async with server:
        with pytest.raises(ResourceWarning):
            client.__del__()
        assert await server.receive_some() == b""
        client._number = -1


async def test_failed_send_releases_the_buffer() -> None:
    client, server = await stream_pair()
    async with client:
        await server.aclose()
        data = bytearray(100)
        with pytest.raises(trio.BrokenResourceError):
            for _ in range(1000):
                await client.send_all(data)
        data += b"x"
