"""``ipcpipes.wait``: which of several objects are ready."""

from __future__ import annotations

import signal
import sys
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes.testing import unique_endpoint

from .channels import MAKERS, connected, over_streams_of_trio, two_ways
from .pairs import stream_pair


async def is_idle(objects: Any) -> bool:
    """Returns whether none of the objects becomes ready for a moment."""
    with trio.move_on_after(0.05) as scope:
        await ipcpipes.wait(objects)
    return scope.cancelled_caught


async def is_closed_while_waiting(objects: Any) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await ipcpipes.wait(objects)


@pytest.mark.parametrize("maker", MAKERS)
async def test_a_channel_is_ready_when_a_message_has_arrived_and_keeps_it(maker: Any) -> None:
    client, server = await maker()
    async with client, server:
        assert await is_idle([client, server])
        await client.send_many([b"one", b"two"])
        for _ in range(2):
            assert await ipcpipes.wait([client, server]) == [server]
        assert await server.receive() == b"one"
        assert await ipcpipes.wait([client, server]) == [server]  # in the buffer, perhaps
        assert await server.receive() == b"two"
        assert await is_idle([client, server])


@pytest.mark.parametrize("maker", MAKERS)
async def test_a_waiting_task_wakes_up_for_a_message(maker: Any) -> None:
    client, server = await maker()
    async with client, server, trio.open_nursery() as nursery:
        sequence = trio.testing.Sequencer()

        async def send() -> None:
            async with sequence(0):
                await trio.testing.wait_all_tasks_blocked()
                await client.send(b"now")

        nursery.start_soon(send)
        assert await ipcpipes.wait([client, server]) == [server]
        assert await server.receive() == b"now"


@pytest.mark.parametrize("maker", MAKERS)
async def test_a_channel_is_ready_at_its_end_every_time(maker: Any) -> None:
    client, server = await maker()
    async with server:
        await client.send(b"last")
        await client.aclose()
        assert await ipcpipes.wait([server]) == [server]
        assert await server.receive() == b"last"
        for _ in range(2):
            assert await ipcpipes.wait([server]) == [server]
            with pytest.raises(trio.EndOfChannel):
                await server.receive()


async def test_a_part_of_a_message_is_not_ready() -> None:
    client, stream = await stream_pair()
    channel = ipcpipes.MessageChannel(stream)
    async with client, channel:
        whole = bytes((3, 0, 0, 0)) + b"abc"
        await client.send_all(whole[:5])
        assert await is_idle([channel])
        await client.send_all(whole[5:])
        assert await ipcpipes.wait([channel]) == [channel]
        assert await channel.receive() == b"abc"


async def test_bytes_that_are_not_a_message_are_ready() -> None:
    client, stream = await stream_pair()
    channel = ipcpipes.MessageChannel(stream, ipcpipes.LengthPrefixed(max_size=10))
    async with client, channel:
        await client.send_all(bytes((255, 0, 0, 0)))
        for _ in range(2):
            assert await ipcpipes.wait([channel]) == [channel]
            with pytest.raises(trio.BrokenResourceError):
                await channel.receive()


async def test_all_ready_objects_are_returned_in_order() -> None:
    one, other = await stream_pair()
    client, server = await connected(ipcpipes.LengthPrefixed())()
    async with (
        one,
        other,
        client,
        server,
        await ipcpipes.listen(unique_endpoint()) as listener,
        await ipcpipes.connect(listener.endpoint),
    ):
        await one.send_all(b"x")
        await client.send(b"y")
        await server.send(b"z")
        assert await ipcpipes.wait([listener]) == [listener]
        ready = await ipcpipes.wait([server, one, listener, other, client, other])
        assert ready == [server, listener, other, client]


async def test_a_stream_is_ready_for_bytes_and_at_its_end() -> None:
    client, server = await stream_pair()
    async with server:
        assert await is_idle([client, server])
        await client.send_all(b"abc")
        for _ in range(2):
            assert await ipcpipes.wait([client, server]) == [server]
        assert await server.receive_some() == b"abc"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose)
            assert await ipcpipes.wait([server]) == [server]
        assert await server.receive_some() == b""
        assert await ipcpipes.wait([server]) == [server]


async def test_the_end_of_an_anonymous_pipe_is_ready_for_bytes() -> None:
    receiving, sending = ipcpipes.open_anonymous_pipe()
    async with receiving, sending:
        assert await is_idle([receiving])
        await sending.send_all(b"abc")
        assert await ipcpipes.wait([receiving]) == [receiving]
        assert await receiving.receive_some() == b"abc"
        with pytest.raises(TypeError, match="nothing can be received"):
            await ipcpipes.wait([receiving, sending])


@pytest.mark.parametrize("messages", [False, True])
async def test_a_listener_is_ready_when_a_client_waits(messages: bool) -> None:
    listen: Any = ipcpipes.listen_messages if messages else ipcpipes.listen
    connect: Any = ipcpipes.connect_messages if messages else ipcpipes.connect
    async with await listen(unique_endpoint()) as listener:
        assert await is_idle([listener])
        async with await connect(listener.endpoint) as client, trio.open_nursery() as nursery:
            for _ in range(2):
                assert await ipcpipes.wait([listener]) == [listener]
            assert listener.connection_count == 1
            async with await listener.accept() as server:
                assert await is_idle([listener, client, server])
            nursery.start_soon(ipcpipes.wait, [listener])
            await trio.testing.wait_all_tasks_blocked()
            async with await connect(listener.endpoint):
                assert not nursery.cancel_scope.cancel_called
                with trio.fail_after(10):
                    while listener.connection_count == 0:
                        await trio.sleep(0.001)
                async with await listener.accept():
                    pass


async def test_a_client_that_waits_sees_the_end_when_the_listener_is_closed() -> None:
    listener = await ipcpipes.listen(unique_endpoint())
    async with await ipcpipes.connect(listener.endpoint) as client:
        assert await ipcpipes.wait([listener]) == [listener]
        await listener.aclose()
        assert listener.connection_count == 0
        assert await client.receive_some() == b""
        with pytest.raises(trio.ClosedResourceError):
            await ipcpipes.wait([listener])


async def test_a_client_that_has_left_is_not_a_ready_listener() -> None:
    async with await ipcpipes.listen(unique_endpoint(), max_instances=1) as listener:
        async with await ipcpipes.connect(listener.endpoint):
            assert await ipcpipes.wait([listener]) == [listener]
            async with await listener.accept():
                # On POSIX the listener itself keeps its socket readable now.
                assert await is_idle([listener])


async def test_a_child_is_ready_when_it_has_ended() -> None:
    command = [sys.executable, "-c", "input()"]
    async with ipcpipes.open_child(command, stdin=-1) as child:
        assert await is_idle([child])
        assert child.process.stdin is not None
        await child.process.stdin.aclose()
        for _ in range(2):
            assert await ipcpipes.wait([child]) == [child]
        assert child.status is not None


@two_ways
async def test_closing_ends_the_wait(framing: Any) -> None:
    client, server = await connected(framing)()
    idle, other = await stream_pair()
    async with client, idle, other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(is_closed_while_waiting, [idle, server])
            await trio.testing.wait_all_tasks_blocked()
            await server.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await ipcpipes.wait([client, server])


async def test_closing_a_stream_or_a_listener_ends_the_wait() -> None:
    client, stream = await stream_pair()
    idle, other = await stream_pair()
    listener = await ipcpipes.listen(unique_endpoint())
    async with client, idle, other:
        for closed in (stream, listener):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(is_closed_while_waiting, [idle, closed])
                await trio.testing.wait_all_tasks_blocked()
                await closed.aclose()


async def test_an_object_in_use_is_busy() -> None:
    client, server = await connected(ipcpipes.LengthPrefixed())()
    one, other = await stream_pair()
    async with await ipcpipes.listen(unique_endpoint()) as listener, client, server, one, other:
        for used, use in (
            (client, client.receive),
            (one, one.receive_some),
            (listener, listener.accept),
            (one, lambda: ipcpipes.wait([one])),
            (client, lambda: ipcpipes.wait([client])),
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(use)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(trio.BusyResourceError):
                    await ipcpipes.wait([server, used])
                nursery.cancel_scope.cancel()
        refused = 0

        async def contend() -> None:
            nonlocal refused
            try:
                await ipcpipes.wait([one])
            except trio.BusyResourceError:
                refused += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(contend)
            nursery.start_soon(contend)
            await trio.testing.wait_all_tasks_blocked()
            assert refused == 1
            nursery.cancel_scope.cancel()
        assert await is_idle([client, server, one, other, listener])


async def test_a_wait_takes_the_place_of_wait_for_end() -> None:
    client, server = await connected(ipcpipes.LengthPrefixed())()
    async with client, server, trio.open_nursery() as nursery:
        nursery.start_soon(server.wait_for_end)
        await trio.testing.wait_all_tasks_blocked()
        await client.send(b"one")
        assert await ipcpipes.wait([server]) == [server]
        assert await server.receive() == b"one"
        assert await is_idle([server])
        nursery.cancel_scope.cancel()


async def test_the_late_reply_of_a_cancelled_transact_is_not_ready() -> None:
    client, server = await connected(ipcpipes.LengthPrefixed())()
    async with client, server:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.transact, b"question")
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
        if sys.platform != "win32":  # there, a cancelled transact may leave the channel broken
            await server.send(b"late")
            assert await is_idle([client])
            await server.send(b"next")
            assert await ipcpipes.wait([client]) == [client]
            assert await client.receive() == b"next"


async def test_messages_that_gather_are_sent_before_the_wait() -> None:
    client, server = await connected(ipcpipes.LengthPrefixed())()
    async with client, server, trio.open_nursery() as nursery:

        async def answer() -> None:
            for _ in range(3):
                await server.send(await server.receive())

        nursery.start_soon(answer)
        for _ in range(3):
            client.send_nowait(b"x")
        for _ in range(3):
            assert await ipcpipes.wait([client]) == [client]
            assert await client.receive() == b"x"


async def test_wait_is_a_checkpoint_even_if_something_is_ready() -> None:
    client, server = await stream_pair()
    async with client, server:
        await client.send_all(b"x")
        with trio.testing.assert_checkpoints():
            assert await ipcpipes.wait([server]) == [server]
        with trio.CancelScope() as scope:
            scope.cancel()
            await ipcpipes.wait([server])
        assert scope.cancelled_caught
        assert await server.receive_some() == b"x"


def test_ctrl_c_ends_the_wait_and_loses_nothing() -> None:
    async def interrupt() -> None:
        await trio.testing.wait_all_tasks_blocked()
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        client, server = await connected(ipcpipes.LengthPrefixed())()
        async with client, server:
            trio.lowlevel.spawn_system_task(interrupt)
            with pytest.raises(KeyboardInterrupt):
                await ipcpipes.wait([client, server])
            await client.send(b"x")
            assert await ipcpipes.wait([client, server]) == [server]
            assert await server.receive() == b"x"

    trio.run(main)


async def test_objects_that_cannot_be_waited_for_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        await ipcpipes.wait([])
    left, right = trio.testing.memory_stream_pair()
    async with left, right:
        for thing in (left, 7, "text"):
            with pytest.raises(TypeError):
                await ipcpipes.wait([thing])
    async with await ipcpipes.listen(unique_endpoint(), authkey=bytes(32)) as listener:
        with pytest.raises(ipcpipes.NotSupported, match="handshakes"):
            await ipcpipes.wait([listener])


async def test_a_channel_over_another_stream_is_noticed_beside_idle_objects() -> None:
    client, server = await over_streams_of_trio()
    one, other = await stream_pair()
    async with client, server, one, other:
        await client.send(b"x")
        assert await ipcpipes.wait([one, server, other]) == [server]
        assert await server.receive() == b"x"
