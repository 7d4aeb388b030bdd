"""What both RPC drivers have to decide alike: options, notifications, calls lost to a shutdown."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
import trio

import ipcpipes
from ipcpipes import rpc
from ipcpipes.rpc import CallEvent
from ipcpipes.rpc.core.session import Session
from ipcpipes.rpc.core.state import Party
from ipcpipes.rpc.wire.format import Limits

from .rpc_drivers import Driver
from .rpc_over_links import SECONDS, timed_out, unavailable
from .rpc_over_managers import Calls, drained, pushed
from .rpc_waiting import Event, run_here, until_given_up

CALL, SEND, RECEIVE = CallEvent.CALL_COMPLETE, CallEvent.SEND_COMPLETE, CallEvent.RECEIVE_COMPLETE


# Options


class Slow(rpc.Interface, uuid="4f1d5b1c-6a49-4a35-8c11-cd3be0a3e003", version=(1, 0)):
    @rpc.operation
    @rpc.options(timeout=0.05)
    async def wait(self) -> None: ...


class SlowManager(Slow):
    async def wait(self) -> None:
        await trio.sleep_forever()


class SlowManagerInThreads(Slow):
    def wait(self) -> None:  # type: ignore[override]
        run_here(until_given_up())


async def test_notify_keeps_the_timeout_of_the_operation(driver: Driver) -> None:
    manager = SlowManagerInThreads() if driver.serves_in_threads else SlowManager()
    with trio.fail_after(SECONDS):
        async with driver.serving(manager) as listener:
            async with driver.connect(Slow, listener.endpoint) as slow:
                with timed_out():
                    await slow.wait()
                with trio.fail_after(SECONDS / 4), timed_out():
                    async with slow.wait.with_options(notify=print).begin() as call:
                        await call.complete()


async def test_timeout_keeps_the_notify_function_of_an_operation(driver: Driver) -> None:
    events: list[CallEvent] = []
    async with driver.calling(into=drained) as acc:
        operation = acc.into.with_options(notify=events.append).with_options(timeout=SECONDS)
        async with operation.begin() as call:
            await pushed(call.pipes["numbers"], [1])
            assert await call.complete() == [1]
    assert events[-1] is CALL


async def test_options_of_none_are_taken_back(driver: Driver) -> None:
    events: list[CallEvent] = []
    async with driver.calling(into=drained) as acc:
        operation = acc.into.with_options(notify=events.append, timeout=SECONDS)
        async with operation.with_options(notify=None, timeout=None).begin() as call:
            await pushed(call.pipes["numbers"], [1])
            assert await call.complete() == [1]
    assert not events


# Notifications


@pytest.mark.parametrize("count", [1, 5])
async def test_52_each_push_has_its_send_complete(driver: Driver, count: int) -> None:
    events: list[CallEvent] = []
    async with driver.calling(into=drained) as acc:
        async with acc.into.with_options(notify=events.append).begin() as call:
            for n in range(count):
                before = events.count(SEND)
                await call.pipes["numbers"].push([n])
                await driver.heard(acc, lambda: events.count(SEND) > before)  # noqa: B023
            assert events.count(SEND) == count
            assert CALL not in events
            await call.pipes["numbers"].close()
            assert await call.complete() == list(range(count))
    assert events.count(RECEIVE) == 0
    assert events.count(CALL) == 1


async def test_52_each_frame_of_a_pipe_has_one_receive_complete(driver: Driver) -> None:
    """One for the elements, and one for the end, which is not reported again when it is pulled."""
    events: list[CallEvent] = []
    has_pulled = Event()

    async def out(numbers: Any) -> None:
        await numbers.push([1])
        await has_pulled.wait()
        await numbers.close()

    async with driver.calling(out=out) as acc:
        async with acc.out.with_options(notify=events.append).begin() as call:
            numbers = call.pipes["numbers"]
            assert list(await numbers.pull()) == [1]
            await driver.heard(acc, lambda: RECEIVE in events)
            assert events == [RECEIVE]
            has_pulled.set()
            assert len(await numbers.pull()) == 0
            await call.complete()
    assert events == [RECEIVE, RECEIVE, CALL]


async def test_52_credit_is_not_reported_as_received(driver: Driver) -> None:
    events: list[CallEvent] = []

    async def octets_into(data: Any) -> int:
        return sum([len(chunk) async for chunk in data])

    async with driver.calling(octets_into=octets_into) as acc:
        operation = acc.octets_into.with_options(notify=events.append)
        async with operation.begin(data=bytes(8 * 2**20)) as call:
            assert await call.complete() == 8 * 2**20
    assert events.count(RECEIVE) == 0
    assert events.count(CALL) == 1
    assert events[-1] is CALL


async def test_52_closing_a_pipe_is_not_reported_as_received(driver: Driver) -> None:
    events: list[CallEvent] = []
    async with driver.calling(into=drained) as acc:
        async with acc.into.with_options(notify=events.append).begin() as call:
            await pushed(call.pipes["numbers"], [1])
            assert await call.complete() == [1]
    assert events.count(RECEIVE) == 0


async def test_the_end_of_a_call_is_reported_once(driver: Driver) -> None:
    """Also where its pipes are pulled after the answer has come."""
    events: list[CallEvent] = []
    async with driver.calling(out=lambda numbers: pushed(numbers, [1])) as acc:
        async with acc.out.with_options(notify=events.append).begin() as call:
            await driver.heard(acc, lambda: CALL in events)
            assert await drained(call.pipes["numbers"]) == [1]
            await call.complete()
    assert events.count(CALL) == 1
    assert events[-1] is CALL
    assert SEND not in events


# Calls lost to a shutdown


class ClosingServer:
    """A server that serves one call, and shuts down before it reads the second one."""

    def __init__(self) -> None:
        self.has_first = Event()
        self.may_answer = Event()

    async def serve(self, listener: Any) -> None:
        definition = Calls._rpc_definition
        session = Session(Party.SERVER, {str(definition.uuid): definition}, Limits())
        async with await listener.accept() as channel:
            session.receive(await channel.receive())
            await channel.send_many(session.take_output())
            _, first = session.receive(await channel.receive())
            assert first is not None
            self.has_first.set()
            await channel.receive()  # the second request has crossed the shutdown
            session.shut_down("closing")
            await channel.send_many(session.take_output())
            await self.may_answer.wait()
            first.finish(msgspec.msgpack.encode("served"), None)
            await channel.send_many(session.take_output())
            with suppress(trio.EndOfChannel, trio.BrokenResourceError):
                await channel.receive()


@pytest.mark.parametrize("by_hand", [False, True])
async def test_a_call_lost_to_a_shutdown_ends_at_once(
    driver: Driver, endpoint: ipcpipes.Endpoint, by_hand: bool
) -> None:
    """Also while another task or thread waits for its own call."""
    server = ClosingServer()
    events: list[CallEvent] = []

    async def be_served(acc: Any) -> None:
        assert await acc.plain("first") == "served"

    with trio.fail_after(SECONDS):
        async with await ipcpipes.listen_messages(endpoint) as listener:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.serve, listener)
                async with driver.connect(Calls, endpoint) as acc:
                    async with trio.open_nursery() as callers:
                        callers.start_soon(be_served, acc)
                        await server.has_first.wait()
                        with trio.fail_after(SECONDS / 4), unavailable() as caught:
                            if by_hand:
                                second = acc.plain.with_options(notify=events.append)
                                async with second.begin("second") as call:
                                    await call.complete()
                            else:
                                await acc.plain("second")
                        assert "this call was not begun" in caught.value.message
                        server.may_answer.set()
    assert events == [CALL] * by_hand


async def test_a_lost_call_ends_its_pipes(driver: Driver, endpoint: ipcpipes.Endpoint) -> None:
    server = ClosingServer()

    async def be_served(acc: Any) -> None:
        assert await acc.plain("first") == "served"

    with trio.fail_after(SECONDS):
        async with await ipcpipes.listen_messages(endpoint) as listener:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.serve, listener)
                async with driver.connect(Calls, endpoint) as acc:
                    async with trio.open_nursery() as callers:
                        callers.start_soon(be_served, acc)
                        await server.has_first.wait()
                        async with acc.out.begin() as call:
                            with trio.fail_after(SECONDS / 4), unavailable():
                                await call.pipes["numbers"].pull()
                        server.may_answer.set()
