"""Handles of calls at the client (behaviours 53, 54, 57, 60 to 62)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc
from ipcpipes.rpc import CallEvent

from .rpc_drivers import Driver
from .rpc_over_links import (
    SECONDS,
    bad_stub_data,
    call_failed,
    calling,
    cancelled,
    closed,
    failing,
    invalid_call,
    invalid_handle,
    pending,
)
from .rpc_over_managers import Calls, drained, given_back, pushed
from .rpc_waiting import Event, sleep

CALL = CallEvent.CALL_COMPLETE


async def test_53_completing_early_is_pending_and_can_be_repeated(driver: Driver) -> None:
    go_on = Event()

    async def plain(value: Any) -> Any:
        await go_on.wait()
        return value

    async with driver.calling(plain=plain) as acc:
        async with acc.plain.begin(7) as call:
            for _ in range(3):
                with pending():
                    call.complete_nowait()
            go_on.set()
            with trio.fail_after(SECONDS):
                while True:
                    try:
                        assert call.complete_nowait() == 7
                    except rpc.AsyncCallPending:
                        await sleep(0.001)
                    else:
                        break
            with invalid_handle():
                call.complete_nowait()


async def test_53_a_cancelled_complete_can_be_repeated() -> None:
    go_on = trio.Event()

    async def plain(value: Any) -> Any:
        await go_on.wait()
        return value

    async with calling(plain=plain) as acc:
        async with acc.plain.begin(7) as call:
            with trio.move_on_after(0.01) as scope:
                await call.complete()
            assert scope.cancelled_caught
            go_on.set()
            assert await call.complete() == 7


async def test_54_the_client_cannot_complete_twice(driver: Driver) -> None:
    async with driver.calling(plain=given_back) as acc:
        async with acc.plain.begin(1) as call:
            assert await call.complete() == 1
            with invalid_handle():
                await call.complete()
            with invalid_handle():
                call.complete_nowait()


async def test_57_the_pipes_of_a_completed_call_are_invalid(driver: Driver) -> None:
    async with driver.calling(into_out=_through) as acc:
        async with acc.into_out.begin() as call:
            await pushed(call.pipes["source"], [1])
            assert await drained(call.pipes["sink"]) == [1]
            await call.complete()
            with invalid_handle():
                await call.pipes["source"].push([1])
            with invalid_handle():
                await call.pipes["source"].close()
            with invalid_handle():
                await call.pipes["sink"].pull()


async def _through(source: Any, sink: Any) -> None:
    await pushed(sink, await drained(source))


async def test_60_a_client_need_not_close_after_a_failed_push(driver: Driver) -> None:
    async def into(numbers: Any) -> None:
        raise rpc.Fault("no", code=5)

    async with driver.calling(into=into, plain=given_back) as acc:
        async with acc.into.begin() as call:
            with pytest.raises(rpc.Fault):
                while True:
                    await call.pipes["numbers"].push(bytes(40_000))
            with failing(rpc.Fault, 5):
                await call.pipes["numbers"].close()
        assert await acc.plain(1) == 1


async def test_60_a_manager_need_not_close_after_a_failed_push(driver: Driver) -> None:
    async def out_out(first: Any, second: Any) -> None:
        await first.close()
        await first.push([1])  # the second pipe stays open

    async with driver.calling(out_out=out_out, plain=given_back) as acc:
        with closed():
            await acc.out_out(first=[], second=[])
        assert await acc.plain(1) == 1


async def test_61_a_handle_serves_one_call(driver: Driver) -> None:
    async with driver.calling(into=drained) as acc:
        handle = acc.into.begin()
        async with handle as call:
            with invalid_call():
                async with handle:
                    raise AssertionError("two calls")
            await pushed(call.pipes["numbers"], [1])
            assert await call.complete() == [1]
        with invalid_handle():
            async with handle:
                raise AssertionError("a call that is over")


async def test_61_a_handle_must_be_entered(driver: Driver) -> None:
    async with driver.calling(into=drained) as acc:
        handle = acc.into.begin()
        with invalid_handle():
            await handle.complete()
        with invalid_handle():
            handle.complete_nowait()
        with invalid_handle():
            handle.cancel()


async def test_62_a_call_that_cannot_begin_raises_without_a_notification(driver: Driver) -> None:
    events: list[CallEvent] = []
    async with driver.serving(driver.manager(plain=given_back)) as listener:
        async with driver.connect(Calls, listener.endpoint) as acc:
            notified = acc.plain.with_options(notify=events.append)
            with pytest.raises(TypeError):
                async with notified.begin(object()):
                    raise AssertionError("it has begun")
            with pytest.raises(ValueError, match="send large values through a pipe"):
                async with notified.begin(bytes(17 * 2**20)):
                    raise AssertionError("it has begun")
            with pytest.raises(TypeError):
                notified.begin(1, 2)
        with pytest.raises(rpc.ServerUnavailable):
            async with notified.begin(1):
                raise AssertionError("it has begun")
    assert events == []


async def test_62_a_failure_is_notified_once(driver: Driver) -> None:
    events: list[CallEvent] = []

    async def plain(value: Any) -> None:
        raise LookupError

    async with driver.calling(plain=plain) as acc:
        async with acc.plain.with_options(notify=events.append).begin(1) as call:
            with call_failed():
                await call.complete()
    assert events == [CALL]


async def test_62_an_abortive_cancellation_is_notified_once(driver: Driver) -> None:
    events: list[CallEvent] = []
    pushes = 0

    async def out(numbers: Any) -> None:
        nonlocal pushes
        while True:
            await numbers.push(bytes(400))
            pushes += 1

    async with driver.calling(out=out, plain=given_back) as acc:
        async with acc.out.with_options(notify=events.append).begin() as call:
            await call.pipes["numbers"].pull()
            call.cancel()
            assert events.count(CALL) == 1
            with cancelled():
                await call.complete()
        await acc.plain(1)  # the server has answered both
        await driver.settle()
    assert events.count(CALL) == 1
    assert events[-1] is CALL, "nothing follows the end"


async def test_complete_raises_for_a_result_of_another_type(driver: Driver) -> None:
    async def both_value(numbers: Any, value: int) -> Any:
        await drained(numbers)
        await numbers.close()
        return "no number"

    async with driver.calling(both_value=both_value) as acc:
        async with acc.both_value.begin(value=1, numbers=([], [])) as call:
            with bad_stub_data():
                await call.complete()


async def test_given_pipes_move_beside_pipes_by_hand(driver: Driver) -> None:
    async with driver.calling(into_out=_through) as acc:
        async with acc.into_out.begin(source=range(1000)) as call:
            assert await drained(call.pipes["sink"]) == list(range(1000))
            await call.complete()
        got: list[int] = []
        async with acc.into_out.begin(sink=got) as call:
            await pushed(call.pipes["source"], [1, 2])
            await call.complete()
        assert got == [1, 2]
        async with acc.into_out.begin(range(3), got) as call:
            await call.complete()
        assert got == [1, 2, 0, 1, 2]


async def test_a_pipe_by_hand_waits_for_the_given_pipes_before_it() -> None:
    gate = trio.Event()
    got: list[int] = []

    async def numbers() -> AsyncIterator[int]:
        await gate.wait()
        yield 7

    async def into_out(source: Any, sink: Any) -> str:
        await sink.push([number async for chunk in source for number in chunk])
        await sink.close()
        return "done"

    async with calling(into_out=into_out) as acc:
        async with acc.into_out.begin(source=numbers()) as call:

            async def pull() -> None:
                async for chunk in call.pipes["sink"]:
                    got.extend(chunk)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(pull)
                await trio.testing.wait_all_tasks_blocked()
                gate.set()
            assert await call.complete() == "done"
    assert got == [7]
