"""Blocking listeners, used by several threads."""

from __future__ import annotations

import contextlib
import errno
import gc
import sys
import threading
import time
from contextlib import ExitStack
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import Endpoint, blocking

from .children import SECONDS
from .threads import Worker, at_most, receive_exactly, settle


@pytest.mark.wine_differs("FILE_FLAG_FIRST_PIPE_INSTANCE is ignored there")
def test_live_name_is_not_taken(endpoint: Endpoint) -> None:
    with blocking.listen(endpoint) as listener:
        with pytest.raises(ipcpipes.EndpointInUse) as caught:
            blocking.listen(endpoint)
        assert caught.value.errno == errno.EADDRINUSE
        assert listener.address in str(caught.value)
        with blocking.connect(endpoint), listener.accept():
            pass
    with blocking.listen(endpoint):
        pass


@pytest.mark.wine_differs("FILE_FLAG_FIRST_PIPE_INSTANCE is ignored there")
def test_trio_and_blocking_listeners_exclude_each_other(endpoint: Endpoint) -> None:
    async def listen() -> None:
        await ipcpipes.listen(endpoint)

    with blocking.listen(endpoint), pytest.raises(ipcpipes.EndpointInUse):
        trio.run(listen)


def test_listen_arguments_are_checked(endpoint: Endpoint) -> None:
    options: Any
    for options in ({"access": "everyone"}, {"max_instances": "1"}, {"backlog": None}):
        with pytest.raises(TypeError, match="must be"):
            blocking.listen(endpoint, **options)
    for options in ({"max_instances": 0}, {"backlog": 4097}, {"direction": "in"}):
        with pytest.raises(ValueError, match="must be"):
            blocking.listen(endpoint, **options)


def test_iterating_accepts_until_the_listener_is_closed(endpoint: Endpoint) -> None:
    def serve(listener: Any) -> int:
        count = 0
        for stream in listener:
            with stream:
                stream.send_all(stream.receive_some())
            count += 1
        return count

    with blocking.listen(endpoint) as listener:
        server = Worker(serve, listener)
        for _ in range(5):
            with blocking.connect(endpoint, wait=SECONDS) as client:
                client.send_all(b"x")
                assert receive_exactly(client, 1) == b"x"
        settle()
        listener.close()
        assert server.result() == 5


def test_iterating_accepts_channels(endpoint: Endpoint) -> None:
    with blocking.listen_messages(endpoint) as listener:
        with blocking.connect_messages(endpoint) as client, next(listener) as server:
            assert listener.connection_count == 1
            assert listener.endpoint == endpoint
            assert listener.address == server.stream.address  # type: ignore[attr-defined]
            assert "for messages" in repr(listener)
            client.send(b"hello")
            assert server.receive() == b"hello"
        assert listener.connection_count == 0
        listener.close()
        assert list(listener) == []


def test_second_accept_is_busy(endpoint: Endpoint) -> None:
    with blocking.listen(endpoint) as listener:
        first = Worker(listener.accept)
        settle()
        for timeout in (None, 0, 10):
            with pytest.raises(trio.BusyResourceError):
                listener.accept(timeout=timeout)
        with blocking.connect(endpoint), first.result():
            pass


@pytest.mark.parametrize("max_instances", [None, 1])
@pytest.mark.parametrize("timeout", [None, SECONDS])
def test_closing_wakes_accept_and_frees_the_name(
    endpoint: Endpoint, max_instances: int | None, timeout: float | None
) -> None:
    with ExitStack() as stack:
        listener = blocking.listen(endpoint, max_instances=max_instances)
        if max_instances is not None:  # accept waits for room
            stack.enter_context(blocking.connect(endpoint))
            stack.enter_context(listener.accept())
        accepting = Worker(listener.accept, timeout=timeout)
        settle()
        closers = [Worker(listener.close) for _ in range(3)]
        for closer in closers:
            closer.result()
        if sys.platform != "win32":
            blocking.listen(endpoint).close()  # the name is free at once
        with pytest.raises(trio.ClosedResourceError):
            accepting.result()
        with pytest.raises(trio.ClosedResourceError):
            listener.accept(timeout=0)
        assert "closed" in repr(listener)
    with pytest.raises(ipcpipes.EndpointNotFound):
        blocking.connect(endpoint)


def test_clients_that_were_not_accepted_see_the_end(endpoint: Endpoint) -> None:
    with blocking.listen(endpoint) as listener:
        client = blocking.connect(endpoint)
    with client:
        assert client.receive_some(timeout=SECONDS) == b""
    assert "closed" in repr(listener)


def test_max_instances_limits_open_connections(endpoint: Endpoint) -> None:
    with blocking.listen(endpoint, max_instances=2) as listener:
        clients = [blocking.connect(endpoint) for _ in range(2)]
        servers = [listener.accept() for _ in range(2)]
        assert listener.connection_count == 2
        for _ in range(3):
            with pytest.raises(ipcpipes.EndpointBusy, match="no room"):
                blocking.connect(endpoint)
        accepting = Worker(listener.accept)
        connecting = Worker(blocking.connect, endpoint, wait=SECONDS)
        settle()
        assert not accepting.is_done
        assert not connecting.is_done
        servers[0].close()
        clients.append(connecting.result())
        servers.append(accepting.result())
        assert listener.connection_count == 2
        clients[-1].send_all(b"in")
        assert receive_exactly(servers[-1], 2) == b"in"
        for stream in (*clients, *servers):
            stream.close()
        assert listener.connection_count == 0


def test_max_instances_holds_with_threads(endpoint: Endpoint) -> None:
    limit, clients, rounds = 3, 8, 25
    lock = threading.Lock()
    now, highest, served = 0, 0, 0

    def handle(stream: Any) -> None:
        nonlocal now, highest, served
        with stream:
            with lock:
                now += 1
                highest = max(highest, now)
            stream.send_all(stream.receive_some())
            stream.receive_some()  # until the client has left
            with lock:
                now -= 1
                served += 1

    def client() -> None:
        for _ in range(rounds):
            with blocking.connect(endpoint, wait=SECONDS) as stream:
                stream.send_all(b"x")
                assert receive_exactly(stream, 1) == b"x"

    def serve(listener: Any) -> list[Worker]:
        return [Worker(handle, stream) for stream in listener]

    with blocking.listen(endpoint, max_instances=limit) as listener:
        server = Worker(serve, listener)
        workers = [Worker(client) for _ in range(clients)]
        for worker in workers:
            worker.result()
        listener.close()
        for handler in server.result():
            handler.result()
        assert listener.connection_count == 0
    assert served == clients * rounds
    assert highest <= limit


def test_ended_thread_does_not_disturb_the_listener(endpoint: Endpoint) -> None:
    """Windows cancels what a thread has begun when it ends, and the one that closes a stream
    begins to wait for the next client.
    """
    with blocking.listen(endpoint, max_instances=1) as listener:
        for _ in range(5):
            with blocking.connect(endpoint) as client:
                server = listener.accept()
                Worker(server.close).result()
                assert client.receive_some(timeout=SECONDS) == b""
            with blocking.connect(endpoint) as client:
                client.send_all(b"x")
                with listener.accept() as server:
                    assert receive_exactly(server, 1) == b"x"


def test_clients_gone_before_accept_are_skipped(endpoint: Endpoint) -> None:
    with blocking.listen(endpoint) as listener:
        for _ in range(20):
            blocking.connect(endpoint).close()
        with blocking.connect(endpoint) as client:
            client.send_all(b"here")
            with listener.accept() as server:
                assert receive_exactly(server, 4) == b"here"
                assert listener.connection_count == 1


def test_vanishing_clients_do_not_delay_a_timeout(endpoint: Endpoint) -> None:
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            with contextlib.suppress(ipcpipes.EndpointBusy):
                blocking.connect(endpoint).close()

    with blocking.listen(endpoint) as listener:
        crowd = [Worker(come_and_go) for _ in range(2)]
        try:
            for _ in range(20):
                with at_most(SECONDS / 2), contextlib.suppress(TimeoutError):
                    listener.accept(timeout=0.01).close()  # one may be seen before it leaves
        finally:
            stop.set()
            for worker in crowd:
                worker.result()


def test_thousand_clients_are_accepted(endpoint: Endpoint) -> None:
    count, threads = 1000, 4

    def connect() -> None:
        for _ in range(count // threads):
            with blocking.connect_messages(endpoint, wait=SECONDS) as channel:
                channel.send(b"hello")
                assert channel.receive(timeout=SECONDS) == b"hello"

    with blocking.listen_messages(endpoint) as listener:
        workers = [Worker(connect) for _ in range(threads)]
        for _ in range(count):
            with listener.accept(timeout=SECONDS) as channel:
                channel.send(channel.receive(timeout=SECONDS))
        for worker in workers:
            worker.result()
        assert listener.connection_count == 0


def test_closing_a_listener_at_random_moments_is_safe(endpoint: Endpoint) -> None:
    def serve(listener: Any) -> None:
        for stream in listener:
            stream.close()

    def knock() -> None:
        with contextlib.suppress(OSError):
            while True:
                blocking.connect(endpoint).close()

    for turn in range(20):
        with blocking.listen(endpoint, max_instances=turn % 3 or None) as listener:
            server = Worker(serve, listener)
            clients = [Worker(knock) for _ in range(2)]
            time.sleep(0.001 * turn)
            closers = [Worker(listener.close) for _ in range(2)]
            for worker in (server, *closers, *clients):
                worker.result()


def test_forgotten_listener_warns_and_releases_name(endpoint: Endpoint) -> None:
    listener = blocking.listen(endpoint)
    with pytest.warns(ResourceWarning, match="unclosed <ipcpipes Listener"):
        del listener
        gc.collect()
    with blocking.listen(endpoint):
        pass


def test_streams_outlive_their_listener(endpoint: Endpoint) -> None:
    listener = blocking.listen(endpoint, max_instances=1)
    with blocking.connect(endpoint) as client, listener.accept() as server:
        listener.close()
        del listener
        gc.collect()
        client.send_all(b"x")
        assert receive_exactly(server, 1) == b"x"
