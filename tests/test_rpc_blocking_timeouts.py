"""Timeouts of the blocking driver: of pulls, of completions, and of whole calls."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .rpc_blocking_pairs import Calls, Gate, Manager, everything, push_all, served
from .threads import Worker, at_most, channel_pair, receive_exactly


def receive_frame(stream: Any) -> bytes:
    return receive_exactly(stream, int.from_bytes(receive_exactly(stream, 4), "little"))


def frame_of(message: bytes) -> bytes:
    return len(message).to_bytes(4, "little") + message


def test_49_a_pull_that_times_out_loses_nothing() -> None:
    gate = Gate()

    def manager(pipe: Any) -> None:
        gate.wait()
        push_all(pipe, [7])

    with served(manager) as client, client.out.begin() as call:
        with pytest.raises(TimeoutError, match="nothing arrived for the pipe numbers within 0 s"):
            call.pipes["numbers"].pull(timeout=0)
        gate.open()
        assert list(call.pipes["numbers"].pull(timeout=30)) == [7]
        assert not len(call.pipes["numbers"].pull())
        call.complete()


def test_53_a_completion_that_times_out_can_be_repeated() -> None:
    gate = Gate()

    def manager(value: Any) -> Any:
        gate.wait()
        return value

    with served(manager) as client, client.plain.begin(7) as call:
        with pytest.raises(TimeoutError, match="is not over within"):
            call.complete(timeout=0.01)
        gate.open()
        assert call.complete() == 7


def test_a_source_continues_after_a_completion_timed_out() -> None:
    gate = Gate()

    def manager(pipe: Any) -> int:
        gate.wait()
        return sum(len(chunk) for chunk in pipe)

    with served(manager, credit=2**17) as client, client.into.begin(bytes(2**20)) as call:
        with pytest.raises(TimeoutError):
            call.complete(timeout=0.01)
        gate.open()
        assert call.complete() == 2**18


def test_68_the_server_knows_the_timeout_of_a_call() -> None:
    gate = Gate()
    seen: list[Any] = []

    def manager(value: Any) -> None:
        current = rpc.current_call()
        left = current.deadline - time.monotonic()
        gate.wait()
        # The client gives the call up; the server's own clock leaves it a little time for that.
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


def test_68_the_timeout_of_a_call_ends_its_pipes() -> None:
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


def test_the_timeout_of_a_call_holds_while_the_peer_reads_nothing() -> None:
    with streams.listen(unique_endpoint()) as listener:

        def server() -> Any:
            stream = listener.accept(timeout=30)
            there, here = channel_pair()
            forward = Worker(blocking.serve_connection, Manager(), there)
            here.send(receive_frame(stream))
            stream.send_all(frame_of(here.receive()))
            here.close()
            forward.result()
            return stream  # from here on, nothing is read

        worker = Worker(server)
        with blocking.connect(Calls, listener.endpoint) as typed:
            client = blocking.client_of(typed)
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
