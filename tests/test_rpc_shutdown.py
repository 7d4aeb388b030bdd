"""How a connection ends, and what happens to open calls at both ends."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import rpc

from .rpc_drivers import Driver, shut_down
from .rpc_over_links import SECONDS, Witness, comm_failure, failing, unavailable
from .rpc_over_managers import (
    Calls,
    Scripted,
    drained,
    echoed,
    given_back,
    pushed,
)
from .rpc_waiting import Event, sleep, until

GONE = (rpc.ServerUnavailable, rpc.CommFailure)


async def test_closing_the_listener_lets_open_calls_finish(driver: Driver) -> None:
    go_on, entered, ended = Event(), Event(), Event()

    async def both(numbers: Any) -> int:
        entered.set()
        await go_on.wait()
        return await echoed(numbers)

    async def serve(task_status: Any) -> None:
        manager = driver.manager(both=both, inline=lambda value: value)
        await driver.serve(manager, task_status=task_status)
        ended.set()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(serve)
            endpoint = listener.endpoint
            async with driver.connect(Calls, endpoint) as acc, driver.connect(Calls, endpoint):
                async with acc.both.begin() as call:
                    await entered.wait()
                    await driver.close(listener)
                    await shut_down(acc)
                    assert not ended.is_set()
                    go_on.set()
                    await pushed(call.pipes["numbers"], [1, 2])
                    assert await drained(call.pipes["numbers"]) == [1, 2]
                    assert await call.complete() == 2
                await ended.wait()
                for _ in range(2):
                    with pytest.raises(GONE):
                        await acc.inline(1)
            with pytest.raises(ipcpipes.EndpointNotFound):
                async with driver.connect(Calls, endpoint):
                    raise AssertionError("it is served")


@pytest.mark.parametrize("answer", ["complete", "abort"])
async def test_closing_the_listener_waits_for_deferred_calls(driver: Driver, answer: str) -> None:
    kept: list[rpc.CurrentCall] = []
    ended = Event()

    async def plain(value: Any) -> None:
        rpc.current_call().defer()
        kept.append(rpc.current_call())

    async def serve(task_status: Any) -> None:
        manager = driver.manager(plain=plain, inline=lambda value: value)
        await driver.serve(manager, task_status=task_status)
        ended.set()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(serve)
            async with driver.connect(Calls, listener.endpoint) as acc:
                async with acc.plain.begin(1) as call:
                    await until(lambda: kept)
                    await driver.close(listener)
                    await shut_down(acc)
                    await driver.settle()
                    assert not ended.is_set()
                    if answer == "complete":
                        kept[0].complete(5)
                        assert await call.complete() == 5
                    else:
                        await trio.to_thread.run_sync(kept[0].abort, 5)
                        with failing(rpc.Fault, 5):
                            await call.complete()
                    await ended.wait()


async def test_an_idle_client_does_not_delay_the_end_of_a_server(driver: Driver) -> None:
    ended = Event()

    async def serve(task_status: Any) -> None:
        await driver.serve(driver.manager(plain=given_back), task_status=task_status)
        ended.set()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(serve)
            async with driver.connect(Calls, listener.endpoint) as acc:
                assert await acc.plain(1) == 1
                await driver.close(listener)
                await ended.wait()
                with pytest.raises(GONE):
                    await acc.plain(2)


async def test_calls_that_cross_the_end_were_not_begun(driver: Driver) -> None:
    """Each call is either served, or fails at the client as not begun."""
    served: list[int] = []
    outcomes: dict[int, str] = {}

    async def plain(value: int) -> int:
        served.append(value)
        await sleep(0.001)
        return value

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(driver.serve, driver.manager(plain=plain))
            async with driver.connect(Calls, listener.endpoint) as acc:

                async def call(number: int) -> None:
                    try:
                        await acc.plain(number)
                    except rpc.ServerUnavailable:
                        outcomes[number] = "not begun"
                    except rpc.CommFailure:
                        outcomes[number] = "lost"
                    else:
                        outcomes[number] = "done"

                async with trio.open_nursery() as callers:
                    for number in range(50):
                        callers.start_soon(call, number)
                        if number == 25:
                            await trio.lowlevel.checkpoint()
                            callers.start_soon(driver.close, listener)
    assert set(outcomes) == set(range(50))
    done = [number for number in outcomes if outcomes[number] == "done"]
    assert sorted(served) == sorted(done)


async def test_cancelling_the_server_ends_its_calls(endpoint: ipcpipes.Endpoint) -> None:
    manager = Witness()

    async def plain(value: Any) -> None:
        with manager.watching():
            await trio.sleep_forever()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            await nursery.start(rpc.serve, Scripted(plain=plain), endpoint)
            async with (
                rpc.connect(Calls, endpoint) as acc,
                rpc.operation_of(acc.plain).begin(1) as call,
            ):
                await manager.began.wait()
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    with comm_failure():
                        await call.complete()
        assert isinstance(manager.error, trio.Cancelled)


async def test_calls_after_the_block_are_refused(driver: Driver) -> None:
    async with driver.calling(plain=given_back) as acc:
        pass
    with unavailable() as caught:
        await acc.plain(1)
    assert "closed here" in caught.value.message


async def test_an_error_in_the_block_is_raised_unchanged(driver: Driver) -> None:
    manager = driver.manager(plain=given_back)
    async with driver.serving(manager) as listener:
        with pytest.raises(LookupError, match="mine"):
            async with driver.connect(Calls, listener.endpoint):
                raise LookupError("mine")


async def test_calls_without_an_answer_are_sent_before_the_end(driver: Driver) -> None:
    told: list[int] = []

    async def tell(value: int) -> None:
        told.append(value)

    async with driver.serving(driver.manager(tell=tell)) as listener:
        async with driver.connect(Calls, listener.endpoint) as acc:
            for number in range(200):
                await acc.tell(number)
        await until(lambda: len(told) == 200)
    assert sorted(told) == list(range(200))
    assert driver.serves_in_threads or told == sorted(told)
