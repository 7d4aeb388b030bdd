"""The ends of pipes, at both ends of a call (behaviours 23 to 29)."""

from __future__ import annotations

from typing import Any

import pytest

from ipcpipes import rpc

from .rpc_drivers import Driver
from .rpc_over_links import closed, discipline, empty
from .rpc_over_managers import drained, echoed, pushed
from .rpc_waiting import Event


async def test_23_the_end_is_pulled_once(driver: Driver) -> None:
    async def into(numbers: Any) -> None:
        assert list(await numbers.pull()) == [1, 2]
        assert len(await numbers.pull()) == 0
        with empty() as caught:
            await numbers.pull()
        raise caught.value

    async with driver.calling(into=into) as acc:
        with empty():
            await acc.into(numbers=[1, 2])


async def test_23_the_client_pulls_the_end_once(driver: Driver) -> None:
    async with driver.calling(out=lambda numbers: pushed(numbers, [1])) as acc:
        async with acc.out.begin() as call:
            numbers = call.pipes["numbers"]
            assert list(await numbers.pull()) == [1]
            assert len(await numbers.pull()) == 0
            with empty():
                await numbers.pull()
            # A mistake of the client does not fail the call.
            assert await call.complete() is None


async def test_23_iterating_over_a_drained_pipe_fails(driver: Driver) -> None:
    async def into(numbers: Any) -> None:
        assert await drained(numbers) == [1]
        with empty():
            await drained(numbers)

    async with driver.calling(into=into) as acc:
        with empty():
            await acc.into(numbers=[1])


@pytest.mark.parametrize("nothing", [[], b"", ()], ids=repr)
async def test_24_nothing_can_be_pushed_after_close(driver: Driver, nothing: Any) -> None:
    async def out(numbers: Any) -> None:
        await numbers.push([1])
        await numbers.close()
        with closed():
            await numbers.push(nothing)
        with closed():
            numbers.push_nowait(nothing)
        with closed() as caught:
            await numbers.push([2])
        raise caught.value

    got: list[int] = []
    async with driver.calling(out=out) as acc:
        with closed():
            await acc.out(numbers=got)
    assert got == [1], "elements before the failure arrive"


@pytest.mark.parametrize("how", ["push", "push_nowait", "close"])
async def test_24_a_closed_pipe_is_reported_before_wrong_order(driver: Driver, how: str) -> None:
    async def out_out(first: Any, second: Any) -> None:
        await first.close()
        with closed():
            if how == "close":
                await first.close()
            elif how == "push":
                await first.push([1])
            else:
                first.push_nowait([1])
        await second.close()

    async with driver.calling(out_out=out_out) as acc:
        with closed():
            await acc.out_out(first=[], second=[])


async def test_24_the_client_can_push_nothing_after_close(driver: Driver) -> None:
    async with driver.calling(into=drained) as acc:
        async with acc.into.begin() as call:
            numbers = call.pipes["numbers"]
            await pushed(numbers, [1])
            for attempt in (numbers.push([2]), numbers.close()):
                with closed():
                    await attempt
            assert await call.complete() == [1]


@pytest.mark.parametrize("pulls", [0, 1])
async def test_25_a_manager_must_drain_its_in_pipes(driver: Driver, pulls: int) -> None:
    async def into_out(source: Any, sink: Any) -> int:
        for _ in range(pulls):
            await source.pull(1)
        return 7

    got: list[int] = []
    async with driver.calling(into_out=into_out) as acc:
        with discipline() as caught:
            await acc.into_out(source=[1, 2], sink=got)
        assert "before the pipe source was drained" in caught.value.message
    assert got == []


async def test_25_draining_includes_the_end(driver: Driver) -> None:
    async def into(numbers: Any) -> None:
        assert list(await numbers.pull(2)) == [1, 2]

    async with driver.calling(into=into) as acc:
        with discipline():
            await acc.into(numbers=[1, 2])


async def test_25_an_early_return_ends_an_endless_source(driver: Driver) -> None:
    async def into(numbers: Any) -> None:
        await numbers.pull()

    fed = 0

    def endless(most: int) -> bytes:
        nonlocal fed
        fed += 1
        return bytes(4 * most)

    async with driver.calling(into=into) as acc:
        with discipline():
            await acc.into(numbers=endless)
    assert fed < 50


async def test_26_a_manager_must_close_its_out_pipes(driver: Driver) -> None:
    async def out_out(first: Any, second: Any) -> int:
        await pushed(first, [1])
        await second.push([2])
        return 7

    one: list[int] = []
    two: list[int] = []
    async with driver.calling(out_out=out_out) as acc:
        with discipline() as caught:
            await acc.out_out(first=one, second=two)
        assert "before the pipe second was closed" in caught.value.message
    assert (one, two) == ([1], [2])


async def test_27_an_empty_in_pipe_has_only_its_end(driver: Driver) -> None:
    async def into(numbers: Any) -> int:
        return len(await numbers.pull())

    async with driver.calling(into=into) as acc:
        nothings: list[Any] = [[], b"", iter(()), lambda most: b""]
        for nothing in nothings:
            assert await acc.into(numbers=nothing) == 0


async def test_28_an_empty_out_pipe_pushes_one_empty_chunk(driver: Driver) -> None:
    pushes: list[int] = []
    async with driver.calling(out=lambda numbers: numbers.close()) as acc:
        await acc.out(numbers=lambda chunk: pushes.append(len(chunk)))
        assert pushes == [0]
        await acc.out(numbers=rpc.PipeControl(push=lambda chunk: pushes.append(len(chunk))))
        assert pushes == [0, 0]


async def test_28_the_last_chunk_and_only_the_last_is_empty(driver: Driver) -> None:
    pushes: list[list[int]] = []
    async with driver.calling(out=lambda numbers: pushed(numbers, [1, 2], [3])) as acc:
        await acc.out(numbers=lambda chunk: pushes.append(list(chunk)))
    assert pushes[-1] == []
    assert [number for chunk in pushes for number in chunk] == [1, 2, 3]
    assert all(pushes[:-1])


async def test_29_a_pull_function_is_not_called_after_its_end(
    driver: Driver,
) -> None:
    calls: list[int] = []

    def pull(most: int) -> list[int]:
        calls.append(most)
        assert len(calls) <= 3
        return [] if len(calls) == 3 else [len(calls)]

    async with driver.calling(both=echoed) as acc:
        got: list[int] = []
        assert await acc.both(numbers=(pull, got)) == 2
        assert got == [1, 2]
    assert len(calls) == 3
    assert all(most > 0 for most in calls)


async def test_29_a_pipe_control_is_not_called_after_its_end(driver: Driver) -> None:
    calls = 0

    def pull(buffer: memoryview) -> int:
        nonlocal calls
        calls += 1
        buffer[0] = calls
        return 0 if calls == 3 else 1

    async with driver.calling(into=drained) as acc:
        assert await acc.into(numbers=rpc.PipeControl(pull=pull)) == [1, 2]
    assert calls == 3


async def test_close_does_not_wait_for_a_reader(driver: Driver) -> None:
    returned = Event()

    async def out(numbers: Any) -> None:
        await pushed(numbers, [1])
        returned.set()

    async with driver.calling(out=out) as acc, acc.out.begin() as call:
        await returned.wait()
        assert await drained(call.pipes["numbers"]) == [1]
        await call.complete()
