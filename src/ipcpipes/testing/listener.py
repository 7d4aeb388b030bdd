"""The conformance kit for listeners."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
import trio.testing

from ..abc import ByteStream, Listener
from .expecting import cancels, checkpoints, raises

Connect = Callable[[], Awaitable[ByteStream]]
ListenerMaker = Callable[[], Awaitable[tuple[Listener[ByteStream], Connect]]]


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
    for check in (
        _check_accept,
        _check_early_clients,
        _check_cancelled_accept,
        _check_close,
        _check_close_before_accept,
    ):
        listener, connect = await listener_maker()
        async with listener:
            await check(listener, connect)


async def _check_accept(listener: Listener[ByteStream], connect: Connect) -> None:
    assert isinstance(listener, trio.abc.Listener)
    assert listener.connection_count == 0
    client = await connect()
    server = await checkpoints(listener.accept)
    async with client, server:
        assert listener.connection_count == 1
        assert server.endpoint == listener.endpoint
        await _check_echo(client, server)
        await _check_echo(server, client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.accept)
            await trio.testing.wait_all_tasks_blocked()
            await raises(trio.BusyResourceError, listener.accept)
            nursery.cancel_scope.cancel()
    assert listener.connection_count == 0


async def _check_early_clients(listener: Listener[ByteStream], connect: Connect) -> None:
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


async def _check_cancelled_accept(listener: Listener[ByteStream], connect: Connect) -> None:
    await cancels(listener.accept)
    client = await connect()
    await cancels(listener.accept)
    async with client, await listener.accept() as server:
        await _check_echo(client, server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.accept)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    async with await connect() as client, await listener.accept() as server:
        await _check_echo(client, server)


async def _check_close(listener: Listener[ByteStream], connect: Connect) -> None:
    async with await connect() as client, await listener.accept() as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raises, trio.ClosedResourceError, listener.accept)
            await trio.testing.wait_all_tasks_blocked()
            await checkpoints(listener.aclose)
        await raises(trio.ClosedResourceError, listener.accept)
        await listener.aclose()
        await _check_echo(client, server)
    await raises(OSError, connect)


async def _check_close_before_accept(listener: Listener[ByteStream], connect: Connect) -> None:
    async with await connect() as waiting:
        with trio.CancelScope() as scope:
            scope.cancel()
            await listener.aclose()
        await raises(trio.ClosedResourceError, listener.accept)
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
