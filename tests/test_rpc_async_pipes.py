"""Pipes that are gone on with by hand, and what notifications say of them (behaviours 49 to 52)."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes.rpc import CallEvent

from .rpc_over_links import SECONDS, calling, calling_in_memory, empty
from .rpc_over_managers import drained, given_back, pushed

CALL, SEND, RECEIVE = CallEvent.CALL_COMPLETE, CallEvent.SEND_COMPLETE, CallEvent.RECEIVE_COMPLETE


async def test_49_a_pull_waits_where_there_is_nothing_and_then_has_it() -> None:
    go_on = trio.Event()
    got: list[list[int]] = []

    async def out(numbers: Any) -> None:
        await go_on.wait()
        await pushed(numbers, [1, 2])

    async with calling(out=out) as acc:
        async with acc.out.begin() as call, trio.open_nursery() as nursery:

            async def pull() -> None:
                got.append(list(await call.pipes["numbers"].pull()))

            nursery.start_soon(pull)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert got == []
            go_on.set()
        assert got == [[1, 2]]


async def test_49_the_same_at_the_manager() -> None:
    entered = trio.Event()

    async def into(numbers: Any) -> list[int]:
        entered.set()
        return await drained(numbers)

    async with calling(into=into) as acc:
        async with acc.into.begin() as call:
            await entered.wait()
            await trio.testing.wait_all_tasks_blocked(0.01)
            await pushed(call.pipes["numbers"], [1, 2])
            assert await call.complete() == [1, 2]


async def test_49_one_task_at_a_time_pulls_from_a_pipe() -> None:
    async def out(numbers: Any) -> None:
        await trio.sleep_forever()

    async with calling(out=out) as acc:
        async with acc.out.begin() as call, trio.open_nursery() as nursery:
            nursery.start_soon(call.pipes["numbers"].pull)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match="numbers"):
                await call.pipes["numbers"].pull()
            nursery.cancel_scope.cancel()


async def test_50_after_receive_complete_nothing_is_the_end() -> None:
    events: list[CallEvent] = []
    async with calling(out=lambda numbers: numbers.close()) as acc:
        async with acc.out.with_options(notify=events.append).begin() as call:
            with trio.fail_after(SECONDS):
                while RECEIVE not in events:
                    await trio.sleep(0.001)
            assert len(await call.pipes["numbers"].pull()) == 0
            with empty():
                await call.pipes["numbers"].pull()
            assert await call.complete() is None


@pytest.mark.parametrize("over", [calling, calling_in_memory])
@pytest.mark.parametrize("count", [1, 100, 5_000, 200_000])
async def test_51_memory_is_the_users_again_when_push_has_returned(over: Any, count: int) -> None:
    sums: list[int] = []

    async def into(numbers: Any) -> None:
        async for chunk in numbers:
            sums.append(sum(chunk))

    async with over(into=into) as acc:
        async with acc.into.begin() as call:
            memory = array("i", [1]) * count
            for n in range(1, 6):
                memory[:] = array("i", [n]) * count
                await call.pipes["numbers"].push(memory)
                memory[:] = array("i", [1_000_000]) * count
                memory.append(0)  # nobody holds on to it
                memory.pop()
            await call.pipes["numbers"].close()
            await call.complete()
    assert sum(sums) == count * (1 + 2 + 3 + 4 + 5)


@pytest.mark.parametrize("count", [1, 5])
async def test_52_pushes_with_notify_have_send_completes(count: int) -> None:
    events: list[CallEvent] = []
    async with calling(into=drained) as acc:
        async with acc.into.with_options(notify=events.append).begin() as call:
            for n in range(count):
                before = events.count(SEND)
                await call.pipes["numbers"].push([n])
                with trio.fail_after(SECONDS):
                    while events.count(SEND) == before:
                        await trio.sleep(0.001)
            assert events.count(SEND) == count
            assert CALL not in events
            await call.pipes["numbers"].close()
            assert await call.complete() == list(range(count))
    assert events.count(CALL) == 1


async def test_52_many_pushes_at_once_have_fewer_and_one_at_least() -> None:
    events: list[CallEvent] = []
    async with calling(into=drained) as acc:
        async with acc.into.with_options(notify=events.append).begin() as call:
            for n in range(100):
                call.pipes["numbers"].push_nowait([n])
            await call.pipes["numbers"].close()
            assert await call.complete() == list(range(100))
    assert 1 <= events.count(SEND) <= 101


async def test_52_what_gives_the_pipe_room_is_no_receive_complete() -> None:
    events: list[CallEvent] = []

    async def octets_into(data: Any) -> int:
        return sum([len(chunk) async for chunk in data])

    async with calling(octets_into=octets_into) as acc:
        operation = acc.octets_into.with_options(notify=events.append)
        async with operation.begin(data=bytes(8 * 2**20)) as call:
            assert await call.complete() == 8 * 2**20
    assert events.count(RECEIVE) == 0, "nothing has come"
    assert events[-1] == CALL


async def test_52_receive_complete_for_what_comes() -> None:
    events: list[CallEvent] = []
    async with calling(out=lambda numbers: pushed(numbers, [1])) as acc:
        async with acc.out.with_options(notify=events.append).begin() as call:
            assert await drained(call.pipes["numbers"]) == [1]
            await call.complete()
    assert events.count(RECEIVE) >= 1
    assert events.count(SEND) == 0
    assert events.count(CALL) == 1


async def test_52_without_notify_nobody_is_told() -> None:
    async with calling(into=drained) as acc:
        async with acc.into.begin() as call:
            await pushed(call.pipes["numbers"], [1])
            assert not call._caller.link.session.notified
            assert await call.complete() == [1]


async def test_notify_may_use_the_call() -> None:
    results: list[Any] = []

    def notify(event: CallEvent) -> None:
        if event is CALL:
            results.append(call.complete_nowait())

    async with calling(plain=given_back) as acc:
        async with acc.plain.with_options(notify=notify).begin(5) as call:
            with trio.fail_after(SECONDS):
                while not results:
                    await trio.sleep(0.001)
    assert results == [5]
