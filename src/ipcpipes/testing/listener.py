"""The conformance kit for listeners."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
import trio.testing

from ..abc import ByteStream, Listener
from .raises import raises

ListenerMaker = Callable[
    [], Awaitable[tuple[Listener[ByteStream], Callable[[], Awaitable[ByteStream]]]]
]


async def check_listener(listener_maker: ListenerMaker) -> None:
    """Checks that a listener keeps the contract of :class:`ipcpipes.abc.Listener`.

    Args:
        listener_maker: an async function that returns a new listener, and an async function that
            connects to it and returns the stream of the client. It is called several times. The
            connecting function must be able to finish before ``accept`` is called, as with every
            listener that has a queue.

    Raises:
        AssertionError: the listener breaks the contract.
    """
    await _check_accept(listener_maker)
    await _check_early_clients(listener_maker)
    await _check_cancelled_accept(listener_maker)
    await _check_close(listener_maker)


async def _check_accept(listener_maker: ListenerMaker) -> None:
    listener, connect = await listener_maker()
    async with listener:
        assert isinstance(listener, trio.abc.Listener)
        assert listener.connection_count == 0
        client = await connect()
        with trio.testing.assert_checkpoints():
            server = await listener.accept()
        async with client, server:
            assert listener.connection_count == 1
            assert server.endpoint == listener.endpoint
            await _check_echo(client, server)
            await _check_echo(server, client)

            async def accept() -> None:
                with raises(trio.BusyResourceError):
                    await listener.accept()
                nursery.cancel_scope.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(listener.accept)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(accept)
        assert listener.connection_count == 0


async def _check_early_clients(listener_maker: ListenerMaker) -> None:
    listener, connect = await listener_maker()
    async with listener:
        silent = await connect()
        await silent.aclose()
        closed = await connect()
        await closed.send_all(b"last words")
        await closed.aclose()
        async with await connect() as client:
            async with await listener.accept() as server:
                assert await _receive_all(server) == b"last words"
            async with await listener.accept() as server:
                await _check_echo(client, server)


async def _check_cancelled_accept(listener_maker: ListenerMaker) -> None:
    listener, connect = await listener_maker()
    async with listener:
        with trio.CancelScope() as scope:
            scope.cancel()
            await listener.accept()
        assert scope.cancelled_caught
        client = await connect()
        with trio.CancelScope() as scope:
            scope.cancel()
            await listener.accept()
        assert scope.cancelled_caught, "accept must be a checkpoint, also when a client is waiting"
        async with client, await listener.accept() as server:
            await _check_echo(client, server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.accept)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        async with await connect() as client, await listener.accept() as server:
            await _check_echo(client, server)


async def _check_close(listener_maker: ListenerMaker) -> None:
    listener, connect = await listener_maker()
    async with await connect() as client, await listener.accept() as server:

        async def accept() -> None:
            with raises(trio.ClosedResourceError):
                await listener.accept()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            await trio.testing.wait_all_tasks_blocked()
            with trio.testing.assert_checkpoints():
                await listener.aclose()
        await accept()
        await listener.aclose()
        await _check_echo(client, server)
    with raises(OSError):
        await connect()

    listener, connect = await listener_maker()
    async with await connect() as waiting:
        with trio.CancelScope() as scope:
            scope.cancel()
            await listener.aclose()
        await accept()
        assert await waiting.receive_some() == b"", "a client that was not accepted sees the end"


async def _check_echo(sender: ByteStream, receiver: ByteStream) -> None:
    await sender.send_all(b"ping")
    got = b""
    while len(got) < 4:
        got += await receiver.receive_some(4)
    assert got == b"ping"


async def _receive_all(stream: ByteStream) -> bytes:
    got = b""
    while chunk := await stream.receive_some():
        got += chunk
    return got
