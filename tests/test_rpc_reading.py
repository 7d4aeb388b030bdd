"""Which task of a client reads: the task with the only call, or the stand-by task."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import rpc
from ipcpipes.rpc._trio import client_link
from ipcpipes.rpc._trio.client_link import NAP, ClientLink
from ipcpipes.testing import unique_endpoint

from .rpc_over_links import SECONDS, calling, comm_failure, unavailable
from .rpc_over_managers import Calls, Scripted
from .rpc_waiting import until

NAPS = 5 * NAP


def link_of(client: rpc.Client[Any]) -> ClientLink:
    link = client._link
    assert isinstance(link, ClientLink)
    return link


class StepsOfStandBy(trio.abc.Instrument):
    """How often the task has run that reads for others."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task.name.startswith("ipcpipes.rpc._trio.client.")


async def test_the_only_call_reads_its_answer_itself() -> None:
    async with calling(inline=lambda value: value) as acc:
        for value in range(10):
            assert await acc.inline(value) == value
        steps = StepsOfStandBy()
        trio.lowlevel.add_instrument(steps)
        for value in range(50):
            assert await acc.inline(value) == value
        await trio.sleep(NAPS)
        trio.lowlevel.remove_instrument(steps)
    # It has one for each nap, and one at the end.
    assert 0 < steps.count < 25


async def test_calls_of_several_tasks_are_answered() -> None:
    async def plain(value: Any) -> Any:
        await trio.sleep(value % 3 * 0.001)
        return value

    async def ask(acc: rpc.Client[Calls], first: int) -> None:
        for value in range(first, first + 20):
            assert await acc.plain(value) == value

    async with calling(plain=plain) as acc, trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(ask, acc, 100 * number)


@pytest.mark.parametrize("seconds", [0.0, NAP / 2, NAPS])
async def test_a_call_that_begins_while_another_reads_is_answered(seconds: float) -> None:
    """The first reads for both; the second is answered before it."""
    done = trio.Event()

    async def plain(value: Any) -> Any:
        if value == "long":
            await done.wait()
        return value

    async with calling(plain=plain) as acc, trio.open_nursery() as nursery:
        assert await acc.plain("warm") == "warm"
        nursery.start_soon(acc.plain, "long")
        await trio.sleep(seconds)
        assert await acc.plain("short") == "short"
        done.set()


async def test_another_task_reads_when_the_reader_is_cancelled() -> None:
    async def plain(value: Any) -> Any:
        await trio.sleep(0.05 if value == "other" else math.inf)
        return value

    async def ask_for_ever(acc: rpc.Client[Calls], scope: trio.CancelScope) -> None:
        with scope:
            await acc.plain("reader")

    async with calling(plain=plain, inline=lambda value: value) as acc:
        assert await acc.inline(1) == 1
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_for_ever, acc, scope)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(acc.plain, "other")
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
        assert scope.cancelled_caught
        assert await acc.inline(2) == 2


async def test_a_call_by_hand_is_notified_while_no_task_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_link, "NAP", 10 * SECONDS)  # no task reads after a nap
    heard: list[rpc.CallEvent] = []

    async def out(numbers: Any) -> str:
        await numbers.push([1, 2, 3])
        await numbers.close()
        return "done"

    async with calling(out=out, inline=lambda value: value) as acc:
        assert await acc.inline(1) == 1  # now no task reads for a while
        async with acc.out.with_options(notify=heard.append).begin() as call:
            await until(lambda: rpc.CallEvent.RECEIVE_COMPLETE in heard)
            assert sum([len(chunk) async for chunk in call.pipes["numbers"]]) == 3
            assert await call.complete() == "done"


@pytest.mark.parametrize("seconds", [0.0, NAPS])
async def test_an_idle_client_notices_the_end_of_the_server(seconds: float) -> None:
    """Also after a call so long that the stand-by task sleeps without a timeout."""
    async with ending(plain=trio.sleep) as (acc, stop):
        await acc.plain(seconds)
        await acc.plain(seconds)
        await stop()
        with trio.fail_after(NAPS + 1):
            while link_of(acc).session.failure is None:
                await trio.sleep(NAP / 4)
        with unavailable():
            await acc.inline(2)


async def test_a_call_right_after_the_end_of_the_server_fails() -> None:
    async with ending() as (acc, stop):
        assert await acc.inline(1) == 1
        await stop()
        with pytest.raises((rpc.ServerUnavailable, rpc.CommFailure)):
            await acc.inline(2)


async def test_a_call_that_reads_when_the_server_ends_fails() -> None:
    async def plain(value: Any) -> None:
        await trio.sleep_forever()

    async with ending(plain=plain) as (acc, stop), trio.open_nursery() as nursery:
        assert await acc.inline(1) == 1
        nursery.start_soon(stop_soon, stop)
        with comm_failure():
            await acc.plain(1)


async def stop_soon(stop: Any) -> None:
    await trio.sleep(NAPS)
    await stop()


async def test_an_idle_client_answers_pings() -> None:
    keep_alive = 4 * NAP
    async with calling(inline=lambda value: value, server={"keep_alive": keep_alive}) as acc:
        for _ in range(3):
            assert await acc.inline(1) == 1
            await trio.sleep(3 * keep_alive)


async def test_a_client_answers_pings_during_a_long_call() -> None:
    async def plain(value: Any) -> Any:
        await trio.sleep(8 * NAP)
        return value

    async with calling(
        plain=plain,
        inline=lambda value: value,
        server={"keep_alive": 2 * NAP},
        client={"keep_alive": 2 * NAP},
    ) as acc:
        assert await acc.inline(1) == 1
        assert await acc.plain(2) == 2


@pytest.mark.parametrize("by_hand", [False, True])
async def test_an_exception_of_notify_is_logged_and_fails_no_call(
    by_hand: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def notify(event: rpc.CallEvent) -> None:
        raise ZeroDivisionError

    async with calling(into=everything, inline=lambda value: value) as acc:
        assert await acc.inline(1) == 1  # now the next call reads by itself
        into = acc.into.with_options(notify=notify)
        if by_hand:
            async with into.begin() as call:
                await call.pipes["numbers"].push([1] * 300_000)
                await call.pipes["numbers"].close()
                assert await call.complete() == 300_000
        else:
            assert await into(numbers=[1, 2]) == 2
        assert await acc.inline(2) == 2
    assert {record.exc_info[0] for record in caplog.records if record.exc_info} == {
        ZeroDivisionError
    }


async def everything(numbers: Any) -> int:
    return sum([len(chunk) async for chunk in numbers])


async def test_no_receive_of_a_foreign_stream_is_cancelled() -> None:
    """What a cancelled receive loses there is not known."""
    received: list[bool] = []

    class Watched(trio.abc.Stream):
        def __init__(self, stream: trio.abc.Stream) -> None:
            self._stream = stream
            self.send_all = stream.send_all  # type: ignore[method-assign]
            self.aclose = stream.aclose  # type: ignore[method-assign]

        async def wait_send_all_might_not_block(self) -> None: ...

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            try:
                return await self._stream.receive_some(max_bytes)
            except trio.Cancelled:
                received.append(closing)
                raise

        async def send_all(self, data: bytes | bytearray | memoryview) -> None: ...
        async def aclose(self) -> None: ...

    async def plain(value: Any) -> None:
        await trio.sleep_forever()

    closing = False
    left, right = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve_connection, Scripted(plain=plain), right)
        async with rpc.bind(Calls, Watched(left)) as acc:
            for _ in range(3):
                with trio.move_on_after(0.01):
                    await acc.plain(1)
            closing = True
    assert all(received)


@asynccontextmanager
async def ending(**scripts: Any) -> AsyncIterator[tuple[rpc.Client[Calls], Any]]:
    """A client, and what ends its server at once."""
    endpoint = unique_endpoint()
    with trio.fail_after(SECONDS):
        async with await ipcpipes.listen(endpoint) as listener, trio.open_nursery() as nursery:
            client_stream = await ipcpipes.connect(endpoint)
            stream = await listener.accept()
            manager = Scripted(**{"inline": lambda value: value, **scripts})
            nursery.start_soon(rpc.serve_connection, manager, stream)
            async with rpc.bind(Calls, client_stream) as acc:
                yield rpc.client_of(acc), stream.aclose
            nursery.cancel_scope.cancel()
