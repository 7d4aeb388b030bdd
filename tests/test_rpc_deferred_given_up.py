"""Deferred calls that their clients have given up: they hold no place and no memory."""

from __future__ import annotations

import math
import tracemalloc
from functools import partial
from typing import Any

import trio

from ipcpipes import rpc

from .rpc_deferring import Deferring
from .rpc_drivers import Driver, shut_down
from .rpc_over_links import SECONDS, cancelled
from .rpc_over_managers import Calls
from .rpc_waiting import Event, until, until_given_up

MIB = 2**20
COUNT = 64
PIECE = bytes(MIB // 4)


async def test_the_elements_of_a_call_that_was_given_up_are_dropped(driver: Driver) -> None:
    into = Deferring()
    async with driver.calling(into=into, server={"max_calls": 2}) as acc:
        tracemalloc.start()
        try:
            for number in range(1, COUNT + 1):
                # It begins in time only if earlier calls have freed their places.
                async with acc.into.with_options(timeout=SECONDS).begin() as call:
                    await call.pipes["numbers"].push(PIECE)
                    await until(lambda: len(into.calls) >= number)  # noqa: B023
            await driver.heard(acc, lambda: tracemalloc.get_traced_memory()[0] < 4 * MIB)
        finally:
            tracemalloc.stop()
        assert len(into.ends) == COUNT
        with cancelled():
            while True:
                await into.ends[0].pull()


async def test_a_call_can_be_deferred_after_it_was_given_up(driver: Driver) -> None:
    """It frees its place, too."""
    begun, deferred = Event(), Event()

    async def plain(value: Any) -> Any:
        if value == "defer":
            begun.set()
            await until_given_up()
            rpc.current_call().defer()
            deferred.set()
        return value

    async with driver.calling(plain=plain, server={"max_calls": 1}) as acc:
        async with acc.plain.begin("defer"):
            await begun.wait()
        await deferred.wait()
        assert await acc.plain.with_options(timeout=SECONDS)("next") == "next"


async def test_a_server_does_not_wait_for_a_call_that_was_given_up(driver: Driver) -> None:
    plain = Deferring()
    manager = driver.manager(plain=plain, inline=lambda value: value)
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(partial(driver.serve, manager, grace=math.inf))
            async with driver.connect(Calls, listener.endpoint) as acc:
                async with acc.plain.begin(1):
                    await plain.one()
                    await driver.close(listener)
                    await shut_down(acc)
        # The nursery has ended: the server has ended without an answer.
