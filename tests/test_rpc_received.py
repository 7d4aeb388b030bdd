"""Pulled chunks: at the server and at the client, under both drivers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import pytest

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .rpc_over_links import bad_stub_data, serving
from .threads import Worker


class Color(IntEnum):
    RED = 1
    BLUE = 2


class Pixel(rpc.Structure):
    place: rpc.int32
    color: Color


class Painter(rpc.Interface, uuid="4c7e6d0a-9b1f-4f57-8a53-2b8f0c9d1e44", version=(1, 0)):
    @rpc.operation
    async def octets(self, pipe: rpc.InOutPipe[rpc.byte]) -> Any: ...
    @rpc.operation
    async def numbers(self, pipe: rpc.InOutPipe[rpc.int32]) -> Any: ...
    @rpc.operation
    async def pixels(self, pipe: rpc.InOutPipe[Pixel]) -> Any: ...
    @rpc.operation
    async def colors(self, pipe: rpc.InOutPipe[Color]) -> Any: ...
    @rpc.operation
    async def count(self, pipe: rpc.InPipe[Pixel]) -> Any: ...
    @rpc.operation
    async def spoilt(self, pipe: rpc.OutPipe[Pixel]) -> Any: ...


def is_read_only(chunk: Any) -> bool:
    return memoryview(getattr(chunk, "memory", chunk)).readonly


SPOILT = b"\1\0\0\0\1\0\0\0" + b"\2\0\0\0\7\0\0\0"  # there is no color 7


class Scripted(Painter):
    async def _echo(self, pipe: Any) -> bool:
        chunks = [chunk async for chunk in pipe]
        for chunk in chunks:
            await pipe.push(chunk)
        await pipe.close()
        return all(map(is_read_only, chunks))

    async def octets(self, pipe: Any) -> bool:
        return await self._echo(pipe)

    async def numbers(self, pipe: Any) -> bool:
        return await self._echo(pipe)

    async def pixels(self, pipe: Any) -> bool:
        return await self._echo(pipe)

    async def colors(self, pipe: Any) -> list[int]:
        found = [number async for chunk in pipe for number in chunk]
        assert all(type(number) is int for number in found)
        await pipe.push([Color(found[0]), *found[1:]])
        await pipe.close()
        return found

    async def count(self, pipe: Any) -> int:
        return len([pixel async for chunk in pipe for pixel in chunk])

    async def spoilt(self, pipe: Any) -> None:
        await pipe.push(SPOILT)
        await pipe.close()


class InThreads(Painter):
    def _echo(self, pipe: Any) -> bool:
        chunks = list(pipe)
        for chunk in chunks:
            pipe.push(chunk)
        pipe.close()
        return all(map(is_read_only, chunks))

    octets = numbers = pixels = _echo  # type: ignore[assignment]

    def colors(self, pipe: Any) -> list[int]:  # type: ignore[override]
        found = [number for chunk in pipe for number in chunk]
        assert all(type(number) is int for number in found)
        pipe.push([Color(found[0]), *found[1:]])
        pipe.close()
        return found

    def count(self, pipe: Any) -> int:  # type: ignore[override]
        return len([pixel for chunk in pipe for pixel in chunk])

    def spoilt(self, pipe: Any) -> None:  # type: ignore[override]
        pipe.push(SPOILT)
        pipe.close()


@contextmanager
def served_in_threads() -> Iterator[Any]:
    listener = streams.listen(unique_endpoint())
    server = Worker(blocking.serve, InThreads(), listener)
    try:
        with blocking.connect(Painter, listener.endpoint) as client:
            yield client
    finally:
        listener.close()
        server.result()


# Small frames, which lie in reused memory, and large frames.
SIZES = [8, 4096, 300_000, 3_000_000]


@pytest.mark.parametrize("size", SIZES)
async def test_chunks_are_read_only_at_both_ends(size: int) -> None:
    async with serving(Scripted()) as listener, rpc.connect(Painter, listener.endpoint) as client:
        for call in (client.octets, client.numbers):
            got: list[Any] = []
            given = rpc.exchange(rpc.feed(bytes(size)), rpc.drain(got.append))
            assert await call(given), "the manager's are"
            assert all(map(is_read_only, got))
            assert sum(chunk.nbytes for chunk in got) == size
        got = []
        pixels = [Pixel(1, Color.RED)] * (size // 8)
        assert await client.pixels(rpc.exchange(rpc.feed(pixels), rpc.drain(got.append)))
        assert all(map(is_read_only, got))


@pytest.mark.parametrize("size", SIZES)
def test_chunks_are_read_only_at_both_ends_in_threads(size: int) -> None:
    with served_in_threads() as client:
        for call in (client.octets, client.numbers):
            got: list[Any] = []
            assert call((bytes(size), got.append)), "the manager's are"
            assert all(map(is_read_only, got))
            assert sum(chunk.nbytes for chunk in got) == size
        got = []
        assert client.pixels(([Pixel(1, Color.RED)] * (size // 8), got.append))
        assert all(map(is_read_only, got))


async def test_a_pipe_of_an_enumeration_has_plain_numbers() -> None:
    got: list[Any] = []
    given: list[Any] = [Color.RED, Color.BLUE, 77]
    async with serving(Scripted()) as listener, rpc.connect(Painter, listener.endpoint) as client:
        assert await client.colors(rpc.exchange(rpc.feed(given), rpc.drain(got))) == [1, 2, 77]
    assert got == [Color.RED, Color.BLUE, 77]
    assert all(type(number) is int for number in got)


def test_a_pipe_of_an_enumeration_has_plain_numbers_in_threads() -> None:
    got: list[Any] = []
    with served_in_threads() as client:
        assert client.colors(([Color.RED, Color.BLUE, 77], got)) == [1, 2, 77]
    assert got == [Color.RED, Color.BLUE, 77]
    assert all(type(number) is int for number in got)


WORDS = "element 1 of this chunk is not a valid Pixel: 7 is not a valid Color"


async def test_an_invalid_enumeration_number_is_bad_stub_data() -> None:
    async with serving(Scripted()) as listener, rpc.connect(Painter, listener.endpoint) as client:
        assert await client.count(rpc.feed([Pixel(1, Color.RED)])) == 1
        # The client sent it, and the client gets the error.
        with bad_stub_data() as caught:
            await client.count(rpc.feed(SPOILT))
        assert (caught.value.message, caught.value.type) == (WORDS, None)
        with pytest.raises(rpc.BadStubData, match=WORDS):
            await client.spoilt(rpc.drain([]))
        with pytest.raises(rpc.BadStubData, match=WORDS):
            await client.spoilt(rpc.drain(lambda chunk: [*chunk]))
        raw = bytearray()
        await client.spoilt(rpc.drain(raw))  # as bytes, it is not checked
        assert raw == SPOILT
        wrong = Pixel(1, 7)  # type: ignore[arg-type]  # which is the mistake
        with pytest.raises(ValueError, match="7 is not a valid Color"):
            await client.count(rpc.feed([wrong]))


def test_an_invalid_enumeration_number_is_bad_stub_data_in_threads() -> None:
    with served_in_threads() as client:
        assert client.count([Pixel(1, Color.RED)]) == 1
        with bad_stub_data() as caught:
            client.count(SPOILT)
        assert (caught.value.message, caught.value.type) == (WORDS, None)
        with pytest.raises(rpc.BadStubData, match=WORDS):
            client.spoilt([])
        with pytest.raises(rpc.BadStubData, match=WORDS):
            client.spoilt(lambda chunk: [*chunk])
        raw = bytearray()
        client.spoilt(raw)  # as bytes, it is not checked
        assert raw == SPOILT
        assert client.count([Pixel(1, Color.RED)]) == 1


async def test_a_client_reads_an_invalid_structure_later() -> None:
    async with serving(Scripted()) as listener, rpc.connect(Painter, listener.endpoint) as client:
        async with rpc.operation_of(client.spoilt).begin() as call:
            chunk = await call.pipes["pipe"].pull()
            assert chunk[0] == Pixel(1, Color.RED)
            with pytest.raises(rpc.BadStubData, match=WORDS):
                chunk[1]
            assert not len(await call.pipes["pipe"].pull())
            await call.complete()
