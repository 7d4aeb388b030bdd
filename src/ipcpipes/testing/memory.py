"""For the tests of ipcpipes, and for yours: memory streams, endpoint names, a listener kit.

For streams, use trio's own kits (:func:`trio.testing.check_two_way_stream` and its
relatives); every stream of ipcpipes passes them. No test framework is needed for any of it.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import trio
import trio.testing

from .abc import ByteStream, Listener, PeerIdentity
from .endpoint import Endpoint

__all__ = ["check_listener", "memory_stream_pair", "unique_endpoint"]


def unique_endpoint() -> Endpoint:
    """A plain name that nobody uses: ``Endpoint.named("test-…")`` with 64 random bits."""
    return Endpoint.named(f"test-{secrets.token_hex(8)}")


class MemoryStream(ByteStream):
    """One end of :func:`memory_stream_pair`."""

    def __init__(
        self,
        stream: trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream],
        endpoint: Endpoint,
        peer: PeerIdentity,
    ) -> None:
        self._stream = stream
        self._endpoint = endpoint
        self._peer = peer
        self._closed = False

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def address(self) -> str:
        return f"memory:{self._endpoint.name}"

    @property
    def peer(self) -> PeerIdentity:
        return self._peer

    @property
    def send_buffer_size(self) -> int:
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed here")
        return sys.maxsize

    @property
    def receive_buffer_size(self) -> int:
        return self.send_buffer_size

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def receive_into(self, buffer: bytearray | memoryview) -> int:
        with memoryview(buffer).cast("B") as view:
            if view.readonly or not len(view):
                raise ValueError("the buffer must be writable and hold one byte or more")
            data = await self._stream.receive_some(len(view))
            view[: len(data)] = data
            return len(data)

    async def aclose(self) -> None:
        self._closed = True
        await self._stream.aclose()


def memory_stream_pair(
    endpoint: Endpoint | None = None, *, peer: PeerIdentity | None = None
) -> tuple[MemoryStream, MemoryStream]:
    """Two connected streams that live in memory and touch no system.

    They keep the contract of :class:`ipcpipes.abc.ByteStream`, with a buffer that is never full,
    so that code which takes such a stream can be tested without one.

    Args:
        endpoint: what both give as ``.endpoint``; a unique one when ``None``.
        peer: what both give as ``.peer``; one that says nothing when ``None``.
    """
    where = unique_endpoint() if endpoint is None else endpoint
    who = PeerIdentity() if peer is None else peer
    left, right = trio.testing.memory_stream_pair()
    return MemoryStream(left, where, who), MemoryStream(right, where, who)


ListenerMaker = Callable[
    [], Awaitable[tuple[Listener[ByteStream], Callable[[], Awaitable[ByteStream]]]]
]


async def check_listener(listener_maker: ListenerMaker) -> None:
    """Checks that a listener keeps the contract of :class:`ipcpipes.abc.Listener`.

    Args:
        listener_maker: an async function that returns a new listener, and an async function
            that connects to it and returns the client's stream. It is called several times.

    Raises:
        AssertionError: the listener breaks the contract.

    The connecting function must be able to finish before ``accept`` is called, as it is for
    everything with a queue.
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
                with _raises(trio.BusyResourceError):
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
        gone = await connect()
        await gone.aclose()
        spoke = await connect()
        await spoke.send_all(b"last words")
        await spoke.aclose()
        async with await connect() as there:
            async with await listener.accept() as server:
                assert await _receive_all(server) == b"last words"
            async with await listener.accept() as server:
                await _check_echo(there, server)


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
        assert scope.cancelled_caught, "accept must be a checkpoint when a client is there too"
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
            with _raises(trio.ClosedResourceError):
                await listener.accept()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            await trio.testing.wait_all_tasks_blocked()
            with trio.testing.assert_checkpoints():
                await listener.aclose()
        await accept()
        await listener.aclose()
        await _check_echo(client, server)
    with _raises(OSError):
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


@contextmanager
def _raises(kind: type[BaseException]) -> Generator[None, None, None]:
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")
