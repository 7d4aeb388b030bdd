"""The order of the pipes of a call, at both ends (behaviours 16 to 22)."""

from __future__ import annotations

from typing import Any

import pytest

from ipcpipes import rpc

from .rpc_drivers import Driver
from .rpc_over_links import failing, order
from .rpc_over_managers import drained, pushed


async def test_16_in_pipes_are_drained_in_their_order(driver: Driver) -> None:
    async def into_into(first: Any, second: Any) -> None:
        with order() as caught:
            await second.pull()
        assert "first's turn to be drained" in str(caught.value)
        raise caught.value

    async with driver.calling(into_into=into_into) as acc:
        with order() as caught:
            await acc.into_into(first=[1], second=[2])
        assert "pipe second of Calls.into_into" in caught.value.message


async def test_17_no_push_while_an_in_pipe_is_half_drained(driver: Driver) -> None:
    async def into_out(source: Any, sink: Any) -> None:
        assert list(await source.pull(1)) == [1]
        with order():
            await sink.push([1])
        raise rpc.WrongPipeOrder

    got: list[int] = []
    async with driver.calling(into_out=into_out) as acc:
        with order():
            await acc.into_out(source=[1, 2, 3], sink=got)
    assert got == []


@pytest.mark.parametrize("how", ["push", "push_nowait", "close"])
async def test_17_no_push_and_no_close_before_the_in_pipe_is_drained(
    driver: Driver, how: str
) -> None:
    async def into_out(source: Any, sink: Any) -> None:
        if how == "push_nowait":
            sink.push_nowait([1])
        elif how == "push":
            await sink.push([1])
        else:
            await sink.close()

    async with driver.calling(into_out=into_out) as acc:
        with order():
            await acc.into_out(source=[1], sink=[])


async def test_18_out_pipes_are_closed_in_their_order(driver: Driver) -> None:
    async def out_out(first: Any, second: Any) -> None:
        await first.push([1, 2])
        with order():
            await second.push([3])
        raise rpc.WrongPipeOrder

    one: list[int] = []
    two: list[int] = []
    async with driver.calling(out_out=out_out) as acc:
        with order():
            await acc.out_out(first=one, second=two)
    assert (one, two) == ([1, 2], [])


async def test_19_a_pipe_in_both_directions_is_drained_then_pushed(driver: Driver) -> None:
    async def both_out_into(first: Any, second: Any, third: Any) -> int:
        came = await drained(first), await drained(third)
        assert came == ([1, 2], [3, 4])
        await pushed(first, [10])
        await pushed(second, [20], [21])
        return 7

    one: list[int] = []
    two: list[int] = []
    async with driver.calling(both_out_into=both_out_into) as acc:
        assert await acc.both_out_into(first=([1, 2], one), second=two, third=[3, 4]) == 7
    assert (one, two) == ([10], [20, 21])


async def test_19_a_client_by_hand_keeps_the_same_order(driver: Driver) -> None:
    async def both_out_into(first: Any, second: Any, third: Any) -> None:
        await drained(first)
        await drained(third)
        await pushed(first, [1])
        await pushed(second, [2])

    async with driver.calling(both_out_into=both_out_into) as acc:
        async with acc.both_out_into.begin() as call:
            first, second, third = (call.pipes[name] for name in ("first", "second", "third"))
            with order():
                await third.push([1])
            with order():
                await first.pull()
            await pushed(first, [1])
            with order():
                await second.pull()
            await pushed(third, [1])
            with order():
                await second.pull()
            assert await drained(first) == [1]
            assert await drained(second) == [2]
            await call.complete()


async def test_20_an_out_pipe_cannot_be_pulled(driver: Driver) -> None:
    async def out(numbers: Any) -> None:
        assert not hasattr(numbers, "pull")
        await numbers._driver.pull(0, None)

    async with driver.calling(out=out) as acc:
        with order():
            await acc.out(numbers=[])


async def test_20_an_in_pipe_cannot_be_pushed(driver: Driver) -> None:
    async def into(numbers: Any) -> None:
        assert not hasattr(numbers, "push")
        await numbers._driver.push(0, [1])

    async with driver.calling(into=into) as acc:
        with order():
            await acc.into(numbers=[1])


async def test_20_a_pipe_in_both_directions_is_drained_before_a_push(driver: Driver) -> None:
    async def both(numbers: Any) -> None:
        await numbers.push([1])

    async with driver.calling(both=both) as acc:
        with order():
            await acc.both(numbers=([1, 2], []))


async def test_21_without_in_pipes_a_manager_pushes_at_once(driver: Driver) -> None:
    async def out(numbers: Any) -> str:
        await pushed(numbers, [1, 2, 3])
        return "done"

    got: list[int] = []
    async with driver.calling(out=out) as acc:
        assert await acc.out(numbers=got) == "done"
    assert got == [1, 2, 3]


async def test_22_drained_in_pipes_are_a_normal_return(driver: Driver) -> None:
    async def into_into(first: Any, second: Any) -> Any:
        return sum(await drained(first)) * sum(await drained(second))

    async with driver.calling(into_into=into_into) as acc:
        assert await acc.into_into(first=[1, 2], second=[3, 4]) == 21


async def test_named_pipes_are_filled_in_their_order(driver: Driver) -> None:
    async def into_into(first: Any, second: Any) -> list[list[int]]:
        return [await drained(first), await drained(second)]

    async with driver.calling(into_into=into_into) as acc:
        assert await acc.into_into(second=[3], first=[1, 2]) == [[1, 2], [3]]


async def test_a_wrong_order_fails_its_call_and_no_other(driver: Driver) -> None:
    async def into_into(first: Any, second: Any) -> None:
        await second.pull()

    async def plain(value: Any) -> Any:
        return value

    async with driver.calling(into_into=into_into, plain=plain) as acc:
        for number in range(3):
            with failing(rpc.WrongPipeOrder, 1831, 0x1C000016):
                await acc.into_into(first=[1], second=[2])
            assert await acc.plain(number) == number
