"""Calls that a manager defers, completes and aborts (behaviours 54 to 59)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc

from .rpc_deferring import Deferring
from .rpc_drivers import Driver
from .rpc_over_links import (
    call_failed,
    calling,
    discipline,
    failing,
    invalid_handle,
    no_call_active,
    pending,
)
from .rpc_over_managers import drained, given_back
from .rpc_waiting import until


async def test_54_the_server_cannot_complete_twice(driver: Driver) -> None:
    plain = Deferring()
    async with driver.calling(plain=plain) as acc:
        async with acc.plain.begin(1) as call:
            served = await plain.one()
            served.complete("first")
            with invalid_handle():
                served.complete("second")
            assert await call.complete() == "first"


async def test_55_another_thread_completes_the_call(driver: Driver) -> None:
    plain = Deferring()
    async with driver.calling(plain=plain) as acc:
        async with acc.plain.begin(1) as call:
            served = await plain.one()
            thread = threading.Thread(target=served.complete, args=("from a thread",))
            thread.start()
            assert await call.complete() == "from a thread"
            thread.join()


async def test_55_one_of_many_completing_threads_succeeds(driver: Driver) -> None:
    plain = Deferring()
    async with driver.calling(plain=plain) as acc:
        async with acc.plain.begin(1) as call:
            served = await plain.one()
            outcomes: list[object] = []

            def complete(number: int) -> None:
                try:
                    served.complete(number)
                except rpc.InvalidAsyncHandle:
                    outcomes.append(None)
                else:
                    outcomes.append(number)

            threads = [threading.Thread(target=complete, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            result = await call.complete()
            for thread in threads:
                thread.join()
            assert [one for one in outcomes if one is not None] == [result]


async def test_55_a_thread_of_the_manager_knows_the_call() -> None:
    async def plain(value: Any) -> Any:
        return await trio.to_thread.run_sync(lambda: rpc.current_call().operation)

    async with calling(plain=plain) as acc:
        assert await acc.plain(1) == "plain"


async def test_56_a_deferred_call_outlives_its_manager(driver: Driver) -> None:
    into = Deferring()
    async with driver.calling(into=into) as acc:
        async with acc.into.begin(numbers=[1, 2]) as call:
            served = await into.one()
            with pending():
                call.complete_nowait()
            numbers = await drained(into.ends[0])  # by another task, with its pipe
            served.complete(numbers)
            assert await call.complete() == [1, 2]


async def test_56_a_plain_method_can_defer(driver: Driver) -> None:
    kept: list[rpc.CurrentCall] = []

    def inline(value: Any) -> None:
        rpc.current_call().defer()
        kept.append(rpc.current_call())

    async with driver.calling(inline=inline, plain=given_back) as acc:
        async with acc.inline.begin(1) as call:
            assert await acc.plain(2) == 2
            await until(lambda: kept)  # another thread may serve it
            kept[0].complete("later")
            assert await call.complete() == "later"


async def test_56_completing_with_an_open_pipe_fails_the_call(driver: Driver) -> None:
    into = Deferring()
    async with driver.calling(into=into) as acc:
        async with acc.into.begin(numbers=[1, 2]) as call:
            (await into.one()).complete(1)
            with discipline():
                await call.complete()


async def test_56_only_a_deferred_call_can_be_completed(driver: Driver) -> None:
    async def plain(value: Any) -> Any:
        with pytest.raises(RuntimeError, match="return its result"):
            rpc.current_call().complete(1)
        return value

    async with driver.calling(plain=plain) as acc:
        assert await acc.plain(2) == 2


async def test_56_a_result_that_cannot_be_sent_can_be_replaced(driver: Driver) -> None:
    plain = Deferring()
    async with driver.calling(plain=plain) as acc:
        async with acc.plain.begin(1) as call:
            served = await plain.one()
            with pytest.raises(TypeError):
                served.complete(object())
            with pytest.raises(OverflowError):
                served.complete(2**64)
            served.complete("better")
            assert await call.complete() == "better"


async def test_56_an_exception_after_defer_fails_the_call(driver: Driver) -> None:
    async def plain(value: Any) -> Any:
        rpc.current_call().defer()
        raise LookupError("after all")

    async with driver.calling(plain=plain) as acc:
        with call_failed() as caught:
            await acc.plain(1)
        assert caught.value.message == "after all"


USES: dict[str, Callable[[rpc.CurrentCall], object]] = {
    "complete": lambda call: call.complete(1),
    "abort": lambda call: call.abort(1),
    "defer": lambda call: call.defer(),
    "test_cancel": lambda call: call.test_cancel(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("end", ["returned", "raised", "completed", "aborted"])
async def test_57_the_handle_of_a_call_that_is_over_is_invalid(
    driver: Driver, end: str, use: Any
) -> None:
    kept: list[rpc.CurrentCall] = []

    async def into(numbers: Any) -> None:
        call = rpc.current_call()
        kept.append(call)
        pipes.append(numbers)
        await drained(numbers)
        if end == "raised":
            raise LookupError
        if end == "completed":
            call.defer()
            call.complete(1)
        if end == "aborted":
            call.abort(5)

    pipes: list[Any] = []
    async with driver.calling(into=into) as acc:
        if end in ("raised", "aborted"):
            with pytest.raises(rpc.Fault):
                await acc.into(numbers=[])
        else:
            await acc.into(numbers=[])
        with invalid_handle():
            use(kept[0])
        with invalid_handle():
            await pipes[0].pull()


async def test_57_there_is_no_current_call_outside_a_manager(driver: Driver) -> None:
    with no_call_active():
        rpc.current_call()
    async with driver.calling(plain=given_back, inline=lambda value: value) as acc:
        await acc.plain(1)
        await acc.inline(1)
        with no_call_active():
            rpc.current_call()


async def test_58_an_aborted_call_fails_with_the_code_of_the_server(driver: Driver) -> None:
    async def into_out(source: Any, sink: Any) -> int:
        rpc.current_call().abort(1234, "so it is")
        with invalid_handle():
            await source.pull()
        return 7

    got: list[int] = []
    async with driver.calling(into_out=into_out) as acc:
        with failing(rpc.Fault, 1234) as caught:
            await acc.into_out(source=[1], sink=got)
        assert (caught.value.message, caught.value.type) == ("so it is", None)
    assert got == []


async def test_58_a_thread_aborts_a_deferred_call(driver: Driver) -> None:
    plain = Deferring()
    async with driver.calling(plain=plain) as acc:
        async with acc.plain.begin(1) as call:
            served = await plain.one()
            await trio.to_thread.run_sync(served.abort, 1234)
            with failing(rpc.Fault, 1234):
                await call.complete()


@pytest.mark.parametrize("code", [0, -1, 2**32, True, "1234", None, 1.5])
async def test_59_abort_refuses_what_is_not_a_code(driver: Driver, code: Any) -> None:
    async def plain(value: Any) -> Any:
        with pytest.raises(ValueError, match=r"1 to 2\*\*32 - 1"):
            rpc.current_call().abort(code)
        return value

    async with driver.calling(plain=plain) as acc:
        assert await acc.plain(2) == 2


async def test_59_a_call_cannot_be_aborted_twice(driver: Driver) -> None:
    async def plain(value: Any) -> None:
        rpc.current_call().abort(1)
        with invalid_handle():
            rpc.current_call().abort(2)

    async with driver.calling(plain=plain) as acc:
        with failing(rpc.Fault, 1):
            await acc.plain(1)


async def test_a_deferred_call_that_is_given_up_frees_its_place(
    driver: Driver,
) -> None:
    deferred: list[rpc.CurrentCall] = []

    async def plain(value: Any) -> Any:
        if value == "defer":
            deferred.append(rpc.current_call())
            deferred[0].defer()
        return value

    async with driver.calling(plain=plain, server={"max_calls": 1}) as acc:
        async with acc.plain.begin("defer"):
            await until(lambda: deferred)
        assert await acc.plain(2) == 2
        assert deferred[0].test_cancel()
        deferred[0].complete("ignored")
        with invalid_handle():
            deferred[0].complete("twice")
        assert await acc.plain(3) == 3
