"""Calls without an event loop: many threads, ends that both send, and how a server is stopped."""

from __future__ import annotations

import array
import logging
import random
import threading
import time
from typing import Any

import pytest

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .rpc_blocking_pairs import Calls, Gate, Manager, everything, push_all, served
from .threads import Worker, at_most


class Everything(Manager):
    """Does something else for each shape."""

    def into(self, numbers: Any) -> int:
        return sum(sum(chunk) for chunk in numbers)

    def out(self, numbers: Any) -> None:
        push_all(numbers, range(20_000))

    def both(self, numbers: Any) -> None:
        chunks = [bytes(chunk) for chunk in numbers]
        for chunk in chunks:
            numbers.push(chunk)
        numbers.close()


def test_many_threads_and_calls_on_one_connection() -> None:
    listener = streams.listen(unique_endpoint())
    server = Worker(blocking.serve, Everything(), listener, credit=2**17, max_calls=5)
    numbers = array.array("i", range(50_000))

    def play(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(15):
            match chance.randrange(4):
                case 0:
                    value = chance.random()
                    assert client.plain(value) == value
                case 1:
                    assert client.into(numbers) == sum(numbers)
                case 2:
                    sink: list[int] = []
                    client.out(sink)
                    assert sink == list(range(20_000))
                case 3:
                    memory = bytearray()
                    client.both((numbers, memory))
                    assert memory == bytes(numbers)

    with listener, blocking.connect(Calls, listener.endpoint, credit=2**17) as client:
        workers = [Worker(play, seed) for seed in range(8)]
        for worker in workers:
            worker.result()
        listener.close()
    server.result()


def test_a_manager_at_work_holds_up_no_other_call() -> None:
    gate = Gate()

    def manager(value: Any) -> Any:
        if value == "wait":
            gate.wait()
        return value

    with served(manager) as client:
        waiting = [Worker(client.plain, "wait") for _ in range(3)]
        for number in range(100):
            assert client.plain(number) == number
        gate.open()
        assert [worker.result() for worker in waiting] == ["wait"] * 3


def test_a_client_has_as_many_calls_as_the_server_takes() -> None:
    at_work: list[int] = []
    most: list[int] = []
    lock = threading.Lock()

    def manager(value: Any) -> Any:
        with lock:
            at_work.append(value)
            most.append(len(at_work))
        time.sleep(0.002)
        with lock:
            at_work.remove(value)
        return value

    with served(manager, max_calls=2) as client:
        workers = [Worker(client.plain, number) for number in range(10)]
        assert [worker.result() for worker in workers] == list(range(10))
    assert max(most) <= 2


@pytest.mark.parametrize("megabytes", [1, 8])
def test_an_end_reads_while_it_sends(megabytes: int) -> None:
    """One thread, which leaves lying what comes for some calls, and pushes into another one. The
    server does not read as long as it has much to send: if the client did not read while it
    sends, both would wait for ever.
    """

    class Talking(Manager):
        def plain(self, value: Any) -> Any:
            return b"x" * 2**20

        def out(self, numbers: Any) -> None:
            push_all(numbers, bytes(2**20))

    listener = streams.listen(unique_endpoint())
    server = Worker(blocking.serve, Talking(lambda pipe: sum(map(len, pipe))), listener)
    with listener, blocking.connect(Calls, listener.endpoint) as client:
        with at_most(20):
            answers = [client.plain.begin(number).__enter__() for number in range(8)]
            outs = [client.out.begin().__enter__() for _ in range(4)]
            assert client.into(bytes(megabytes * 2**20)) == megabytes * 2**18
            for call in outs:
                assert len(everything(call.pipes["numbers"])) == 2**18
                call.complete()
                call.__exit__(None, None, None)
            for call in answers:
                assert len(call.complete()) == 2**20
                call.__exit__(None, None, None)
        listener.close()
    server.result()


def test_39_a_slow_client_holds_its_server_back() -> None:
    pushed: list[int] = []

    def manager(pipe: Any) -> None:
        for number in range(100):
            pipe.push(bytes(2**16))
            pushed.append(number)
        pipe.close()

    with served(manager, credit=2**17) as client, client.out.begin() as call:
        pipe = call.pipes["numbers"]
        assert len(pipe.pull())
        time.sleep(0.05)
        assert len(pushed) <= 5
        assert len(everything(pipe)) > 2**17
        call.complete()
    assert len(pushed) == 100


# Stopping


def test_closing_the_listener_lets_calls_come_to_their_ends() -> None:
    gate, begun = Gate(), Gate()

    def manager(value: Any) -> Any:
        begun.open()
        gate.wait()
        return value

    listener = streams.listen(unique_endpoint())
    server = Worker(blocking.serve, Manager(manager), listener)
    with blocking.connect(Calls, listener.endpoint) as client:
        call = Worker(client.plain, 7)
        begun.wait()
        listener.close()
        while True:
            try:
                with client.plain.begin(8):
                    time.sleep(0.001)
            except rpc.ServerUnavailable:
                break
        assert not server.is_done
        gate.open()
        assert call.result() == 7
        server.result()
        with pytest.raises((rpc.CommFailure, rpc.ServerUnavailable)):
            client.plain(9)


def test_closing_the_listener_waits_for_a_deferred_call() -> None:
    deferred: list[rpc.CurrentCall] = []

    def manager(value: Any) -> None:
        deferred.append(rpc.current_call())
        deferred[0].defer()

    listener = streams.listen(unique_endpoint())
    server = Worker(blocking.serve, Manager(manager), listener)
    with blocking.connect(Calls, listener.endpoint) as client:
        call = Worker(client.plain, 7)
        while not deferred:
            time.sleep(0.001)
        listener.close()
        time.sleep(0.02)
        assert not server.is_done
        deferred[0].complete("at last")
        assert call.result() == "at last"
        server.result()


def test_an_idle_client_does_not_hold_a_server_up() -> None:
    listener = streams.listen(unique_endpoint())
    server = Worker(blocking.serve, Manager(), listener)
    with blocking.connect(Calls, listener.endpoint) as client:
        client.plain(1)
        with at_most(20):
            listener.close()
            server.result()
        with pytest.raises((rpc.CommFailure, rpc.ServerUnavailable)):
            client.plain(2)
        with pytest.raises((rpc.CommFailure, rpc.ServerUnavailable)):
            client.plain(3)


def test_69_a_client_that_goes_away_is_told_of_to_each_manager() -> None:
    told: list[str] = []
    begun = [Gate(), Gate()]

    def manager(pipe: Any) -> None:
        if isinstance(pipe, str):
            begun[0].open()
            current = rpc.current_call()
            while not current.test_cancel():
                time.sleep(0.001)
            told.append("asked")
            return
        begun[1].open()
        try:
            everything(pipe)
        except rpc.CommFailure as error:
            told.append(type(error).__name__)
            raise

    listener = streams.listen(unique_endpoint())
    server = Worker(blocking.serve, Manager(manager), listener)
    stream = streams.connect(listener.endpoint)
    with blocking.bind(Calls, stream) as client:
        computing = client.plain.begin("x")
        computing.__enter__()
        pulling = client.into.begin()
        pulling.__enter__()
        for gate in begun:
            gate.wait()
        stream.close()
        with pytest.raises(rpc.CommFailure):
            computing.complete()
    listener.close()
    server.result()
    assert sorted(told) == ["CommFailure", "asked"]


def test_closing_a_client_wakes_its_threads(caplog: pytest.LogCaptureFixture) -> None:
    gate, begun = Gate(), Gate()

    def manager(value: Any) -> None:
        begun.open()
        gate.wait()

    listener = streams.listen(unique_endpoint())
    server = Worker(blocking.serve, Manager(manager), listener)
    with blocking.connect(Calls, listener.endpoint) as client:
        workers = [Worker(client.plain, number) for number in range(4)]
        begun.wait()
    for worker in workers:
        with pytest.raises((rpc.CommFailure, rpc.ServerUnavailable)):
            worker.result()
    gate.open()
    listener.close()
    server.result()


def test_a_notify_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def notify(event: Any) -> None:
        raise ValueError("not now")

    with caplog.at_level(logging.CRITICAL, "ipcpipes.rpc"), served() as client:
        with client.plain.with_options(notify=notify).begin(3) as call:
            assert call.complete() == 3
