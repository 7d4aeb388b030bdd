"""Pipes by hand at the client, and their notifications (behaviours 49 to 52)."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes.rpc import CallEvent

from .rpc_drivers import CALLING, Driver
from .rpc_over_links import empty
from .rpc_over_managers import drained, given_back, pushed
from .rpc_waiting import Event

CALL, SEND, RECEIVE = CallEvent.CALL_COMPLETE, CallEvent.SEND_COMPLETE, CallEvent.RECEIVE_COMPLETE


async def test_49_a_pull_waits_for_elements(driver: Driver) -> None:
    go_on = Event()
    got: list[list[int]] = []

    async def out(numbers: Any) -> None:
        await go_on.wait()
        await pushed(numbers, [1, 2])

    async with driver.calling(out=out) as acc:
        async with acc.out.begin() as call, trio.open_nursery() as nursery:

            async def pull() -> None:
                got.append(list(await call.pipes["numbers"].pull()))

            nursery.start_soon(pull)
            await driver.settle()
            assert got == []
            go_on.set()
        assert got == [[1, 2]]


async def test_49_a_pull_of_the_manager_waits_for_elements(driver: Driver) -> None:
    entered = Event()

    async def into(numbers: Any) -> list[int]:
        entered.set()
        return await drained(numbers)

    async with driver.calling(into=into) as acc:
        async with acc.into.begin() as call:
            await entered.wait()
            await driver.settle()
            await pushed(call.pipes["numbers"], [1, 2])
            assert await call.complete() == [1, 2]


async def test_49_one_task_at_a_time_pulls_from_a_pipe(driver: Driver) -> None:
    one_has_failed = Event()
    outcomes: list[Any] = []

    async def out(numbers: Any) -> None:
        await one_has_failed.wait()
        await pushed(numbers, [7])

    async def pull(numbers: Any) -> None:
        try:
            outcomes.append(list(await numbers.pull()))
        except trio.BusyResourceError as error:
            assert "pulling from the pipe numbers" in str(error)
            outcomes.append("busy")
            one_has_failed.set()

    async with driver.calling(out=out) as acc, acc.out.begin() as call:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pull, call.pipes["numbers"])
            nursery.start_soon(pull, call.pipes["numbers"])
        assert outcomes == ["busy", [7]]
        assert await drained(call.pipes["numbers"]) == []
        await call.complete()


async def test_49_one_task_at_a_time_pushes_into_a_pipe(driver: Driver) -> None:
    one_has_failed = Event()
    large = bytes(2**22)  # more than the credit, so that a push waits for the manager

    async def into(numbers: Any) -> int:
        await one_has_failed.wait()
        return len(await drained(numbers))

    async def push(numbers: Any) -> None:
        try:
            await numbers.push(large)
        except trio.BusyResourceError as error:
            assert "pushing into the pipe numbers" in str(error)
            with pytest.raises(trio.BusyResourceError):
                numbers.push_nowait([1])
            one_has_failed.set()

    async with driver.calling(into=into) as acc, acc.into.begin() as call:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push, call.pipes["numbers"])
            nursery.start_soon(push, call.pipes["numbers"])
        await call.pipes["numbers"].close()
        assert await call.complete() == len(large) // 4


async def test_push_nowait_refuses_what_has_no_room(driver: Driver) -> None:
    go_on = Event()

    async def into(numbers: Any) -> int:
        await go_on.wait()
        return len(await drained(numbers))

    async with driver.calling(into=into, server={"credit": 2**17}) as acc:
        async with acc.into.begin() as call:
            numbers = call.pipes["numbers"]
            with pytest.raises(ValueError, match="use push"):
                numbers.push_nowait(bytes(5000))
            count = 0
            with pytest.raises(trio.WouldBlock):
                while True:
                    numbers.push_nowait(bytes(4000))
                    count += 1000
            assert 0 < count <= 2**17
            go_on.set()
            await numbers.close()
            assert await call.complete() == count


async def test_50_an_empty_pull_after_receive_complete_is_the_end(driver: Driver) -> None:
    events: list[CallEvent] = []
    async with driver.calling(out=lambda numbers: numbers.close()) as acc:
        async with acc.out.with_options(notify=events.append).begin() as call:
            await driver.heard(acc, lambda: RECEIVE in events)
            assert len(await call.pipes["numbers"].pull()) == 0
            with empty():
                await call.pipes["numbers"].pull()
            assert await call.complete() is None


@pytest.mark.parametrize("calling", CALLING.values(), ids=CALLING)
@pytest.mark.parametrize("count", [1, 100, 5_000, 200_000])
async def test_51_memory_can_be_reused_after_a_push(calling: Any, count: int) -> None:
    sums: list[int] = []

    async def into(numbers: Any) -> None:
        async for chunk in numbers:
            sums.append(sum(chunk))

    async with calling(into=into) as acc:
        async with acc.into.begin() as call:
            memory = array("i", [1]) * count
            for n in range(1, 6):
                memory[:] = array("i", [n]) * count
                await call.pipes["numbers"].push(memory)
                memory[:] = array("i", [1_000_000]) * count
                memory.append(0)  # fails while the memory is exported
                memory.pop()
            await call.pipes["numbers"].close()
            await call.complete()
    assert sum(sums) == count * (1 + 2 + 3 + 4 + 5)


async def test_52_pushes_at_once_share_their_send_completes(driver: Driver) -> None:
    events: list[CallEvent] = []
    async with driver.calling(into=drained) as acc:
        async with acc.into.with_options(notify=events.append).begin() as call:
            for n in range(100):
                call.pipes["numbers"].push_nowait([n])
            await call.pipes["numbers"].close()
            assert await call.complete() == list(range(100))
    assert 1 <= events.count(SEND) <= 101


async def test_52_without_notify_there_are_no_notifications(driver: Driver) -> None:
    events: list[CallEvent] = []
    async with driver.calling(into=drained) as acc:
        acc.into.with_options(notify=events.append)  # makes another operation
        async with acc.into.begin() as call:
            await pushed(call.pipes["numbers"], [1])
            assert await call.complete() == [1]
    assert not events


async def test_notify_can_complete_the_call(driver: Driver) -> None:
    results: list[Any] = []

    def notify(event: CallEvent) -> None:
        if event is CALL:
            results.append(call.complete_nowait())

    async with driver.calling(plain=given_back) as acc:
        async with acc.plain.with_options(notify=notify).begin(5) as call:
            await driver.heard(acc, lambda: results)
    assert results == [5]
