"""Calls: arguments, results, and failures of the manager and of the client."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest

from ipcpipes import rpc

from .rpc_drivers import Driver
from .rpc_over_links import (
    Witness,
    call_failed,
    failing,
    no_call_active,
    order,
    pending,
)
from .rpc_over_managers import drained, given_back, pushed
from .rpc_waiting import Event

# Arguments and results


async def test_values_arrive_and_come_back(driver: Driver) -> None:
    async with driver.calling(plain=given_back) as acc:
        for value in (None, 7, "text", b"bytes", [1, {"a": 2.5}], "x" * 300_000):
            assert await acc.plain(value) == value
            assert await acc.plain(value=value) == value
        assert "plain" in dir(acc)
        with pytest.raises(AttributeError, match="has no operation 'other'"):
            acc.other  # noqa: B018  # asking for it is the test


async def test_arguments_are_checked_before_anything_is_sent(driver: Driver) -> None:
    served: list[Any] = []
    async with driver.calling(inline=served.append, into=served.append, plain=given_back) as acc:
        with pytest.raises(TypeError, match="takes 1 arguments"):
            await acc.inline(1, 2)
        with pytest.raises(TypeError, match="'value'"):
            await acc.inline()
        with pytest.raises(TypeError, match="the argument value cannot be sent"):
            await acc.inline(object())
        with pytest.raises(TypeError, match="'numbers'"):
            await acc.into()
        assert await acc.plain(1) == 1
    assert not served


async def test_46_48_a_value_beside_a_pipe_is_there_at_entry(driver: Driver) -> None:
    seen: list[str] = []
    entered = Event()

    async def into_value(numbers: Any, value: str) -> Any:
        seen.append(value)
        entered.set()
        return [value, *await drained(numbers)]

    async with driver.calling(into_value=into_value) as acc:
        async with acc.into_value.begin(value="there") as call:
            await entered.wait()  # nothing was pushed yet
            assert seen == ["there"]
            await pushed(call.pipes["numbers"], [1, 2])
            assert await call.complete() == ["there", 1, 2]


async def test_47_the_result_comes_when_the_manager_returns(driver: Driver) -> None:
    go_on = Event()

    async def out(numbers: Any) -> str:
        await pushed(numbers, [1])
        await go_on.wait()
        return "the result"

    async with driver.calling(out=out) as acc, acc.out.begin() as call:
        assert await drained(call.pipes["numbers"]) == [1]
        await driver.settle()
        with pending():
            call.complete_nowait()
        go_on.set()
        assert await call.complete() == "the result"


async def test_a_manager_can_ask_for_its_call(driver: Driver) -> None:
    async def plain(value: Any) -> Any:
        current = rpc.current_call()
        return [current.operation, current.peer.pid, current.test_cancel()]

    async with driver.calling(plain=plain) as acc:
        assert await acc.plain(1) == ["plain", os.getpid(), False]
    with no_call_active():
        rpc.current_call()


# Failures


@pytest.mark.parametrize("later", [False, True])
async def test_41_a_swallowed_error_still_fails_the_call(driver: Driver, later: bool) -> None:
    async def out_out(first: Any, second: Any) -> str:
        with order():
            await second.push([1])
        await pushed(first, [1])
        if later:
            await pushed(second, [2])
        return "well done"

    async with driver.calling(out_out=out_out) as acc:
        with order():
            await acc.out_out([], [])


async def test_42_a_manager_chooses_what_the_client_gets(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    async def plain(value: Any) -> None:
        if value:
            raise rpc.Fault("no such log", code=2)
        raise LookupError("not found")

    caplog.set_level(logging.CRITICAL, "ipcpipes.rpc")
    async with driver.calling(plain=plain) as acc:
        with failing(rpc.Fault, 2) as caught:
            await acc.plain(True)
        assert caught.value.message == "no such log"
        with call_failed() as caught:
            await acc.plain(False)
        assert (caught.value.type, caught.value.traceback) == ("LookupError", None)


async def test_a_server_sends_tracebacks_only_on_request(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "ipcpipes.rpc")
    async with driver.calling(inline=lambda value: 1 // value, server={"tracebacks": True}) as acc:
        with call_failed() as caught:
            await acc.inline(0)
        assert "ZeroDivisionError" in (caught.value.traceback or "")


async def test_43_elements_before_a_failure_arrive(driver: Driver) -> None:
    async def out(numbers: Any) -> None:
        await numbers.push([1, 2])
        await numbers.push([3])
        raise rpc.Fault("in the middle", code=5)

    got: list[list[int]] = []
    async with driver.calling(out=out) as acc:
        with failing(rpc.Fault, 5):
            await acc.out(lambda chunk: got.append(list(chunk)))
    assert [number for chunk in got for number in chunk] == [1, 2, 3]
    assert [] not in got, "the pipe has not ended"


async def test_44_a_source_that_fails_gives_the_call_up(driver: Driver) -> None:
    manager = Witness()
    asked: list[bool] = []

    async def into(numbers: Any) -> None:
        with manager.watching():
            try:
                await drained(numbers)
            finally:
                asked.append(rpc.current_call().test_cancel())

    def source() -> Iterator[list[int]]:
        yield [1, 2]
        raise OSError("the disk is gone")

    async with driver.calling(into=into) as acc:
        with pytest.raises(OSError, match="the disk is gone"):
            await acc.into(source())
        await manager.raised(rpc.CallCancelled)
    assert asked == [True]


async def test_a_failure_of_the_server_ends_an_endless_source(driver: Driver) -> None:
    async def into(numbers: Any) -> None:
        raise rpc.Fault("not today", code=3)

    def endless() -> Iterator[int]:
        while True:
            yield 1

    async with driver.calling(into=into) as acc:
        with failing(rpc.Fault, 3):
            await acc.into(endless())
