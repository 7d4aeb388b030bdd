"""The sources and sinks that a client can give for a pipe."""

from __future__ import annotations

import io
import struct
import tempfile
from array import array
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc

from .conftest import WINE
from .rpc_drivers import CALLING, Driver
from .rpc_feeding import NUMBERS, all_numbers, generated, generated_slowly
from .rpc_over_links import (
    calling,
    calling_in_memory,
)
from .rpc_over_managers import Point, Sample, drained, echoed, pushed

try:
    if WINE:
        raise ImportError("its import ends the process there: ucrtbase.dll lacks crealf")
    import numpy as np
except ImportError:  # NumPy does not exist for every system and version
    np = None  # type: ignore[assignment]

needs_numpy = pytest.mark.skipif(np is None, reason="there is no NumPy")


OCTETS = array("i", NUMBERS).tobytes()


def pulling(octets: bytes, *, size: int = 4, asynchronous: bool = False) -> Callable[[int], Any]:
    stream = io.BytesIO(octets)

    def pull(most: int) -> bytes:
        return stream.read(most * size)

    async def pull_slowly(most: int) -> bytes:
        await trio.lowlevel.checkpoint()
        return stream.read(size)

    return pull_slowly if asynchronous else pull


class Reader:
    """A reader of small pieces that is not a file."""

    def __init__(self, octets: bytes, step: int) -> None:
        self.stream = io.BytesIO(octets)
        self.step = step

    def read(self, size: int) -> bytes:
        return self.stream.read(min(size, self.step))


def control_for(octets: bytes) -> rpc.PipeControl:
    stream = io.BytesIO(octets)
    return rpc.PipeControl(pull=lambda buffer: stream.readinto(buffer.cast("B")) // 4)


SOURCES: dict[str, Callable[[], Any]] = {
    "bytes": lambda: OCTETS,
    "bytearray": lambda: bytearray(OCTETS),
    "memoryview": lambda: memoryview(OCTETS),
    "a cast memoryview": lambda: memoryview(OCTETS).cast("i"),
    "an array": lambda: array("i", NUMBERS),
    "a list": lambda: NUMBERS,
    "a tuple": lambda: tuple(NUMBERS),
    "a range": lambda: range(NUMBERS[0], NUMBERS[-1] + 1),
    "an iterator": lambda: iter(NUMBERS),
    "a generator of elements": lambda: generated(NUMBERS),
    "a generator of arrays": lambda: generated([array("i", NUMBERS[:7]), array("i", NUMBERS[7:])]),
    "a generator of lists": lambda: generated([NUMBERS[:7], [], NUMBERS[7:]]),
    "a generator of bytes": lambda: generated([OCTETS[:8], b"", OCTETS[8:]]),
    "a generator of both": lambda: generated([NUMBERS[0], NUMBERS[1:5], *NUMBERS[5:]]),
    "a BytesIO": lambda: io.BytesIO(OCTETS),
    "a buffered reader": lambda: io.BufferedReader(io.BytesIO(OCTETS)),
    "a reader of odd pieces": lambda: Reader(OCTETS, 7),
    "a pull function": lambda: pulling(OCTETS),
    "a pipe control": lambda: control_for(OCTETS),
}


ASYNC_SOURCES: dict[str, Callable[[], Any]] = {
    "an async generator of elements": lambda: generated_slowly(NUMBERS),
    "an async generator of chunks": lambda: generated_slowly([NUMBERS[:9], NUMBERS[9:]]),
    "an async generator of both": lambda: generated_slowly([NUMBERS[0], NUMBERS[1:], []]),
    "an async pull function": lambda: pulling(OCTETS, asynchronous=True),
}


@pytest.mark.parametrize("calling", CALLING.values(), ids=CALLING)
@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
async def test_a_pipe_is_filled_from(make: Callable[[], Any], calling: Any) -> None:
    await _is_filled(make, calling)


@pytest.mark.parametrize("calling", [calling, calling_in_memory])
@pytest.mark.parametrize("make", ASYNC_SOURCES.values(), ids=ASYNC_SOURCES)
async def test_a_pipe_is_filled_asynchronously_from(make: Callable[[], Any], calling: Any) -> None:
    await _is_filled(make, calling)


async def _is_filled(make: Callable[[], Any], calling: Any) -> None:
    async with calling(into=drained) as acc:
        assert await acc.into(numbers=make()) == NUMBERS
        async with acc.into.begin(numbers=make()) as call:
            assert await call.complete() == NUMBERS


async def test_a_pipe_is_filled_from_files(driver: Driver, tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_bytes(OCTETS)
    async with driver.calling(into=drained) as acc:
        with path.open("rb") as file:
            assert await acc.into(numbers=file) == NUMBERS
            assert not file.closed, "the file belongs to the user"
        with path.open("rb", buffering=0) as raw:
            raw.seek(8)
            assert await acc.into(numbers=raw) == NUMBERS[2:]


def into_control(got: list[int], *, slowly: bool = False) -> rpc.PipeControl:
    async def push_slowly(chunk: memoryview) -> None:
        await trio.lowlevel.checkpoint()
        got.extend(chunk)

    return rpc.PipeControl(push=push_slowly if slowly else got.extend)


def into_function(got: list[int], *, slowly: bool = False) -> Callable[[Any], Any]:
    async def push_slowly(chunk: Any) -> None:
        await trio.lowlevel.checkpoint()
        got.extend(chunk)

    def push(chunk: Any) -> None:
        got.extend(chunk)

    return push_slowly if slowly else push


async def test_a_pipe_is_emptied_into_everything(driver: Driver, tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    async with driver.calling(out=all_numbers) as acc:
        numbers: list[int] = []
        await acc.out(numbers=numbers)
        assert numbers == NUMBERS
        octets = bytearray(b"before")
        await acc.out(numbers=octets)
        assert octets == b"before" + OCTETS
        more = array("i")
        await acc.out(numbers=more)
        assert more == array("i", NUMBERS)
        queue: deque[int] = deque(maxlen=3)
        await acc.out(numbers=queue)
        assert list(queue) == NUMBERS[-3:]
        stream = io.BytesIO()
        await acc.out(numbers=stream)
        assert stream.getvalue() == OCTETS
        for make in (into_control, into_function):
            got: list[int] = []
            await acc.out(numbers=make(got))
            assert got == NUMBERS
        for buffering in (-1, 0):
            with path.open("wb", buffering=buffering) as file:
                await acc.out(numbers=file)
                assert not file.closed
            assert path.read_bytes() == OCTETS
        with tempfile.SpooledTemporaryFile(100) as spooled:
            await acc.out(numbers=spooled)
            spooled.seek(0)
            assert spooled.read() == OCTETS


async def test_async_files_and_functions_fill_and_empty_pipes(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    async with calling(into=drained, out=all_numbers) as acc:
        for make in (into_control, into_function):
            got: list[int] = []
            await acc.out(numbers=make(got, slowly=True))
            assert got == NUMBERS
        async with await trio.open_file(path, "wb") as file:
            await acc.out(numbers=file)
        assert path.read_bytes() == OCTETS
        async with await trio.open_file(path, "rb") as file:
            assert await acc.into(numbers=file) == NUMBERS


@pytest.mark.parametrize("kind", [Sample, Point])
async def test_structures_fill_and_empty_everything(
    driver: Driver, kind: Any, tmp_path: Path
) -> None:
    operation = "samples_both" if kind is Sample else "points_both"
    values: list[Any]
    if kind is Sample:
        values = [Sample(time=n, level=-n) for n in range(300)]
        octets = b"".join(struct.pack("<qi4x", one.time, one.level) for one in values)
    else:
        values = [Point(value=n, mark=n % 256) for n in range(300)]
        octets = b"".join(struct.pack("<iB3x", one.value, one.mark) for one in values)
    async with driver.calling(samples_both=echoed, points_both=echoed) as acc:
        call = getattr(acc, operation)
        for source in (
            values,
            generated(values),
            generated([values[:7], values[7:]]),
            octets,
            bytearray(octets),
            io.BytesIO(octets),
            Reader(octets, 13),
            pulling(octets, size=len(octets) // 300),
        ):
            got: list[Any] = []
            assert await call((source, got)) == 300
            assert got == values
        for sink in (io.BytesIO(), bytearray()):
            await call((values, sink))
            assert bytes(sink.getvalue() if isinstance(sink, io.BytesIO) else sink) == octets
        chunks: list[Any] = []
        await call((values, chunks.append))
        assert [one for chunk in chunks for one in chunk] == values
        seen = bytearray()
        await call((values, rpc.PipeControl(push=seen.extend)))
        assert seen == octets


@needs_numpy
async def test_numpy_arrays_fill_and_empty_pipes(driver: Driver) -> None:
    numbers = np.arange(100_000, dtype=np.int32)
    arrays: list[Any] = []

    async def both(pipe: Any) -> int:
        total = 0
        chunks = []
        async for chunk in pipe:
            view = np.asarray(chunk)
            assert view.dtype == np.int32
            total += int(view.sum(dtype=np.int64))
            chunks.append(view)
        await pushed(pipe, *chunks)
        return total

    async with driver.calling(both=both) as acc:
        total = await acc.both(
            numbers=(numbers, lambda chunk: arrays.append(np.asarray(chunk).copy()))
        )
        assert total == int(numbers.sum(dtype=np.int64))
        assert (np.concatenate(arrays) == numbers).all()
        for source in (
            numbers[:10].reshape(2, 5),
            (n for n in numbers[:10]),
            iter(np.split(numbers[:10], 2)),
        ):
            got: list[int] = []
            await acc.both(numbers=(source, got))
            assert got == list(range(10))
        with pytest.raises(TypeError, match="contiguous"):
            await acc.both(numbers=(numbers[::2], []))
        with pytest.raises(TypeError, match="int32; convert it"):
            await acc.both(numbers=(numbers.astype(np.int64), []))
        with pytest.raises(TypeError, match="int32; convert it"):
            await acc.both(numbers=(numbers.astype(np.float32), []))


@needs_numpy
async def test_numpy_reads_structures_as_structured_arrays(driver: Driver) -> None:
    seen: list[Any] = []

    async def samples_both(pipe: Any) -> None:
        async for chunk in pipe:
            seen.append(np.asarray(chunk).copy())
        await pushed(pipe, *seen)

    values = [Sample(time=n, level=n * 2) for n in range(50)]
    got: list[Any] = []
    async with driver.calling(samples_both=samples_both) as acc:
        await acc.samples_both((values, got))
    assert got == values
    assert [level for one in seen for level in one["level"]] == [2 * n for n in range(50)]


async def test_a_begun_call_has_given_pipes_and_pipes_by_hand(
    driver: Driver,
) -> None:
    async def both_out_into(first: Any, second: Any, third: Any) -> Any:
        total = sum(await drained(first)) + sum(await drained(third))
        await pushed(first, [total])
        await pushed(second, [1, 2])
        return total

    got: list[int] = []
    async with driver.calling(both_out_into=both_out_into) as acc:
        async with acc.both_out_into.begin(first=([1, 2], got)) as call:
            assert set(call.pipes) == {"second", "third"}
            await pushed(call.pipes["third"], [10])
            assert await drained(call.pipes["second"]) == [1, 2]
            assert await call.complete() == 13
    assert got == [13]


async def test_memory_of_a_source_is_released_after_the_call(driver: Driver) -> None:
    octets = bytearray(OCTETS)
    async with driver.calling(into=drained) as acc:
        await acc.into(numbers=octets)
        octets.extend(b"fails while the memory is exported")


async def test_a_pull_function_is_asked_for_little_at_a_time(driver: Driver) -> None:
    asked: list[int] = []

    def pull(most: int) -> bytes:
        asked.append(most)
        return bytes(4 * most) if len(asked) < 4 else b""

    async def into(numbers: Any) -> int:
        return sum([len(chunk) async for chunk in numbers])

    async with driver.calling(into=into, bounded_into=drained) as acc:
        total = await acc.into(numbers=pull)
        assert total == sum(asked[:3])
        assert max(asked) <= 2**20
        asked.clear()
        await acc.bounded_into(numbers=pull)
        assert asked == [4] * 4


async def test_booleans_fill_and_empty_pipes(driver: Driver) -> None:
    got: list[bool] = []
    async with driver.calling(flags_both=echoed) as acc:
        await acc.flags_both(([True, False, True], got))
        assert got == [True, False, True]
        assert all(type(one) is bool for one in got)
