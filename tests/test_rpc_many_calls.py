"""Many calls on one connection: none delays the others, and the limit is kept."""

from __future__ import annotations

import struct
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import rpc
from ipcpipes.rpc.wire.format import Kind
from ipcpipes.testing import memory_stream_pair

from .rpc_drivers import Driver
from .rpc_over_links import (
    SECONDS,
    GatedStream,
    RawClient,
    calling,
    open_calls,
    timed_out,
)
from .rpc_over_managers import Calls, Scripted, echoed, given_back
from .rpc_waiting import sleep, until, until_cancelled

MIB = 2**20


async def test_many_calls_run_at_once(driver: Driver) -> None:
    most = 0

    async def plain(value: int) -> int:
        nonlocal most
        most = max(most, open_calls() + 1)
        if most < 64:
            await sleep(0.001 * (value % 7))
        while most < 64:
            await sleep(0.001)
        return value * value

    results: dict[int, int] = {}
    async with driver.calling(plain=plain) as acc:

        async def call(number: int) -> None:
            results[number] = await acc.plain(number)

        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(call, number)
    assert results == {number: number * number for number in range(64)}


async def test_a_stalled_pipe_delays_no_other_call(driver: Driver) -> None:
    async def into(numbers: Any) -> None:
        await until_cancelled()

    async def out(numbers: Any) -> None:
        while True:
            await numbers.push(bytes(400_000))

    async def push(call: Any) -> None:
        with pytest.raises(driver.left):
            while True:
                await call.pipes["numbers"].push(bytes(400_000))

    async with driver.calling(into=into, out=out, both=echoed, plain=given_back) as acc:
        async with acc.out.begin(), acc.out.begin(), trio.open_nursery() as nursery:
            async with acc.into.begin() as first, acc.into.begin() as second:
                nursery.start_soon(push, first)
                nursery.start_soon(push, second)
                await driver.settle()
                assert await acc.plain(5) == 5
                got: list[int] = []
                assert await acc.both(numbers=(range(10_000), got)) == 10_000
                assert got == list(range(10_000))


@pytest.mark.parametrize("size", [100, 3 * MIB])
async def test_large_values_both_ways_at_once(driver: Driver, size: int) -> None:
    async with driver.calling(plain=given_back) as acc, trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(acc.plain, bytes(size))


async def test_many_pipes_both_ways_at_once(driver: Driver) -> None:
    size = 6 * MIB
    totals: list[int] = []

    async def octets_into(data: Any) -> int:
        return sum([len(chunk) async for chunk in data])

    async def octets_out(data: Any) -> None:
        for _ in range(6):
            await data.push(bytes(MIB))
        await data.close()

    async with driver.calling(octets_into=octets_into, octets_out=octets_out) as acc:

        async def up() -> None:
            totals.append(await acc.octets_into(data=bytes(size)))

        async def down() -> None:
            total = 0

            def push(chunk: Any) -> None:
                nonlocal total
                total += len(chunk)

            await acc.octets_out(data=push)
            totals.append(total)

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(up)
                nursery.start_soon(down)
    assert totals == [size] * 12


@pytest.mark.parametrize("most", [1, 3])
async def test_calls_above_the_limit_wait_for_room(driver: Driver, most: int) -> None:
    highest = 0

    async def plain(value: int) -> int:
        nonlocal highest
        highest = max(highest, open_calls() + 1)
        await until(lambda: highest >= most)
        return value

    got: list[int] = []
    async with driver.calling(plain=plain, server={"max_calls": most}) as acc:

        async def call(number: int) -> None:
            got.append(await acc.plain(number))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(call, number)
    assert sorted(got) == list(range(20))
    assert highest == most


async def test_a_call_that_is_refused_leaves_its_room_to_the_next_one(driver: Driver) -> None:
    release = trio.Event()

    async def plain(value: Any) -> int:
        await until(release.is_set)
        return len(value)

    limits = {"max_calls": 1, "max_frame": 65_536}
    async with driver.calling(plain=plain, server=limits) as acc, trio.open_nursery() as nursery:

        async def refused() -> None:
            with pytest.raises(ValueError, match="send large values through a pipe"):
                await acc.plain(bytes(65_536))

        with trio.fail_after(SECONDS):
            for function in (partial(acc.plain, b"1"), refused, partial(acc.plain, b"2")):
                nursery.start_soon(function)
                await trio.sleep(0.02)  # so that they wait in this order
            release.set()


class CountedSteps(trio.abc.Instrument):
    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


async def test_the_cost_of_a_call_does_not_grow_with_the_calls_that_wait() -> None:
    steps = []
    for count in (100, 1000):
        async with calling(plain=given_back, server={"max_calls": 10}) as acc:
            instrument = CountedSteps()
            trio.lowlevel.add_instrument(instrument)
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    nursery.start_soon(acc.plain, number)
            trio.lowlevel.remove_instrument(instrument)
            steps.append(instrument.count / count)
    assert steps[1] < 1.5 * steps[0]


async def test_waiting_for_room_can_be_cancelled_and_can_time_out() -> None:
    async def plain(value: Any) -> Any:
        await trio.sleep_forever()

    async with calling(plain=plain, server={"max_calls": 1}) as acc:
        async with acc.plain.begin(1):
            with trio.move_on_after(0.01) as scope:
                await acc.plain(2)
            assert scope.cancelled_caught
            with timed_out():
                await acc.plain.with_options(timeout=0.01)(3)
            with timed_out():
                async with acc.plain.with_options(timeout=0.01).begin(4):
                    raise AssertionError("it was begun")


async def test_waiting_for_room_to_send_does_not_exceed_the_call_limit() -> None:
    left, right = memory_stream_pair()
    gate = GatedStream(left)
    go_on = trio.Event()

    async def plain(value: Any) -> int:
        await go_on.wait()
        return len(value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(rpc.serve_connection, Scripted(plain=plain), right, max_calls=2))
        with trio.fail_after(SECONDS):
            async with rpc.bind(Calls, gate) as acc, trio.open_nursery() as callers:
                gate.writing = trio.Event()
                for size in (2 * MIB, 1, 2, 3):
                    callers.start_soon(acc.plain, bytes(size))
                    await trio.testing.wait_all_tasks_blocked()
                gate.writing.set()
                await trio.testing.wait_all_tasks_blocked()
                go_on.set()


async def test_a_client_that_exceeds_the_call_limit_gets_a_fault(driver: Driver) -> None:
    async def plain(value: Any) -> None:
        await until_cancelled()

    with trio.fail_after(SECONDS):
        async with driver.serving(driver.manager(plain=plain), max_calls=2) as listener:
            async with await ipcpipes.connect(listener.endpoint) as stream:
                raw = RawClient(stream)
                await raw.bind()
                for number in (1, 2, 3):
                    await raw.request(number, "plain", 1)
                answer = await raw.receive()
                assert (answer.kind, answer.call) == (Kind.FAULT, 3)
                assert b"\xcd" + struct.pack(">H", 1723) in bytes(answer.body)
