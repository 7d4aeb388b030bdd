"""Calls that are given up at an awkward time affect no other call, and hold nothing."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc
from ipcpipes.rpc._trio.link import LEAST_KEEP_ALIVE
from ipcpipes.testing import unique_endpoint

from .rpc_drivers import Driver
from .rpc_over_links import SECONDS, call_failed, calling, invalid_handle, serving, timed_out
from .rpc_over_managers import Calls, Scripted
from .rpc_waiting import until_cancelled

MIB = 2**20


class Steps(trio.abc.Instrument):
    """Cancels a scope after a number of task steps."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self._scope = scope
        self._left = steps

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if not self._left:
            self._scope.cancel()


async def for_ever(*_: Any) -> None:
    await trio.sleep_forever()


async def forever(*_: Any) -> None:
    await until_cancelled()


async def test_a_failing_nursery_of_a_cancelled_manager_ends_no_other() -> None:
    """One task fails with the error of its pipe, another is cancelled: a group is raised."""

    async def into(numbers: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(for_ever)
            async for _ in numbers:
                pass

    async with calling(into=into, inline=lambda value: value) as acc:
        for _ in range(3):
            with trio.move_on_after(0.05):
                async with acc.into.begin() as call:
                    await call.pipes["numbers"].push([1])
                    await call.complete()
            assert await acc.inline(1) == 1


async def test_a_failing_nursery_in_a_lost_connection_ends_no_server() -> None:
    async def into(numbers: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(for_ever)
            async for _ in numbers:
                pass

    with trio.fail_after(SECONDS):
        async with serving(Scripted(into=into, inline=lambda value: value)) as listener:
            async with (
                rpc.connect(Calls, listener.endpoint) as acc,
                rpc.operation_of(acc.into).begin() as call,
            ):
                await call.pipes["numbers"].push([1])
                assert await acc.inline(1) == 1
            async with rpc.connect(Calls, listener.endpoint) as acc:
                assert await acc.inline(2) == 2


async def test_leaving_a_handle_wakes_a_pull_beside_it(driver: Driver) -> None:
    async def pull(pipe: Any) -> None:
        with pytest.raises(driver.left):
            await pipe.pull()

    async with driver.calling(out=forever) as acc, trio.open_nursery() as nursery:
        async with acc.out.begin() as call:
            nursery.start_soon(pull, call.pipes["numbers"])
            await driver.settle()


async def test_a_completion_that_times_out_wakes_a_pull_beside_it() -> None:
    async def pull(pipe: Any) -> None:
        with invalid_handle():
            await pipe.pull()

    async with calling(out=for_ever) as acc, trio.open_nursery() as nursery:
        async with acc.out.with_options(timeout=0.05).begin() as call:
            nursery.start_soon(pull, call.pipes["numbers"])
            await trio.testing.wait_all_tasks_blocked()
            with timed_out():
                await call.complete()


async def test_aborting_wakes_a_pull_beside_it() -> None:
    heard: list[bool] = []

    async def into(numbers: Any) -> None:
        async def pull() -> None:
            with invalid_handle():
                await numbers.pull()
            heard.append(True)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(pull)
            await trio.sleep(0.01)
            rpc.current_call().abort(5)

    async with calling(into=into) as acc, acc.into.begin() as call:
        with pytest.raises(rpc.Fault, check=lambda error: error.code == 5):
            await call.complete()
        with trio.fail_after(SECONDS):
            while not heard:
                await trio.sleep(0.001)


async def test_a_call_can_be_cancelled_when_it_gets_room() -> None:
    async with calling(
        plain=trio.sleep, inline=lambda value: value, server={"max_calls": 1}
    ) as acc:
        for steps in range(1, 40):
            scope = trio.CancelScope()

            async def second(scope: trio.CancelScope = scope) -> None:
                with scope:
                    await acc.inline(2)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(acc.plain, 0.002)
                await trio.sleep(0.0005)
                nursery.start_soon(second)
                instrument = Steps(scope, steps)
                trio.lowlevel.add_instrument(instrument)
            trio.lowlevel.remove_instrument(instrument)
            assert await acc.inline(3) == 3


async def test_a_cancelled_push_releases_its_memory() -> None:
    """The garbage collector once crashed on what such a push left behind."""
    async with calling(octets_into=for_ever, octets_out=flood, inline=lambda value: value) as acc:
        async with acc.octets_into.begin() as call:
            for _ in range(5):
                memory = bytearray(8 * MIB)
                with trio.move_on_after(0.01):
                    await call.pipes["data"].push(memory)
                memory.clear()
        for _ in range(10):
            async with acc.octets_out.begin():
                await trio.sleep(0.002)  # the server pushes, and the call is given up
            gc.collect()
        assert await acc.inline(1) == 1


async def flood(data: Any) -> None:
    while True:
        await data.push(bytes(MIB))


async def test_a_deferred_call_can_be_answered_after_it_was_given_up() -> None:
    deferred: list[rpc.CurrentCall] = []

    async def plain(waits: bool) -> None:
        deferred.append(rpc.current_call())
        deferred[-1].defer()
        if waits:
            await trio.sleep_forever()

    async with calling(plain=plain, inline=lambda value: value) as acc:
        for waits in (False, True):
            with trio.move_on_after(0.02):
                await acc.plain(waits)
            assert await acc.inline(1) == 1
            deferred[-1].complete("ignored")


async def test_a_server_can_close_while_clients_leave() -> None:
    for steps in range(12):
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                manager = Scripted(inline=lambda value: value)
                async with serving(manager) as listener, trio.open_nursery() as clients:

                    async def one(where: Any = listener.endpoint) -> None:
                        async with rpc.connect(Calls, where) as acc:
                            await acc.inline(1)

                    for _ in range(5):
                        clients.start_soon(one)
                    await trio.sleep(0.002)
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    clients.cancel_scope.cancel()
                    nursery.start_soon(listener.aclose)


async def test_a_keep_alive_that_is_too_short_is_refused() -> None:
    for keep_alive in (0, LEAST_KEEP_ALIVE / 2):
        with pytest.raises(ValueError, match=r"must be 0\.04 seconds or more"):
            async with rpc.connect(Calls, unique_endpoint(), keep_alive=keep_alive):
                pass
    async with calling(
        inline=lambda value: value,
        client={"keep_alive": LEAST_KEEP_ALIVE},
        server={"keep_alive": LEAST_KEEP_ALIVE},
    ) as acc:
        for _ in range(5):
            assert await acc.inline(1) == 1
            await trio.sleep(3 * LEAST_KEEP_ALIVE)


async def test_a_fault_beside_a_cancelled_task_fails_the_call() -> None:
    async def plain(value: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(for_ever)
            raise ValueError("its own")

    async with calling(plain=plain, inline=lambda value: value) as acc:
        with call_failed():
            await acc.plain(1)
        assert await acc.inline(1) == 1
