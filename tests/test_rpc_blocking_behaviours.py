"""Behaviours of the reference without an event loop, by number, that no other file has."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from ipcpipes import rpc
from ipcpipes.rpc import blocking
from ipcpipes.rpc.wire.format import FRAGMENT

from .rpc_blocking_pairs import Gate, Sample, everything, fails, push_all, served


def test_26_a_manager_that_returns_with_an_out_pipe_open() -> None:
    got: list[int] = []
    with served(lambda pipe: pipe.push([1, 2])) as client, fails(rpc.PipeDisciplineError, 1917):
        client.out(got)
    assert got == [1, 2]


def test_28_an_empty_out_pipe_pushes_nothing_once() -> None:
    pushed: list[int] = []
    with served(lambda pipe: pipe.close()) as client:
        client.out(lambda chunk: pushed.append(len(chunk)))
    assert pushed == [0]


def test_29_a_pull_function_is_not_called_after_it_has_said_it_was_the_end() -> None:
    chunks = iter([[1, 2], [3], []])
    with served(everything) as client:
        assert client.into(lambda most: next(chunks)) == [1, 2, 3]
    assert next(chunks, "all were taken") == "all were taken"


def test_32_a_maximum_of_0_is_a_lack_of_memory_while_there_is_data() -> None:
    def manager(pipe: Any) -> None:
        while not pipe._driver.call.incoming[0].reader.has_elements:
            pipe._driver.link.look()
        pipe.pull(0)

    with served(manager) as client, fails(rpc.PipeAppMemory, 14):
        client.into([1])


def test_32_and_at_the_end_it_is_the_end() -> None:
    with served(lambda pipe: [len(pipe.pull()), len(pipe.pull(0))]) as client:
        assert client.into([1]) == [1, 0]


def test_34_memory_for_more_is_not_used_beyond_what_came() -> None:
    room = bytearray(b"\xaa" * 100)
    got: list[list[int]] = []
    control = blocking.PipeControl(
        push=lambda chunk: got.append(list(chunk)), alloc=lambda size: room
    )
    with served(lambda pipe: push_all(pipe, [1, 2])) as client:
        client.out(control)
    assert got == [[1, 2], []]
    assert room[8:] == b"\xaa" * 92


def test_36_an_element_that_is_cut_arrives_whole() -> None:
    """So many that frames end inside of them, whatever they hold."""
    count = 2 * FRAGMENT // 16 + 1
    samples = [Sample(time=number, level=-number) for number in range(count)]

    def manager(source: Any, sink: Any) -> int:
        received = 0
        for chunk in source:
            for sample in chunk:
                assert sample == samples[received]
                received += 1
        sink.close()
        return received

    with served(manager) as client:
        assert client.samples(samples, []) == count


@pytest.mark.parametrize("later", [False, True])
def test_41_a_manager_that_swallows_an_error_has_failed_all_the_same(later: bool) -> None:
    def manager(first: Any, second: Any) -> str:
        with pytest.raises(rpc.WrongPipeOrder):
            second.push([1])
        push_all(first, [1])
        if later:
            push_all(second, [2])
        return "well done"

    with served(manager) as client, fails(rpc.WrongPipeOrder, 1831):
        client.out_out([], [])


def test_47_a_result_is_not_there_until_the_manager_has_returned() -> None:
    gate = Gate()

    def manager(value: Any) -> Any:
        gate.wait()
        return value

    with served(manager) as client, client.plain.begin(5) as call:
        with pytest.raises(rpc.AsyncCallPending):
            call.complete_nowait()
        gate.open()
        assert call.complete() == 5


def test_48_a_value_beside_a_pipe_is_there_at_entry() -> None:
    seen: list[str] = []
    entered = Gate()

    def manager(pipe: Any, value: str) -> Any:
        seen.append(value)
        entered.open()
        return [value, *everything(pipe)]

    with served(manager) as client, client.ranged.begin(value="there") as call:
        entered.wait()  # nothing was pushed yet
        assert seen == ["there"]
        push_all(call.pipes["numbers"], [1, 2])
        assert call.complete() == ["there", 1, 2]


def test_54_the_client_completes_twice() -> None:
    with served() as client, client.plain.begin(1) as call:
        assert call.complete() == 1
        for again in (call.complete, call.complete_nowait):
            with fails(rpc.InvalidAsyncHandle, 1914):
                again()


def test_54_the_server_completes_twice() -> None:
    def manager(value: Any) -> None:
        current = rpc.current_call()
        current.defer()
        current.complete(value)
        with fails(rpc.InvalidAsyncHandle, 1914):
            current.complete(value)

    with served(manager) as client:
        assert client.plain(3) == 3


def test_56_a_deferred_call_stays_open_when_its_manager_has_returned() -> None:
    deferred: list[rpc.CurrentCall] = []

    def manager(value: Any) -> None:
        if value == "defer":
            deferred.append(rpc.current_call())
            deferred[0].defer()

    with served(manager) as client, client.plain.begin("defer") as call:
        client.plain("other")
        while not deferred:
            client.plain("other")
        with pytest.raises(rpc.AsyncCallPending):
            call.complete_nowait()
        answering = threading.Thread(target=deferred[0].complete, args=("late",))
        answering.start()
        assert call.complete() == "late"
        answering.join()


@pytest.mark.parametrize("code", [0, -1, 2**32, "5"])
def test_59_no_code_is_refused(code: Any) -> None:
    def manager(value: Any) -> str:
        with pytest.raises(ValueError, match="the code of a failure is"):
            rpc.current_call().abort(code)
        return "refused"

    with served(manager) as client:
        assert client.plain(1) == "refused"


def test_59_aborting_twice_is_refused() -> None:
    def manager(value: Any) -> None:
        rpc.current_call().abort(1234)
        with fails(rpc.InvalidAsyncHandle, 1914):
            rpc.current_call().abort(1235)

    with served(manager) as client, fails(rpc.Fault, 1234):
        client.plain(1)


def test_62_a_call_that_cannot_be_issued_raises_and_notifies_nobody() -> None:
    events: list[rpc.CallEvent] = []
    with served() as client:
        notified = client.plain.with_options(notify=events.append)
        with pytest.raises(TypeError), notified.begin(object()):
            raise AssertionError("it was issued")
        with (
            pytest.raises(ValueError, match="send large values through a pipe"),
            notified.begin(bytes(17 * 2**20)),
        ):
            raise AssertionError("it was issued")
    with pytest.raises(rpc.ServerUnavailable), notified.begin(1):
        raise AssertionError("it was issued")
    assert events == []


@pytest.mark.parametrize("pulling", [False, True])
def test_66_an_abortive_end_while_the_manager_is_in_a_pull_or_push(pulling: bool) -> None:
    entered, told = Gate(), Gate()
    codes: list[int] = []

    def manager(source: Any, sink: Any) -> None:
        entered.open()
        try:
            for _ in source:
                pass
            while True:
                sink.push(range(100_000))
        except rpc.RpcError as error:
            codes.append(error.code)
            raise
        finally:
            told.open()

    with served(manager) as client, client.into_out.begin() as call:
        entered.wait()
        if not pulling:
            call.pipes["source"].close()
            assert len(call.pipes["sink"].pull())
        call.cancel()
        with fails(rpc.CallCancelled, 1818):
            call.complete()
        told.wait()
    assert codes == [rpc.CallCancelled.default_code]


def test_67_cancelling_what_is_over_has_no_effect() -> None:
    with served() as client, client.plain.begin(1) as call:
        while True:
            try:
                assert call.complete_nowait() == 1
                break
            except rpc.AsyncCallPending:
                pass
        call.cancel()
        call.cancel(abortive=False)
        assert client.plain(2) == 2


def test_67_what_was_answered_before_it_was_cancelled_is_answered() -> None:
    answered = Gate()
    with served() as client:
        with client.plain.with_options(notify=lambda event: answered.open()).begin(1) as call:
            while not answered.is_open:
                client.plain(0)  # which reads for all
            call.cancel()
            assert call.complete() == 1
