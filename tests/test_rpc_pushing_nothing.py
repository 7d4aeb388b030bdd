"""Only close() ends a pipe: data that happens to be empty does not."""

from __future__ import annotations

import array
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from .rpc_drivers import Driver
from .rpc_over_links import calling, invalid_bound, order
from .rpc_over_managers import drained, pushed

NOTHINGS: dict[str, Callable[[], Any]] = {
    "list": list,
    "tuple": tuple,
    "bytes": bytes,
    "array": lambda: array.array("i"),
    "memoryview": lambda: memoryview(b""),
    "generator": lambda: iter(()),
    "range": lambda: range(0),
    "numpy": lambda: pytest.importorskip("numpy").zeros(0, "i4"),
    "numpy in two dimensions": lambda: pytest.importorskip("numpy").zeros((0, 3), "i4"),
}
nothings = pytest.mark.parametrize("nothing", NOTHINGS.values(), ids=NOTHINGS)


@nothings
async def test_a_manager_pushes_nothing(driver: Driver, nothing: Callable[[], Any]) -> None:
    empty = nothing()  # skipped here, without NumPy

    async def out(numbers: Any) -> None:
        await numbers.push(empty)
        await numbers.push([1])
        await numbers.push(empty)
        numbers.push_nowait(empty)
        numbers.push_nowait([2])
        await numbers.push(empty)
        await numbers.close()

    got: list[int] = []
    async with driver.calling(out=out) as acc:
        await acc.out(numbers=got)
    assert got == [1, 2]


@nothings
async def test_a_client_pushes_nothing(driver: Driver, nothing: Callable[[], Any]) -> None:
    empty = nothing()  # skipped here, without NumPy
    async with driver.calling(into=drained) as acc, acc.into.begin() as call:
        numbers = call.pipes["numbers"]
        numbers.push_nowait(empty)
        await numbers.push(empty)
        await pushed(numbers, [1, 2])
        assert await call.complete() == [1, 2]


async def test_pushing_nothing_out_of_turn_is_refused(driver: Driver) -> None:
    """Whether a program is right must not depend on its data."""

    async def out_out(first: Any, second: Any) -> None:
        await second.push([])

    async with driver.calling(out_out=out_out) as acc:
        with order():
            await acc.out_out(first=[], second=[])


CHUNKS: list[Any] = [[], b"", [1, 2], (), array.array("i"), array.array("i", [3]), []]


@pytest.mark.parametrize("make", [list, iter])
async def test_empty_chunks_of_a_source_are_skipped(
    driver: Driver, make: Callable[[Any], Any]
) -> None:
    async with driver.calling(into=drained) as acc:
        assert await acc.into(numbers=make(CHUNKS)) == [1, 2, 3]


async def test_empty_chunks_of_an_async_source_are_skipped() -> None:
    async def chunks() -> AsyncIterator[Any]:
        for chunk in CHUNKS:
            yield chunk

    async with calling(into=drained) as acc:
        assert await acc.into(numbers=chunks()) == [1, 2, 3]


async def test_the_range_of_a_pipe_allows_an_empty_push(driver: Driver) -> None:
    async with driver.calling(bounded_into=drained) as acc:
        async with acc.bounded_into.begin() as call:
            await call.pipes["numbers"].push([])
            await pushed(call.pipes["numbers"], [1, 2])
            assert await call.complete() == [1, 2]
        async with acc.bounded_into.begin() as call:
            with invalid_bound():
                await call.pipes["numbers"].push([1])


async def test_an_empty_chunk_of_a_pull_function_is_the_end(driver: Driver) -> None:
    """As in MIDL."""
    pulls = iter([[1], [], [2]])
    async with driver.calling(into=drained) as acc:
        assert await acc.into(numbers=lambda _: next(pulls)) == [1]
