"""Adapters with trio's interface around blocking objects, so that one suite runs over both drivers.

Each call runs in a worker thread. A call that receives or accepts runs in short turns with a
timeout, and can be cancelled between them; a send cannot be cancelled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import trio

import ipcpipes
from ipcpipes import blocking

TURN = 0.02  # seconds
_threads = trio.CapacityLimiter(200)
ResultT = TypeVar("ResultT")


async def in_thread(function: Callable[..., ResultT], *arguments: Any) -> ResultT:
    return await trio.to_thread.run_sync(function, *arguments, limiter=_threads)


async def in_turns(function: Callable[..., ResultT], *arguments: Any) -> ResultT:
    while True:
        try:
            return await in_thread(partial(function, *arguments, timeout=TURN))
        except TimeoutError:
            pass


class _OneAtATime:
    """Raises "busy" for the blocking object, which is idle between two turns. That blocking objects
    raise it themselves is tested with threads.
    """

    def __init__(self) -> None:
        self._inside = False

    def __enter__(self) -> None:
        if self._inside:
            raise trio.BusyResourceError("another task is inside")
        self._inside = True

    def __exit__(self, *_: object) -> None:
        self._inside = False


class TrioStream(ipcpipes.abc.ByteStream):
    """A blocking stream as a trio stream."""

    def __new__(cls, stream: blocking.Stream) -> TrioStream:
        return super().__new__(_HalfCloseableStream if hasattr(stream, "send_eof") else cls)

    def __init__(self, stream: blocking.Stream) -> None:
        self.blocking = stream
        self._sending = _OneAtATime()
        self._receiving = _OneAtATime()

    @property
    def endpoint(self) -> ipcpipes.Endpoint:
        return self.blocking.endpoint

    @property
    def address(self) -> str:
        return self.blocking.address

    @property
    def peer(self) -> ipcpipes.PeerIdentity:
        return self.blocking.peer

    @property
    def send_buffer_size(self) -> int:
        return self.blocking.send_buffer_size

    @property
    def receive_buffer_size(self) -> int:
        return self.blocking.receive_buffer_size

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._sending:
            await in_thread(self.blocking.send_all, data)

    async def wait_send_all_might_not_block(self) -> None:
        with self._sending:
            await in_thread(self.blocking.send_all, b"")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        with self._receiving:
            return await in_turns(self.blocking.receive_some, max_bytes)

    async def receive_into(self, buffer: bytearray | memoryview) -> int:
        with self._receiving:
            return await in_turns(self.blocking.receive_into, buffer)

    async def send_descriptors(self, data: Any, descriptors: Any) -> None:
        with self._sending:
            await in_thread(self.blocking.send_descriptors, data, descriptors)

    async def receive_descriptors(
        self, max_bytes: int | None = None, max_descriptors: int = ipcpipes.abc.MOST_DESCRIPTORS
    ) -> tuple[bytes, list[int]]:
        with self._receiving:
            return await in_turns(self.blocking.receive_descriptors, max_bytes, max_descriptors)

    async def aclose(self) -> None:
        self.blocking.close()
        await trio.lowlevel.checkpoint()


class _HalfCloseableStream(TrioStream, trio.abc.HalfCloseableStream):
    async def send_eof(self) -> None:
        stream: Any = self.blocking
        with self._sending:
            await in_thread(stream.send_eof)


class TrioChannel(ipcpipes.abc.MessageChannel):
    """A blocking channel as a trio channel."""

    def __new__(cls, channel: blocking.abc.MessageChannel) -> TrioChannel:
        return super().__new__(_HalfCloseableChannel if hasattr(channel, "send_eof") else cls)

    def __init__(self, channel: blocking.abc.MessageChannel) -> None:
        self.blocking = channel
        self._receiving = _OneAtATime()

    @property
    def endpoint(self) -> ipcpipes.Endpoint | None:
        return self.blocking.endpoint

    @property
    def peer(self) -> ipcpipes.PeerIdentity:
        return self.blocking.peer

    @property
    def max_size(self) -> int:
        return self.blocking.max_size

    async def send(self, value: Any) -> None:
        await in_thread(self.blocking.send, value)

    async def send_many(self, values: Any) -> None:
        await in_thread(self.blocking.send_many, values)

    def send_nowait(self, value: Any) -> None:
        raise NotImplementedError("a blocking channel waits")

    async def wait_sent(self) -> None:
        raise NotImplementedError("a blocking channel waits")

    def receive_nowait(self) -> bytes:
        raise NotImplementedError("a blocking channel waits")

    async def transact(self, value: Any) -> bytes:
        with self._receiving:
            return await in_thread(self.blocking.transact, value)

    async def receive(self) -> bytes:
        with self._receiving:
            return await in_turns(self.blocking.receive)

    async def receive_many(self) -> list[bytes]:
        with self._receiving:
            return await in_turns(self.blocking.receive_many)

    async def receive_into(self, buffer: bytearray | memoryview) -> int:
        with self._receiving:
            return await in_turns(self.blocking.receive_into, buffer)

    async def send_descriptors(self, value: Any, descriptors: Any) -> None:
        await in_thread(self.blocking.send_descriptors, value, descriptors)

    async def receive_descriptors(self) -> tuple[bytes, list[int]]:
        with self._receiving:
            return await in_turns(self.blocking.receive_descriptors)

    async def aclose(self) -> None:
        self.blocking.close()
        await trio.lowlevel.checkpoint()


class _HalfCloseableChannel(TrioChannel, ipcpipes.abc.HalfCloseableMessageChannel):
    async def send_eof(self) -> None:
        channel: Any = self.blocking
        await in_thread(channel.send_eof)


class TrioListener(ipcpipes.abc.Listener[Any]):
    """A blocking listener as a trio listener."""

    def __init__(self, listener: blocking.abc.Listener[Any], wrap: Callable[[Any], Any]) -> None:
        self.blocking = listener
        self._wrap = wrap
        self._accepting = _OneAtATime()

    @property
    def endpoint(self) -> ipcpipes.Endpoint:
        return self.blocking.endpoint

    @property
    def address(self) -> str:
        return self.blocking.address

    @property
    def connection_count(self) -> int:
        return self.blocking.connection_count

    async def accept(self) -> Any:
        with self._accepting:
            return self._wrap(await in_turns(self.blocking.accept))

    async def aclose(self) -> None:
        self.blocking.close()
        await trio.lowlevel.checkpoint()


async def connect(where: ipcpipes.Endpoint, **options: Any) -> TrioStream:
    return TrioStream(await in_thread(partial(blocking.connect, where, **options)))


async def connect_messages(where: ipcpipes.Endpoint, **options: Any) -> TrioChannel:
    return TrioChannel(await in_thread(partial(blocking.connect_messages, where, **options)))


async def listen(where: ipcpipes.Endpoint, **options: Any) -> TrioListener:
    return TrioListener(await in_thread(partial(blocking.listen, where, **options)), TrioStream)


async def listen_messages(where: ipcpipes.Endpoint, **options: Any) -> TrioListener:
    listener = await in_thread(partial(blocking.listen_messages, where, **options))
    return TrioListener(listener, TrioChannel)
