"""Calls that are cancelled or given up, at both ends (behaviours 63 to 69)."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc.core.session import Session
from ipcpipes.rpc.core.state import Party
from ipcpipes.rpc.wire.format import Limits

from .rpc_drivers import Driver
from .rpc_over_links import (
    SECONDS,
    Witness,
    calling,
    calling_in_memory,
    cancelled,
    open_calls,
    timed_out,
)
from .rpc_over_managers import Calls, drained, echoed, given_back, pushed
from .rpc_waiting import Event, sleep, until, until_cancelled
from .threads import Worker


async def until_none_is_open(acc: rpc.Client[Calls]) -> None:
    """The server's ``inline`` is ``open_calls``."""
    with trio.fail_after(SECONDS):
        while await acc.inline(None):
            await trio.sleep(0.001)


def count_open(_: object) -> int:
    return open_calls()


async def test_63_an_abortive_cancellation_completes_at_once(driver: Driver) -> None:
    manager = Witness()

    async def plain(value: Any) -> None:
        with manager.watching():
            await go_on.wait_shielded()

    go_on = Event()
    async with driver.calling(plain=plain, inline=count_open) as acc:
        async with acc.plain.begin(1) as call:
            await manager.began.wait()
            call.cancel()
            with cancelled():
                call.complete_nowait()
        assert await acc.inline(None) == 1, "the manager still runs"
        go_on.set()
        await until_none_is_open(acc)


async def test_63_cancelling_wakes_a_waiting_complete(driver: Driver) -> None:
    async def plain(value: Any) -> None:
        await until_cancelled()

    async with driver.calling(plain=plain) as acc:
        async with acc.plain.begin(1) as call, trio.open_nursery() as nursery:

            async def complete() -> None:
                with cancelled():
                    await call.complete()

            nursery.start_soon(complete)
            await driver.settle()
            call.cancel()


@pytest.mark.parametrize("direction", ["into", "out"])
async def test_63_cancelling_wakes_a_waiting_push_or_pull(driver: Driver, direction: str) -> None:
    async def forever(numbers: Any) -> None:
        await until_cancelled()

    async with driver.calling(into=forever, out=forever) as acc:
        async with getattr(acc, direction).begin() as call, trio.open_nursery() as nursery:

            async def go_on() -> None:
                with cancelled():
                    while direction == "into":
                        await call.pipes["numbers"].push(bytes(400_000))
                    await call.pipes["numbers"].pull()

            nursery.start_soon(go_on)
            await driver.settle()
            call.cancel()


async def test_64_a_manager_can_return_early_when_asked_to_end(driver: Driver) -> None:
    asked: list[bool] = []

    async def plain(value: Any) -> str:
        call = rpc.current_call()
        while not call.test_cancel():
            asked.append(call.test_cancel())
            await sleep(0.001)
        asked.append(call.test_cancel())
        return "so far"

    async with driver.calling(plain=plain) as acc:
        async with acc.plain.begin(1) as call:
            await until(lambda: asked)
            call.cancel(abortive=False)
            call.cancel(abortive=False)
            assert await call.complete() == "so far"
    assert asked[0] is False
    assert asked[-1] is True


async def test_64_a_manager_can_ignore_that_it_is_asked_to_end(driver: Driver) -> None:
    async def both(numbers: Any) -> int:
        return await echoed(numbers)

    got: list[int] = []
    async with driver.calling(both=both) as acc:
        async with acc.both.begin() as call:
            call.cancel(abortive=False)
            await pushed(call.pipes["numbers"], [1, 2])
            got = await drained(call.pipes["numbers"])
            assert await call.complete() == 2
    assert got == [1, 2]


async def test_64_an_abortive_cancellation_can_follow(driver: Driver) -> None:
    manager = Witness()

    async def plain(value: Any) -> None:
        with manager.watching():
            await until_cancelled()

    async with driver.calling(plain=plain) as acc:
        async with acc.plain.begin(1) as call:
            await manager.began.wait()
            call.cancel(abortive=False)
            call.cancel()
            with cancelled():
                await call.complete()
        await manager.raised(driver.cancelled)


async def test_65_test_cancel_is_false_for_another_call(driver: Driver) -> None:
    async def plain(value: Any) -> bool:
        before = rpc.current_call().test_cancel()
        await sleep(0)
        return before or rpc.current_call().test_cancel()

    async with driver.calling(plain=plain) as acc:
        async with acc.plain.begin(1) as other:
            other.cancel()
        assert await acc.plain(1) is False


async def test_66_an_abortive_cancellation_fails_a_pull_of_the_manager(driver: Driver) -> None:
    manager = Witness()

    async def into(numbers: Any) -> None:
        with manager.watching():
            await numbers.pull()

    async with driver.calling(into=into) as acc:
        async with acc.into.begin() as call:
            await manager.began.wait()
            await driver.settle()
            call.cancel()
            with cancelled():
                await call.complete()
            await manager.raised(rpc.CallCancelled)


async def test_66_an_abortive_cancellation_fails_a_push_of_the_manager(driver: Driver) -> None:
    manager = Witness()

    async def out(numbers: Any) -> None:
        with manager.watching():
            while True:
                await numbers.push(bytes(400_000))

    async with driver.calling(out=out) as acc:
        async with acc.out.begin() as call:
            await manager.began.wait()
            await driver.settle()
            call.cancel()
        await manager.raised(rpc.CallCancelled)


async def test_67_cancelling_an_answered_call_has_no_effect(driver: Driver) -> None:
    async with driver.calling(plain=given_back) as acc:
        for abortive in (True, False):
            events: list[rpc.CallEvent] = []
            async with acc.plain.with_options(notify=events.append).begin(1) as call:
                await driver.heard(acc, lambda: rpc.CallEvent.CALL_COMPLETE in events)  # noqa: B023
                call.cancel(abortive=abortive)
                assert await call.complete() == 1
                call.cancel(abortive=abortive)
            call.cancel(abortive=abortive)


async def test_67_cancelling_is_idempotent(driver: Driver) -> None:
    async def plain(value: Any) -> None:
        await until_cancelled()

    async with driver.calling(plain=plain) as acc:
        async with acc.plain.begin(1) as call:
            call.cancel()
            call.cancel()
            call.cancel(abortive=False)
            with cancelled():
                await call.complete()


@pytest.mark.parametrize("deferred", [False, True])
async def test_68_a_cancel_scope_around_a_call_reaches_the_manager(deferred: bool) -> None:
    manager = Witness()

    async def plain(value: Any) -> None:
        if deferred:
            rpc.current_call().defer()
        with manager.watching():
            await trio.sleep_forever()

    async with calling(plain=plain, inline=count_open) as acc:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(acc.plain, 1)
                await manager.began.wait()
                scope.cancel()
        assert scope.cancelled_caught
        await manager.raised(trio.Cancelled)
        await until_none_is_open(acc)


async def test_68_the_manager_knows_the_deadline_of_the_client() -> None:
    manager = Witness()

    async def plain(value: Any) -> float:
        with manager.watching():
            return rpc.current_call().deadline - trio.current_time()

    async with calling(plain=plain) as acc:
        with trio.fail_after(60):
            assert 50 < await acc.plain(1) <= 60
        assert 40 < await acc.plain.with_options(timeout=50)(1) <= 50
        assert await _without_deadline(acc) > SECONDS - 10


async def _without_deadline(acc: rpc.Client[Calls]) -> Any:
    return await acc.plain(1)


async def test_68_a_call_that_times_out_cancels_its_manager(driver: Driver) -> None:
    manager = Witness()

    async def plain(value: Any) -> None:
        with manager.watching():
            await until_cancelled()

    async with driver.calling(plain=plain, inline=count_open) as acc:
        with timed_out() as caught:
            await acc.plain.with_options(timeout=0.05)(1)
        assert "Calls.plain" in caught.value.message
        await manager.raised(driver.cancelled)
        async with acc.plain.with_options(timeout=0.05).begin(1) as call:
            with timed_out():
                await call.complete()
        await until_none_is_open(acc)


async def test_68_a_call_in_a_cancelled_scope_is_not_sent() -> None:
    served: list[Any] = []

    async def plain(value: Any) -> None:
        served.append(value)

    async with calling(plain=plain, tell=plain, inline=count_open) as acc:
        with trio.CancelScope() as scope:
            scope.cancel()
            await acc.plain("a call")
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            await acc.tell("a call without an answer")
        assert scope.cancelled_caught
        with trio.CancelScope() as scope:
            scope.cancel()
            async with acc.plain.begin("by hand"):
                raise AssertionError("it was begun")
        assert scope.cancelled_caught
        await until_none_is_open(acc)
    assert served == []


async def test_69_a_client_that_disappears_ends_its_calls(driver: Driver) -> None:
    pulling, pushing, sleeping, other = Witness(), Witness(), Witness(), Witness()

    async def into(numbers: Any) -> None:
        with pulling.watching():
            await drained(numbers)

    async def out(numbers: Any) -> None:
        with pushing.watching():
            while True:
                await numbers.push(bytes(400_000))

    async def plain(value: Any) -> None:
        with (other if value else sleeping).watching():
            await until_cancelled()

    managers = driver.manager(into=into, out=out, plain=plain)
    async with driver.serving(managers) as listener:
        async with (
            driver.connect(Calls, listener.endpoint) as staying,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(staying.plain, 1)
            stream = await driver.stream(listener.endpoint)
            async with driver.bind(Calls, stream) as leaving:
                async with leaving.into.begin(), leaving.out.begin(), leaving.plain.begin(0):
                    for one in (pulling, pushing, sleeping, other):
                        await one.began.wait()
                    # Like a killed client: a client that ends normally tells the server.
                    await driver.close(stream)
            await pulling.raised(rpc.CommFailure)
            await pushing.raised(rpc.CommFailure)
            await sleeping.raised(driver.cancelled)
            assert not other.ended.is_set()
            nursery.cancel_scope.cancel()


async def test_69_leaving_a_handle_gives_the_call_up(driver: Driver) -> None:
    manager = Witness()

    async def into(numbers: Any) -> None:
        with manager.watching():
            await drained(numbers)

    async with driver.calling(into=into, inline=count_open) as acc:
        async with acc.into.begin() as call:
            await call.pipes["numbers"].push([1])
        await manager.raised(rpc.CallCancelled)
        await until_none_is_open(acc)
        with pytest.raises(LookupError):
            async with acc.into.begin():
                raise LookupError
        await until_none_is_open(acc)


async def test_69_a_deferred_call_reports_that_it_was_given_up(driver: Driver) -> None:
    kept: list[rpc.CurrentCall] = []

    async def plain(value: Any) -> None:
        rpc.current_call().defer()
        kept.append(rpc.current_call())

    async with driver.calling(plain=plain, inline=count_open) as acc:
        async with acc.plain.begin(1):
            await until(lambda: kept)
        await until(kept[0].test_cancel)
        kept[0].complete(1)
        await until_none_is_open(acc)


@pytest.mark.parametrize("over", [calling, calling_in_memory])
@pytest.mark.parametrize("seed", range(3))
async def test_calls_cancelled_anywhere_leave_a_working_connection(over: Any, seed: int) -> None:
    rng = random.Random(seed)

    async def out(numbers: Any) -> None:
        for n in range(20):
            await numbers.push([n] * 3000)
        await numbers.close()

    async def both_out_into(first: Any, second: Any, third: Any) -> None:
        await drained(first)
        await drained(third)
        await pushed(first, [1])
        await pushed(second, [2])

    async with over(
        plain=given_back,
        inline=count_open,
        into=drained,
        both=echoed,
        out=out,
        both_out_into=both_out_into,
    ) as acc:

        async def generated() -> Any:
            for n in range(100):
                yield n
                await trio.lowlevel.checkpoint()

        calls = [
            lambda: acc.plain("x" * 1000),
            lambda: acc.into(numbers=range(50_000)),
            lambda: acc.into(numbers=generated()),
            lambda: acc.both(numbers=(bytes(400_000), [])),
            lambda: acc.out(numbers=[]),
            lambda: acc.out(numbers=slowly),
            lambda: acc.both_out_into(first=([1], []), second=[], third=[1, 2]),
            partial(by_hand, acc),
        ]

        async def cancelled_somewhere(call: Any) -> None:
            with trio.move_on_after(rng.choice([0, 0.0002, 0.001, 0.004]) * rng.random()):
                await call()

        for _ in range(40):
            async with trio.open_nursery() as nursery:
                for call in rng.choices(calls, k=rng.choice([1, 2, 6])):
                    nursery.start_soon(cancelled_somewhere, call)
        await until_none_is_open(acc)
        with trio.fail_after(SECONDS):
            while acc._link.session.calls:
                await trio.sleep(0.001)
        got: list[int] = []
        assert await acc.both(numbers=(range(1000), got)) == 1000
        assert got == list(range(1000))


async def slowly(chunk: Any) -> None:
    await trio.lowlevel.checkpoint()


async def by_hand(acc: rpc.Client[Calls]) -> None:
    async with acc.both.begin() as call:
        await call.pipes["numbers"].push([1, 2, 3])
        await call.pipes["numbers"].close()
        await drained(call.pipes["numbers"])
        await call.complete()


async def test_a_busy_client_reports_its_own_timeout(endpoint: ipcpipes.Endpoint) -> None:
    """Also when the server has ended the call first and the client reads its answer late."""
    definition = Calls._rpc_definition
    asked, is_busy = threading.Event(), threading.Event()

    def serve() -> None:
        session = Session(Party.SERVER, {str(definition.uuid): definition}, Limits())
        with streams.listen_messages(endpoint) as listener:
            listening.set()
            with listener.accept() as channel:
                session.receive(channel.receive())
                channel.send_many(session.take_output())
                _, call = session.receive(channel.receive())
                assert call is not None
                asked.set()
                assert is_busy.wait(SECONDS)
                time.sleep(0.1)
                call.finish(None, rpc.CallTimedOut())
                channel.send_many(session.take_output())
                with contextlib.suppress(trio.EndOfChannel, trio.BrokenResourceError):
                    channel.receive()

    async def be_busy() -> None:
        while not asked.is_set():
            await trio.sleep(0.001)
        is_busy.set()
        time.sleep(0.3)

    listening = threading.Event()
    server = Worker(serve)
    assert listening.wait(SECONDS)
    async with rpc.connect(Calls, endpoint) as acc, trio.open_nursery() as nursery:
        nursery.start_soon(be_busy)
        with timed_out():
            await rpc.operation_of(acc.plain).with_options(timeout=0.05)(1)
    server.result()
