"""trio's rules: every operation is a checkpoint, and what is cancelled loses nothing."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc

from .rpc_all_kinds import ALL_KINDS, all_kinds
from .rpc_over_links import SECONDS, calling, open_calls, serving
from .rpc_over_managers import Calls, Scripted, drained, echoed, given_back, pushed


async def test_every_operation_is_a_checkpoint() -> None:
    async with calling(
        plain=given_back, inline=lambda value: value, tell=given_back, both=echoed, into=drained
    ) as acc:
        for call in (acc.plain, acc.inline, acc.tell):
            with trio.testing.assert_checkpoints():
                await call(1)
        for sources in ([], [1]):
            with trio.testing.assert_checkpoints():
                await acc.both(numbers=(sources, []))
        with trio.testing.assert_checkpoints():
            handle = acc.both.begin()
            await handle.__aenter__()
        numbers = handle.pipes["numbers"]
        for elements in ([1], bytes(4 * 10_000)):
            with trio.testing.assert_checkpoints():
                await numbers.push(elements)
        with trio.testing.assert_checkpoints():
            await numbers.close()
        await trio.testing.wait_all_tasks_blocked(0.01)
        for maximum in (1, None):
            with trio.testing.assert_checkpoints():
                assert len(await numbers.pull(maximum))
        while len(await numbers.pull()):
            pass
        await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.testing.assert_checkpoints():
            await handle.complete()
        await handle.__aexit__(None, None, None)


async def test_every_operation_of_a_manager_is_a_checkpoint() -> None:
    async def both(numbers: Any) -> None:
        for _ in range(3):
            with trio.testing.assert_checkpoints():
                await numbers.pull(1)
        for elements in ([1], bytes(4 * 10_000), []):
            with trio.testing.assert_checkpoints():
                await numbers.push(elements)

    async with calling(both=both) as acc:
        await acc.both(numbers=([1, 2], []))


async def test_what_is_cancelled_raises_cancelled_and_loses_nothing() -> None:
    async with calling(both=echoed) as acc:
        async with acc.both.begin() as call:
            numbers = call.pipes["numbers"]
            with trio.CancelScope() as scope:
                scope.cancel()
                for attempt in (
                    lambda: numbers.push([1]),
                    lambda: numbers.push(bytes(400_000)),
                    numbers.close,
                    call.complete,
                ):
                    with pytest.raises(trio.Cancelled):
                        await attempt()
            await pushed(numbers, [1, 2])
            await trio.testing.wait_all_tasks_blocked(0.01)
            with trio.CancelScope() as scope:
                scope.cancel()
                with pytest.raises(trio.Cancelled):
                    await numbers.pull()
            assert await drained(numbers) == [1, 2]
            assert await call.complete() == 2


async def test_connecting_can_be_cancelled_at_any_point() -> None:
    async with serving(Scripted(plain=given_back)) as listener:
        for steps in itertools.count():
            done = False
            async with trio.open_nursery() as nursery:

                async def connect() -> None:
                    nonlocal done
                    async with rpc.connect(Calls, listener.endpoint) as acc:
                        await acc.plain(1)
                        done = True

                nursery.start_soon(connect)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            if done:
                break
        async with rpc.connect(Calls, listener.endpoint) as acc:
            assert await acc.plain(1) == 1


async def test_a_call_can_be_cancelled_at_any_step() -> None:
    async with calling(both=echoed, inline=lambda _: open_calls()) as acc:
        for steps in itertools.count():
            done = False
            async with trio.open_nursery() as nursery:

                async def call() -> None:
                    nonlocal done
                    got: list[int] = []
                    assert await acc.both(numbers=(range(3000), got)) == 3000
                    assert len(got) == 3000
                    done = True

                nursery.start_soon(call)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            if done:
                break
        with trio.fail_after(SECONDS):
            while await acc.inline(0):
                await trio.sleep(0.001)


async def test_no_task_is_left() -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with serving(ALL_KINDS) as listener:
        async with rpc.connect(Calls, listener.endpoint) as acc:
            await all_kinds(acc)
        with trio.fail_after(SECONDS):
            # The server's own: the listener's, and none of a connection.
            while trio.lowlevel.current_statistics().tasks_living > before + 1:
                await trio.sleep(0.001)
    assert trio.lowlevel.current_statistics().tasks_living == before
