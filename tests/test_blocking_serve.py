"""blocking.serve and blocking.serve_messages: a thread for each client."""

from __future__ import annotations

import _thread
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import Endpoint, blocking

from .processes import SECONDS
from .threads import Worker

KEY = b"a key of sixteen bytes"
KEY_NUMBERS = list(KEY)
# How to serve, to listen and to connect.
WAYS: dict[str, tuple[Any, Any, Any]] = {
    "streams": (blocking.serve, blocking.listen, blocking.connect),
    "messages": (blocking.serve_messages, blocking.listen_messages, blocking.connect_messages),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[Any, Any, Any]:
    return WAYS[request.param]


def receive(connection: Any, **options: Any) -> bytes:
    method = getattr(connection, "receive", None) or connection.receive_some
    data: bytes = method(**options)
    return data


def send(connection: Any, data: bytes) -> None:
    (getattr(connection, "send", None) or connection.send_all)(data)


def echo(connection: Any) -> None:
    for data in connection:
        send(connection, data)


@contextmanager
def serving(
    way: tuple[Any, Any, Any], handler: Callable[[Any], object], endpoint: Endpoint, **options: Any
) -> Iterator[tuple[Any, Worker]]:
    """A server in a thread. At the end of the block it is shut down, and has ended."""
    serve, listen, _ = way
    with listen(endpoint) as listener:
        server = Worker(serve, handler, listener, **options)
        try:
            yield listener, server
        finally:
            listener.close()
            server.result()


def test_each_client_has_its_handler(way: tuple[Any, Any, Any], endpoint: Endpoint) -> None:
    threads: set[int] = set()

    def handler(connection: Any) -> None:
        threads.add(threading.get_ident())
        echo(connection)

    with serving(way, handler, endpoint):
        clients = [way[2](endpoint) for _ in range(10)]
        for number, client in enumerate(clients):
            send(client, b"%d" % number)
        for number, client in reversed(list(enumerate(clients))):
            assert receive(client, timeout=SECONDS) == b"%d" % number
        assert len(threads) == 10
        for client in clients:
            client.close()


def test_it_listens_on_an_endpoint(way: tuple[Any, Any, Any], endpoint: Endpoint) -> None:
    """Without a listener, Ctrl-C or an exception of a handler ends it."""

    def handler(connection: Any) -> None:
        raise SystemExit(3)

    server = Worker(way[0], handler, endpoint, backlog=3, authkey=KEY)
    with way[2](endpoint, wait=SECONDS, authkey=KEY) as client:
        with pytest.raises(SystemExit):
            server.result()
        assert has_ended(client)
    with pytest.raises(ipcpipes.EndpointNotFound):
        way[2](endpoint)


def test_a_failing_handler_is_logged_and_the_server_continues(
    way: tuple[Any, Any, Any], endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(connection: Any) -> None:
        if receive(connection) == b"fail":
            raise RuntimeError("boom")
        send(connection, b"well")

    with serving(way, handler, endpoint):
        with way[2](endpoint) as client:
            send(client, b"fail")
            assert has_ended(client)
        with way[2](endpoint) as client:
            send(client, b"go on")
            assert receive(client, timeout=SECONDS) == b"well"
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("ipcpipes", logging.ERROR)
    assert record.getMessage() == f"the handler of a client of {endpoint} failed"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "boom"


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def has_ended(connection: Any) -> bool:
    try:
        return not receive(connection, timeout=SECONDS)
    except trio.EndOfChannel:
        return True


def test_a_client_that_has_left_is_no_error(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ipcpipes")

    def handler(channel: Any) -> None:
        while True:
            channel.receive()

    with serving(WAYS["messages"], handler, endpoint):
        with blocking.connect_messages(endpoint) as client:
            client.send(b"one")
        with blocking.connect(endpoint) as stream:
            stream.send_all(b"\xff" * 10)  # no message
            assert stream.receive_some(timeout=SECONDS) == b""
    assert sorted(record.levelname for record in caplog.records) == ["INFO", "WARNING"]
    messages = sorted(caplog.messages)
    assert messages[0].startswith(f"a client of {endpoint} has left: ")
    assert messages[1].startswith(f"a client of {endpoint} was disconnected: ")


def test_handlers_finish_after_the_listener_was_closed(
    way: tuple[Any, Any, Any], endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    may_answer = threading.Event()

    def handler(connection: Any) -> None:
        request = receive(connection)
        assert may_answer.wait(SECONDS)
        send(connection, request)

    with serving(way, handler, endpoint, grace=math.inf) as (listener, server):
        with way[2](endpoint) as client:
            send(client, b"request")
            wait_until(lambda: listener.connection_count == 1)
            listener.close()
            # On Windows the pipe of the connection that is open still has the name.
            with pytest.raises((ipcpipes.EndpointNotFound, ipcpipes.EndpointBusy)):
                way[2](endpoint)
            may_answer.set()
            assert receive(client, timeout=SECONDS) == b"request"
            server.result()
    assert not caplog.records


def test_handlers_that_do_not_finish_are_ended(
    way: tuple[Any, Any, Any], endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[BaseException] = []

    def handler(connection: Any) -> None:
        try:
            receive(connection)
        except trio.ClosedResourceError as error:
            ended.append(error)
            raise

    with serving(way, handler, endpoint, grace=0.05) as (listener, server):
        with way[2](endpoint) as client:
            wait_until(lambda: listener.connection_count == 1)
            listener.close()
            server.result()
            assert has_ended(client)
    assert len(ended) == 1
    assert caplog.messages == [
        f"{endpoint}: ended the clients that had not finished 0.05 s after the listener was closed"
    ]


def test_only_clients_with_the_key_are_served(
    way: tuple[Any, Any, Any], endpoint: Endpoint
) -> None:
    serve, listen, connect = way
    with listen(endpoint, authkey=KEY) as listener:
        server = Worker(serve, echo, listener)
        with pytest.raises(ipcpipes.AuthenticationFailed):
            connect(endpoint, authkey=b"another key, as long")
        with connect(endpoint, authkey=KEY) as client:
            send(client, b"hello")
            assert receive(client, timeout=SECONDS) == b"hello"
        listener.close()
        server.result()


def test_no_variable_of_a_server_holds_the_key(
    way: tuple[Any, Any, Any], endpoint: Endpoint
) -> None:
    held: list[object] = []
    server_thread = 0

    def handler(connection: Any) -> None:
        frame = sys._current_frames()[server_thread]
        while frame.f_back is not None and frame.f_code is not threading.Thread.run.__code__:
            for value in frame.f_locals.values():
                held.extend(value.values() if isinstance(value, dict) else [value])
            frame = frame.f_back
        raise SystemExit

    def serve() -> None:
        nonlocal server_thread
        server_thread = threading.get_ident()
        # Not by the worker, which holds the arguments itself.
        way[0](handler, endpoint, authkey=bytes(KEY_NUMBERS))

    server = Worker(serve)
    with way[2](endpoint, wait=SECONDS, authkey=KEY) as client:
        assert has_ended(client)
    with pytest.raises(SystemExit):
        server.result()
    assert len(held) > 5
    assert KEY not in held


def test_each_direction(endpoint: Endpoint) -> None:
    def sender(stream: blocking.SendStream) -> None:
        stream.send_all(b"hello")

    with blocking.listen(endpoint, direction="send") as listener:
        server = Worker(blocking.serve, sender, listener)
        with blocking.connect(endpoint, direction="receive") as stream:
            assert stream.receive_some(timeout=SECONDS) == b"hello"
        listener.close()
        server.result()


def test_a_listener_has_its_own_options(way: tuple[Any, Any, Any], endpoint: Endpoint) -> None:
    serve, listen, _ = way
    with listen(endpoint) as listener:
        with pytest.raises(TypeError) as caught:
            serve(echo, listener, backlog=3, authkey=KEY)
    assert str(caught.value) == (
        f"a listener has its own backlog and authkey: give them to {listen.__name__}()"
    )


@pytest.mark.parametrize(("grace", "kind"), [("5", TypeError), (-1, ValueError)])
def test_grace_is_checked(
    way: tuple[Any, Any, Any], endpoint: Endpoint, grace: Any, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="grace"):
        way[0](echo, endpoint, grace=grace)
    with pytest.raises(ipcpipes.EndpointNotFound):
        way[2](endpoint)


def test_ctrl_c_ends_the_connections(way: tuple[Any, Any, Any], endpoint: Endpoint) -> None:
    main = threading.get_ident()
    ended = threading.Event()

    def handler(connection: Any) -> None:
        if sys.platform == "win32":
            _thread.interrupt_main()
        else:
            signal.pthread_kill(main, signal.SIGINT)
        try:
            receive(connection)
        finally:
            ended.set()

    def client() -> bool:
        with way[2](endpoint, wait=SECONDS) as connection:
            return has_ended(connection)

    other = Worker(client)
    with pytest.raises(KeyboardInterrupt):
        way[0](handler, endpoint, grace=math.inf)
    assert ended.is_set()
    assert other.result()
    with pytest.raises(ipcpipes.EndpointNotFound):
        way[2](endpoint)
