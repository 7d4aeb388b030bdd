"""Servers and clients for the tests of calls: over endpoints, in memory, and raw clients."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import rpc
from ipcpipes.rpc.wire.format import HEAD, Bind, Kind, decode, encode
from ipcpipes.testing import memory_stream_pair, unique_endpoint

from .rpc_over_managers import Calls, Scripted
from .rpc_waiting import SECONDS as SECONDS, Event

# The first line of a child's program that imports the helpers of these tests.
FIND_TESTS = f"sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r})"


@asynccontextmanager
async def calling(
    *,
    client: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
    **scripts: Callable[..., Any],
) -> AsyncIterator[rpc.Client[Calls]]:
    """A client of a server at an endpoint; each script implements the operation of its name."""
    with trio.fail_after(SECONDS):
        async with serving(Scripted(**scripts), **(server or {})) as listener:
            async with rpc.connect(Calls, listener.endpoint, **(client or {})) as typed:
                acc = rpc.client_of(typed)
                yield acc
                await no_calls_left(acc)


@asynccontextmanager
async def serving(
    *managers: rpc.Interface, at: ipcpipes.Endpoint | str | None = None, **options: Any
) -> AsyncIterator[Any]:
    """A server at an endpoint (by default, one of its own), with its listener."""
    async with trio.open_nursery() as nursery:
        listener = await nursery.start(
            partial(rpc.serve, managers, at or unique_endpoint(), **options)
        )
        yield listener
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def calling_in_memory(
    *,
    client: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
    **scripts: Callable[..., Any],
) -> AsyncIterator[rpc.Client[Calls]]:
    """The same over streams in memory."""
    left, right = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(rpc.serve_connection, Scripted(**scripts), right, **(server or {}))
        )
        async with rpc.bind(Calls, left, **(client or {})) as typed:
            acc = rpc.client_of(typed)
            yield acc
            await no_calls_left(acc)


def open_calls() -> int:
    """The number of open calls on the connection of the current call, without that call."""
    return len(rpc.current_call()._call.session.calls) - 1


async def no_calls_left(acc: rpc.Client[Any]) -> None:
    """Waits until no call of a working connection is open."""
    session = acc._link.session
    if session.failure is not None:
        return
    with trio.fail_after(SECONDS):
        while session.calls:
            await trio.sleep(0.001)


@contextmanager
def failing(kind: type[rpc.RpcError], code: int, fault: int | None = None) -> Iterator[Any]:
    """Checks that the block raises this error with these numbers."""
    with pytest.raises(rpc.RpcError) as caught:
        yield caught
    error = caught.value
    assert (type(error), error.code, error.fault_status) == (kind, code, fault), repr(error)


# The numbers of each error, at both ends.
order = partial(failing, rpc.WrongPipeOrder, 1831, 0x1C000016)
closed = partial(failing, rpc.PipeClosed, 1916, 0x1C000015)
discipline = partial(failing, rpc.PipeDisciplineError, 1917, 0x1C000017)
empty = partial(failing, rpc.PipeEmpty, 1918, 0x1C000014)
comm_failure = partial(failing, rpc.CommFailure, 1820, 0x1C000018)
memory = partial(failing, rpc.PipeAppMemory, 14, 0x1C000019)
unavailable = partial(failing, rpc.ServerUnavailable, 1722)
cancelled = partial(failing, rpc.CallCancelled, 1818, 0x1C00000D)
timed_out = partial(failing, rpc.CallTimedOut, 1818, 0x1C00000D)
invalid_bound = partial(failing, rpc.InvalidBound, 1734, 0x1C000007)
bad_stub_data = partial(failing, rpc.BadStubData, 1783)
call_failed = partial(failing, rpc.Fault, 1726)
pending = partial(failing, rpc.AsyncCallPending, 997)
invalid_handle = partial(failing, rpc.InvalidAsyncHandle, 1914)
invalid_call = partial(failing, rpc.InvalidAsyncCall, 1915)
no_call_active = partial(failing, rpc.NoCallActive, 1725)


class Witness:
    """Notes how a manager ends, in a task or a thread."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.began = Event()
        self.ended = Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        self.began.set()
        try:
            yield
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.ended.set()

    async def raised(self, kind: type[BaseException]) -> None:
        """Waits for the end, and checks its error."""
        with trio.fail_after(SECONDS):
            await self.ended.wait()
        assert type(self.error) is kind, repr(self.error)


class GatedStream(trio.abc.Stream):
    """A stream that waits before each receive and each send while the event for it is not set."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.reading = trio.Event()
        self.writing = trio.Event()
        self.reading.set()
        self.writing.set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.writing.wait()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self.reading.wait()
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self._stream.aclose()


class RawClient:
    """A client that sends the frames that a test gives it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.channel = ipcpipes.MessageChannel(stream)

    async def bind(self, interface: type[rpc.Interface] = Calls, **changes: Any) -> Any:
        """Sends the bind, and returns the answer."""
        definition = interface._rpc_definition
        values = {
            "protocol": 1,
            "uuid": str(definition.uuid),
            "version": definition.version,
            "max_frame": 2**24,
            "credit": 2**20,
            "name": definition.name,
            **changes,
        }
        await self.send(Kind.BIND, body=_body(Bind(**values)))
        return await self.receive()

    async def send(self, kind: Kind, call: int = 0, *, body: bytes = b"", **more: int) -> None:
        await self.channel.send(encode(kind, call, body, **more))

    async def receive(self) -> Any:
        return decode(await self.channel.receive())

    async def request(self, call: int, name: str, *values: Any) -> None:
        number = list(Calls._rpc_definition.operations).index(name)
        await self.send(Kind.REQUEST, call, body=_body(values), number=number)

    async def at_end(self) -> None:
        """Waits until the server has closed the connection, and ignores the frames before that."""
        with trio.fail_after(SECONDS), pytest.raises((trio.EndOfChannel, trio.BrokenResourceError)):
            while True:
                await self.receive()


def _body(value: Any) -> bytes:
    import msgspec

    return msgspec.msgpack.encode(value)


@asynccontextmanager
async def raw_calling(
    *, server: dict[str, Any] | None = None, **scripts: Callable[..., Any]
) -> AsyncIterator[tuple[RawClient, rpc.Client[Calls]]]:
    """A raw client, and an ordinary client that must still be served afterwards."""
    with trio.fail_after(SECONDS):
        scripts = {"plain": _plain, **scripts}
        async with serving(Scripted(**scripts), **(server or {})) as listener:
            async with rpc.connect(Calls, listener.endpoint) as acc:
                stream = await ipcpipes.connect(listener.endpoint)
                async with stream:
                    yield RawClient(stream), rpc.client_of(acc)
                assert await acc.plain("others are served on") == "others are served on"


async def _plain(value: Any) -> Any:
    return value


HEAD_SIZE = HEAD.size
