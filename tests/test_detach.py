"""detach: a connection that goes on under another owner."""

from __future__ import annotations

import gc
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Endpoint, blocking
from ipcpipes.testing import memory_stream_pair, unique_endpoint

from .channels import FRAMINGS, connected, has_native
from .interruptions import interrupted
from .pairs import stream_pair
from .test_framing import NetstringSplitter
from .threads import Worker, channel_pair, settle, stream_pair as blocking_pair

if sys.platform == "win32":
    pytest.skip("test_windows_from_socket.py has what Windows can do", allow_module_level=True)

KINDS = [
    *(pytest.param(framing, id=name) for name, framing in FRAMINGS.items()),
    pytest.param(ipcpipes.NATIVE, id="native", marks=has_native),
]
LENGTHS = ipcpipes.LengthPrefixed()


# Streams


async def test_a_stream_goes_on_with_what_has_arrived() -> None:
    client, server = await stream_pair()
    async with client:
        await client.send_all(b"before")
        number = server.detach()
        assert os.get_blocking(number)
        assert not os.get_inheritable(number)
        with pytest.raises(trio.ClosedResourceError, match="was detached"):
            await server.receive_some()
        await server.aclose()
        await client.send_all(b" and after")
        async with await ipcpipes.connect(Endpoint.from_socket(number)) as again:
            data = b""
            while len(data) < 16:
                data += await again.receive_some()
            assert data == b"before and after"
            await again.send_all(b"hello")
            assert await client.receive_some() == b"hello"
            assert again.peer.pid == os.getpid()
        assert await client.receive_some() == b""


def test_a_blocking_stream_goes_on_with_what_has_arrived() -> None:
    client, server = blocking_pair()
    with client:
        client.send_all(b"before")
        number = server.detach()
        assert os.get_blocking(number)
        assert not os.get_inheritable(number)
        for method in (server.detach, server.receive_some, server.fileno):
            with pytest.raises(trio.ClosedResourceError, match="was detached"):
                method()
        server.close()
        client.send_all(b" and after")
        with blocking.connect(Endpoint.from_socket(number)) as again:
            data = b""
            while len(data) < 16:
                data += again.receive_some()
            assert data == b"before and after"
            again.send_all(b"hello")
            assert client.receive_some() == b"hello"
        assert client.receive_some() == b""


async def test_either_driver_takes_over_from_the_other() -> None:
    client, server = await stream_pair()
    with blocking.connect(Endpoint.from_socket(server.detach())) as here:
        here.send_all(b"from a thread")
        assert await client.receive_some() == b"from a thread"
        number = here.detach()
    async with client, await ipcpipes.connect(Endpoint.from_socket(number)) as again:
        await again.send_all(b"from a task")
        assert await client.receive_some() == b"from a task"


@pytest.mark.parametrize("open_pipe", [ipcpipes.open_anonymous_pipe, blocking.open_anonymous_pipe])
def test_the_ends_of_a_pipe(open_pipe: Callable[[], tuple[Any, Any]]) -> None:
    receiver, sender = open_pipe()
    numbers = receiver.detach(), sender.detach()
    os.write(numbers[1], b"hello")
    assert os.read(numbers[0], 10) == b"hello"
    for number in numbers:
        os.close(number)


async def test_a_task_that_uses_the_stream_keeps_it() -> None:
    client, server = await stream_pair()
    async with client, server, trio.open_nursery() as nursery:
        nursery.start_soon(server.receive_some)
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(trio.BusyResourceError):
            server.detach()
        await client.send_all(b"x")


def test_a_thread_that_uses_the_stream_keeps_it() -> None:
    client, server = blocking_pair()
    with client, server:
        worker = Worker(server.receive_some)
        settle()
        with pytest.raises(trio.BusyResourceError):
            server.detach()
        client.send_all(b"x")
        assert worker.result() == b"x"
        os.close(server.detach())


async def test_a_broken_stream_is_refused() -> None:
    client, server = await stream_pair()
    async with client, server:
        with trio.move_on_after(0.05):
            await client.send_all(bytes(50_000_000))
        with pytest.raises(trio.BrokenResourceError, match="cancelled after"):
            client.detach()
        assert client.fileno() >= 0, "it is as it was"


def test_a_broken_blocking_stream_is_refused() -> None:
    client, server = blocking_pair()
    with client, server:
        with pytest.raises(TimeoutError):
            client.send_all(bytes(50_000_000), timeout=0.05)
        with pytest.raises(trio.BrokenResourceError, match="interrupted"):
            client.detach()


def test_bytes_of_an_interrupted_receive_are_not_lost() -> None:
    step = refused = 0
    where: str | None = ""
    while where is not None:
        step += 1
        client, server = blocking_pair()
        with client, server:
            client.send_all(b"hello")
            where = interrupted(step, server.receive_some)
            if where is None:
                break
            try:
                number = server.detach()
            except RuntimeError as error:
                assert "left data" in str(error), where
                refused += 1
                assert server.receive_some() == b"hello", where
                os.close(server.detach())
                continue
            with blocking.connect(Endpoint.from_socket(number)) as again:
                assert again.receive_some(timeout=10) == b"hello", where
    assert 0 < refused < step


async def test_the_listener_does_not_count_it_any_more() -> None:
    async with await ipcpipes.listen(unique_endpoint(), max_instances=1) as listener:
        first = await ipcpipes.connect(listener.endpoint)
        number = (await listener.accept()).detach()
        assert listener.connection_count == 0
        async with first, await ipcpipes.connect(listener.endpoint) as second:
            async with await listener.accept() as server:
                await server.send_all(b"second")
                assert await second.receive_some() == b"second"
            os.close(number)
            assert await first.receive_some() == b""


def test_the_blocking_listener_does_not_count_it_any_more() -> None:
    with blocking.listen(unique_endpoint(), max_instances=1) as listener:
        with blocking.connect(listener.endpoint) as first:
            number = listener.accept().detach()
            assert listener.connection_count == 0
            with blocking.connect(listener.endpoint), listener.accept(timeout=10):
                pass
            os.close(number)
            assert first.receive_some() == b""


async def test_a_handler_of_serve_can_detach() -> None:
    numbers: list[int] = []

    async def handler(stream: ipcpipes.Stream) -> None:
        numbers.append(stream.detach())

    async with trio.open_nursery() as nursery:
        listener = await nursery.start(ipcpipes.serve, handler, unique_endpoint())
        async with await ipcpipes.connect(listener.endpoint) as client:
            while not numbers or listener.connection_count:
                await trio.sleep(0.001)
            await listener.aclose()
            async with await ipcpipes.connect(Endpoint.from_socket(numbers[0])) as server:
                await server.send_all(b"still here")
                assert await client.receive_some() == b"still here"


def pipe_pair() -> tuple[Any, Any]:
    receiver, sender = blocking.open_anonymous_pipe()
    return sender, receiver


def at_the_end(end: Any) -> None:
    """The peer has closed every copy of the other end."""
    if hasattr(end, "receive"):
        with pytest.raises(trio.EndOfChannel):
            end.receive(timeout=10)
    elif hasattr(end, "receive_some"):
        assert end.receive_some(timeout=10) == b""
    else:
        with pytest.raises(trio.BrokenResourceError):
            end.send_all(b"x")


@pytest.mark.parametrize("make_pair", [blocking_pair, channel_pair, pipe_pair])
def test_an_interrupted_detach_leaks_nothing(make_pair: Callable[[], tuple[Any, Any]]) -> None:
    step = 0
    where: str | None = ""
    while where is not None:
        step += 1
        client, server = make_pair()
        numbers: list[int] = []
        with client, warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            where = interrupted(step, lambda: numbers.append(server.detach()))  # noqa: B023
            for number in numbers:
                os.close(number)  # raises if it is closed already
            server.close()
            del server
            gc.collect()
            at_the_end(client)
    assert step > 3


# Channels


@pytest.mark.parametrize("framing", KINDS)
async def test_a_channel_goes_on_after_a_request(framing: Any) -> None:
    client, server = await connected(framing)()
    async with client:
        await client.send(b"request")
        assert await server.receive() == b"request"
        number = server.detach()
        with pytest.raises(trio.ClosedResourceError, match="was detached"):
            await server.receive()
        with pytest.raises(trio.ClosedResourceError, match="was detached"):
            server.detach()
        await server.aclose()
        where = Endpoint.from_socket(number)
        async with await ipcpipes.connect_messages(where, framing=framing) as again:
            await again.send(b"reply")
            assert await client.receive() == b"reply"
            await client.send(b"more")
            assert await again.receive() == b"more"


@pytest.mark.parametrize("framing", KINDS)
def test_a_blocking_channel_goes_on_after_a_request(framing: Any) -> None:
    client, server = channel_pair(framing)
    with client:
        client.send(b"request")
        assert server.receive() == b"request"
        number = server.detach()
        for method in (server.detach, server.receive):
            with pytest.raises(trio.ClosedResourceError, match="was detached"):
                method()
        server.close()
        with blocking.connect_messages(Endpoint.from_socket(number), framing=framing) as again:
            again.send(b"reply")
            assert client.receive() == b"reply"
            client.send(b"more")
            assert again.receive() == b"more"


@pytest.mark.parametrize("framing", KINDS)
async def test_messages_that_were_read_ahead_are_not_lost(framing: Any) -> None:
    client, server = await connected(framing)()
    async with client, server:
        await client.send_many([b"one", b"two", b"three"])
        with pytest.raises(ipcpipes.MessageTooLarge):
            await server.receive_into(bytearray(1))  # it has arrived, and stays
        with pytest.raises(RuntimeError, match=r"^[13] messages have arrived"):
            server.detach()
        assert [await server.receive() for _ in range(3)] == [b"one", b"two", b"three"]
        os.close(server.detach())


@pytest.mark.parametrize("framing", KINDS)
def test_messages_that_a_blocking_channel_read_ahead_are_not_lost(framing: Any) -> None:
    client, server = channel_pair(framing)
    with client, server:
        client.send_many([b"one", b"two", b"three"])
        with pytest.raises(ipcpipes.MessageTooLarge):
            server.receive_into(bytearray(1))
        with pytest.raises(RuntimeError, match=r"^[13] messages have arrived"):
            server.detach()
        assert [server.receive() for _ in range(3)] == [b"one", b"two", b"three"]
        os.close(server.detach())


@pytest.mark.parametrize("size", [10, 100_000])
async def test_a_part_of_a_message_is_not_lost(size: int) -> None:
    left, right = await stream_pair()
    async with left, ipcpipes.MessageChannel(right) as channel:
        wire = LENGTHS.join([bytes(size)])
        await left.send_all(wire[: size // 2])
        with trio.move_on_after(0.05):
            await channel.receive()
        with pytest.raises(RuntimeError, match="a part of a message"):
            channel.detach()
        await left.send_all(wire[size // 2 :])
        assert await channel.receive() == bytes(size)
        os.close(channel.detach())


def test_a_part_of_a_message_in_a_blocking_channel_is_not_lost() -> None:
    left, right = blocking_pair()
    with left, blocking.MessageChannel(right) as channel:
        left.send_all(b"\x05\0")
        with pytest.raises(TimeoutError):
            channel.receive(timeout=0.05)
        with pytest.raises(RuntimeError, match="a part of a message"):
            channel.detach()
        left.send_all(b"\0\0hello")
        assert channel.receive() == b"hello"
        os.close(channel.detach())


async def test_a_late_reply_is_not_taken_for_a_message() -> None:
    client, server = await connected(LENGTHS)()
    async with client, server:
        with trio.move_on_after(0.05):
            await client.transact(b"request")
        with pytest.raises(RuntimeError, match="the reply to a transact"):
            client.detach()
        await server.send_many([b"late reply", b"message"])
        assert await client.receive() == b"message"
        os.close(client.detach())


def test_a_late_reply_is_not_taken_for_a_message_without_an_event_loop() -> None:
    client, server = channel_pair()
    with client, server:
        with pytest.raises(TimeoutError):
            client.transact(b"request", timeout=0.01)
        with pytest.raises(RuntimeError, match="the reply to a transact"):
            client.detach()
        server.send_many([b"late reply", b"message"])
        assert client.receive() == b"message"
        os.close(client.detach())


async def test_messages_of_send_nowait_are_not_lost() -> None:
    client, server = await connected(LENGTHS)()
    async with client, server:
        client.send_nowait(b"one")
        client.send_nowait(b"two")
        with pytest.raises(RuntimeError, match="wait_sent"):
            client.detach()
        await client.wait_sent()
        os.close(client.detach())
        assert [await server.receive(), await server.receive()] == [b"one", b"two"]
        with pytest.raises(trio.EndOfChannel):
            await server.receive()


async def test_a_task_that_uses_the_channel_keeps_it() -> None:
    client, server = await connected(LENGTHS)()
    async with client, server:
        for method in (server.receive, server.wait_for_end):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(method)
                await trio.testing.wait_all_tasks_blocked(0.01)
                with pytest.raises(trio.BusyResourceError):
                    server.detach()
                nursery.cancel_scope.cancel()
        os.close(server.detach())


def test_a_thread_that_uses_the_channel_keeps_it() -> None:
    client, server = channel_pair()
    with client, server:
        worker = Worker(server.receive)
        settle()
        with pytest.raises(trio.BusyResourceError):
            server.detach()
        client.send(b"x")
        assert worker.result() == b"x"


def test_a_refused_detach_does_not_stop_senders() -> None:
    client, server = channel_pair()
    with client, server:
        client.send(b"kept")
        with pytest.raises(ipcpipes.MessageTooLarge):
            server.receive_into(bytearray(1))

        def send_many() -> None:
            for _ in range(3000):
                server.send(b"x")

        before = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            workers = [Worker(send_many) for _ in range(2)]
            reader = Worker(lambda: [client.receive(timeout=20) for _ in range(6000)])
            while not all(worker.is_done for worker in workers):
                with pytest.raises((RuntimeError, trio.BusyResourceError)):
                    server.detach()
        finally:
            sys.setswitchinterval(before)
        assert len(reader.result()) == 6000
        for worker in workers:
            worker.result()


async def test_a_broken_channel_is_refused() -> None:
    left, right = await stream_pair()
    async with left, ipcpipes.MessageChannel(right) as channel:
        await left.send_all(b"GET / HTTP/1.1\r\n\r\n")
        for method in (channel.receive, channel.receive):
            with pytest.raises(trio.BrokenResourceError, match="too large"):
                await method()
        with pytest.raises(trio.BrokenResourceError, match="too large"):
            channel.detach()


async def test_a_stream_of_another_library_is_refused() -> None:
    for left, right in (memory_stream_pair(), trio.testing.memory_stream_pair()):
        async with left, ipcpipes.MessageChannel(right) as channel:
            with pytest.raises(ipcpipes.NotSupported, match="not a connection of ipcpipes"):
                channel.detach()


class Netstrings(ipcpipes.LengthPrefixed):
    def splitter(self) -> Any:
        return NetstringSplitter(1000)


async def test_a_framing_that_does_not_tell_is_refused() -> None:
    left, right = await stream_pair()
    async with left, ipcpipes.MessageChannel(right, Netstrings()) as channel:
        with pytest.raises(ipcpipes.NotSupported, match="define has_part"):
            channel.detach()


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
def test_a_splitter_knows_whether_it_has_a_part(framing: Any) -> None:
    for size in (0, 1, 2, 3, 70_000):
        wire = b"".join(framing.frame(b"x" * min(size, framing.max_size)))
        for cut in {*range(min(len(wire) + 1, 30)), len(wire) - 1, len(wire)}:
            splitter = framing.splitter()
            if cut:
                list(splitter.split(wire[:cut]))
            assert splitter.has_part() is (0 < cut < len(wire)), (size, cut)
            if cut < len(wire):
                list(splitter.split(wire[cut:]))
            assert not splitter.has_part()


async def test_a_connection_that_goes_over_a_descriptor_channel() -> None:
    client, server = await stream_pair()
    async with await ipcpipes.listen_messages(
        unique_endpoint(), max_descriptors=1, backlog=1
    ) as listener:
        master = await ipcpipes.connect_messages(listener.endpoint, max_descriptors=1)
        worker = await listener.accept()
    async with client, master, worker:
        number = server.detach()
        await master.send_descriptors(b"a client", [number])
        os.close(number)
        _, (received,) = await worker.receive_descriptors()
        async with await ipcpipes.connect(Endpoint.from_socket(received)) as again:
            await again.send_all(b"hello")
            assert await client.receive_some() == b"hello"
        assert await client.receive_some() == b""
