"""Streams under attack: what interrupts, leaves or misuses them ends only what it has to."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .rpc_drivers import DRIVERS, Driver
from .rpc_streaming import streaming
from .rpc_waiting import SECONDS, Event, sleep
from .test_rpc_streams import answered, counted, listed, summed

TRIO = DRIVERS["trio"]


class Slow(msgspec.Struct):
    """Its decoding takes a while, in which the stream can be left."""

    number: int

    def __post_init__(self) -> None:
        decoding.set()
        time.sleep(0.2)


decoding = threading.Event()


class Slowly(rpc.Interface, uuid="d7b0f1d2-3c4b-4a5d-8e6f-7a8b9c0d1e2f", version=(1, 0)):
    @rpc.operation
    def take(self, values: blocking.InStream[Slow]) -> int: ...
    @rpc.operation
    def give(self, values: blocking.OutStream[Slow]) -> None: ...
    @rpc.operation
    def plain(self, seconds: float) -> int: ...


class SlowlyManager(Slowly):
    def take(self, values: Any) -> int:
        return sum(1 for _ in values)

    def give(self, values: Any) -> None:
        with suppress(rpc.StreamStopped):
            while True:
                values.send({"number": 1})
                time.sleep(0.01)

    def plain(self, seconds: float) -> int:
        time.sleep(seconds)
        return 5


@pytest.fixture
def slowly() -> Any:
    endpoint = unique_endpoint()
    with streams.listen(endpoint) as listener:
        server = threading.Thread(target=blocking.serve, args=(SlowlyManager(), listener))
        server.start()
        decoding.clear()
        with blocking.connect(Slowly, endpoint) as client:
            yield client
    server.join(SECONDS)


def test_a_client_leaves_while_a_thread_of_the_server_decodes(slowly: Any) -> None:
    found: list[int] = []
    other = threading.Thread(target=lambda: found.append(slowly.plain(0.5)))
    other.start()
    with slowly.take.begin() as call:
        call.streams["values"].send({"number": 1})
        assert decoding.wait(SECONDS)
    other.join(SECONDS)
    assert found == [5]
    assert slowly.plain(0) == 5


@pytest.mark.parametrize("way", ["close", "cancel"])
def test_a_thread_leaves_a_stream_while_another_one_decodes(slowly: Any, way: str) -> None:
    errors: list[BaseException] = []
    with slowly.give.begin() as call:
        values = call.streams["values"]

        def receive() -> None:
            try:
                while True:
                    values.receive()
            except BaseException as error:
                errors.append(error)

        receiving = threading.Thread(target=receive)
        receiving.start()
        assert decoding.wait(SECONDS)
        (values.close if way == "close" else call.cancel)()
        receiving.join(SECONDS)
    assert type(errors[0]) in (trio.ClosedResourceError, rpc.CallCancelled)
    assert slowly.plain(0) == 5


async def test_many_iterations_are_left(driver: Driver) -> None:
    async def upper(words: Any) -> Any:
        async for word in words:
            yield word.upper()

    async with streaming(driver, upper=upper) as acc:

        async def leave(times: int) -> None:
            for _ in range(times):
                async with aclosing(acc.upper(iter(["a"] * 3000))) as found:
                    async for _ in found:
                        break

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(leave, 10)


# A generator that yields in a nursery.


async def in_a_nursery(count: int) -> Any:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        for number in range(count):
            yield number
        nursery.cancel_scope.cancel()


async def test_a_manager_that_yields_in_a_nursery_is_left() -> None:
    async with streaming(TRIO, numbers=in_a_nursery) as acc:
        async with aclosing(acc.numbers(10**7)) as found:
            assert await found.__anext__() == 0
        async for number in acc.numbers(10**7):
            if number == 3:
                break
        assert await listed(acc.numbers(3)) == [0, 1, 2]
        await trio.testing.wait_all_tasks_blocked(0.01)


async def test_a_source_that_yields_in_a_nursery_is_closed() -> None:
    async def into(numbers: Any) -> Any:
        return await numbers.receive()

    async with streaming(TRIO, into=into) as acc:
        assert await acc.into(in_a_nursery(10**6)) == 0
        async with acc.into.begin(in_a_nursery(10**6)) as call:
            assert await call.complete() == 0


# Iterators


async def test_iterators_in_cycles_are_collected_anywhere() -> None:
    class Box:
        pass

    async def upper(words: Any) -> Any:
        async for word in words:
            yield word.upper()

    thresholds = gc.get_threshold()
    async with streaming(TRIO, upper=upper) as acc:

        async def drop() -> None:
            for _ in range(60):
                box: Any = Box()
                box.box = box
                box.found = acc.upper(iter(["a"] * 1000))
                await box.found.__anext__()

        try:
            gc.set_threshold(5, 2, 2)
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(drop)
        finally:
            gc.set_threshold(*thresholds)
        gc.collect()


@pytest.mark.parametrize("which", ["source", "sink"])
async def test_an_iteration_is_closed_by_its_own_source_or_sink(which: str) -> None:
    async with streaming(TRIO, chat=answered) as acc:

        async def words() -> Any:
            yield "a"
            if which == "source":
                await call.__aexit__(None, None, None)
                await trio.sleep_forever()
            yield "b"
            await trio.sleep_forever()

        async def take(word: str) -> None:
            if which == "sink":
                await call.__aexit__(None, None, None)

        call = acc.chat.begin(words(), take)
        await call.__aenter__()
        with pytest.raises(rpc.RpcError):
            await call.complete()
        await call._pumped.wait()


async def test_a_first_wait_that_is_cancelled_begins_nothing(driver: Driver) -> None:
    if driver.serves_in_threads:
        pytest.skip("a thread cannot be cancelled")
    async with streaming(driver, numbers=counted) as acc:
        found = acc.numbers(5)
        with trio.move_on_after(0):
            await found.__anext__()
        assert await listed(found) == [0, 1, 2, 3, 4]


async def test_one_iterates_at_a_time(driver: Driver) -> None:
    may_go_on = Event()

    async def numbers(count: int) -> Any:
        for number in range(count):
            await may_go_on.wait()
            yield number

    async with streaming(driver, numbers=numbers) as acc:
        found = acc.numbers(3)
        got: list[int] = []

        async def iterate() -> None:
            got.extend(await listed(found))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(iterate)
            await sleep(0.05)
            with pytest.raises(trio.BusyResourceError, match="is waiting for the next value"):
                await found.__anext__()
            may_go_on.set()
        assert got == [0, 1, 2]


async def test_values_that_came_in_time_are_received_after_the_timeout(driver: Driver) -> None:
    async with streaming(driver, numbers=counted) as acc:
        got = []
        async for number in acc.numbers.with_options(timeout=0.3)(4):
            got.append(number)
            await sleep(0.15)
        assert got == [0, 1, 2, 3]


async def test_a_manager_that_forwards_closes_the_other_call(driver: Driver) -> None:
    ended = Event()

    async def numbers(count: int) -> Any:
        try:
            while True:
                yield count
        finally:
            ended.set()

    async with streaming(driver, numbers=numbers) as acc:
        back = getattr(acc, "blocking", acc)
        # Without an event loop, a client's iterator is one that blocks.
        forward: dict[str, Any] = {"numbers": lambda count: back.numbers(count)}
        async with streaming(driver, **forward) as front:
            gc.disable()
            try:
                async with aclosing(front.numbers(1)) as found:
                    assert await found.__anext__() == 1
                await ended.wait()
            finally:
                gc.enable()


# Values


@pytest.mark.parametrize("raw", [b"", b"\x01\x02", b"\x92\x01", b"\xc1"])
async def test_raw_that_is_not_one_value_is_refused_alone(driver: Driver, raw: bytes) -> None:
    async with streaming(driver, into=summed) as acc:
        async with acc.into.begin() as call:
            numbers = call.streams["numbers"]
            with pytest.raises(ValueError, match=r"this msgspec\.Raw is not a MessagePack value"):
                await numbers.send(msgspec.Raw(raw))
            await numbers.send(msgspec.Raw(b"\x05"))
            await numbers.send(6)
            await numbers.aclose()
            assert await call.complete() == 11


def test_an_operation_yields_nothing_but_ticks() -> None:
    class Ticks(rpc.Interface, uuid="f2b3c4d5-e6f7-4081-92a3-b4c5d6e7f80a", version=(1, 0)):
        @rpc.operation
        def ticks(self) -> AsyncIterator[None]: ...

    (operation,) = Ticks._rpc_definition.operations.values()
    assert operation.yields is not None
    assert operation.yields.type is type(None)


def test_an_operation_of_the_other_driver_is_named() -> None:
    with streams.listen(unique_endpoint()) as listener:
        server = threading.Thread(target=blocking.serve, args=(SlowlyManager(), listener))
        server.start()
        with blocking.connect(Slowly, listener.endpoint) as client:
            with pytest.raises(
                TypeError, match="is of the other driver; use operation_of\\(\\) of"
            ):
                rpc.operation_of(client.plain)  # type: ignore[arg-type]
    server.join(SECONDS)


# Threads


def test_a_handle_is_left_while_another_thread_runs_its_source(slowly: Any) -> None:
    left = threading.Event()

    def source() -> Any:
        yield {"number": 1}
        left.wait(SECONDS)
        yield {"number": 2}

    errors: list[BaseException] = []

    def complete() -> None:
        try:
            call.complete()
        except rpc.RpcError as error:
            errors.append(error)

    call = slowly.take.begin(source())
    with call:
        completing = threading.Thread(target=complete)
        completing.start()
        assert decoding.wait(SECONDS)
    left.set()
    completing.join(SECONDS)
    assert len(errors) == 1
    assert slowly.plain(0) == 5


class Alarm(BaseException):
    pass


def test_an_interrupted_sink_is_not_taken_for_a_complete_one(slowly: Any) -> None:
    class Flow(rpc.Interface, uuid="a3c4d5e6-f708-4192-a3b4-c5d6e7f8091b", version=(1, 0)):
        @rpc.operation
        def give(self, numbers: blocking.OutStream[int]) -> None: ...

    class FlowManager(Flow):
        def give(self, numbers: Any) -> None:
            numbers.send_many(range(20_000))

    class Interrupted(list[int]):
        def extend(self, values: Any) -> None:
            super().extend(values)
            if len(self) > 3000 and not armed:
                armed.append(True)
                raise Alarm

    armed: list[bool] = []
    with streams.listen(unique_endpoint()) as listener:
        server = threading.Thread(target=blocking.serve, args=(FlowManager(), listener))
        server.start()
        client: Any
        with blocking.connect(Flow, listener.endpoint) as client:
            got = Interrupted()
            with client.give.begin(got) as call:
                with pytest.raises(Alarm):
                    call.complete()
                with pytest.raises(
                    rpc.BadStubData, match="was interrupted, and values are lost or"
                ):
                    call.complete()
    server.join(SECONDS)
