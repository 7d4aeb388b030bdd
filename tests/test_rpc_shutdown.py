"""How a connection ends: what becomes of the calls that are open, at both ends."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import rpc

from .rpc_over_links import SECONDS, Witness, calling, comm_failure, failing, serving, unavailable
from .rpc_over_managers import (
    Calls,
    Other,
    OtherManager,
    Scripted,
    drained,
    echoed,
    given_back,
    pushed,
)


async def test_closing_the_listener_lets_open_calls_finish(endpoint: ipcpipes.Endpoint) -> None:
    go_on = trio.Event()
    entered = trio.Event()
    ended = trio.Event()

    async def both(numbers: Any) -> int:
        entered.set()
        await go_on.wait()
        return await echoed(numbers)

    async def serve(task_status: Any) -> None:
        await rpc.serve(Scripted(both=both, plain=given_back), endpoint, task_status=task_status)
        ended.set()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(serve)
            idle = rpc.connect(Calls, endpoint)
            async with rpc.connect(Calls, endpoint) as acc, idle:
                async with acc.both.begin() as call:
                    await entered.wait()
                    await listener.aclose()
                    while True:
                        try:
                            await acc.plain(1)
                        except rpc.ServerUnavailable:
                            break
                    assert not ended.is_set()
                    go_on.set()
                    await pushed(call.pipes["numbers"], [1, 2])
                    assert await drained(call.pipes["numbers"]) == [1, 2]
                    assert await call.complete() == 2
                await ended.wait()
                with pytest.raises((rpc.ServerUnavailable, rpc.CommFailure)):
                    await acc.plain(1)
            with pytest.raises(ipcpipes.EndpointNotFound):
                async with rpc.connect(Calls, endpoint):
                    raise AssertionError("it is served")


@pytest.mark.parametrize("answer", ["complete", "abort"])
async def test_closing_the_listener_waits_for_deferred_calls_too(
    endpoint: ipcpipes.Endpoint, answer: str
) -> None:
    kept: list[rpc.CurrentCall] = []
    ended = trio.Event()

    async def plain(value: Any) -> None:
        rpc.current_call().defer()
        kept.append(rpc.current_call())

    async def serve(task_status: Any) -> None:
        await rpc.serve(Scripted(plain=plain), endpoint, task_status=task_status)
        ended.set()

    with trio.fail_after(SECONDS / 4):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(serve)
            async with rpc.connect(Calls, endpoint) as acc, acc.plain.begin(1) as call:
                while not kept:
                    await trio.sleep(0.001)
                await listener.aclose()
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert not ended.is_set()
                if answer == "complete":
                    kept[0].complete(5)
                    assert await call.complete() == 5
                else:
                    await trio.to_thread.run_sync(kept[0].abort, 5)
                    with failing(rpc.Fault, 5):
                        await call.complete()
                await ended.wait()


async def test_calls_that_cross_the_end_were_not_begun(endpoint: ipcpipes.Endpoint) -> None:
    """A call is served, or is said not to have begun: nobody has to guess."""
    served: list[int] = []
    outcomes: dict[int, str] = {}

    async def plain(value: int) -> int:
        served.append(value)
        await trio.sleep(0.001)
        return value

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(rpc.serve, Scripted(plain=plain), endpoint)
            async with rpc.connect(Calls, endpoint) as acc, trio.open_nursery() as callers:

                async def call(number: int) -> None:
                    try:
                        await acc.plain(number)
                    except rpc.ServerUnavailable:
                        outcomes[number] = "not begun"
                    except rpc.CommFailure:
                        outcomes[number] = "lost"
                    else:
                        outcomes[number] = "done"

                for number in range(50):
                    callers.start_soon(call, number)
                    if number == 25:
                        await trio.lowlevel.checkpoint()
                        callers.start_soon(listener.aclose)
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
            async with rpc.connect(Calls, endpoint) as acc, acc.plain.begin(1) as call:
                await manager.began.wait()
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    with comm_failure():
                        await call.complete()
        assert isinstance(manager.error, trio.Cancelled)


async def test_calls_after_the_block_say_so() -> None:
    async with calling(plain=given_back) as acc:
        pass
    with unavailable() as caught:
        await acc.plain(1)
    assert "closed here" in caught.value.message


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    async with serving(OtherManager()) as listener:
        with pytest.raises(LookupError, match="mine"):
            async with rpc.connect(Other, listener.endpoint):
                raise LookupError("mine")


async def test_calls_that_nobody_waits_for_are_sent_before_the_end() -> None:
    told: list[int] = []

    async def tell(value: int) -> None:
        told.append(value)

    async with serving(Scripted(tell=tell)) as listener:
        async with rpc.connect(Calls, listener.endpoint) as acc:
            for number in range(200):
                await acc.tell(number)
        with trio.fail_after(SECONDS):
            while len(told) < 200:
                await trio.sleep(0.001)
    assert told == list(range(200))
