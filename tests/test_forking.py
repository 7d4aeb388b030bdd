"""Forked children cannot use connections that this process has made, but accepted ones."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import NATIVE, Endpoint, LengthPrefixed, blocking, rpc
from ipcpipes.rpc import blocking as rpc_blocking
from ipcpipes.testing import unique_endpoint

from . import programs
from .conftest import WINDOWS
from .descriptors import is_closed
from .pairs import receive_exactly, stream_pair

if WINDOWS:
    pytest.skip("Windows has no fork", allow_module_level=True)
assert sys.platform != "win32" or not TYPE_CHECKING

from ipcpipes._os.posix import calls as posix_calls

from .forking import ForkedChild, error_of, fork, in_forked_child

FRAMINGS = [LengthPrefixed(), *([NATIVE] if sys.platform == "linux" else [])]
STREAM = error_of("stream")
CHANNEL = error_of("channel")
CALL = error_of("connection", "ServerUnavailable") + "; this call was not begun"


@contextmanager
def blocking_pair() -> Iterator[tuple[blocking.Stream, blocking.Stream]]:
    """Yields (client, server)."""
    with (
        blocking.listen(unique_endpoint()) as listener,
        blocking.connect(listener.endpoint) as client,
        listener.accept() as server,
    ):
        yield client, server


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


# Calls


class Adder(rpc.Interface, uuid="2b8ee9c5-8f0f-4d1c-9bf1-9d2f5e8a8f0e", version=(1, 0)):
    @rpc.operation
    def add(self, one: int, other: int) -> Any: ...
    @rpc.operation
    def wait(self) -> Any: ...
    @rpc.operation
    def total(self, numbers: rpc.InPipe[rpc.int32]) -> Any: ...


class Manager(Adder):
    def __init__(self) -> None:
        self.go_on = threading.Event()

    def add(self, one: int, other: int) -> int:
        return one + other

    def wait(self) -> int:
        self.go_on.wait()
        return 0

    def total(self, numbers: Any) -> int:
        return sum(sum(chunk) for chunk in numbers)


@contextmanager
def served(manager: Manager) -> Iterator[Endpoint]:
    listener = blocking.listen(unique_endpoint())
    thread = threading.Thread(target=rpc_blocking.serve, args=(manager, listener))
    thread.start()
    try:
        yield listener.endpoint
    finally:
        listener.close()
        thread.join()


def test_blocking_client_is_unavailable_in_a_forked_child() -> None:
    with served(Manager()) as endpoint, rpc_blocking.connect(Adder, endpoint) as client:
        assert client.add(1, 2) == 3
        assert in_forked_child(lambda: client.add(3, 4)) == CALL
        assert in_forked_child(lambda: client.total(numbers=[1])) == CALL
        assert in_forked_child(lambda: client.add.begin(3, 4).__enter__()) == CALL
        assert client.add(5, 6) == 11


def test_forked_child_can_connect_again() -> None:
    def again(endpoint: Endpoint) -> int:
        with rpc_blocking.connect(Adder, endpoint) as client:
            result: int = client.add(3, 4)
            return result

    with served(Manager()) as endpoint, rpc_blocking.connect(Adder, endpoint) as client:
        assert client.add(1, 2) == 3
        assert in_forked_child(lambda: again(endpoint)) == "7"
        assert client.add(5, 6) == 11


def test_blocking_client_in_use_fails_at_once_after_fork() -> None:
    manager = Manager()
    with served(manager) as endpoint, rpc_blocking.connect(Adder, endpoint) as client:
        threads = [threading.Thread(target=client.wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        client._caller.link.lock.acquire()  # as a thread does in the middle of a step
        try:
            assert in_forked_child(lambda: client.add(3, 4)) == CALL
        finally:
            client._caller.link.lock.release()
        manager.go_on.set()
        for thread in threads:
            thread.join()
        assert client.add(5, 6) == 11


def test_forked_child_does_not_close_the_parents_client() -> None:
    with served(Manager()) as endpoint:
        pid = -1
        try:
            with rpc_blocking.connect(Adder, endpoint) as client:
                with client.total.begin() as call:
                    call.pipes["numbers"].push([1, 2])
                    pid = fork()
                    if pid == 0:
                        raise SystemExit
                    os.waitpid(pid, 0)
                    call.pipes["numbers"].push([3])
                    call.pipes["numbers"].close()
                    assert call.complete() == 6
                assert client.add(5, 6) == 11
        finally:
            if pid == 0:
                os._exit(0)


def test_accepted_connection_is_served_in_a_forked_child() -> None:
    with blocking_pair() as (connected, stream):
        results: list[int] = []

        def calls() -> None:
            with rpc_blocking.bind(Adder, connected) as client:
                results.append(client.add(1, 2))
                results.append(client.total(numbers=range(10)))

        thread = threading.Thread(target=calls)
        thread.start()
        said = in_forked_child(lambda: rpc_blocking.serve_connection(Manager(), stream))
        stream.close()
        thread.join()
        assert (said, results) == ("None", [3, 45])


# trio


async def in_child_of_trio(function: Callable[..., Any], *arguments: Any) -> str:
    """Awaits ``function(*arguments)`` in a forked child, without its loop: it must not get to a
    checkpoint.
    """

    def run() -> Any:
        awaited = function(*arguments)
        try:
            awaited.send(None)
        except StopIteration as stop:
            return stop.value
        return "it waited"

    return in_forked_child(run)


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


class AsyncManager(Manager):
    async def add(self, one: int, other: int) -> int:  # type: ignore[override]
        return one + other


async def test_trio_client_is_unavailable_in_a_forked_child(endpoint: Endpoint) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.serve, AsyncManager(), endpoint)
        async with rpc.connect(Adder, endpoint) as client:
            assert await client.add(1, 2) == 3
            assert await in_child_of_trio(client.add, 3, 4) == CALL
            assert await client.add(5, 6) == 11
        nursery.cancel_scope.cancel()


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


# Listeners


def test_close_in_a_forked_child_does_not_free_a_place() -> None:
    with (
        blocking.listen(unique_endpoint(), max_instances=1) as listener,
        blocking.connect(listener.endpoint),
        listener.accept() as server,
    ):
        assert in_forked_child(server.close) == "None"
        with pytest.raises(ipcpipes.EndpointBusy):  # the listener is still full
            blocking.connect(listener.endpoint)
        assert listener.connection_count == 1
        server.close()
        with blocking.connect(listener.endpoint) as other:
            with listener.accept(timeout=10) as second:
                other.send_all(b"x")
                assert second.receive_some() == b"x"


@pytest.mark.parametrize("max_instances", [None, 1])
def test_listener_survives_close_in_a_forked_child(
    max_instances: int | None,
) -> None:
    with (
        blocking.listen(unique_endpoint(), max_instances=max_instances) as listener,
        blocking.connect(listener.endpoint),
        listener.accept() as server,
    ):
        accepted: list[blocking.Stream] = []
        thread = threading.Thread(target=lambda: accepted.append(listener.accept()))
        thread.start()
        with pytest.raises(trio.BusyResourceError):
            while True:
                listener.accept(timeout=0)
        assert in_forked_child(listener.close) == "None"
        if max_instances is not None:
            with pytest.raises(ipcpipes.EndpointBusy):
                blocking.connect(listener.endpoint)
        assert thread.is_alive()
        server.close()
        with blocking.connect(listener.endpoint):
            thread.join()
            accepted[0].close()


def test_arrived_clients_stay_with_the_parent() -> None:
    """Clients that were taken out of a full queue but not accepted yet."""
    with (
        blocking.listen(unique_endpoint()) as listener,
        blocking.connect(listener.endpoint) as client,
    ):
        fd = posix_calls.accept(listener._fd)
        listener._arrived.numbers.append(fd)
        child = ForkedChild(lambda: (len(listener._arrived.numbers), is_closed(fd)), stays=True)
        assert child.said == "(0, True)"
        with listener.accept() as server:
            client.send_all(b"x")
            assert server.receive_some() == b"x"
        assert client.receive_some(timeout=10) == b""
        child.end()


@pytest.mark.parametrize("max_instances", [None, 2])
def test_forked_child_and_parent_can_both_accept(max_instances: int | None) -> None:
    """As in a pre-forking server."""

    def serve() -> str:
        with listener.accept(timeout=10) as stream:
            stream.send_all(b"from %d" % os.getpid())
        return "served"

    with blocking.listen(unique_endpoint(), max_instances=max_instances) as listener:
        with blocking.connect(listener.endpoint) as client:
            assert in_forked_child(serve) == "'served'"
            assert client.receive_some() != b"from %d" % os.getpid()
        with blocking.connect(listener.endpoint) as client:
            assert serve() == "served"
            assert client.receive_some() == b"from %d" % os.getpid()


async def test_trio_close_in_a_forked_child_does_not_free_a_place() -> None:
    async with await ipcpipes.listen(unique_endpoint(), max_instances=1) as listener:
        client = await ipcpipes.connect(listener.endpoint)
        server = await listener.accept()
        async with client, server:
            assert in_forked_child(server._close) == "None"
            assert in_forked_child(listener._close) == "None"
            with pytest.raises(ipcpipes.EndpointBusy):
                await ipcpipes.connect(listener.endpoint)
            assert listener.connection_count == 1
