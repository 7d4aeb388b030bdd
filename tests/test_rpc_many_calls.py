"""Many calls on one connection: none holds up the others, and no more than there may be."""

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

from .rpc_over_links import SECONDS, GatedStream, RawClient, calling, open_calls, serving, timed_out
from .rpc_over_managers import Calls, Scripted, echoed, given_back

MIB = 2**20


async def test_64_calls_at_once() -> None:
    most = 0

    async def plain(value: int) -> int:
        nonlocal most
        most = max(most, open_calls() + 1)
        if most < 64:
            await trio.sleep(0.001 * (value % 7))
        while most < 64:
            await trio.sleep(0.001)
        return value * value

    results: dict[int, int] = {}
    async with calling(plain=plain) as acc:

        async def call(number: int) -> None:
            results[number] = await acc.plain(number)

        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(call, number)
    assert results == {number: number * number for number in range(64)}


async def test_a_pipe_that_stands_still_holds_up_no_other_call() -> None:
    async def into(numbers: Any) -> None:
        await trio.sleep_forever()

    async def out(numbers: Any) -> None:
        while True:
            await numbers.push(bytes(400_000))

    async with calling(into=into, out=out, both=echoed, plain=given_back) as acc:
        async with acc.out.begin(), acc.out.begin(), trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(lambda: acc.into(numbers=lambda most: bytes(4 * most)))
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert await acc.plain(5) == 5
            got: list[int] = []
            assert await acc.both(numbers=(range(10_000), got)) == 10_000
            assert got == list(range(10_000))
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [100, 3 * MIB])
async def test_large_values_both_ways_at_once(size: int) -> None:
    async with calling(plain=given_back) as acc, trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(acc.plain, bytes(size))


async def test_many_pipes_both_ways_at_once() -> None:
    size = 6 * MIB
    totals: list[int] = []

    async def octets_into(data: Any) -> int:
        return sum([len(chunk) async for chunk in data])

    async def octets_out(data: Any) -> None:
        for _ in range(6):
            await data.push(bytes(MIB))
        await data.close()

    async with calling(octets_into=octets_into, octets_out=octets_out) as acc:

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
async def test_more_tasks_than_calls_wait_for_their_turns(most: int) -> None:
    highest = 0

    async def plain(value: int) -> int:
        nonlocal highest
        highest = max(highest, open_calls() + 1)
        await trio.sleep(0.001)
        return value

    got: list[int] = []
    async with calling(plain=plain, server={"max_calls": most}) as acc:

        async def call(number: int) -> None:
            got.append(await acc.plain(number))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(call, number)
    assert sorted(got) == list(range(20))
    assert highest == most


async def test_a_task_that_waits_for_its_turn_can_be_cancelled_and_time_out() -> None:
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


async def test_tasks_that_wait_for_a_call_and_for_room_get_no_more_than_there_are() -> None:
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


async def test_a_strange_client_that_begins_more_calls_is_told() -> None:
    async def plain(value: Any) -> None:
        await trio.sleep_forever()

    async def given(value: Any) -> Any:
        return value

    async with calling(plain=given) as ours:
        assert await ours.plain(1) == 1
    with trio.fail_after(SECONDS):
        async with serving(Scripted(plain=plain), max_calls=2) as listener:
            async with await ipcpipes.connect(listener.endpoint) as stream:
                raw = RawClient(stream)
                await raw.bind()
                for number in (1, 2, 3):
                    await raw.request(number, "plain", 1)
                answer = await raw.receive()
                assert (answer.kind, answer.call) == (Kind.FAULT, 3)
                assert b"\xcd" + struct.pack(">H", 1723) in bytes(answer.body)
