"""trio's rules: every operation is a checkpoint, and a cancelled operation loses nothing."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc
from ipcpipes.testing import memory_stream_pair, unique_endpoint

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
        with trio.testing.assert_checkpoints():
            await numbers.close()

    async with calling(both=both) as acc:
        await acc.both(numbers=([1, 2], []))


async def test_a_cancelled_operation_loses_nothing() -> None:
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
            await all_kinds(rpc.client_of(acc))
        with trio.fail_after(SECONDS):
            # Tasks of the listener remain, tasks of connections do not.
            while trio.lowlevel.current_statistics().tasks_living > before + 1:
                await trio.sleep(0.001)
    assert trio.lowlevel.current_statistics().tasks_living == before


# A failing operation is a checkpoint, too: a loop that retries lets other tasks run, and can be
# cancelled.

Operation = Callable[[], Awaitable[object]]


class Failing:
    """A client with a call that is driven by hand, and the ways to misuse them.

    Each method makes an operation that fails, once it was prepared.
    """

    def __init__(self, acc: rpc.Client[Calls], call: Any) -> None:
        self.acc = acc
        self.call = call
        self.numbers = call.pipes["numbers"]

    def _end_connection(self) -> None:
        self.acc._link.close(rpc.CommFailure("the end of a test"))

    async def call_after_the_end(self) -> Operation:
        self._end_connection()
        return lambda: self.acc.plain(1)

    async def call_without_an_answer_after_the_end(self) -> Operation:
        self._end_connection()
        return lambda: self.acc.tell(1)

    async def call_with_pipes_after_the_end(self) -> Operation:
        self._end_connection()
        return lambda: self.acc.into(numbers=[1])

    async def begin_after_the_end(self) -> Operation:
        self._end_connection()
        return lambda: self.acc.plain.begin(1).__aenter__()

    async def call_without_arguments(self) -> Operation:
        return lambda: self.acc.plain()

    async def call_without_a_pipe(self) -> Operation:
        return lambda: self.acc.into()

    async def call_with_what_cannot_be_sent(self) -> Operation:
        return lambda: self.acc.plain(object())

    async def call_with_too_much(self) -> Operation:
        return lambda: self.acc.plain(bytes(2**17))

    async def call_with_elements_of_another_type(self) -> Operation:
        return lambda: self.acc.into(numbers=["one"])

    async def begin_twice(self) -> Operation:
        return lambda: self.call.__aenter__()

    async def complete_twice(self) -> Operation:
        await self.numbers.close()
        await drained(self.numbers)
        await self.call.complete()
        return lambda: self.call.complete()

    async def pull_out_of_turn(self) -> Operation:
        return lambda: self.numbers.pull()

    async def iterate_out_of_turn(self) -> Operation:
        return lambda: self.numbers.__anext__()

    async def push_elements_of_another_type(self) -> Operation:
        return lambda: self.numbers.push(["one"])

    async def push_after_the_close(self) -> Operation:
        await self.numbers.close()
        return lambda: self.numbers.push([1])

    async def close_twice(self) -> Operation:
        await self.numbers.close()
        return lambda: self.numbers.close()

    async def pull_after_the_end(self) -> Operation:
        await self.numbers.close()
        await drained(self.numbers)
        return lambda: self.numbers.pull()

    async def push_after_the_connections_end(self) -> Operation:
        self._end_connection()
        return lambda: self.numbers.push([1])

    async def push_much_after_the_connections_end(self) -> Operation:
        self._end_connection()
        return lambda: self.numbers.push(bytes(4 * 10_000))

    async def close_after_the_connections_end(self) -> Operation:
        self._end_connection()
        return lambda: self.numbers.close()

    async def pull_after_the_connections_end(self) -> Operation:
        await self.numbers.close()
        self._end_connection()

        async def pull() -> None:
            while await self.numbers.pull():
                pass

        return pull

    async def complete_after_the_connections_end(self) -> Operation:
        self._end_connection()
        return lambda: self.call.complete()

    async def connect_with_what_is_no_interface(self) -> Operation:
        return lambda: rpc.connect(int, unique_endpoint()).__aenter__()  # type: ignore[type-var]

    async def connect_with_a_time_that_is_too_short(self) -> Operation:
        return lambda: rpc.connect(Calls, unique_endpoint(), keep_alive=0).__aenter__()

    async def connect_to_nothing(self) -> Operation:
        return lambda: rpc.connect(Calls, unique_endpoint()).__aenter__()

    async def serve_nothing(self) -> Operation:
        return lambda: rpc.serve([], unique_endpoint())

    async def serve_for_no_time(self) -> Operation:
        return lambda: rpc.serve(Scripted(), unique_endpoint(), grace=-1)

    # The transport still belongs to the caller then, and Cancelled would hide that.

    async def shielded_bind_to_what_is_no_transport(self) -> Operation:
        return lambda: rpc.bind(Calls, None).__aenter__()  # type: ignore[arg-type]

    async def shielded_bind_with_what_is_no_interface(self) -> Operation:
        return lambda: rpc.bind(int, memory_stream_pair()[0]).__aenter__()  # type: ignore[type-var]

    async def shielded_serve_what_is_no_transport(self) -> Operation:
        return lambda: rpc.serve_connection(Scripted(), None)  # type: ignore[arg-type]

    async def shielded_serve_nothing_on_a_connection(self) -> Operation:
        return lambda: rpc.serve_connection([], memory_stream_pair()[0])


FAILING = [name for name in vars(Failing) if not name.startswith("_")]


@asynccontextmanager
async def failing_operation(name: str) -> AsyncIterator[Operation]:
    async with calling(
        plain=given_back,
        tell=given_back,
        into=drained,
        both=echoed,
        client={"max_frame": 2**16},
        server={"max_frame": 2**16},
    ) as acc:
        async with acc.both.begin() as call:
            yield await getattr(Failing(acc, call), name)()


class Steps(trio.abc.Instrument):
    """Counts the steps of this task."""

    def __init__(self) -> None:
        self._task = trio.lowlevel.current_task()
        self.count = 0

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self._task


@pytest.mark.parametrize("name", FAILING)
async def test_a_failing_operation_is_a_checkpoint(name: str) -> None:
    async with failing_operation(name) as operation:
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        with pytest.raises(Exception):  # noqa: B017, PT011  # each has one of its own
            await operation()
        trio.lowlevel.remove_instrument(steps)
    assert steps.count


@pytest.mark.parametrize("name", [name for name in FAILING if not name.startswith("shielded")])
async def test_a_failing_operation_can_be_cancelled(name: str) -> None:
    async with failing_operation(name) as operation:
        with trio.CancelScope() as scope:
            scope.cancel()
            with pytest.raises(trio.Cancelled):
                await operation()


async def test_a_manager_that_continues_after_the_end_is_cancelled() -> None:
    """First an operation reports why the call has ended; the next one raises Cancelled."""
    raised: list[type[BaseException]] = []
    ended = trio.Event()

    async def into(numbers: Any) -> None:
        try:
            for _ in range(10):
                try:
                    await numbers.pull()
                except rpc.RpcError as error:
                    raised.append(type(error))
        except trio.Cancelled:
            raised.append(trio.Cancelled)
            raise
        finally:
            ended.set()

    async with calling(into=into) as acc:
        async with acc.into.begin():
            await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.fail_after(SECONDS):
            await ended.wait()
    assert raised == [rpc.CallCancelled, rpc.CallCancelled, trio.Cancelled]
