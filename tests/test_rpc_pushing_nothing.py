"""Only close() ends a pipe: data that happens to be empty does not, under either driver."""

from __future__ import annotations

import array
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc
from ipcpipes.testing import memory_stream_pair

from .rpc_blocking_pairs import everything, push_all, served
from .rpc_over_links import calling
from .rpc_over_managers import drained, given_back, pushed

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
async def test_a_manager_pushes_nothing(nothing: Callable[[], Any]) -> None:
    empty = nothing()  # skipped here, without NumPy

    async def out(numbers: Any) -> None:
        with trio.testing.assert_checkpoints():
            await numbers.push(empty)
        await numbers.push([1])
        await numbers.push(empty)
        numbers.push_nowait(empty)
        numbers.push_nowait([2])
        await numbers.push(empty)
        await numbers.close()

    got: list[int] = []
    async with calling(out=out) as acc:
        await acc.out(numbers=got)
    assert got == [1, 2]


@nothings
async def test_a_client_pushes_nothing(nothing: Callable[[], Any]) -> None:
    empty = nothing()  # skipped here, without NumPy
    async with calling(into=drained) as acc, acc.into.begin() as call:
        numbers = call.pipes["numbers"]
        numbers.push_nowait(empty)
        await numbers.push(empty)
        await pushed(numbers, [1, 2])
        assert await call.complete() == [1, 2]


@nothings
def test_a_manager_in_a_thread_pushes_nothing(nothing: Callable[[], Any]) -> None:
    empty = nothing()  # skipped here, without NumPy

    def out(numbers: Any) -> None:
        numbers.push(empty)
        numbers.push([1])
        numbers.push(empty)
        numbers.push_nowait(empty)
        numbers.push_nowait([2])
        numbers.push(empty)
        numbers.close()

    got: list[int] = []
    with served(out) as client:
        client.out(numbers=got)
    assert got == [1, 2]


@nothings
def test_a_client_in_a_thread_pushes_nothing(nothing: Callable[[], Any]) -> None:
    empty = nothing()  # skipped here, without NumPy
    with served(everything) as client, client.into.begin() as call:
        numbers = call.pipes["numbers"]
        numbers.push_nowait(empty)
        numbers.push(empty)
        push_all(numbers, [1, 2])
        assert call.complete() == [1, 2]


async def test_pushing_nothing_has_its_turn_all_the_same() -> None:
    """Whether a program is right must not hang on its data."""

    async def out_out(first: Any, second: Any) -> None:
        await second.push([])

    async with calling(out_out=out_out) as acc:
        with pytest.raises(rpc.WrongPipeOrder):
            await acc.out_out(first=[], second=[])


def test_pushing_nothing_in_a_thread_has_its_turn_all_the_same() -> None:
    def out_out(first: Any, second: Any) -> None:
        second.push([])

    with served(out_out) as client, pytest.raises(rpc.WrongPipeOrder):
        client.out_out(first=[], second=[])


class Ranged(rpc.Interface, uuid="0a8e9b0e-6a51-4f5e-8d43-2d7a2e5b3c11", version=(1, 0)):
    @rpc.operation
    async def ranged(self, numbers: Annotated[rpc.InPipe[rpc.int32], rpc.Range(2, 4)]) -> Any: ...


def sources() -> list[Any]:
    """Iterables with empty chunks at each place."""
    chunks: list[Any] = [[], b"", [1, 2], (), array.array("i"), array.array("i", [3]), []]

    async def asynchronous() -> AsyncIterator[Any]:
        for chunk in chunks:
            yield chunk

    return [lambda: list(chunks), lambda: iter(chunks), asynchronous]


@pytest.mark.parametrize("source", sources(), ids=["list", "generator", "async"])
async def test_empty_chunks_of_a_source_are_nothing(source: Callable[[], Any]) -> None:
    async with calling(into=drained, plain=given_back) as acc:
        assert await acc.into(numbers=source()) == [1, 2, 3]


@pytest.mark.parametrize("source", sources()[:2], ids=["list", "generator"])
def test_empty_chunks_of_a_source_in_a_thread_are_nothing(source: Callable[[], Any]) -> None:
    with served(everything) as client:
        assert client.into(numbers=source()) == [1, 2, 3]


async def test_a_chunk_of_nothing_is_not_held_against_the_range() -> None:
    class Manager(Ranged):
        async def ranged(self, numbers: Any) -> Any:
            return await drained(numbers)

    left, right = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve_connection, Manager(), right)
        async with rpc.bind(Ranged, left) as client, client.ranged.begin() as call:
            await call.pipes["numbers"].push([])
            await call.pipes["numbers"].push([1, 2])
            await call.pipes["numbers"].close()
            assert await call.complete() == [1, 2]


async def test_a_pull_function_ends_with_nothing_as_in_midl() -> None:
    pulls = iter([[1], [], [2]])
    async with calling(into=drained) as acc:
        assert await acc.into(numbers=lambda _: next(pulls)) == [1]
