"""The limits of frames and credit, and peers that stop reading: little is kept for them."""

from __future__ import annotations

import os
import tracemalloc
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc
from ipcpipes.rpc.wire.format import Kind, encode
from ipcpipes.testing import memory_stream_pair

from .rpc_drivers import Driver
from .rpc_over_links import SECONDS, GatedStream, failing, raw_calling
from .rpc_over_managers import Calls, Scripted, echoed, given_back

MIB = 2**20


async def test_arguments_above_the_servers_limit_are_not_sent(driver: Driver) -> None:
    async with driver.calling(plain=given_back, server={"max_frame": 65_536}) as acc:
        for attempt in (acc.plain, acc.tell):
            with pytest.raises(ValueError, match="65,536; send large values through a pipe"):
                await attempt(bytes(65_536))
        assert len(await acc.plain(bytes(65_000))) == 65_000


async def test_results_above_the_clients_limit_are_not_sent(driver: Driver) -> None:
    async def plain(size: int) -> bytes:
        return bytes(size)

    async with driver.calling(plain=plain, client={"max_frame": 65_536}) as acc:
        with failing(rpc.BadStubData, 1783) as caught:
            await acc.plain(65_536)
        assert "send large values through a pipe" in caught.value.message
        assert len(await acc.plain(65_000)) == 65_000


@pytest.mark.parametrize("limits", [{"max_frame": 65_536}, {"credit": 131_072}], ids=str)
async def test_pipes_work_with_the_smallest_limits(driver: Driver, limits: dict[str, int]) -> None:
    async with driver.calling(octets_both=echoed, client=limits, server=limits) as acc:
        data = os.urandom(MIB)
        got = bytearray()
        # The whole of it is held by the manager; the credit is what is under way.
        assert await acc.octets_both(data=(data, got)) == MIB
        assert got == data


async def test_a_client_that_stops_reading_stops_the_calls_of_the_server() -> None:
    made = 0

    def inline(value: Any) -> bytes:
        nonlocal made
        made += 1
        return bytes(MIB)

    async with raw_calling(inline=inline) as (raw, _):
        await raw.bind()
        frames = []
        number = list(Calls._rpc_definition.operations).index("inline")
        for call in range(1, 501):
            frames.append(encode(Kind.REQUEST, call, b"\x91\x01", number=number))
        tracemalloc.start()
        try:
            with trio.move_on_after(0.3):
                await raw.channel.send_many(frames)
                await trio.sleep(0.3)
            assert tracemalloc.get_traced_memory()[1] < 16 * MIB
        finally:
            tracemalloc.stop()
        assert made < 16


async def test_a_client_that_stops_pulling_stops_the_managers(driver: Driver) -> None:
    pushes = 0

    async def octets_out(data: Any) -> None:
        nonlocal pushes
        while True:
            await data.push(bytes(100_000))
            pushes += 1

    async with driver.raw_calling(octets_out=octets_out) as (raw, _):
        await raw.bind(credit=2**32 - 1)
        for call in range(1, 11):
            await raw.request(call, "octets_out")
        assert await driver.stopped(lambda: pushes) < 100


async def test_a_server_that_stops_reading_stops_the_client() -> None:
    left, right = memory_stream_pair()
    gate = GatedStream(left)
    begun = 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve_connection, Scripted(plain=given_back), right)
        with trio.fail_after(SECONDS):
            async with rpc.bind(Calls, gate) as acc, trio.open_nursery() as callers:
                gate.writing = trio.Event()

                async def call() -> None:
                    nonlocal begun
                    begun += 1
                    assert len(await acc.plain(bytes(200_000))) == 200_000

                for _ in range(30):
                    callers.start_soon(call)
                await trio.testing.wait_all_tasks_blocked()
                assert rpc.client_of(acc)._link.session.output_size < 2 * MIB
                assert begun == 30
                gate.writing.set()
