"""Conversations of this process end in its forked children; accepted ones may go on there."""

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
    """(client, server)"""
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
def test_a_stream_that_was_connected_ends_in_a_forked_child(use: Callable[[Any], Any]) -> None:
    with blocking_pair() as (client, server):
        client.send_all(b"before ")
        said = in_forked_child(lambda: use(client))
        assert error_of("stream").partition(": ")[2] in said
        client.send_all(b"after")
        client.send_eof()
        assert b"".join(server) == b"before after"
        server.send_all(b"answer")
        assert client.receive_some() == b"answer"


def test_a_thread_of_the_parent_that_is_inside_does_not_matter() -> None:
    with blocking_pair() as (client, server):
        thread = threading.Thread(target=client.receive_some)
        thread.start()
        with pytest.raises(trio.BusyResourceError):  # it is inside
            while True:
                client.receive_some(timeout=0)
        assert in_forked_child(client.receive_some) == STREAM
        assert in_forked_child(client.close) == "None"
        assert thread.is_alive()
        server.send_all(b"x")
        thread.join()


def test_the_other_end_sees_the_end_though_a_forked_child_lives() -> None:
    with blocking_pair() as (client, server):
        child = ForkedChild(lambda: None, stays=True)
        client.close()
        assert server.receive_some(timeout=10) == b""
        child.end()


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_channel_ends_in_a_forked_child_with_what_has_arrived(framing: Any) -> None:
    with blocking_channels(framing) as (client, server):
        server.send_many([b"1", b"2", b"3"])
        assert client.receive() == b"1"  # and the others may have come along
        for use in (client.receive, client.receive_many, lambda: client.send(b"child")):
            assert in_forked_child(use) == STREAM
        assert [client.receive(), client.receive()] == [b"2", b"3"]
        client.send(b"parent")
        assert server.receive() == b"parent"


def test_the_end_that_a_child_process_is_talked_to_by_ends_too() -> None:
    with blocking.open_child(programs.BLOCKING_MESSAGE_ECHO, framing=LengthPrefixed()) as child:
        assert in_forked_child(lambda: child.channel.send(b"x")) == STREAM
        child.channel.send(b"parent")
        assert child.channel.receive() == b"parent"
    with blocking.open_child(programs.HANG, pipes={"one": "send"}, grace=0) as child:
        assert in_forked_child(lambda: child.pipes["one"].send_all(b"x")) == STREAM


def test_leaving_the_block_of_a_child_process_in_a_forked_child_does_it_no_harm() -> None:
    with blocking.open_child(programs.BLOCKING_MESSAGE_ECHO, framing=LengthPrefixed()) as child:
        assert in_forked_child(lambda: child._finish(1)) == "None"
        child.channel.send(b"parent")
        assert child.channel.receive() == b"parent"
    assert child.reason == "exited"


def test_a_stream_that_was_accepted_goes_on_in_a_forked_child() -> None:
    """A server that forks for each client, as socketserver.ForkingMixIn does."""
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
def test_a_channel_that_was_accepted_goes_on_in_a_forked_child(framing: Any) -> None:
    with blocking_channels(framing) as (client, server):
        client.send_many([b"hello", b"go on"])
        assert server.receive() == b"hello"  # by the parent, which hands it over then

        def serve() -> None:
            with server:
                server.send(server.receive() + b" in the child")

        assert in_forked_child(serve) == "None"
        server.close()
        assert client.receive() == b"go on in the child"
        with pytest.raises(trio.EndOfChannel):
            client.receive()


def test_a_connection_that_a_thread_of_the_parent_is_in_can_be_handed_over() -> None:
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


def test_a_pipe_of_this_process_goes_on_in_a_forked_child() -> None:
    receiving, sending = blocking.open_anonymous_pipe()
    with receiving, sending:
        assert in_forked_child(lambda: sending.send_all(b"from the child")) == "None"
        assert receiving.receive_some() == b"from the child"


def test_a_child_that_closes_a_pipe_wakes_no_thread_of_the_parent() -> None:
    receiving, sending = blocking.open_anonymous_pipe()
    with receiving, sending:
        with pytest.raises(TimeoutError):
            receiving.receive_some(timeout=0.01)  # so that there is what wakes
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


def test_a_blocking_client_ends_in_a_forked_child() -> None:
    with served(Manager()) as endpoint, rpc_blocking.connect(Adder, endpoint) as client:
        assert client.add(1, 2) == 3
        assert in_forked_child(lambda: client.add(3, 4)) == CALL
        assert in_forked_child(lambda: client.total(numbers=[1])) == CALL
        assert in_forked_child(lambda: client.add.begin(3, 4).__enter__()) == CALL
        assert client.add(5, 6) == 11


def test_a_forked_child_connects_again() -> None:
    def again(endpoint: Endpoint) -> int:
        with rpc_blocking.connect(Adder, endpoint) as client:
            result: int = client.add(3, 4)
            return result

    with served(Manager()) as endpoint, rpc_blocking.connect(Adder, endpoint) as client:
        assert client.add(1, 2) == 3
        assert in_forked_child(lambda: again(endpoint)) == "7"
        assert client.add(5, 6) == 11


def test_a_blocking_client_that_other_threads_use_ends_at_once() -> None:
    manager = Manager()
    with served(manager) as endpoint, rpc_blocking.connect(Adder, endpoint) as client:
        threads = [threading.Thread(target=client.wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        client._caller.link.lock.acquire()  # as by one of them, in the middle of a step
        try:
            assert in_forked_child(lambda: client.add(3, 4)) == CALL
        finally:
            client._caller.link.lock.release()
        manager.go_on.set()
        for thread in threads:
            thread.join()
        assert client.add(5, 6) == 11


def test_leaving_the_block_of_a_client_in_a_forked_child_does_the_parent_no_harm() -> None:
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


def test_a_connection_that_was_accepted_is_served_in_a_forked_child() -> None:
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
    """Within the loop: what is awaited there must not get to a checkpoint."""

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
async def test_a_stream_of_trio_ends_in_a_forked_child(use: Callable[[Any], Any]) -> None:
    client, server = await stream_pair()
    async with client, server:
        assert await in_child_of_trio(use, client) == STREAM
        await client.send_all(b"parent")
        assert await server.receive_some() == b"parent"


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_channel_of_trio_ends_in_a_forked_child(framing: Any) -> None:
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
        nursery.start_soon(client.receive)  # a task that is inside
        await trio.testing.wait_all_tasks_blocked()
        assert await in_child_of_trio(client.receive) == CHANNEL
        await server.send(b"3")
        await client.send(b"parent")
        assert await server.receive() == b"parent"


class AsyncManager(Manager):
    async def add(self, one: int, other: int) -> int:  # type: ignore[override]
        return one + other


async def test_a_client_of_trio_ends_in_a_forked_child(endpoint: Endpoint) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.serve, AsyncManager(), endpoint)
        async with rpc.connect(Adder, endpoint) as client:
            assert await client.add(1, 2) == 3
            assert await in_child_of_trio(client.add, 3, 4) == CALL
            assert await client.add(5, 6) == 11
        nursery.cancel_scope.cancel()


def test_a_stream_of_trio_that_was_accepted_goes_on_in_another_loop_of_a_forked_child() -> None:
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


def test_a_forked_child_that_closes_a_client_leaves_the_queue_of_the_listener_alone() -> None:
    with (
        blocking.listen(unique_endpoint(), max_instances=1) as listener,
        blocking.connect(listener.endpoint),
        listener.accept() as server,
    ):
        assert in_forked_child(server.close) == "None"
        with pytest.raises(ipcpipes.EndpointBusy):  # it is still full
            blocking.connect(listener.endpoint)
        assert listener.connection_count == 1
        server.close()
        with blocking.connect(listener.endpoint) as other:
            with listener.accept(timeout=10) as second:
                other.send_all(b"x")
                assert second.receive_some() == b"x"


@pytest.mark.parametrize("max_instances", [None, 1])
def test_a_forked_child_that_closes_the_listener_does_the_parent_no_harm(
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


def test_clients_who_have_arrived_are_the_parents() -> None:
    """Those that were taken out of the queue and not accepted yet, where the queue was full."""
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
def test_a_forked_child_may_accept_beside_its_parent(max_instances: int | None) -> None:
    """A server that forks beforehand."""

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


async def test_a_forked_child_that_closes_a_client_of_trio_leaves_the_queue_alone() -> None:
    async with await ipcpipes.listen(unique_endpoint(), max_instances=1) as listener:
        client = await ipcpipes.connect(listener.endpoint)
        server = await listener.accept()
        async with client, server:
            assert in_forked_child(server._close) == "None"
            assert in_forked_child(listener._close) == "None"
            with pytest.raises(ipcpipes.EndpointBusy):
                await ipcpipes.connect(listener.endpoint)
            assert listener.connection_count == 1
