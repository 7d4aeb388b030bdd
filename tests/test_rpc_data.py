"""Elements in pipes: order, chunks, ranges, the wire format, and memory (behaviours 30 to 40)."""

from __future__ import annotations

import random
import struct
import tracemalloc
from array import array
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc
from ipcpipes.rpc.wire.format import Kind, encode

from .rpc_drivers import CALLING, Driver, has_elements
from .rpc_over_links import (
    SECONDS,
    calling_in_memory,
    invalid_bound,
    memory,
)
from .rpc_over_managers import Point, Sample, drained, echoed, given_back, pushed
from .rpc_waiting import Event, until

MIB = 2**20


async def test_30_elements_arrive_in_the_order_of_the_pushes(driver: Driver) -> None:
    chunks = [list(range(n)) for n in (5, 4, 3, 2, 1)]
    expected = [element for chunk in chunks for element in chunk]
    got: list[int] = []
    async with driver.calling(into=drained, out=lambda numbers: pushed(numbers, *chunks)) as acc:
        async with acc.into.begin() as call:
            await pushed(call.pipes["numbers"], *chunks)
            assert await call.complete() == expected
        await acc.out(numbers=got)
        assert got == expected


async def test_31_elements_above_the_maximum_wait_for_the_next_pull(driver: Driver) -> None:
    async def into(numbers: Any) -> list[list[int]]:
        pulls = []
        while len(chunk := await numbers.pull(3)):
            pulls.append(list(chunk))
        return pulls

    async with driver.calling(into=into) as acc:
        pulls = await acc.into(numbers=array("i", range(10)))
    assert pulls == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]


async def test_32_a_maximum_of_0_fails_while_there_are_elements(driver: Driver) -> None:
    async def into(numbers: Any) -> None:
        await until(lambda: has_elements(numbers))
        with memory() as caught:
            await numbers.pull(0)
        raise caught.value

    async with driver.calling(into=into) as acc:
        with memory():
            await acc.into(numbers=[1])


async def test_32_a_maximum_of_0_pulls_the_end(driver: Driver) -> None:
    async def into(numbers: Any) -> int:
        await numbers.pull()
        return len(await numbers.pull(0))

    async with driver.calling(into=into) as acc:
        assert await acc.into(numbers=[1]) == 0


@pytest.mark.parametrize(("share", "times"), [(1, 1), (2, 2), (4, 4)])
async def test_33_less_memory_means_more_pushes(driver: Driver, share: int, times: int) -> None:
    asked: list[int] = []
    got: list[list[int]] = []

    def alloc(size: int) -> bytearray:
        asked.append(size)
        return bytearray(32 // share)

    numbers = list(range(8))  # 32 bytes
    async with driver.calling(out=lambda pipe: pushed(pipe, numbers)) as acc:
        control = rpc.PipeControl(push=lambda chunk: got.append(list(chunk)), alloc=alloc)
        await acc.out(numbers=control)
    assert [len(chunk) for chunk in got] == [8 // share] * times + [0]
    assert [number for chunk in got for number in chunk] == numbers
    assert asked == [32] * times, "no memory is allocated for the end"


async def test_34_more_memory_is_used_only_as_far_as_needed(driver: Driver) -> None:
    room = bytearray(b"\xaa" * 100)
    got: list[list[int]] = []
    async with driver.calling(out=lambda numbers: pushed(numbers, [1, 2])) as acc:
        control = rpc.PipeControl(
            push=lambda chunk: got.append(list(chunk)), alloc=lambda size: room
        )
        await acc.out(numbers=control)
    assert got == [[1, 2], []]
    assert room == struct.pack("<ii", 1, 2) + b"\xaa" * 92


@pytest.mark.parametrize("size", [0, 3])
async def test_35_memory_below_one_element_fails_the_call(driver: Driver, size: int) -> None:
    ended: list[BaseException] = []

    async def out(numbers: Any) -> None:
        try:
            while True:
                await numbers.push(bytes(4096))
        except BaseException as error:
            ended.append(error)
            raise

    async with driver.calling(out=out, plain=given_back) as acc:
        with memory():
            await acc.out(numbers=rpc.PipeControl(push=print, alloc=lambda asked: bytearray(size)))
        assert await acc.plain(1) == 1
    assert isinstance(ended[0], (rpc.CallCancelled, trio.Cancelled))


async def test_35_memory_below_one_element_fails_a_source(driver: Driver) -> None:
    async with driver.calling(into=drained) as acc:
        with memory():
            control = rpc.PipeControl(pull=lambda buffer: 1, alloc=lambda asked: bytearray(3))
            await acc.into(numbers=control)


@pytest.mark.parametrize("cut", [1, 3, 5, 7, 1000])
async def test_36_elements_cut_by_frames_arrive_whole(driver: Driver, cut: int) -> None:
    samples = [Sample(time=n, level=-n) for n in range(40)]
    stride = 16
    octets = b"".join(struct.pack("<qi4x", one.time, one.level) for one in samples)
    wire = struct.pack("<I4x", 40) + octets[:-4] + bytes(4)
    assert len(octets) == 40 * stride

    async def samples_both(pipe: Any) -> int:
        pulled = []
        while len(chunk := await pipe.pull()):
            assert all(isinstance(one, Sample) for one in chunk)
            pulled += list(chunk)
        assert pulled == samples
        await pipe.close()
        return len(pulled)

    async with driver.raw_calling(samples_both=samples_both) as (raw, _):
        await raw.bind()
        await raw.request(1, "samples_both")
        for start in range(0, len(wire), cut):
            await raw.send(Kind.PIPE, 1, body=wire[start : start + cut])
        assert bytes((await raw.receive()).body) == bytes(4), (
            "the end of the pipe towards the client"
        )
        answer = await raw.receive()
        assert (answer.kind, bytes(answer.body)) == (Kind.RESPONSE, b"\x28")


@pytest.mark.parametrize(
    ("operation", "wire", "expected"),
    [
        (
            "into",
            "03000000 01000000 02000000 03000000 01000000 04000000 00000000",
            [1, 2, 3, 4],
        ),
        ("octets_into", "03000000 41424300 01000000 44000000 00000000", list(b"ABCD")),
        ("octets_into", "03000000 414243ee 01000000 44eeeeee 00000000", list(b"ABCD")),
        ("into", "00000000", []),
        ("octets_into", "00000000", []),
    ],
)
async def test_37_the_test_vectors_are_received(
    driver: Driver, operation: str, wire: str, expected: Any
) -> None:
    async with driver.raw_calling(into=drained, octets_into=drained) as (raw, _):
        await raw.bind()
        await raw.request(1, operation)
        await raw.send(Kind.PIPE, 1, body=bytes.fromhex(wire))
        answer = await raw.receive()
        assert answer.kind is Kind.RESPONSE
        assert list(answer.body)[-len(expected) or 1 :] == expected or expected == []


async def test_37_the_test_vectors_are_sent(driver: Driver) -> None:
    async def octets_out(data: Any) -> None:
        for chunk in (b"ABC", b"D"):
            await data.push(chunk)
            await driver.settle()  # so that the chunks travel in frames of their own
        await data.close()

    async with driver.raw_calling(octets_out=octets_out) as (raw, _):
        await raw.bind()
        await raw.request(1, "octets_out")
        sent = b""
        while (frame := await raw.receive()).kind is Kind.PIPE:
            sent += frame.body
        assert sent == bytes.fromhex("03000000 41424300 01000000 44000000 00000000")


async def test_38_a_push_outside_the_range_fails(driver: Driver) -> None:
    async def bounded_out(numbers: Any) -> None:
        await numbers.push([1, 2])
        with invalid_bound():
            await numbers.push([1, 2, 3, 4, 5])
        with invalid_bound() as caught:
            await numbers.push([1])
        raise caught.value

    got: list[int] = []
    async with driver.calling(bounded_out=bounded_out) as acc:
        with invalid_bound():
            await acc.bounded_out(numbers=got)
    assert got == [1, 2]


async def test_38_a_source_is_cut_to_the_range(driver: Driver) -> None:
    async def bounded_into(numbers: Any) -> list[int]:
        return await drained(numbers)

    async with driver.calling(bounded_into=bounded_into) as acc:
        for source in (array("i", range(8)), range(8), [[1, 2, 3, 4], [5, 6, 7, 8]]):
            assert len(await acc.bounded_into(numbers=source)) == 8


@pytest.mark.parametrize("count", [1, 5, 2**31])
@pytest.mark.parametrize("filler", [b"\0", b"\xff", b"\x03\0\0\0"], ids=["0", "255", "counts"])
async def test_38_a_received_count_outside_the_range_fails_the_call(
    driver: Driver, count: int, filler: bytes
) -> None:
    async def bounded_into(numbers: Any) -> None:
        with invalid_bound() as caught:
            await drained(numbers)
        raise caught.value

    async with driver.raw_calling(bounded_into=bounded_into, plain=given_back) as (raw, _):
        await raw.bind()
        await raw.request(1, "bounded_into")
        first = encode(Kind.PIPE, 1, struct.pack("<I", count) + filler * 20)
        await raw.channel.send_many([first, encode(Kind.PIPE, 1, filler * 20)])
        answer = await raw.receive()
        assert answer.kind is Kind.FAULT
        assert b"\xcd" + struct.pack(">H", 1734) in bytes(answer.body)
        # The call fails, and the connection works.
        await raw.request(2, "plain", 5)
        assert (await raw.receive()).kind is Kind.RESPONSE


@pytest.mark.parametrize("calling", CALLING.values(), ids=CALLING)
async def test_39_a_long_stream_uses_no_more_memory_than_its_credit(calling: Any) -> None:
    size = 24 * MIB
    ahead = 0
    sent = 0
    got = 0

    def source(most: int) -> bytes:
        nonlocal sent
        octets = bytes(min(most, size - sent))
        sent += len(octets)
        return octets

    async def octets_into(data: Any) -> int:
        nonlocal ahead, got
        while len(chunk := await data.pull(50_000)):
            got += len(chunk)
            ahead = max(ahead, sent - got)
        return got

    async with calling(octets_into=octets_into, server={"credit": 2 * MIB}) as acc:
        tracemalloc.start()
        try:
            assert await acc.octets_into(data=source) == size
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert ahead < 3 * MIB
    assert peak < 8 * MIB


async def test_39_a_stopped_manager_stops_the_source(driver: Driver) -> None:
    taken = 0
    go_on = Event()

    def source(most: int) -> bytes:
        nonlocal taken
        taken += most
        return bytes(most) if taken < 16 * MIB else b""

    async def octets_into(data: Any) -> int:
        first = len(await data.pull(1))
        await go_on.wait()
        return first + len(await drained(data))

    async with driver.calling(octets_into=octets_into) as acc, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: acc.octets_into(data=source))
        assert await driver.stopped(lambda: taken) < 3 * MIB
        go_on.set()


async def test_39_a_client_that_does_not_pull_stops_the_manager(driver: Driver) -> None:
    pushes = 0

    async def octets_out(data: Any) -> None:
        nonlocal pushes
        for _ in range(16):
            await data.push(bytes(MIB))
            pushes += 1
        await data.close()

    async with driver.calling(octets_out=octets_out) as acc:
        async with acc.octets_out.begin() as call:
            assert await driver.stopped(lambda: pushes) < 3
            total = 0
            async for chunk in call.pipes["data"]:
                total += len(chunk)
            await call.complete()
    assert (pushes, total) == (16, 16 * MIB)


async def test_40_a_huge_count_allocates_nothing_in_advance(driver: Driver) -> None:
    seen: list[int] = []
    pulled = Event()

    async def into(numbers: Any) -> None:
        seen.extend(await numbers.pull())
        pulled.set()
        await numbers.pull()

    async with driver.raw_calling(into=into) as (raw, _):
        await raw.bind()
        tracemalloc.start()
        try:
            await raw.request(1, "into")
            await raw.send(Kind.PIPE, 1, body=struct.pack("<Iiib", 2**32 - 1, 1, 2, 3))
            with trio.fail_after(SECONDS):
                await pulled.wait()
            assert tracemalloc.get_traced_memory()[1] < MIB
        finally:
            tracemalloc.stop()
        assert seen == [1, 2]


@pytest.mark.parametrize("how", ["orphaned", "closed"])
async def test_40_a_pipe_that_is_cut_off_fails(driver: Driver, how: str) -> None:
    errors: list[BaseException] = []
    ended = Event()

    async def into(numbers: Any) -> None:
        try:
            await drained(numbers)
        except BaseException as error:
            errors.append(error)
            raise
        finally:
            ended.set()

    async with driver.raw_calling(into=into) as (raw, _):
        await raw.bind()
        await raw.request(1, "into")
        await raw.send(Kind.PIPE, 1, body=struct.pack("<Ii", 1000, 1))
        await driver.settle()
        if how == "orphaned":
            await raw.send(Kind.ORPHANED, 1)
        else:
            await raw.channel.aclose()
        with trio.fail_after(SECONDS):
            await ended.wait()
    expected = rpc.CallCancelled if how == "orphaned" else rpc.CommFailure
    assert [type(error) for error in errors] == [expected]


@pytest.mark.parametrize(
    ("operation", "element"),
    [("samples_both", Sample(time=-1, level=2)), ("points_both", Point(value=7, mark=255))],
)
async def test_structures_of_every_padding_go_both_ways(operation: str, element: Any) -> None:
    for count in (0, 1, 2, 3, 1000, 50_000):
        got: list[Any] = []
        async with calling_in_memory(samples_both=echoed, points_both=echoed) as acc:
            number = await getattr(acc, operation)(([element] * count, got))
        assert (number, got) == (count, [element] * count)


async def test_randomly_cut_chunks_arrive_unchanged(driver: Driver) -> None:
    rng = random.Random(1)
    async with driver.calling(both=echoed, octets_both=echoed) as acc:
        for _ in range(20):
            chunks = [
                array("i", [rng.randrange(-(2**31), 2**31) for _ in range(rng.randrange(1, 3000))])
                for _ in range(rng.randrange(8))
            ]
            got: list[int] = []
            total = await acc.both(numbers=(chunks, got))
            assert got == [number for chunk in chunks for number in chunk]
            assert total == len(got)
            pieces = [rng.randbytes(rng.choice([1, 3, 4095, 4097, 300_001])) for _ in range(5)]
            octets = bytearray()
            await acc.octets_both(data=(pieces, octets))
            assert octets == b"".join(pieces)
