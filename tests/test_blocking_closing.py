"""close() from any thread: it wakes the threads inside, and it is final."""

from __future__ import annotations

import gc
import random
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import trio

from .children import SECONDS
from .conftest import WINDOWS
from .threads import (
    Worker,
    channel_pair,
    framings,
    receive_all,
    receive_exactly,
    settle,
    stream_pair,
)

ENOUGH = bytes(10_000_000)  # more than any system accepts at once

OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "receive_some": lambda stream: stream.receive_some(),
    "receive_some in time": lambda stream: stream.receive_some(timeout=SECONDS),
    "receive_into": lambda stream: stream.receive_into(bytearray(10)),
    "send_all": lambda stream: stream.send_all(ENOUGH),
    "send_all in time": lambda stream: stream.send_all(ENOUGH, timeout=SECONDS),
    "for": list,
}
CHANNEL_OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "receive": lambda channel: channel.receive(),
    "receive in time": lambda channel: channel.receive(timeout=SECONDS),
    "receive_many": lambda channel: channel.receive_many(),
    "send": lambda channel: channel.send_many([bytes(100_000)] * 200),
    "send in time": lambda channel: channel.send_many([bytes(100_000)] * 200, timeout=SECONDS),
    "for": list,
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_closing_wakes_threads_that_use_a_stream(operation: Callable[[Any], Any]) -> None:
    client, server = stream_pair()
    with client, server:
        worker = Worker(operation, client)
        settle()
        assert not worker.is_done
        client.close()
        with pytest.raises(trio.ClosedResourceError):
            worker.result()
        receive_all(server)


@pytest.mark.parametrize("operation", CHANNEL_OPERATIONS.values(), ids=CHANNEL_OPERATIONS)
@pytest.mark.parametrize("framing", framings(), ids=str)
def test_closing_wakes_threads_that_use_a_channel(
    framing: Any, operation: Callable[[Any], Any]
) -> None:
    client, server = channel_pair(framing)
    with client, server:
        workers = [Worker(operation, client)]
        settle()
        if operation in (CHANNEL_OPERATIONS["send"], CHANNEL_OPERATIONS["send in time"]):
            workers.append(Worker(client.send, b"after the other one"))
            settle()
        client.close()
        for worker in workers:
            with pytest.raises(trio.ClosedResourceError):
                worker.result()


def test_closing_wakes_sender_and_receiver() -> None:
    client, server = stream_pair()
    with client, server:
        workers = [Worker(client.receive_some), Worker(client.send_all, ENOUGH)]
        settle()
        closers = [Worker(client.close) for _ in range(4)]
        for worker in workers:
            with pytest.raises(trio.ClosedResourceError):
                worker.result()
        for worker in closers:
            worker.result()


def test_data_sent_before_closing_remains_readable() -> None:
    client, server = stream_pair()
    with client, server:
        receiving = Worker(client.receive_some)
        client.send_all(b"last words")
        settle()
        client.close()
        assert receive_all(server) == b"last words"
        with pytest.raises(trio.ClosedResourceError):
            receiving.result()


def test_second_thread_is_busy() -> None:
    client, server = stream_pair()
    with client, server:
        receiving = Worker(client.receive_some)
        sending = Worker(client.send_all, ENOUGH)
        settle()
        for timeout in (None, 0, 10):
            with pytest.raises(trio.BusyResourceError, match="receiving from"):
                client.receive_some(timeout=timeout)
            with pytest.raises(trio.BusyResourceError, match="receiving from"):
                client.receive_into(bytearray(1), timeout=timeout)
            with pytest.raises(trio.BusyResourceError, match="sending on"):
                client.send_all(b"x", timeout=timeout)
        if not WINDOWS:
            with pytest.raises(trio.BusyResourceError, match="sending on"):
                client.send_eof()
        server.send_all(b"x")
        assert receiving.result() == b"x"
        receive_exactly(server, len(ENOUGH))
        sending.result()


def test_finalizer_may_close_what_its_thread_uses() -> None:
    """Finalizers run between any two steps of any thread."""

    class Closer:
        def __init__(self, stream: Any) -> None:
            self.stream = stream
            self.itself = self

        def __del__(self) -> None:
            self.stream.close()

    client, server = stream_pair()
    with client, server:
        Closer(client)
        # The threshold makes the collection happen anywhere in the calls below.
        thresholds = gc.get_threshold()
        gc.set_threshold(1)
        try:
            with pytest.raises((trio.ClosedResourceError, trio.BusyResourceError)):
                for _ in range(1000):
                    client.send_all(b"x")
                    server.receive_some()
        finally:
            gc.set_threshold(*thresholds)
        with pytest.raises(trio.ClosedResourceError):
            client.send_all(b"x")


# Races


@pytest.mark.parametrize("framing", [None, *framings()], ids=str)
def test_closing_at_random_moments_is_safe(framing: Any) -> None:
    """Two threads at each end are at it, and two threads close; nothing but ClosedResourceError
    and the peer's end may come of it, and nothing hangs.
    """
    chance = random.Random(f"closing {framing}")

    def send(end: Any) -> None:
        try:
            while True:
                if framing is None:
                    end.send_all(bytes(chance.choice((1, 1000, 200_000))))
                else:
                    end.send(bytes(chance.choice((1, 1000, 100_000))))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass

    def receive(end: Any) -> None:
        try:
            while True:
                if framing is None:
                    if not end.receive_some():
                        return
                else:
                    end.receive()
        except (trio.ClosedResourceError, trio.EndOfChannel):
            pass
        except trio.BrokenResourceError as error:
            assert "inside a message" in str(error) or "closed" in str(error)

    for _ in range(20):
        client, server = stream_pair() if framing is None else channel_pair(framing)
        with client, server:
            workers = [Worker(work, end) for end in (client, server) for work in (send, receive)]
            time.sleep(chance.random() * 0.02)
            closers = [Worker(client.close) for _ in range(2)]
            for worker in (*closers, *workers):
                worker.result()


def test_closed_streams_are_freed() -> None:
    """No thread or lock keeps one alive, whichever thread was inside when it was closed."""
    client, server = stream_pair()
    worker = Worker(client.receive_some)
    settle()
    client.close()
    with pytest.raises(trio.ClosedResourceError):
        worker.result()
    freed = weakref.ref(client)
    del worker, client
    gc.collect()
    assert freed() is None
    server.close()
