"""``ipcpipes.blocking.wait``: which of several objects are ready."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import blocking
from ipcpipes.testing import unique_endpoint

from .channels import FRAMINGS, has_native
from .threads import Worker, settle

KINDS = [
    *(pytest.param(framing, id=name) for name, framing in FRAMINGS.items()),
    pytest.param(ipcpipes.NATIVE, id="native", marks=has_native),
]
LONG = 20  # seconds


@contextmanager
def channels(framing: Any = None, **options: Any) -> Iterator[tuple[Any, Any]]:
    with (
        blocking.listen_messages(
            unique_endpoint(), framing=framing, backlog=1, **options
        ) as listener,
        blocking.connect_messages(listener.endpoint, framing=framing, **options) as client,
        listener.accept(timeout=LONG) as server,
    ):
        yield client, server


@contextmanager
def streams() -> Iterator[tuple[Any, Any]]:
    with (
        blocking.listen(unique_endpoint(), backlog=1) as listener,
        blocking.connect(listener.endpoint) as client,
        listener.accept(timeout=LONG) as server,
    ):
        yield client, server


def is_idle(*objects: Any) -> bool:
    return blocking.wait(objects, timeout=0.03) == []


@contextmanager
def waiting(objects: Any) -> Iterator[list[Any]]:
    """A thread waits for the objects. The list has its result, or its exception, at the end."""
    outcome: list[Any] = []

    def wait() -> None:
        begin = time.monotonic()
        try:
            outcome.append(blocking.wait(objects, timeout=LONG))
        except Exception as error:
            outcome.append(error)
        assert time.monotonic() - begin < LONG, "nothing has woken the thread"

    worker = Worker(wait)
    try:
        settle()
        yield outcome
    finally:
        worker.result()


@pytest.mark.parametrize("framing", KINDS)
def test_a_channel_is_ready_when_a_message_has_arrived_and_keeps_it(framing: Any) -> None:
    with channels(framing) as (client, server):
        assert is_idle(client, server)
        client.send_many([b"one", b"two"])
        for _ in range(2):
            assert blocking.wait([client, server], timeout=LONG) == [server]
        assert server.receive() == b"one"
        assert blocking.wait([client, server]) == [server]
        assert server.receive(timeout=0) == b"two"
        assert is_idle(client, server)


@pytest.mark.parametrize("framing", KINDS)
def test_a_waiting_thread_wakes_up_for_a_message(framing: Any) -> None:
    with channels(framing) as (client, server):
        with waiting([client, server]) as outcome:
            client.send(b"now")
        assert outcome == [[server]]
        assert server.receive(timeout=0) == b"now"


@pytest.mark.parametrize("framing", KINDS)
def test_a_channel_is_ready_at_its_end_every_time(framing: Any) -> None:
    with channels(framing) as (client, server):
        client.send(b"last")
        client.close()
        assert blocking.wait([server]) == [server]
        assert server.receive() == b"last"
        for _ in range(2):
            assert blocking.wait([server]) == [server]
            with pytest.raises(trio.EndOfChannel):
                server.receive()


@pytest.mark.parametrize(
    "framing",
    [
        pytest.param(ipcpipes.LengthPrefixed(), id="framed"),
        pytest.param(ipcpipes.NATIVE, id="native", marks=has_native),
    ],
)
def test_an_empty_message_is_a_message(framing: Any) -> None:
    with channels(framing) as (client, server):
        with waiting([client, server]) as outcome:
            client.send_many([b"", b"x", b""])
        assert outcome == [[server]]
        assert [server.receive(timeout=0) for _ in range(3)] == [b"", b"x", b""]
        assert is_idle(client, server)


@pytest.mark.parametrize("framing", KINDS)
def test_a_large_message_is_ready_when_it_is_whole(framing: Any) -> None:
    message = bytes(60_000 if framing is FRAMINGS["length2"] else 300_000)
    if framing is ipcpipes.NATIVE:
        message = message[:100_000]
    with channels(framing) as (client, server):
        sender = threading.Thread(target=client.send, args=(message,))
        sender.start()
        assert blocking.wait([client, server], timeout=LONG) == [server]
        assert server.receive(timeout=0) == message
        sender.join()


def test_messages_with_descriptors_are_ready() -> None:
    with channels(max_descriptors=1) as (client, server):
        assert is_idle(client, server)
        client.send(b"x")
        assert blocking.wait([client, server], timeout=LONG) == [server]
        assert server.receive_descriptors(timeout=0) == (b"x", [])


def test_a_part_of_a_message_is_not_ready() -> None:
    with streams() as (client, stream), blocking.MessageChannel(stream) as channel:
        whole = bytes((3, 0, 0, 0)) + b"abc"
        client.send_all(whole[:5])
        assert is_idle(channel)
        client.send_all(whole[5:])
        assert blocking.wait([channel], timeout=LONG) == [channel]
        assert channel.receive(timeout=0) == b"abc"


def test_bytes_that_are_not_a_message_are_ready() -> None:
    framing = ipcpipes.LengthPrefixed(max_size=10)
    with streams() as (client, stream), blocking.MessageChannel(stream, framing) as channel:
        client.send_all(bytes((255, 0, 0, 0)))
        for _ in range(2):
            assert blocking.wait([channel], timeout=LONG) == [channel]
            with pytest.raises(trio.BrokenResourceError):
                channel.receive()


def test_all_ready_objects_are_returned_in_order() -> None:
    with (
        streams() as (one, other),
        channels() as (client, server),
        blocking.listen(unique_endpoint()) as listener,
        blocking.connect(listener.endpoint),
    ):
        one.send_all(b"x")
        client.send(b"y")
        server.send(b"z")
        assert blocking.wait([listener]) == [listener]
        ready = blocking.wait([server, one, listener, other, client, other])
        assert ready == [server, listener, other, client]


def test_a_stream_is_ready_for_bytes_and_at_its_end() -> None:
    with streams() as (client, server):
        assert is_idle(client, server)
        client.send_all(b"abc")
        for _ in range(2):
            assert blocking.wait([client, server], timeout=LONG) == [server]
        assert server.receive_some() == b"abc"
        with waiting([server]) as outcome:
            client.close()
        assert outcome == [[server]]
        assert server.receive_some() == b""
        assert blocking.wait([server]) == [server]


def test_the_end_of_an_anonymous_pipe_is_ready_for_bytes() -> None:
    receiving, sending = blocking.open_anonymous_pipe()
    with receiving, sending:
        assert is_idle(receiving)
        sending.send_all(b"abc")
        assert blocking.wait([receiving], timeout=LONG) == [receiving]
        assert receiving.receive_some() == b"abc"
        with waiting([receiving]) as outcome:
            receiving.close()
        assert isinstance(outcome[0], trio.ClosedResourceError)
        with pytest.raises(TypeError, match="nothing can be received"):
            blocking.wait([sending])


@pytest.mark.parametrize("messages", [False, True])
def test_a_listener_is_ready_when_a_client_waits(messages: bool) -> None:
    listen: Any = blocking.listen_messages if messages else blocking.listen
    connect: Any = blocking.connect_messages if messages else blocking.connect
    with listen(unique_endpoint(), max_instances=1) as listener:
        assert is_idle(listener)
        with connect(listener.endpoint) as client:
            for _ in range(2):
                assert blocking.wait([listener], timeout=LONG) == [listener]
            assert listener.connection_count == 1
            with listener.accept(timeout=0) as server:
                # Now max_instances are open. On POSIX the listener keeps its socket readable.
                begin = time.thread_time()
                assert blocking.wait([listener, client, server], timeout=0.3) == []
                assert time.thread_time() - begin < 0.15, "the thread did not sleep"
        with waiting([listener]) as outcome, connect(listener.endpoint, wait=LONG):
            while not outcome:
                time.sleep(0.001)
        assert outcome == [[listener]]
        listener.accept(timeout=0).close()


def test_a_listener_with_all_instances_open_is_ready_when_one_is_closed() -> None:
    with blocking.listen(unique_endpoint(), max_instances=1) as listener:
        with blocking.connect(listener.endpoint):
            server = listener.accept(timeout=LONG)
        with waiting([listener]) as outcome:
            server.close()
            with blocking.connect(listener.endpoint, wait=LONG):
                while not outcome:
                    time.sleep(0.001)
        assert outcome == [[listener]]


def test_a_client_that_waits_sees_the_end_when_the_listener_is_closed() -> None:
    with (
        blocking.listen(unique_endpoint()) as listener,
        blocking.connect(listener.endpoint) as client,
    ):
        assert blocking.wait([listener], timeout=LONG) == [listener]
        listener.close()
        assert listener.connection_count == 0
        assert client.receive_some(timeout=LONG) == b""


def test_a_child_is_ready_when_it_has_ended() -> None:
    with blocking.open_child([sys.executable, "-c", "input()"], stdin=-1) as child:
        assert is_idle(child)
        assert child.process.stdin is not None
        child.process.stdin.close()
        for _ in range(2):
            assert blocking.wait([child], timeout=LONG) == [child]
        assert child.status is not None


def test_a_child_is_noticed_without_a_descriptor_of_its_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux has descriptors of processes")

    def refuse(pid: int) -> int:
        raise OSError(38, "ENOSYS")

    with blocking.open_child([sys.executable, "-c", "input()"], stdin=-1) as child:
        monkeypatch.setattr("os.pidfd_open", refuse)
        assert child.process.stdin is not None
        with waiting([child]) as outcome:
            child.process.stdin.close()
        assert outcome == [[child]]


def test_closing_ends_the_wait() -> None:
    with streams() as (one, _), channels() as (client, _):
        for closed in (one, client, blocking.listen(unique_endpoint())):
            with streams() as (idle, _), waiting([idle, closed]) as outcome:
                closed.close()
            assert isinstance(outcome[0], trio.ClosedResourceError)
            with pytest.raises(trio.ClosedResourceError):
                blocking.wait([closed])


def test_an_object_in_use_is_busy_and_the_others_are_released() -> None:
    with streams() as (one, other), channels() as (client, server):
        with blocking.listen(unique_endpoint()) as listener:
            for used in (other, server, listener):
                with streams() as (idle, there), waiting([idle, used]):
                    with pytest.raises(trio.BusyResourceError):
                        blocking.wait([one, client, used])
                    assert is_idle(one, client)
                    there.send_all(b"x")


def test_other_threads_may_send_meanwhile() -> None:
    with channels() as (client, server), waiting([client]) as outcome:
        client.send(b"question")
        server.send(server.receive(timeout=LONG))
    assert outcome == [[client]]


def test_the_timeout_and_the_arguments_are_checked() -> None:
    with streams() as (one, other):
        begin = time.monotonic()
        assert blocking.wait([one, other], timeout=0.1) == []
        assert time.monotonic() - begin >= 0.1
        with pytest.raises(ValueError, match="timeout"):
            blocking.wait([one], timeout=-1)
        with pytest.raises(ValueError, match="at least one"):
            blocking.wait([])
        for thing in (7, socket.socket):
            with pytest.raises(TypeError):
                blocking.wait([one, thing])


def test_what_cannot_be_waited_for_says_why() -> None:
    class Stream:
        def send_all(self, data: Any, *, timeout: float | None = None) -> None: ...
        def receive_some(self, size: int | None = None, *, timeout: float | None = None) -> bytes:
            return b""

        def close(self) -> None: ...

    with streams() as (one, _), blocking.MessageChannel(Stream()) as foreign:
        with pytest.raises(ipcpipes.NotSupported, match="did not make"):
            blocking.wait([one, foreign])
        with blocking.listen(unique_endpoint(), authkey=bytes(32)) as listener:
            with pytest.raises(ipcpipes.NotSupported, match="handshakes"):
                blocking.wait([one, listener])
            assert is_idle(one)
            with pytest.raises(TimeoutError):
                listener.accept(timeout=0)


@pytest.mark.skipif(sys.platform != "win32", reason="only Windows has a limit")
def test_too_many_objects_are_refused() -> None:
    with streams() as (one, _), streams() as (other, _):
        with pytest.raises(ipcpipes.NotSupported, match="31"):
            pairs = [streams() for _ in range(31)]
            opened: list[Any] = [pair.__enter__() for pair in pairs]
            try:
                blocking.wait([one, *(pair[0] for pair in opened)], timeout=0.01)
            finally:
                for pair in pairs:
                    pair.__exit__(None, None, None)
        assert is_idle(one, other)
