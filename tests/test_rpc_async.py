"""Calls that are gone on with by hand, at both ends (behaviours 49 to 62)."""

from __future__ import annotations

import threading
from array import array
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc
from ipcpipes.rpc import CallEvent

from .rpc_over_links import (
    SECONDS,
    bad_stub_data,
    call_failed,
    calling,
    calling_in_memory,
    cancelled,
    closed,
    discipline,
    empty,
    failing,
    invalid_call,
    invalid_handle,
    no_call_active,
    pending,
    serving,
)
from .rpc_over_managers import Calls, Scripted, drained, given_back, pushed

CALL, SEND, RECEIVE = CallEvent.CALL_COMPLETE, CallEvent.SEND_COMPLETE, CallEvent.RECEIVE_COMPLETE


class Deferring:
    """A manager's script that defers its calls, and keeps them."""

    def __init__(self) -> None:
        self.calls: list[rpc.CurrentCall] = []
        self.ends: list[Any] = []

    async def __call__(self, given: Any) -> str:
        call = rpc.current_call()
        call.defer()
        self.calls.append(call)
        self.ends.append(given)
        return "what is returned after defer() is passed over"

    async def one(self) -> rpc.CurrentCall:
        with trio.fail_after(SECONDS):
            while not self.calls:
                await trio.sleep(0.001)
        await trio.testing.wait_all_tasks_blocked()  # the manager has returned
        return self.calls[-1]


async def test_49_a_pull_waits_where_there_is_nothing_and_then_has_it() -> None:
    go_on = trio.Event()
    got: list[list[int]] = []

    async def out(numbers: Any) -> None:
        await go_on.wait()
        await pushed(numbers, [1, 2])

    async with calling(out=out) as acc:
        async with acc.out.begin() as call, trio.open_nursery() as nursery:

            async def pull() -> None:
                got.append(list(await call.pipes["numbers"].pull()))

            nursery.start_soon(pull)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert got == []
            go_on.set()
        assert got == [[1, 2]]


async def test_49_the_same_at_the_manager() -> None:
    entered = trio.Event()

    async def into(numbers: Any) -> list[int]:
        entered.set()
        return await drained(numbers)

    async with calling(into=into) as acc:
        async with acc.into.begin() as call:
            await entered.wait()
            await trio.testing.wait_all_tasks_blocked(0.01)
            await pushed(call.pipes["numbers"], [1, 2])
            assert await call.complete() == [1, 2]


async def test_49_one_task_at_a_time_pulls_from_a_pipe() -> None:
    async def out(numbers: Any) -> None:
        await trio.sleep_forever()

    async with calling(out=out) as acc:
        async with acc.out.begin() as call, trio.open_nursery() as nursery:
            nursery.start_soon(call.pipes["numbers"].pull)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError, match="numbers"):
                await call.pipes["numbers"].pull()
            nursery.cancel_scope.cancel()


async def test_50_after_receive_complete_nothing_is_the_end() -> None:
    events: list[CallEvent] = []
    async with calling(out=lambda numbers: numbers.close()) as acc:
        async with acc.out.with_options(notify=events.append).begin() as call:
            with trio.fail_after(SECONDS):
                while RECEIVE not in events:
                    await trio.sleep(0.001)
            assert len(await call.pipes["numbers"].pull()) == 0
            with empty():
                await call.pipes["numbers"].pull()
            assert await call.complete() is None


@pytest.mark.parametrize("over", [calling, calling_in_memory])
@pytest.mark.parametrize("count", [1, 100, 5_000, 200_000])
async def test_51_memory_is_the_users_again_when_push_has_returned(over: Any, count: int) -> None:
    sums: list[int] = []

    async def into(numbers: Any) -> None:
        async for chunk in numbers:
            sums.append(sum(chunk))

    async with over(into=into) as acc:
        async with acc.into.begin() as call:
            memory = array("i", [1]) * count
            for n in range(1, 6):
                memory[:] = array("i", [n]) * count
                await call.pipes["numbers"].push(memory)
                memory[:] = array("i", [1_000_000]) * count
                memory.append(0)  # nobody holds on to it
                memory.pop()
            await call.pipes["numbers"].close()
            await call.complete()
    assert sum(sums) == count * (1 + 2 + 3 + 4 + 5)


@pytest.mark.parametrize("count", [1, 5])
async def test_52_pushes_with_notify_have_send_completes(count: int) -> None:
    events: list[CallEvent] = []
    async with calling(into=drained) as acc:
        async with acc.into.with_options(notify=events.append).begin() as call:
            for n in range(count):
                before = events.count(SEND)
                await call.pipes["numbers"].push([n])
                with trio.fail_after(SECONDS):
                    while events.count(SEND) == before:
                        await trio.sleep(0.001)
            assert events.count(SEND) == count
            assert CALL not in events
            await call.pipes["numbers"].close()
            assert await call.complete() == list(range(count))
    assert events.count(CALL) == 1


async def test_52_many_pushes_at_once_have_fewer_and_one_at_least() -> None:
    events: list[CallEvent] = []
    async with calling(into=drained) as acc:
        async with acc.into.with_options(notify=events.append).begin() as call:
            for n in range(100):
                call.pipes["numbers"].push_nowait([n])
            await call.pipes["numbers"].close()
            assert await call.complete() == list(range(100))
    assert 1 <= events.count(SEND) <= 101


async def test_52_what_gives_the_pipe_room_is_no_receive_complete() -> None:
    events: list[CallEvent] = []

    async def octets_into(data: Any) -> int:
        return sum([len(chunk) async for chunk in data])

    async with calling(octets_into=octets_into) as acc:
        operation = acc.octets_into.with_options(notify=events.append)
        async with operation.begin(data=bytes(8 * 2**20)) as call:
            assert await call.complete() == 8 * 2**20
    assert events.count(RECEIVE) == 0, "nothing has come"
    assert events[-1] == CALL


async def test_52_receive_complete_for_what_comes() -> None:
    events: list[CallEvent] = []
    async with calling(out=lambda numbers: pushed(numbers, [1])) as acc:
        async with acc.out.with_options(notify=events.append).begin() as call:
            assert await drained(call.pipes["numbers"]) == [1]
            await call.complete()
    assert events.count(RECEIVE) >= 1
    assert events.count(SEND) == 0
    assert events.count(CALL) == 1


async def test_52_without_notify_nobody_is_told() -> None:
    async with calling(into=drained) as acc:
        async with acc.into.begin() as call:
            await pushed(call.pipes["numbers"], [1])
            assert not call._caller.link.session.notified
            assert await call.complete() == [1]


async def test_53_completing_early_is_pending_and_can_be_tried_again() -> None:
    go_on = trio.Event()

    async def plain(value: Any) -> Any:
        await go_on.wait()
        return value

    async with calling(plain=plain) as acc:
        async with acc.plain.begin(7) as call:
            for _ in range(3):
                with pending():
                    call.complete_nowait()
            go_on.set()
            with trio.fail_after(SECONDS):
                while True:
                    try:
                        assert call.complete_nowait() == 7
                    except rpc.AsyncCallPending:
                        await trio.sleep(0.001)
                    else:
                        break
            with invalid_handle():
                call.complete_nowait()


async def test_53_a_complete_that_was_cancelled_can_be_tried_again() -> None:
    go_on = trio.Event()

    async def plain(value: Any) -> Any:
        await go_on.wait()
        return value

    async with calling(plain=plain) as acc:
        async with acc.plain.begin(7) as call:
            with trio.move_on_after(0.01) as scope:
                await call.complete()
            assert scope.cancelled_caught
            go_on.set()
            assert await call.complete() == 7


async def test_54_the_server_completes_twice() -> None:
    plain = Deferring()
    async with calling(plain=plain) as acc:
        async with acc.plain.begin(1) as call:
            served = await plain.one()
            served.complete("first")
            with invalid_handle():
                served.complete("second")
            assert await call.complete() == "first"


async def test_54_the_client_completes_twice() -> None:
    async with calling(plain=given_back) as acc:
        async with acc.plain.begin(1) as call:
            assert await call.complete() == 1
            with invalid_handle():
                await call.complete()
            with invalid_handle():
                call.complete_nowait()


async def test_55_the_server_completes_from_another_thread() -> None:
    plain = Deferring()
    async with calling(plain=plain) as acc:
        async with acc.plain.begin(1) as call:
            served = await plain.one()
            thread = threading.Thread(target=served.complete, args=("from a thread",))
            thread.start()
            assert await call.complete() == "from a thread"
            thread.join()


async def test_55_one_of_many_threads_completes_and_the_others_are_told() -> None:
    plain = Deferring()
    async with calling(plain=plain) as acc:
        async with acc.plain.begin(1) as call:
            served = await plain.one()
            outcomes: list[object] = []

            def complete(number: int) -> None:
                try:
                    served.complete(number)
                except rpc.InvalidAsyncHandle:
                    outcomes.append(None)
                else:
                    outcomes.append(number)

            threads = [threading.Thread(target=complete, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            result = await call.complete()
            for thread in threads:
                thread.join()
            assert [one for one in outcomes if one is not None] == [result]


async def test_55_a_thread_that_the_manager_waits_for_knows_the_call() -> None:
    async def plain(value: Any) -> Any:
        return await trio.to_thread.run_sync(lambda: rpc.current_call().operation)

    async with calling(plain=plain) as acc:
        assert await acc.plain(1) == "plain"


async def test_56_a_deferred_call_stays_open_when_its_manager_has_returned() -> None:
    into = Deferring()
    async with calling(into=into) as acc:
        async with acc.into.begin(numbers=[1, 2]) as call:
            served = await into.one()
            with pending():
                call.complete_nowait()
            numbers = await drained(into.ends[0])  # by another task, with its pipe
            served.complete(numbers)
            assert await call.complete() == [1, 2]


async def test_56_an_operation_made_with_def_defers_too() -> None:
    kept: list[rpc.CurrentCall] = []

    def inline(value: Any) -> None:
        rpc.current_call().defer()
        kept.append(rpc.current_call())

    async with calling(inline=inline, plain=given_back) as acc:
        async with acc.inline.begin(1) as call:
            assert await acc.plain(2) == 2
            kept[0].complete("later")
            assert await call.complete() == "later"


async def test_56_completing_with_an_open_pipe_is_a_lack_of_discipline() -> None:
    into = Deferring()
    async with calling(into=into) as acc:
        async with acc.into.begin(numbers=[1, 2]) as call:
            (await into.one()).complete(1)
            with discipline():
                await call.complete()


async def test_56_completing_what_was_not_deferred() -> None:
    async def plain(value: Any) -> Any:
        with pytest.raises(RuntimeError, match="return its result"):
            rpc.current_call().complete(1)
        return value

    async with calling(plain=plain) as acc:
        assert await acc.plain(2) == 2


async def test_56_a_result_that_cannot_be_sent_leaves_the_call_as_it_was() -> None:
    plain = Deferring()
    async with calling(plain=plain) as acc:
        async with acc.plain.begin(1) as call:
            served = await plain.one()
            with pytest.raises(TypeError):
                served.complete(object())
            with pytest.raises(OverflowError):
                served.complete(2**64)
            served.complete("better")
            assert await call.complete() == "better"


async def test_56_a_manager_that_defers_and_raises_has_failed() -> None:
    async def plain(value: Any) -> Any:
        rpc.current_call().defer()
        raise LookupError("after all")

    async with calling(plain=plain) as acc:
        with call_failed() as caught:
            await acc.plain(1)
        assert caught.value.message == "after all"


USES: dict[str, Callable[[rpc.CurrentCall], object]] = {
    "complete": lambda call: call.complete(1),
    "abort": lambda call: call.abort(1),
    "defer": lambda call: call.defer(),
    "test_cancel": lambda call: call.test_cancel(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("end", ["returned", "raised", "completed", "aborted"])
async def test_57_a_handle_is_of_no_use_once_the_call_is_over(end: str, use: Any) -> None:
    kept: list[rpc.CurrentCall] = []

    async def into(numbers: Any) -> None:
        call = rpc.current_call()
        kept.append(call)
        pipes.append(numbers)
        await drained(numbers)
        if end == "raised":
            raise LookupError
        if end == "completed":
            call.defer()
            call.complete(1)
        if end == "aborted":
            call.abort(5)

    pipes: list[Any] = []
    async with calling(into=into) as acc:
        if end in ("raised", "aborted"):
            with pytest.raises(rpc.Fault):
                await acc.into(numbers=[])
        else:
            await acc.into(numbers=[])
        with invalid_handle():
            use(kept[0])
        with invalid_handle():
            await pipes[0].pull()


async def test_57_nor_are_the_pipes_of_a_client_that_has_completed() -> None:
    async with calling(into_out=lambda source, sink: _through(source, sink)) as acc:
        async with acc.into_out.begin() as call:
            await pushed(call.pipes["source"], [1])
            assert await drained(call.pipes["sink"]) == [1]
            await call.complete()
            with invalid_handle():
                await call.pipes["source"].push([1])
            with invalid_handle():
                await call.pipes["source"].close()
            with invalid_handle():
                await call.pipes["sink"].pull()


async def _through(source: Any, sink: Any) -> None:
    await pushed(sink, await drained(source))


async def test_57_there_is_no_call_outside_of_one() -> None:
    with no_call_active():
        rpc.current_call()
    async with calling(plain=given_back, inline=lambda value: value) as acc:
        await acc.plain(1)
        await acc.inline(1)
        with no_call_active():
            rpc.current_call()


async def test_58_an_aborted_call_has_the_servers_code_at_the_client() -> None:
    async def into_out(source: Any, sink: Any) -> int:
        rpc.current_call().abort(1234, "so it is")
        with invalid_handle():
            await source.pull()
        return 7

    got: list[int] = []
    async with calling(into_out=into_out) as acc:
        with failing(rpc.Fault, 1234) as caught:
            await acc.into_out(source=[1], sink=got)
        assert (caught.value.message, caught.value.type) == ("so it is", None)
    assert got == []


async def test_58_a_deferred_call_is_aborted_from_a_thread() -> None:
    plain = Deferring()
    async with calling(plain=plain) as acc:
        async with acc.plain.begin(1) as call:
            served = await plain.one()
            await trio.to_thread.run_sync(served.abort, 1234)
            with failing(rpc.Fault, 1234):
                await call.complete()


@pytest.mark.parametrize("code", [0, -1, 2**32, True, "1234", None, 1.5])
async def test_59_no_code_is_refused(code: Any) -> None:
    async def plain(value: Any) -> Any:
        with pytest.raises(ValueError, match=r"1 to 2\*\*32 - 1"):
            rpc.current_call().abort(code)
        return value

    async with calling(plain=plain) as acc:
        assert await acc.plain(2) == 2


async def test_59_aborting_twice_is_refused() -> None:
    async def plain(value: Any) -> None:
        rpc.current_call().abort(1)
        with invalid_handle():
            rpc.current_call().abort(2)

    async with calling(plain=plain) as acc:
        with failing(rpc.Fault, 1):
            await acc.plain(1)


async def test_60_when_a_push_of_the_client_fails_nothing_more_is_owed() -> None:
    async def into(numbers: Any) -> None:
        raise rpc.Fault("no", code=5)

    async with calling(into=into, plain=given_back) as acc:
        async with acc.into.begin() as call:
            with pytest.raises(rpc.Fault):
                while True:
                    await call.pipes["numbers"].push(bytes(40_000))
            with failing(rpc.Fault, 5):
                await call.pipes["numbers"].close()
        assert await acc.plain(1) == 1


async def test_60_when_a_push_of_the_manager_fails_nothing_more_is_owed() -> None:
    async def out_out(first: Any, second: Any) -> None:
        await first.close()
        await first.push([1])  # the second one is open

    async with calling(out_out=out_out, plain=given_back) as acc:
        with closed():
            await acc.out_out(first=[], second=[])
        assert await acc.plain(1) == 1


async def test_61_one_handle_is_for_one_call() -> None:
    async with calling(into=drained) as acc:
        handle = acc.into.begin()
        async with handle as call:
            with invalid_call():
                async with handle:
                    raise AssertionError("two calls")
            await pushed(call.pipes["numbers"], [1])
            assert await call.complete() == [1]
        with invalid_handle():
            async with handle:
                raise AssertionError("a call that is over")


async def test_61_a_handle_that_was_not_entered() -> None:
    async with calling(into=drained) as acc:
        handle = acc.into.begin()
        with invalid_handle():
            await handle.complete()
        with invalid_handle():
            handle.complete_nowait()
        with invalid_handle():
            handle.cancel()


async def test_62_a_call_that_cannot_be_issued_raises_and_notifies_nobody() -> None:
    events: list[CallEvent] = []
    async with serving(Scripted(plain=given_back)) as listener:
        async with rpc.connect(Calls, listener.endpoint) as acc:
            notified = acc.plain.with_options(notify=events.append)
            with pytest.raises(TypeError):
                async with notified.begin(object()):
                    raise AssertionError("it was issued")
            with pytest.raises(ValueError, match="send what is large through a pipe"):
                async with notified.begin(bytes(17 * 2**20)):
                    raise AssertionError("it was issued")
            with pytest.raises(TypeError):
                notified.begin(1, 2)
        with pytest.raises(rpc.ServerUnavailable):
            async with notified.begin(1):
                raise AssertionError("it was issued")
    assert events == []


async def test_62_a_failure_is_notified_once() -> None:
    events: list[CallEvent] = []

    async def plain(value: Any) -> None:
        raise LookupError

    async with calling(plain=plain) as acc:
        async with acc.plain.with_options(notify=events.append).begin(1) as call:
            with call_failed():
                await call.complete()
    assert events == [CALL]


async def test_62_an_end_that_is_abortive_is_notified_once() -> None:
    events: list[CallEvent] = []
    pushes = 0

    async def out(numbers: Any) -> None:
        nonlocal pushes
        while True:
            await numbers.push(bytes(400))
            pushes += 1

    async with calling(out=out, plain=given_back) as acc:
        async with acc.out.with_options(notify=events.append).begin() as call:
            await call.pipes["numbers"].pull()
            call.cancel()
            assert events.count(CALL) == 1
            with cancelled():
                await call.complete()
        await acc.plain(1)  # the server has answered both
        await trio.testing.wait_all_tasks_blocked()
    assert events.count(CALL) == 1
    assert events[-1] is CALL, "nothing more after the end"


async def test_notify_may_use_the_call() -> None:
    results: list[Any] = []

    def notify(event: CallEvent) -> None:
        if event is CALL:
            results.append(call.complete_nowait())

    async with calling(plain=given_back) as acc:
        async with acc.plain.with_options(notify=notify).begin(5) as call:
            with trio.fail_after(SECONDS):
                while not results:
                    await trio.sleep(0.001)
    assert results == [5]


async def test_options_that_are_not_given_are_those_of_the_operation() -> None:
    class Slow(rpc.Interface, uuid="4f1d5b1c-6a49-4a35-8c11-cd3be0a3e003", version=(1, 0)):
        @rpc.operation(timeout=0.05)
        async def wait(self) -> None: ...

    class SlowManager(Slow):
        async def wait(self) -> None:
            await trio.sleep_forever()

    async with serving(SlowManager()) as listener:
        async with rpc.connect(Slow, listener.endpoint) as slow:
            with trio.fail_after(SECONDS), cancelled():
                await slow.wait()
            with trio.fail_after(2), cancelled():
                async with slow.wait.with_options(notify=print).begin() as call:
                    await call.complete()


async def test_a_result_of_the_wrong_type_is_the_completes_error() -> None:
    async def both_value(numbers: Any, value: int) -> Any:
        await drained(numbers)
        await numbers.close()
        return "no number"

    async with calling(both_value=both_value) as acc:
        async with acc.both_value.begin(value=1, numbers=([], [])) as call:
            with bad_stub_data():
                await call.complete()


async def test_a_pipe_by_hand_waits_for_those_that_are_filled_by_themselves() -> None:
    gate = trio.Event()
    got: list[int] = []

    async def numbers() -> AsyncIterator[int]:
        await gate.wait()
        yield 7

    async def into_out(source: Any, sink: Any) -> str:
        await sink.push([number async for chunk in source for number in chunk])
        await sink.close()
        return "done"

    async with calling(into_out=into_out) as acc:
        async with acc.into_out.begin(source=numbers()) as call:

            async def pull() -> None:
                async for chunk in call.pipes["sink"]:
                    got.extend(chunk)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(pull)
                await trio.testing.wait_all_tasks_blocked()
                gate.set()
            assert await call.complete() == "done"
    assert got == [7]


async def test_a_deferred_call_that_is_given_up_makes_room_and_may_be_answered_still() -> None:
    deferred: list[rpc.CurrentCall] = []

    async def plain(value: Any) -> Any:
        if value == "defer":
            deferred.append(rpc.current_call())
            deferred[0].defer()
        return value

    async with calling(plain=plain, server={"max_calls": 1}) as acc:
        async with acc.plain.begin("defer"):
            while not deferred:
                await trio.sleep(0.001)
        assert await acc.plain(2) == 2
        assert deferred[0].test_cancel()
        deferred[0].complete("nobody hears it")
        with invalid_handle():
            deferred[0].complete("twice")
        assert await acc.plain(3) == 3
