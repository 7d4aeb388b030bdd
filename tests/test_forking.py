"""Forked children cannot use connections that this process has made, but accepted ones."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import NATIVE, LengthPrefixed, blocking
from ipcpipes.rpc import blocking as rpc_blocking
from ipcpipes.testing import unique_endpoint

from . import programs
from .channels import clog
from .conftest import WINDOWS
from .pairs import receive_exactly, stream_pair

if WINDOWS:
    pytest.skip("Windows has no fork", allow_module_level=True)
assert sys.platform != "win32" or not TYPE_CHECKING


from .forking import ForkedChild, blocking_pair, error_of, in_child_of_trio, in_forked_child
from .test_forking_calls import Adder

FRAMINGS = [LengthPrefixed(), *([NATIVE] if sys.platform == "linux" else [])]
STREAM = error_of("stream")
CHANNEL = error_of("channel")


@contextmanager
def blocking_channels(framing: Any) -> Iterator[tuple[Any, Any]]:
    with (
        blocking.listen_messages(unique_endpoint(), framing=framing) as listener,
        blocking.connect_messages(listener.endpoint, framing=framing) as client,
        listener.accept() as server,
    ):
        yield client, server


# Without an event loop


@pytest.mark.parametrize(
    "use",
    [
        lambda stream: stream.send_all(b"child"),
        lambda stream: stream.send_all(b"child", timeout=1),
        lambda stream: stream.receive_some(),
        lambda stream: stream.receive_some(timeout=1),
        lambda stream: stream.receive_into(bytearray(1)),
        lambda stream: stream.send_descriptors(b"x", [0]),
        lambda stream: stream.receive_descriptors(),
        lambda stream: stream.send_eof(),
        lambda stream: stream.send_buffer_size,
        lambda stream: blocking.MessageChannel(stream).send(b"child"),
        lambda stream: rpc_blocking.bind(Adder, stream).__enter__(),
    ],
)
def test_connected_stream_is_closed_in_a_forked_child(use: Callable[[Any], Any]) -> None:
    with blocking_pair() as (client, server):
        client.send_all(b"before ")
        said = in_forked_child(lambda: use(client))
        assert error_of("stream").partition(": ")[2] in said
        client.send_all(b"after")
        client.send_eof()
        assert b"".join(server) == b"before after"
        server.send_all(b"answer")
        assert client.receive_some() == b"answer"


def test_forked_child_ignores_threads_of_the_parent() -> None:
    with blocking_pair() as (client, server):
        thread = threading.Thread(target=client.receive_some)
        thread.start()
        with pytest.raises(trio.BusyResourceError):  # until the thread is inside
            while True:
                client.receive_some(timeout=0)
        assert in_forked_child(client.receive_some) == STREAM
        assert in_forked_child(client.close) == "None"
        assert thread.is_alive()
        server.send_all(b"x")
        thread.join()


def test_peer_sees_the_end_while_a_forked_child_lives() -> None:
    with blocking_pair() as (client, server):
        child = ForkedChild(lambda: None, stays=True)
        client.close()
        assert server.receive_some(timeout=10) == b""
        child.end()


@pytest.mark.parametrize("framing", FRAMINGS)
def test_connected_channel_is_closed_in_a_forked_child(framing: Any) -> None:
    with blocking_channels(framing) as (client, server):
        server.send_many([b"1", b"2", b"3"])
        assert client.receive() == b"1"  # the others may have arrived with it
        for use in (client.receive, client.receive_many, lambda: client.send(b"child")):
            assert in_forked_child(use) == STREAM
        assert [client.receive(), client.receive()] == [b"2", b"3"]
        client.send(b"parent")
        assert server.receive() == b"parent"


def test_channel_to_a_child_is_closed_in_a_forked_child() -> None:
    with blocking.open_child(programs.BLOCKING_MESSAGE_ECHO, framing=LengthPrefixed()) as child:
        assert in_forked_child(lambda: child.channel.send(b"x")) == STREAM
        child.channel.send(b"parent")
        assert child.channel.receive() == b"parent"
    with blocking.open_child(programs.HANG, pipes={"one": "send"}, grace=0) as child:
        assert in_forked_child(lambda: child.pipes["one"].send_all(b"x")) == STREAM


def test_forked_child_does_not_end_an_open_child() -> None:
    with blocking.open_child(programs.BLOCKING_MESSAGE_ECHO, framing=LengthPrefixed()) as child:
        assert in_forked_child(lambda: child._finish(1)) == "None"
        child.channel.send(b"parent")
        assert child.channel.receive() == b"parent"
    assert child.reason == "exited"


def test_accepted_stream_works_in_a_forked_child() -> None:
    """As in a server that forks for each client, such as socketserver.ForkingMixIn."""
    with blocking.listen(unique_endpoint()) as listener:
        for number in range(3):
            with blocking.connect(listener.endpoint) as client:
                server = listener.accept()

                def serve(server: blocking.Stream = server) -> None:
                    listener.close()
                    with server:
                        server.send_all(server.receive_some().upper())

                client.send_all(b"client %d" % number)
                assert in_forked_child(serve) == "None"
                server.close()
                assert b"".join(client) == b"CLIENT %d" % number


@pytest.mark.parametrize("framing", FRAMINGS)
def test_accepted_channel_works_in_a_forked_child(framing: Any) -> None:
    with blocking_channels(framing) as (client, server):
        client.send_many([b"hello", b"go on"])
        assert server.receive() == b"hello"  # in the parent, before the fork

        def serve() -> None:
            with server:
                server.send(server.receive() + b" in the child")

        assert in_forked_child(serve) == "None"
        server.close()
        assert client.receive() == b"go on in the child"
        with pytest.raises(trio.EndOfChannel):
            client.receive()


def test_accepted_stream_in_use_works_in_a_forked_child() -> None:
    with blocking_pair() as (client, server):
        thread = threading.Thread(target=server.receive_some)
        thread.start()
        with pytest.raises(trio.BusyResourceError):
            while True:
                server.receive_some(timeout=0)

        def serve() -> None:
            server.send_all(b"from the child")
            server.close()

        assert in_forked_child(serve) == "None"
        assert client.receive_some() == b"from the child"
        client.send_all(b"x")
        thread.join()


def test_anonymous_pipe_works_in_a_forked_child() -> None:
    receiving, sending = blocking.open_anonymous_pipe()
    with receiving, sending:
        assert in_forked_child(lambda: sending.send_all(b"from the child")) == "None"
        assert receiving.receive_some() == b"from the child"


def test_close_in_a_forked_child_wakes_no_parent_thread() -> None:
    receiving, sending = blocking.open_anonymous_pipe()
    with receiving, sending:
        with pytest.raises(TimeoutError):
            receiving.receive_some(timeout=0.01)  # makes the waker of this end
        thread = threading.Thread(target=receiving.receive_some)
        thread.start()
        assert in_forked_child(receiving.close) == "None"
        assert thread.is_alive()
        sending.send_all(b"x")
        thread.join()


# trio


@pytest.mark.parametrize(
    "use",
    [
        lambda stream: stream.send_all(b"child"),
        lambda stream: stream.receive_some(),
        lambda stream: stream.receive_into(bytearray(1)),
        lambda stream: stream.wait_send_all_might_not_block(),
        lambda stream: stream.receive_descriptors(),
    ],
)
async def test_trio_stream_is_closed_in_a_forked_child(use: Callable[[Any], Any]) -> None:
    client, server = await stream_pair()
    async with client, server:
        assert await in_child_of_trio(use, client) == STREAM
        await client.send_all(b"parent")
        assert await server.receive_some() == b"parent"


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_trio_channel_is_closed_in_a_forked_child(framing: Any) -> None:
    async with (
        await ipcpipes.listen_messages(unique_endpoint(), framing=framing) as listener,
        await ipcpipes.connect_messages(listener.endpoint, framing=framing) as client,
        await listener.accept() as server,
        trio.open_nursery() as nursery,
    ):
        await server.send_many([b"1", b"2"])
        assert await client.receive() == b"1"
        assert await in_child_of_trio(client.receive) == CHANNEL
        assert await in_child_of_trio(client.receive_many) == CHANNEL
        assert "made by process" in await in_child_of_trio(client.send, b"child")
        assert await client.receive() == b"2"
        nursery.start_soon(client.receive)  # a task inside the channel
        await trio.testing.wait_all_tasks_blocked()
        assert await in_child_of_trio(client.receive) == CHANNEL
        await server.send(b"3")
        await client.send(b"parent")
        assert await server.receive() == b"parent"


async def test_a_forked_child_does_not_tell_about_messages_that_the_parent_has_lost() -> None:
    async with await ipcpipes.listen_messages(unique_endpoint()) as listener:
        client = await ipcpipes.connect_messages(listener.endpoint)
        server = await listener.accept()
    await clog(client)
    await server.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert client._loss is not None
    assert in_forked_child(lambda: client._loss) == "None"
    with pytest.raises(trio.BrokenResourceError, match="not sent"):
        await client.aclose()


def test_accepted_trio_stream_works_in_a_loop_of_the_child() -> None:
    async def accept() -> tuple[Any, Any]:
        return await stream_pair()

    async def serve() -> None:
        async with server:
            await server.send_all((await receive_exactly(server, 5)).upper())

    async def ask() -> bytes:
        async with client:
            answer = await client.receive_some()
            assert await client.receive_some() == b""
            return bytes(answer)

    async def before() -> None:
        await client.send_all(b"hello")

    client, server = trio.run(accept)
    trio.run(before)
    assert in_forked_child(lambda: trio.run(serve)) == "None"
    trio.run(server.aclose)
    assert trio.run(ask) == b"HELLO"
