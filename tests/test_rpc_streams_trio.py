"""Streams under trio: what only tasks have. Cancelling, channels, and trio's rules."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from ipcpipes import rpc

from .rpc_drivers import DRIVERS
from .rpc_streaming import Streams, streaming
from .test_rpc_streams import answered, listed, summed

TRIO = DRIVERS["trio"]


async def test_trio_channels_are_sources_and_sinks() -> None:
    async with streaming(TRIO, chat=answered) as acc:
        asking, asked = trio.open_memory_channel[str](10)
        answers, found = trio.open_memory_channel[str](10)
        async with trio.open_nursery() as nursery:

            async def chat() -> None:
                async with answers:
                    assert await acc.chat(asked, answers) == 3

            nursery.start_soon(chat)
            async with asking:
                for word in ("a", "b", "c"):
                    await asking.send(word)
                    assert await found.receive() == word.upper()
            assert await listed(found) == []


async def test_the_ends_are_trio_channels() -> None:
    async with streaming(TRIO, chat=answered) as acc:
        async with acc.chat.begin() as call:
            asked, answers = call.streams["asked"], call.streams["answers"]
            assert isinstance(asked, trio.abc.SendChannel)
            assert isinstance(answers, trio.abc.ReceiveChannel)
            async with asked:
                await asked.send("a")
            assert await listed(answers) == ["A"]


async def test_async_sources_are_sent_at_once() -> None:
    came, may_go_on = trio.Event(), trio.Event()

    async def into(numbers: Any) -> int:
        total: int = await numbers.receive()
        came.set()
        return total + await summed(numbers)

    async def slow() -> Any:
        yield 1
        await may_go_on.wait()
        yield 2

    async with streaming(TRIO, into=into) as acc:
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                assert await acc.into(slow()) == 3

            nursery.start_soon(call)
            await came.wait()
            may_go_on.set()


async def test_async_sinks_are_awaited() -> None:
    found = []

    async def sink(number: int) -> None:
        await trio.lowlevel.checkpoint()
        found.append(number)

    async def out(numbers: Any) -> None:
        await numbers.send_many(range(100))

    async with streaming(TRIO, out=out) as acc:
        await acc.out(sink)
    assert found == [*range(100)]


async def test_a_source_that_waits_is_cancelled_when_the_manager_returns() -> None:
    ended = trio.Event()

    async def endless() -> Any:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            ended.set()

    async def into(numbers: Any) -> int:
        return int(await numbers.receive())

    async with streaming(TRIO, into=into) as acc:
        assert await acc.into(endless()) == 1
        assert ended.is_set()


async def test_a_cancelled_receive_loses_nothing() -> None:
    may_send = trio.Event()

    async def out(numbers: Any) -> None:
        for number in range(200):
            await may_send.wait()
            await numbers.send(number)

    async with streaming(TRIO, out=out) as acc:
        async with acc.out.begin() as call:
            numbers = call.streams["numbers"]
            found: list[int] = []
            with trio.move_on_after(0):
                await numbers.receive()
            may_send.set()
            while len(found) < 200:
                with trio.move_on_after(0.0001):
                    found.append(await numbers.receive())
            assert found == [*range(200)]


async def test_a_cancelled_send_has_sent_nothing() -> None:
    may_receive = trio.Event()

    async def octets(into: Any, out: Any) -> list[int]:
        await may_receive.wait()
        return [value[0] async for value in into]

    async with streaming(TRIO, octets=octets) as acc:
        async with acc.octets.begin() as call:
            into, sent = call.streams["into"], []
            for each in range(9):
                with trio.move_on_after(0.05):
                    await into.send(bytes([each]) * 2**20)
                    sent.append(each)
            assert 2 <= len(sent) < 9
            may_receive.set()
            await into.send(b"\xff")
            await into.aclose()
            assert await call.complete() == [*sent, 255]


async def test_one_task_at_a_time() -> None:
    async def chat(asked: Any, answers: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asked.receive)
            await trio.testing.wait_all_tasks_blocked()
            for use in (asked.receive, asked.receive_many):
                with pytest.raises(
                    trio.BusyResourceError, match="another task is receiving from the stream asked"
                ):
                    await use()
            with pytest.raises(trio.BusyResourceError):
                asked.receive_nowait()
            nursery.cancel_scope.cancel()

    async def octets(into: Any, out: Any) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(out.send_many, [bytes(2**20)] * 9)
            await trio.testing.wait_all_tasks_blocked(0.05)
            with pytest.raises(
                trio.BusyResourceError, match="another task is sending into the stream out"
            ):
                await out.send(b"")
            with pytest.raises(trio.BusyResourceError):
                out.send_nowait(b"")
            nursery.cancel_scope.cancel()

    async with streaming(TRIO, chat=chat, octets=octets) as acc:
        async with acc.chat.begin() as call:
            await call.complete()
        async with acc.octets.begin() as call:
            await call.complete()


async def test_closing_wakes_a_task_that_waits() -> None:
    async def octets(into: Any, out: Any) -> None:
        for end, use in ((into, into.receive), (out, lambda: out.send_many([bytes(2**20)] * 9))):
            async with trio.open_nursery() as nursery:

                async def wait(use: Any = use) -> None:
                    with pytest.raises(trio.ClosedResourceError):
                        await use()

                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked(0.05)
                await end.aclose()

    async with streaming(TRIO, octets=octets) as acc:
        async with acc.octets.begin() as call:
            await call.complete()


async def test_every_operation_is_a_checkpoint() -> None:
    async def chat(asked: Any, answers: Any) -> None:
        with trio.testing.assert_checkpoints():
            await asked.receive()
        with trio.testing.assert_checkpoints():
            await asked.receive_many()
        with trio.testing.assert_checkpoints():
            await answers.send("a")
        with trio.testing.assert_checkpoints():
            await answers.send_many([])
        with trio.testing.assert_checkpoints(), pytest.raises(TypeError):
            await answers.send(object())
        for end in (asked, answers):
            for _ in range(2):
                with trio.testing.assert_checkpoints():
                    await end.aclose()
        with trio.testing.assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
            await asked.receive()
        with trio.testing.assert_checkpoints(), pytest.raises(trio.ClosedResourceError):
            await answers.send("a")

    async def numbers(count: int) -> Any:
        for number in range(count):
            yield number

    async with streaming(TRIO, chat=chat, numbers=numbers) as acc:
        async with acc.chat.begin() as call:
            await call.streams["asked"].send_many(["a", "b"])
            assert await call.complete() is None
        found = acc.numbers(2)
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await found.__anext__()
        for _ in range(2):
            with trio.testing.assert_checkpoints(), pytest.raises(StopAsyncIteration):
                await found.__anext__()
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await found.aclose()


async def test_a_manager_that_yields_without_waiting_lets_other_tasks_run() -> None:
    others = 0

    async def numbers(count: int) -> Any:
        for number in range(count):
            yield number

    async def count() -> None:
        nonlocal others
        while True:
            await trio.lowlevel.checkpoint()
            others += 1

    async with streaming(TRIO, numbers=numbers) as acc:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            async with acc.numbers.begin(100_000):
                await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
    assert others > 10


async def test_a_cancelled_wait_for_a_yielded_value_does_not_end_the_call() -> None:
    may_go_on = trio.Event()

    async def numbers(count: int) -> Any:
        yield 1
        await may_go_on.wait()
        yield 2

    async with streaming(TRIO, numbers=numbers) as acc:
        found = acc.numbers(0)
        assert await found.__anext__() == 1
        with trio.move_on_after(0.02):
            await found.__anext__()
        may_go_on.set()
        assert await listed(found) == [2]


async def test_the_deadline_of_a_part_of_an_iteration_is_not_that_of_the_call() -> None:
    async def numbers(count: int) -> Any:
        assert rpc.current_call().deadline == float("inf")
        yield 1
        await trio.sleep(0.8)
        yield 2

    async with streaming(TRIO, numbers=numbers) as acc:
        found = acc.numbers(0)
        with trio.fail_after(0.2):
            assert await found.__anext__() == 1
        assert await found.__anext__() == 2  # the server ends calls half a second after a deadline


async def test_an_iterator_in_a_cycle_ends_its_call() -> None:
    ended = trio.Event()

    async def numbers(count: int) -> Any:
        try:
            while True:
                yield count
                await trio.lowlevel.checkpoint()
        finally:
            ended.set()

    async with streaming(TRIO, numbers=numbers) as acc:
        found = acc.numbers(0)
        assert await found.__anext__() == 0
        cycle: list[Any] = [found]
        cycle.append(cycle)
        del found, cycle
        await trio.to_thread.run_sync(gc.collect)  # in another thread
        await ended.wait()


async def test_a_manager_in_a_nursery_that_is_stopped_has_returned() -> None:
    async def out_only(numbers: Any) -> None:
        async def send() -> None:
            while True:
                await numbers.send(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)

    async with streaming(TRIO, out_only=out_only) as acc:
        async with acc.out_only.begin() as call:
            assert await call.streams["numbers"].receive() == 1
            await call.streams["numbers"].aclose()
            assert await call.complete() is None


async def test_a_manager_may_defer_a_call_with_streams() -> None:
    async with trio.open_nursery() as nursery:

        async def out(numbers: Any) -> None:
            current = rpc.current_call()
            current.defer()

            async def later() -> None:
                await numbers.send_many([1, 2])
                current.complete("late")

            nursery.start_soon(later)

        async with streaming(TRIO, out=out) as acc:
            async with acc.out.begin() as call:
                assert await listed(call.streams["numbers"]) == [1, 2]
                assert await call.complete() == "late"


async def test_a_lost_connection_is_not_the_end_of_a_stream() -> None:
    found: list[BaseException] = []
    ended = trio.Event()

    async def into(numbers: Any) -> None:
        try:
            await listed(numbers)
        except rpc.RpcError as error:
            found.append(error)
            raise
        finally:
            ended.set()

    from ipcpipes.testing import memory_stream_pair

    from .rpc_streaming import ScriptedStreams

    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve_connection, ScriptedStreams(into=into), theirs)
        async with rpc.bind(Streams, ours) as acc:
            async with rpc.operation_of(acc.into).begin() as call:
                await call.streams["numbers"].send(1)
                await trio.testing.wait_all_tasks_blocked(0.01)
                await theirs.aclose()
                with pytest.raises(rpc.CommFailure):
                    while True:
                        await call.streams["numbers"].send(2)
                with pytest.raises(rpc.CommFailure):
                    await call.complete()
        await ended.wait()
        assert isinstance(found[0], rpc.CommFailure)
