"""Calls without an event loop that their users go on with by hand, and what a manager can do."""

from __future__ import annotations

import array
import os
import threading
import time
from typing import Any

import pytest
import trio

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .rpc_blocking_pairs import Calls, Gate, Manager, everything, push_all, served
from .threads import Worker, at_most, channel_pair, receive_exactly


def receive_frame(stream: Any) -> bytes:
    return receive_exactly(stream, int.from_bytes(receive_exactly(stream, 4), "little"))


def frame_of(message: bytes) -> bytes:
    return len(message).to_bytes(4, "little") + message


def test_a_call_by_hand() -> None:
    def mirror(source: Any, sink: Any) -> int:
        elements = everything(source)
        push_all(sink, elements)
        return len(elements)

    with served(mirror) as client:
        with client.into_out.begin() as call:
            memory = array.array("i", [1, 2, 3])
            call.pipes["source"].push(memory)
            memory[0] = 99  # behaviour 51: it is the caller's again
            call.pipes["source"].push_nowait([4])
            call.pipes["source"].close()
            assert everything(call.pipes["sink"]) == [1, 2, 3, 4]
            assert call.complete() == 4


def test_what_is_given_is_moved_by_who_waits() -> None:
    def mirror(source: Any, sink: Any) -> int:
        elements = everything(source)
        push_all(sink, elements)
        return len(elements)

    with served(mirror) as client:
        with client.into_out.begin(source=range(1000)) as call:
            assert everything(call.pipes["sink"]) == list(range(1000))
            assert call.complete() == 1000
        sink: list[int] = []
        with client.into_out.begin(sink=sink) as call:
            push_all(call.pipes["source"], [1, 2])
            assert call.complete() == 2
        assert sink == [1, 2]
        with client.into_out.begin(range(3), sink) as call:
            assert call.complete() == 3
        assert sink == [1, 2, 0, 1, 2]


def test_49_a_pull_without_data_and_then_with() -> None:
    gate = Gate()

    def manager(pipe: Any) -> None:
        gate.wait()
        push_all(pipe, [7])

    with served(manager) as client, client.out.begin() as call:
        with pytest.raises(TimeoutError, match="nothing arrived for the pipe numbers within 0 s"):
            call.pipes["numbers"].pull(timeout=0)
        gate.open()
        assert list(call.pipes["numbers"].pull(timeout=30)) == [7]
        assert len(call.pipes["numbers"].pull()) == 0  # behaviour 50
        with pytest.raises(rpc.PipeEmpty):
            call.pipes["numbers"].pull()
        call.complete()


def test_52_each_push_is_told_of_where_that_is_wanted() -> None:
    events: list[blocking.CallEvent] = []
    with served(everything) as client:
        with client.into.with_options(notify=events.append).begin() as call:
            for number in range(3):
                call.pipes["numbers"].push([number])
            call.pipes["numbers"].close()
            assert call.complete() == [0, 1, 2]
    sends = events.count(blocking.CallEvent.SEND_COMPLETE)
    assert 1 <= sends <= 4
    assert events[-1] is blocking.CallEvent.CALL_COMPLETE
    assert events.count(blocking.CallEvent.CALL_COMPLETE) == 1


def test_53_54_57_completing_early_and_twice() -> None:
    gate = Gate()

    def manager(value: Any) -> Any:
        gate.wait()
        return value

    with served(manager) as client:
        with client.plain.begin(7) as call:
            with pytest.raises(rpc.AsyncCallPending):
                call.complete_nowait()
            with pytest.raises(TimeoutError, match="is not over within"):
                call.complete(timeout=0.01)
            gate.open()
            assert call.complete() == 7
            with pytest.raises(rpc.InvalidAsyncHandle):
                call.complete()
        with pytest.raises(rpc.InvalidAsyncHandle):
            call.__enter__()
        late = client.plain.begin(8)
        with pytest.raises(rpc.InvalidAsyncHandle, match="enter the block first"):
            late.complete()
        with late:
            with pytest.raises(rpc.InvalidAsyncCall):  # behaviour 61
                late.__enter__()
            for _ in range(1000):
                try:
                    assert late.complete_nowait() == 8
                    break
                except rpc.AsyncCallPending:
                    time.sleep(0.001)


def test_a_source_goes_on_where_the_time_was_over() -> None:
    gate = Gate()

    def manager(pipe: Any) -> int:
        gate.wait()
        return sum(len(chunk) for chunk in pipe)

    with served(manager, credit=2**17) as client, client.into.begin(bytes(2**20)) as call:
        with pytest.raises(TimeoutError):
            call.complete(timeout=0.01)
        gate.open()
        assert call.complete() == 2**18


def test_55_56_a_deferred_call_is_completed_by_another_thread() -> None:
    deferred: list[rpc.CurrentCall] = []

    def manager(value: Any) -> Any:
        current = rpc.current_call()
        if value == "finish":
            deferred[0].complete("later")
            with pytest.raises(rpc.InvalidAsyncHandle):
                deferred[0].complete("again")
            return "finished"
        with pytest.raises(RuntimeError, match="not deferred"):
            current.complete(1)
        current.defer()
        deferred.append(current)
        return None

    with served(manager) as client, client.plain.begin("first") as call:
        with pytest.raises(TimeoutError):
            call.complete(timeout=0.01)
        while not deferred:
            time.sleep(0.001)
        assert client.plain("finish") == "finished"
        assert call.complete() == "later"


def test_58_59_a_manager_aborts_the_call() -> None:
    def manager(pipe: Any) -> None:
        current = rpc.current_call()
        with pytest.raises(ValueError, match="the code of a failure"):
            current.abort(0)
        current.abort(1234, "no more")
        with pytest.raises(rpc.InvalidAsyncHandle):
            current.abort(1235)
        with pytest.raises(rpc.InvalidAsyncHandle):  # behaviours 57, 60
            pipe.push([1])

    with served(manager) as client:
        with pytest.raises(rpc.Fault, match="no more") as found:
            client.out([])
    assert found.value.code == 1234


def test_who_calls_is_known_and_only_there() -> None:
    def manager(value: Any) -> Any:
        current = rpc.current_call()
        return [current.operation, current.peer.pid, current.test_cancel()]  # behaviour 65

    with served(manager) as client:
        assert client.plain(1) == ["plain", os.getpid(), False]
    with pytest.raises(rpc.NoCallActive):
        rpc.current_call()


def test_63_66_cancelling_ends_the_call_at_once() -> None:
    told = Gate()

    def manager(pipe: Any) -> None:
        try:
            everything(pipe)
        except rpc.CallCancelled:
            told.open()
            raise

    with served(manager) as client, client.into.begin() as call:
        call.pipes["numbers"].push([1])
        call.cancel()
        with pytest.raises(rpc.CallCancelled):
            call.complete()
        told.wait()


def test_63_cancelling_wakes_another_thread() -> None:
    let_go = Gate()
    with served(lambda value: let_go.wait()) as client, client.plain.begin(1) as call:
        waiting = Worker(call.complete)
        call.cancel()
        with at_most(20), pytest.raises(rpc.CallCancelled):
            waiting.result()
        let_go.open()


def test_64_67_asking_for_the_end() -> None:
    def manager(value: Any) -> Any:
        current = rpc.current_call()
        while not current.test_cancel():
            time.sleep(0.001)
        return "in the middle"

    with served(manager) as client, client.plain.begin(1) as call:
        call.cancel(abortive=False)
        assert call.complete() == "in the middle"
        call.cancel()


def test_60_leaving_the_block_gives_the_call_up() -> None:
    told = Gate()

    def manager(pipe: Any) -> None:
        try:
            everything(pipe)
        except rpc.CallCancelled:
            told.open()
            raise

    with served(manager) as client:
        with client.into.begin() as call:
            call.pipes["numbers"].push([1])
        told.wait()


def test_an_operations_own_time_is_the_servers_too() -> None:
    gate = Gate()
    seen: list[Any] = []

    def manager(value: Any) -> None:
        current = rpc.current_call()
        left = current.deadline - time.monotonic()
        gate.wait()
        # The client says so itself, and the server's own clock waits a little for that.
        end = time.monotonic() + 10
        while not (cancelled := current.test_cancel()) and time.monotonic() < end:
            time.sleep(0.001)
        seen.append((left < 1, cancelled))

    with served(manager) as client:
        with pytest.raises(rpc.CallCancelled, match="took longer than its 0"):
            client.limited.with_options(timeout=0.05)()
        with client.plain.with_options(timeout=0.05).begin(1) as call:
            with pytest.raises(rpc.CallCancelled, match="took longer than its 0"):
                call.complete()
        gate.open()
    assert seen == [(True, True), (True, True)]


def test_a_pipe_ends_with_the_time_of_the_call() -> None:
    failed = Gate()

    def manager(pipe: Any) -> None:
        with pytest.raises(rpc.CallCancelled):
            everything(pipe)
        failed.open()

    with served(manager) as client:
        with client.into.with_options(timeout=0.05).begin() as call:
            with pytest.raises(rpc.CallCancelled):
                while True:
                    call.pipes["numbers"].push([1] * 1000)
        failed.wait()


def test_one_thread_pushes_and_another_one_is_told_to_wait() -> None:
    gate = Gate()

    def manager(pipe: Any) -> int:
        gate.wait()
        return sum(len(chunk) for chunk in pipe)

    with served(manager, credit=2**17) as client, client.into.begin() as call:
        pipe = call.pipes["numbers"]
        worker = Worker(pipe.push, bytes(2**20))
        while not call._driver._busy:
            time.sleep(0.001)
        with pytest.raises(trio.BusyResourceError, match="another thread is pushing into"):
            pipe.push([1])
        with pytest.raises(trio.BusyResourceError):
            pipe.push_nowait([1])
        gate.open()
        worker.result()
        pipe.close()
        assert call.complete() == 2**18


def test_push_nowait_says_when_there_is_no_room() -> None:
    gate = Gate()

    def manager(pipe: Any) -> int:
        gate.wait()
        return sum(len(chunk) for chunk in pipe)

    with served(manager, credit=2**17) as client, client.into.begin() as call:
        pipe = call.pipes["numbers"]
        with pytest.raises(ValueError, match="push what is more"):
            pipe.push_nowait(bytes(5000))
        count = 0
        with pytest.raises(trio.WouldBlock):
            while True:
                pipe.push_nowait(bytes(4000))
                count += 1000
        assert 0 < count <= 2**17
        gate.open()
        pipe.close()
        assert call.complete() == count


def test_a_thread_pulls_while_another_one_pushes() -> None:
    def mirror(numbers: Any) -> int:
        chunks = [bytes(chunk) for chunk in numbers]
        for chunk in chunks:
            numbers.push(chunk)
        numbers.close()
        return threading.active_count()

    numbers = array.array("i", range(200_000))
    with served(mirror) as client, client.both.begin() as call:
        pipe = call.pipes["numbers"]
        pusher = Worker(push_all, pipe, numbers)
        pusher.result()
        assert everything(pipe) == list(numbers)
        call.complete()


def test_the_time_of_a_call_is_kept_where_the_other_end_takes_nothing() -> None:
    with streams.listen(unique_endpoint()) as listener:

        def server() -> Any:
            stream = listener.accept(timeout=30)
            there, here = channel_pair()
            forward = Worker(blocking.serve_connection, Manager(), there)
            here.send(receive_frame(stream))
            stream.send_all(frame_of(here.receive()))
            here.close()
            forward.result()
            return stream  # and from here on nobody reads

        worker = Worker(server)
        with blocking.connect(Calls, listener.endpoint) as client:
            with worker.result():
                for operation, argument in (
                    (client.plain, bytes(2**23)),
                    (client.into, bytes(2**19)),
                ):
                    with at_most(20), pytest.raises(rpc.CallCancelled):
                        operation.with_options(timeout=0.05)(argument)
                with client.into.with_options(timeout=0.05).begin(bytes(2**19)) as call:
                    with at_most(20), pytest.raises(rpc.CallCancelled):
                        call.complete()
