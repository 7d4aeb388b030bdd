"""Elements for a pipe with a range are cut into chunks of that range, however many they are."""

from __future__ import annotations

import io
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest
import trio
from hypothesis import given, strategies as st

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.rpc.definition.elements import element_of
from ipcpipes.rpc.definition.operations import Pipe
from ipcpipes.rpc.wire.chunks import HELD, PIECE, Cutter, cut
from ipcpipes.testing import unique_endpoint

from .rpc_elements import PROFILE
from .rpc_over_links import invalid_bound, serving
from .threads import Worker

INT32 = element_of(rpc.int32)


def pipe_of(low: int, high: int) -> Pipe:
    return Pipe("numbers", 0, True, False, INT32, rpc.Range(low, high), None)


def memory_of(count: int, start: int = 0) -> memoryview:
    return memoryview(array("i", range(start, start + count)).tobytes())


def numbers_in(chunks: Any) -> list[list[int]]:
    return [list(chunk.cast("i")) for chunk in chunks]


def can_be_cut(count: int, low: int, high: int) -> bool:
    """By trying every number of chunks."""
    return any(chunks * low <= count <= chunks * high for chunks in range(count + 1))


RANGES = [
    (0, 1),
    (0, 3),
    (1, 1),
    (1, 5),
    (2, 2),
    (2, 4),
    (3, 4),
    (4, 5),
    (7, 7),
    (10, 12),
    (10, 100),
]
every_range = pytest.mark.parametrize(("low", "high"), RANGES)


@every_range
def test_memory_is_cut_evenly(low: int, high: int) -> None:
    pipe = pipe_of(low, high)
    for count in range(130):
        if can_be_cut(count, low, high):
            chunks = numbers_in(cut(memory_of(count), pipe))
            assert [number for chunk in chunks for number in chunk] == list(range(count))
            sizes = [len(chunk) for chunk in chunks]
            assert all(max(low, 1) <= size <= high for size in sizes)
            assert not sizes or max(sizes) - min(sizes) <= 1
        else:
            with invalid_bound():
                next(cut(memory_of(count), pipe))


def test_105_elements_are_53_and_52() -> None:
    assert [len(one) for one in numbers_in(cut(memory_of(105), pipe_of(10, 100)))] == [53, 52]


def test_the_error_names_counts_that_can_be_cut() -> None:
    for low, high, count, cure in ((10, 12, 25, "24 or 30"), (10, 100, 3, "10")):
        with invalid_bound() as caught:
            list(cut(memory_of(count), pipe_of(low, high)))
        assert caught.value.message == (
            f"{count} elements for the pipe numbers cannot be cut into chunks of {low} to {high}; "
            f"pass {cure}"
        )


def test_without_a_range_memory_is_not_cut() -> None:
    pipe = Pipe("numbers", 0, True, False, INT32, None, None)
    memory = memory_of(PIECE)
    (chunk,) = cut(memory, pipe)
    assert chunk.obj is memory.obj
    assert not list(cut(memoryview(b""), pipe))
    assert [len(one) for one in Cutter(pipe).add(memory)] == [PIECE] * 4


def cut_little_by_little(pipe: Pipe, sizes: list[int]) -> tuple[list[list[int]], bool]:
    """The chunks, and whether the last elements could be cut."""
    cutter = Cutter(pipe)
    chunks: list[list[int]] = []
    start = 0
    for size in sizes:
        chunks += numbers_in(cutter.add(memory_of(size, start)))
        start += size
    try:
        chunks += numbers_in(cutter.rest())
    except rpc.InvalidBound:
        return chunks, False
    return chunks, True


@every_range
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_a_source_of_any_length_is_cut(low: int, high: int, step: int) -> None:
    for count in range(130):
        sizes = [min(step, count - start) for start in range(0, count, step)]
        check_cutting(low, high, sizes)


@PROFILE
@given(st.integers(0, 40), st.integers(0, 20), st.lists(st.integers(0, 100), max_size=8))
def test_any_source_is_cut_into_chunks_of_any_range(low: int, more: int, sizes: list[int]) -> None:
    check_cutting(low, max(low + more, 1), sizes)


def check_cutting(low: int, high: int, sizes: list[int]) -> None:
    chunks, whole = cut_little_by_little(pipe_of(low, high), sizes)
    count = sum(sizes)
    assert whole == can_be_cut(count, low, high)
    assert all(low <= len(chunk) <= high and chunk for chunk in chunks)
    found = [number for chunk in chunks for number in chunk]
    assert found == list(range(count if whole else len(found)))
    # With chunks of one size, only the end shows that the number cannot be cut.
    assert whole or not found or low == high


def test_only_the_needed_elements_are_held_back() -> None:
    cutter = Cutter(pipe_of(10, 100))
    assert not list(cutter.add(memory_of(19)))
    assert [len(one) for one in numbers_in(cutter.add(memory_of(1)))] == [10]
    assert [len(one) for one in numbers_in(cutter.add(memory_of(500)))] == [100] * 5
    for low, high in ((0, 5), (1, 5), (5, 5)):
        cutter = Cutter(pipe_of(low, high))
        assert [len(one) for one in numbers_in(cutter.add(memory_of(5)))] == [5]


def test_a_narrow_range_does_not_hold_back_a_whole_source() -> None:
    low = 2**16
    cutter = Cutter(pipe_of(low, low + 1))  # above 4 * 10**9, any number can be cut
    sent = 0
    for _ in range(2 * HELD // PIECE):
        sent += sum(len(one) for one in cutter.add(memory_of(PIECE // 4)))
    assert sent >= HELD - PIECE
    with invalid_bound() as caught:
        list(cutter.add(memory_of(PIECE // 4 + 33)))
        list(cutter.rest())
    assert "cannot be cut into chunks of 65,536 to 65,537; pass memory" in caught.value.message


# Over both kinds of clients.


class Bounded(rpc.Interface, uuid="b3a1d9c4-6f52-4f0e-8f0c-0d7a5b1c2e33", version=(1, 0)):
    @rpc.operation
    async def into(self, numbers: Annotated[rpc.InPipe[rpc.int32], rpc.Range(10, 100)]) -> Any: ...

    @rpc.operation
    async def narrow(self, numbers: Annotated[rpc.InPipe[rpc.int32], rpc.Range(10, 12)]) -> Any: ...

    @rpc.operation
    async def plain(self, numbers: rpc.InPipe[rpc.int32]) -> Any: ...


class BoundedManager(Bounded):
    """Under trio. Counts the received elements, also if the call fails."""

    def __init__(self) -> None:
        self.came = 0

    async def into(self, numbers: Any) -> Any:
        found = []
        async for chunk in numbers:
            self.came += len(chunk)
            found += chunk
        return found

    async def narrow(self, numbers: Any) -> Any:
        return await self.into(numbers)

    async def plain(self, numbers: Any) -> Any:
        return await self.into(numbers)


class BlockingManager(Bounded):
    def __init__(self) -> None:
        self.came = 0

    def into(self, numbers: Any) -> Any:
        found = []
        for chunk in numbers:
            self.came += len(chunk)
            found += chunk
        return found

    def narrow(self, numbers: Any) -> Any:
        return self.into(numbers)

    def plain(self, numbers: Any) -> Any:
        return self.into(numbers)


def octets(count: int) -> bytes:
    return bytes(memory_of(count))


def pulling(count: int) -> Callable[[int], bytes]:
    stream = io.BytesIO(octets(count))
    return lambda most: stream.read(4 * min(most, 7))


def control_of(count: int) -> rpc.PipeControl:
    stream = io.BytesIO(octets(count))
    return rpc.PipeControl(
        pull=lambda room: stream.readinto(room.cast("B")) // 4, alloc=lambda size: bytearray(28)
    )


async def one_by_one(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


SOURCES: dict[str, Callable[[int], Any]] = {
    "bytes": octets,
    "an array": lambda count: array("i", range(count)),
    "a list": lambda count: list(range(count)),
    "a generator": lambda count: iter(range(count)),
    "lists": lambda count: iter([[number] for number in range(count)]),
    "large and small": lambda count: iter([0, array("i", range(1, count))]),
    "a file": lambda count: io.BytesIO(octets(count)),
    "a pull function": pulling,
    "a pipe control": control_of,
}
every_source = pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
COUNTS = [0, 10, 99, 100, 101, 105, 109, 110, 201, 20_000]


@pytest.mark.parametrize("make", [*SOURCES.values(), one_by_one], ids=[*SOURCES, "an async one"])
async def test_a_trio_client_sends_all_that_can_be_cut(make: Callable[[int], Any]) -> None:
    manager = BoundedManager()
    async with serving(manager) as listener, rpc.connect(Bounded, listener.endpoint) as client:
        for count in COUNTS:
            if count or make is not SOURCES["large and small"]:
                assert await client.into(make(count)) == list(range(count))
        assert await client.narrow(make(72)) == list(range(72))
        manager.came = 0
        for count in (9, 5, 1):
            with invalid_bound() as caught:
                await client.into(make(count))
            assert "cannot be cut into chunks of 10 to 100; pass 10" in caught.value.message
        with invalid_bound() as caught:
            await client.narrow(make(25))
        assert "pass 24 or 30" in caught.value.message
        assert manager.came == 0, "nothing was sent of it"
        assert await client.narrow(make(24)) == list(range(24))


@every_source
def test_a_blocking_client_sends_all_that_can_be_cut(make: Callable[[int], Any]) -> None:
    manager = BlockingManager()
    with blocking_client(manager) as client:
        for count in COUNTS:
            if count or make is not SOURCES["large and small"]:
                assert client.into(make(count)) == list(range(count))
        assert client.narrow(make(72)) == list(range(72))
        manager.came = 0
        for count in (9, 5, 1):
            with invalid_bound() as caught:
                client.into(make(count))
            assert "cannot be cut into chunks of 10 to 100; pass 10" in caught.value.message
        with invalid_bound() as caught:
            client.narrow(make(25))
        assert "pass 24 or 30" in caught.value.message
        assert manager.came == 0, "nothing was sent of it"
        assert client.narrow(make(24)) == list(range(24))


class blocking_client:  # noqa: N801  # used as a function is
    """A client of a server in a thread."""

    def __init__(self, manager: rpc.Interface) -> None:
        self._listener = streams.listen(unique_endpoint())
        self._server = Worker(blocking.serve, manager, self._listener)
        self._client = blocking.connect(Bounded, self._listener.endpoint)

    def __enter__(self) -> Any:
        return self._client.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._client.__exit__(*error)
        self._listener.close()
        self._server.result()


async def test_elements_of_a_slow_source_are_sent_at_once() -> None:
    came = trio.Event()

    async def slowly() -> AsyncIterator[int]:
        for number in range(20):
            yield number
        await came.wait()  # the first ten have arrived
        for number in range(20, 25):
            yield number

    class Manager(BoundedManager):
        async def into(self, numbers: Any) -> Any:
            first = await numbers.pull()
            came.set()
            return [*first, *await super().into(numbers)]

    async with serving(Manager()) as listener, rpc.connect(Bounded, listener.endpoint) as client:
        assert await client.into(rpc.feed(slowly())) == list(range(25))


def failing_source(error: BaseException) -> Iterator[int]:
    yield from range(3)
    raise error


@pytest.mark.parametrize("error", [TimeoutError("slow"), LookupError("lost")], ids=repr)
def test_a_failed_source_does_not_end_the_pipe(error: Exception) -> None:
    manager = BlockingManager()
    with blocking_client(manager) as client:
        with client.plain.begin(failing_source(error)) as call:
            with pytest.raises(type(error)):
                call.complete()
            # Such a source can be repeated; a part of the source must not look like all of it.
            with pytest.raises((type(error), rpc.RpcError)):
                call.complete()
        assert client.plain([1]) == [1]
