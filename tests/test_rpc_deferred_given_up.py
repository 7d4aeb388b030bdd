"""Deferred calls that their clients have given up: they hold no place and no memory."""

from __future__ import annotations

import math
import threading
import tracemalloc
from typing import Any

import trio
import trio.testing

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.rpc.wire.format import Kind
from ipcpipes.testing import unique_endpoint

from .rpc_blocking_pairs import Calls as BlockingCalls, Gate, Manager, served
from .rpc_deferring import Deferring
from .rpc_over_links import SECONDS, calling, cancelled, raw_calling
from .rpc_over_managers import Calls, Scripted
from .threads import Worker, at_most

MIB = 2**20
COUNT = 64
PIECE = bytes(MIB // 4)


async def test_their_elements_are_dropped() -> None:
    into = Deferring()
    async with calling(into=into, server={"max_calls": 2}) as acc:
        tracemalloc.start()
        try:
            for number in range(1, COUNT + 1):
                with trio.fail_after(SECONDS):
                    async with acc.into.begin() as call:
                        await call.pipes["numbers"].push(PIECE)
                        while len(into.calls) < number:
                            await trio.lowlevel.checkpoint()
                        await trio.testing.wait_all_tasks_blocked()  # it has come
            await trio.testing.wait_all_tasks_blocked()
            assert tracemalloc.get_traced_memory()[0] < 4 * MIB
        finally:
            tracemalloc.stop()
        with cancelled():
            await into.ends[0].pull()


def test_their_elements_are_dropped_without_an_event_loop() -> None:
    kept: list[Any] = []
    deferred = threading.Semaphore(0)

    def defer(numbers: Any) -> None:
        rpc.current_call().defer()
        kept.append((rpc.current_call(), numbers))
        deferred.release()

    with served(defer, max_calls=2) as client, at_most(60):
        tracemalloc.start()
        try:
            for _ in range(COUNT):
                # In time only when those before have given their places back.
                with client.into.with_options(timeout=30).begin() as call:
                    call.pipes["numbers"].push(PIECE)
                    assert deferred.acquire(timeout=30)
            assert tracemalloc.get_traced_memory()[0] < 4 * MIB
        finally:
            tracemalloc.stop()
    assert len(kept) == COUNT


async def test_one_that_is_deferred_after_it_was_given_up() -> None:
    """Its manager has not heard of that."""
    given_up, ended = trio.Event(), trio.Event()

    async def plain(value: Any) -> Any:
        if value == "defer":
            with trio.CancelScope(shield=True):
                await given_up.wait()
                rpc.current_call().defer()
            ended.set()
        return value

    async with raw_calling(plain=plain, server={"max_calls": 1}) as (raw, _):
        await raw.bind()
        await raw.request(1, "plain", "defer")
        await raw.send(Kind.ORPHANED, 1)
        await trio.testing.wait_all_tasks_blocked()
        given_up.set()
        await ended.wait()
        assert (await raw.receive()).kind.name == "FAULT"
        await raw.request(2, "plain", "next")
        assert (await raw.receive()).kind.name == "RESPONSE"


def test_one_that_is_deferred_after_it_was_given_up_without_an_event_loop() -> None:
    begun = Gate()

    def plain(value: Any) -> Any:
        call = rpc.current_call()
        if value == "defer":
            begun.open()
            while not call.test_cancel():
                threading.Event().wait(0.001)
            call.defer()
        return value

    with served(plain, max_calls=1) as client, at_most(60):
        with client.plain.begin("defer"):
            begun.wait()
        assert client.plain.with_options(timeout=30)("next") == "next"


async def test_it_keeps_no_server_from_its_end() -> None:
    plain = Deferring()
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(
                lambda task_status: rpc.serve(
                    Scripted(plain=plain),
                    unique_endpoint(),
                    task_status=task_status,
                    grace=math.inf,
                )
            )
            async with rpc.connect(Calls, listener.endpoint) as acc:
                async with acc.plain.begin(1):
                    await plain.one()
                    await listener.aclose()
                    await trio.testing.wait_all_tasks_blocked()
        # The nursery has ended: the server has, without an answer.


def test_it_keeps_no_server_from_its_end_without_an_event_loop() -> None:
    deferred = Gate()

    def defer(value: Any) -> None:
        rpc.current_call().defer()
        deferred.open()

    with at_most(60):
        listener = streams.listen(unique_endpoint())
        server = Worker(blocking.serve, Manager(defer), listener, grace=math.inf)
        with blocking.connect(BlockingCalls, listener.endpoint) as client:
            with client.plain.begin(1):
                deferred.wait()
                listener.close()
                while client._caller.link.session.state.name == "OPEN":
                    client._caller.link.look()
            server.result()
