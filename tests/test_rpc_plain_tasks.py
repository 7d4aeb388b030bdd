"""Plain calls under trio: what arrives in one read is a frame, a part of one, or many.

A client with one open call, and a server that expects a request, take them in few steps. So each
test follows the unusual data with usual calls.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio

from ipcpipes import rpc
from ipcpipes.rpc.wire.bodies import encode_body
from ipcpipes.rpc.wire.format import BindAck, FaultBody, Frame, Kind, Reason, encode
from ipcpipes.rpc.wire.frames import FrameReader

from .pairs import stream_pair

PACK = msgspec.msgpack.encode
_PATIENCE = 20  # seconds


class Calls(rpc.Interface, uuid="b8f1c7ee-8d6a-4b51-9a55-0a1c5a0c5e77", version=(1, 0)):
    @rpc.operation
    async def plain(self, value: Any) -> Any: ...


class Server:
    """The other end of a stream, which sends exactly the pieces that a test chooses."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._reader = FrameReader(2**24)
        self._frames: list[Frame] = []

    async def receive(self) -> Frame:
        while not self._frames:
            self._frames += self._reader.feed(await self.stream.receive_some())
        return self._frames.pop(0)

    async def send(self, *frames: bytes) -> None:
        """Sends the frames in one piece."""
        await self.stream.send_all(b"".join(map(on_stream, frames)))

    async def bind(self, max_calls: int) -> None:
        assert (await self.receive()).kind is Kind.BIND
        ack = BindAck(1, (1, 0), 2**24, 2**21, max_calls, [("plain", "")])
        await self.send(encode(Kind.BIND_ACK, 0, encode_body(ack)))

    async def serve(self) -> None:
        """Answers each call with its argument, until the client has closed."""
        while data := await self.stream.receive_some():
            self._frames += self._reader.feed(data)
            while self._frames:
                await self.answer(self._frames.pop(0))

    async def answer(self, request: Frame) -> None:
        if request.kind is Kind.REQUEST:
            await self.send(answer_to(request))


def on_stream(frame: bytes) -> bytes:
    return struct.pack("<I", len(frame)) + frame


def answer_to(request: Frame) -> bytes:
    (value,) = msgspec.msgpack.decode(request.body)
    return encode(Kind.RESPONSE, request.call, PACK(value))


Script = Callable[[Server], Awaitable[None]]


@asynccontextmanager
async def scripted(script: Script, max_calls: int = 1000) -> AsyncIterator[Any]:
    """A client whose first calls are answered by ``script``, and the others with their argument."""
    here, there = await stream_pair()

    async def run() -> None:
        async with there:
            server = Server(there)
            await server.bind(max_calls)
            await script(server)
            await server.serve()

    with trio.fail_after(_PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            async with rpc.bind(Calls, here) as client:
                yield client


@pytest.mark.parametrize("cut", [1, 4, 19, 20, 21])
async def test_an_answer_may_come_in_two_pieces(cut: int) -> None:
    async def script(server: Server) -> None:
        data = on_stream(answer_to(await server.receive()))
        await server.stream.send_all(data[:cut])
        await trio.testing.wait_all_tasks_blocked()  # the client has read the first piece
        await server.stream.send_all(data[cut:])

    async with scripted(script) as client:
        assert await client.plain("first") == "first"
        assert await client.plain("second") == "second"


async def _ping_behind(server: Server) -> None:
    await server.send(answer_to(await server.receive()), encode(Kind.PING))


async def _ping_before(server: Server) -> None:
    await server.send(encode(Kind.PING), answer_to(await server.receive()))


async def _ping_alone(server: Server) -> None:
    request = await server.receive()
    await server.send(encode(Kind.PING))
    assert (await server.receive()).kind is Kind.PONG
    await server.send(answer_to(request))


@pytest.mark.parametrize("script", [_ping_behind, _ping_before, _ping_alone])
async def test_other_frames_may_come_with_an_answer(script: Script) -> None:
    async with scripted(script) as client:
        assert await client.plain("first") == "first"
        assert await client.plain("second") == "second"


async def test_a_large_answer_ends_a_plain_call() -> None:
    async with scripted(_do_nothing) as client:
        for size in (10, 70_000, 10, 3_000_000, 10):
            assert await client.plain(bytes(size)) == bytes(size)


async def _do_nothing(server: Server) -> None:
    pass


async def test_a_fault_ends_only_its_call() -> None:
    async def script(server: Server) -> None:
        request = await server.receive()
        body = encode_body(FaultBody(77, "no luck"))
        await server.send(encode(Kind.FAULT, request.call, body))

    async with scripted(script) as client:
        with pytest.raises(rpc.RpcError, match="no luck"):
            await client.plain("first")
        assert await client.plain("second") == "second"


async def test_a_shutdown_behind_an_answer_ends_the_calls() -> None:
    async def script(server: Server) -> None:
        request = await server.receive()
        reason = Reason(0, "the server is going away", request.call)
        await server.send(answer_to(request), encode(Kind.SHUTDOWN, 0, encode_body(reason)))

    async with scripted(script) as client:
        assert await client.plain("first") == "first"
        with pytest.raises(rpc.ServerUnavailable):
            await client.plain("second")


@pytest.mark.parametrize("number", [0, 2, 2**63])
async def test_an_answer_to_no_call_ends_the_connection(number: int) -> None:
    async def script(server: Server) -> None:
        await server.receive()
        await server.send(encode(Kind.RESPONSE, number, PACK("what?")))

    async with scripted(script) as client:
        with pytest.raises(rpc.CommFailure, match="never was"):
            await client.plain("first")
        with pytest.raises(rpc.RpcError):
            await client.plain("second")


async def test_a_second_answer_to_a_call_ends_the_connection() -> None:
    async def script(server: Server) -> None:
        request = await server.receive()
        await server.send(answer_to(request))
        assert (await server.receive()).call == 2
        await server.send(answer_to(request))

    async with scripted(script) as client:
        assert await client.plain("first") == "first"
        with pytest.raises(rpc.CommFailure, match="RESPONSE for a call that is done"):
            await client.plain("second")


@pytest.mark.parametrize("cut", [0, 3, 15, 22])
async def test_a_server_that_dies_fails_the_calls(cut: int) -> None:
    async def script(server: Server) -> None:
        request = await server.receive()
        await server.stream.send_all(on_stream(answer_to(request))[:cut])
        await server.stream.aclose()

    here, there = await stream_pair()

    async def run() -> None:
        server = Server(there)
        await server.bind(10)
        await script(server)

    with trio.fail_after(_PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            async with rpc.bind(Calls, here) as client:
                async with trio.open_nursery() as calls:
                    for value in ("first", "beside it"):
                        calls.start_soon(_fails, client, value)
                with pytest.raises(rpc.RpcError):
                    await client.plain("second")


async def _fails(client: Any, value: str) -> None:
    with pytest.raises(rpc.CommFailure):
        await client.plain(value)


async def test_the_late_answer_to_a_cancelled_call_is_no_other_calls_answer() -> None:
    asked, cancelled = trio.Event(), trio.Event()

    async def script(server: Server) -> None:
        request = await server.receive()
        asked.set()
        await cancelled.wait()
        assert (await server.receive()).kind is Kind.ORPHANED
        second = await server.receive()
        await server.send(answer_to(request), answer_to(second))

    async with scripted(script) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.plain, "cancelled")
            await asked.wait()
            nursery.cancel_scope.cancel()
        cancelled.set()
        assert await client.plain("second") == "second"
        assert await client.plain("third") == "third"


@pytest.mark.parametrize("count", [2, 100, 500])
async def test_answers_may_come_together_and_in_any_order(count: int) -> None:
    async def script(server: Server) -> None:
        requests = [await server.receive() for _ in range(count)]
        await server.send(*map(answer_to, reversed(requests)))

    results: list[int] = []

    async def call(client: Any, value: int) -> None:
        results.append(await client.plain(value))

    async with scripted(script) as client:
        async with trio.open_nursery() as nursery:
            for value in range(count):
                nursery.start_soon(call, client, value)
        assert sorted(results) == list(range(count))
        assert await client.plain("next") == "next"


async def test_a_cancelled_call_among_others_is_given_up_alone() -> None:
    everything_asked = trio.Event()

    async def script(server: Server) -> None:
        requests = [await server.receive() for _ in range(3)]
        everything_asked.set()
        assert (await server.receive()).kind is Kind.ORPHANED
        await server.send(*map(answer_to, requests))

    results: list[int] = []

    async def call(client: Any, value: int, scope: trio.CancelScope) -> None:
        with scope:
            results.append(await client.plain(value))

    async with scripted(script) as client:
        scopes = [trio.CancelScope() for _ in range(3)]
        async with trio.open_nursery() as nursery:
            for value, scope in enumerate(scopes):
                nursery.start_soon(call, client, value, scope)
            await everything_asked.wait()
            scopes[1].cancel()
        assert sorted(results) == [0, 2]
        assert await client.plain("next") == "next"


async def test_calls_begin_in_the_order_in_which_their_tasks_came() -> None:
    """With one place, a task that calls in a loop does not keep the others out."""
    order: list[str] = []

    async def call(client: Any, name: str, times: int) -> None:
        for _ in range(times):
            await client.plain(name)
            order.append(name)

    async with scripted(_do_nothing, max_calls=1) as client:
        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(call, client, name, 20)
    first = order.index("a"), order.index("b"), order.index("c")
    assert max(first) <= 3, order
    for name in "abc":
        places = [index for index, one in enumerate(order) if one == name]
        assert max(after - before for before, after in itertools.pairwise(places)) <= 4


async def test_a_cancelled_task_does_not_change_the_order_of_the_others() -> None:
    go_on = trio.Event()
    order: list[int] = []

    async def script(server: Server) -> None:
        request = await server.receive()
        await go_on.wait()
        await server.send(answer_to(request))

    async def call(client: Any, value: int, scope: trio.CancelScope) -> None:
        with scope:
            order.append(await client.plain(value))

    async with scripted(script, max_calls=1) as client:
        scopes = [trio.CancelScope() for _ in range(6)]
        async with trio.open_nursery() as nursery:
            for value, scope in enumerate(scopes):
                nursery.start_soon(call, client, value, scope)
                await trio.testing.wait_all_tasks_blocked()
            scopes[5].cancel()
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
    assert order == [0, 1, 2, 3, 4]


async def test_calls_that_waited_for_places_do_not_fill_the_memory() -> None:
    """Many places become free at once, and the server does not read."""
    size, places = 2**20, 32
    go_on, has_begun = trio.Event(), trio.Event()
    most = 0

    async def script(server: Server) -> None:
        requests = [await server.receive() for _ in range(places)]
        has_begun.set()
        await go_on.wait()
        await server.send(*map(answer_to, requests))
        await trio.testing.wait_all_tasks_blocked()
        nonlocal most
        most = client._link.session.output_size + len(client._link._rest)

    async with scripted(script, max_calls=places) as client:
        async with trio.open_nursery() as nursery:
            for value in range(places):
                nursery.start_soon(client.plain, value)
            await has_begun.wait()
            for _ in range(places):
                nursery.start_soon(client.plain, bytes(size))
            await trio.testing.wait_all_tasks_blocked()
            go_on.set()
    assert size < most < 6 * size


async def test_a_call_without_an_answer_takes_no_place_from_another_one() -> None:
    class WithMaybe(rpc.Interface, uuid="2f1b6c8e-77f7-4a0c-8d2e-3e6f0b1c9d21", version=(1, 0)):
        @rpc.operation
        async def plain(self, value: Any) -> Any: ...
        @rpc.operation
        @rpc.options(maybe=True)
        async def tell(self) -> None: ...

    here, there = await stream_pair()
    go_on = trio.Event()

    async def run() -> None:
        async with there:
            server = Server(there)
            assert (await server.receive()).kind is Kind.BIND
            names = [("plain", ""), ("tell", "")]
            ack = BindAck(1, (1, 0), 2**24, 2**21, 1, names)
            await server.send(encode(Kind.BIND_ACK, 0, encode_body(ack)))
            request = await server.receive()
            await go_on.wait()
            await server.answer(request)
            while data := await there.receive_some():
                server._frames += server._reader.feed(data)
                while server._frames:
                    frame = server._frames.pop(0)
                    if frame.number == 0:
                        await server.answer(frame)

    with trio.fail_after(_PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            async with rpc.bind(WithMaybe, here) as client:
                async with trio.open_nursery() as calls:
                    for call in (client.plain, client.tell, client.plain):
                        calls.start_soon(*((call,) if call is client.tell else (call, "value")))
                        await trio.testing.wait_all_tasks_blocked()
                    go_on.set()


async def test_a_violation_behind_an_answer_is_seen_at_once() -> None:
    """The next call finds it without more data of the server."""

    async def script(server: Server) -> None:
        answer = on_stream(answer_to(await server.receive()))
        await server.stream.send_all(answer + b"\3\0\0\0abc")
        await trio.sleep_forever()

    here, there = await stream_pair()

    async def run() -> None:
        server = Server(there)
        await server.bind(10)
        await script(server)

    with trio.fail_after(_PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            async with rpc.bind(Calls, here) as client:
                assert await client.plain("first") == "first"
                with pytest.raises(rpc.RpcError):
                    await client.plain("second")
            nursery.cancel_scope.cancel()
    await there.aclose()


async def test_an_open_call_keeps_no_copy_of_its_arguments() -> None:
    size = 4 * 2**20
    task = trio.lowlevel.current_task()
    kept: list[str] = []

    async def script(server: Server) -> None:
        request = await server.receive()
        await trio.testing.wait_all_tasks_blocked()
        coroutine: Any = task.coro
        depth = 0
        while getattr(coroutine, "cr_frame", None) is not None:
            depth += 1
            for name, value in coroutine.cr_frame.f_locals.items():
                if isinstance(value, bytes) and len(value) >= size:
                    kept.append(name)
            coroutine = coroutine.cr_await
        assert depth > 3, "the task is in the call"
        await server.send(answer_to(request))

    async with scripted(script) as client:
        assert len(await client.plain(bytes(size))) == size
    assert kept == []


@pytest.mark.parametrize("max_calls", [1, 3])
async def test_a_cancelled_task_passes_its_place_on(max_calls: int) -> None:
    """Tasks that wait for a place are cancelled at any time; the others get their turns."""

    async def call(client: Any, value: int) -> None:
        with trio.move_on_after(0.0005 * (value % 7)):
            await client.plain(value)

    async with scripted(_do_nothing, max_calls=max_calls) as client:
        for _ in range(20):
            async with trio.open_nursery() as nursery:
                for value in range(30):
                    nursery.start_soon(call, client, value)
        assert await client.plain("at last") == "at last"


async def test_results_of_one_read_do_not_share_memory_for_long() -> None:
    """A small result that its user keeps does not keep the other results of the read."""

    class Views(rpc.Interface, uuid="d4a7f4d1-33b4-4c1e-9c53-6f5a1b9f4a10", version=(1, 0)):
        @rpc.operation
        async def plain(self, value: Any) -> memoryview:
            raise NotImplementedError

    here, there = await stream_pair()

    async def run() -> None:
        async with there:
            server = Server(there)
            await server.bind(1000)
            requests = [await server.receive() for _ in range(300)]
            await server.send(*map(answer_to, requests))
            await server.serve()

    views: list[memoryview] = []

    async def call(client: Any, value: int) -> None:
        views.append(await client.plain(bytes([value % 256]) * 100))

    with trio.fail_after(_PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            async with rpc.bind(Views, here) as client:
                async with trio.open_nursery() as calls:
                    for value in range(300):
                        calls.start_soon(call, client, value)
    kept = sum(memoryview(view.obj).nbytes for view in views)
    assert kept <= 300 * 1000
