"""Threads that share a connection of the blocking driver."""

from __future__ import annotations

import array
import random
from typing import Any

import pytest

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .rpc_blocking_pairs import Calls, Gate, Manager, everything, push_all, served
from .threads import Worker, at_most


class Everything(Manager):
    """Does something different for each shape of pipes."""

    def into(self, numbers: Any) -> int:
        return sum(sum(chunk) for chunk in numbers)

    def out(self, numbers: Any) -> None:
        push_all(numbers, range(20_000))

    def both(self, numbers: Any) -> None:
        chunks = [bytes(chunk) for chunk in numbers]
        for chunk in chunks:
            numbers.push(chunk)
        numbers.close()


def test_many_threads_share_a_connection() -> None:
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
                    assert client.into(blocking.feed(numbers)) == sum(numbers)
                case 2:
                    sink: list[int] = []
                    client.out(blocking.drain(sink))
                    assert sink == list(range(20_000))
                case 3:
                    memory = bytearray()
                    client.both(blocking.exchange(blocking.feed(numbers), blocking.drain(memory)))
                    assert memory == bytes(numbers)

    with listener, blocking.connect(Calls, listener.endpoint, credit=2**17) as client:
        workers = [Worker(play, seed) for seed in range(8)]
        for worker in workers:
            worker.result()
        listener.close()
    server.result()


@pytest.mark.parametrize("megabytes", [1, 8])
def test_an_end_reads_while_it_sends(megabytes: int) -> None:
    """One thread does not read the answers of some calls, and pushes into another call. The
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
    with listener, blocking.connect(Calls, listener.endpoint) as typed:
        client = blocking.client_of(typed)
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

    with served() as client:
        with client.plain.with_options(notify=notify).begin(3) as call:
            assert call.complete() == 3
    assert {record.exc_info[0] for record in caplog.records if record.exc_info} == {ValueError}
