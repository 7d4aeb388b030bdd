"""Plain calls of the blocking driver: what arrives in one read is a frame, a part of one, or more.

A client that expects one answer, and a server that expects one request, take them in few steps. So
each test follows the unusual data with usual calls.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.rpc import blocking
from ipcpipes.rpc.wire.bodies import encode_body
from ipcpipes.rpc.wire.format import Bind, BindAck, FaultBody, Frame, Kind, Reason, encode
from ipcpipes.rpc.wire.frames import FrameReader

from .rpc_blocking_pairs import Calls, Manager
from .threads import Worker, at_most, stream_pair

PACK = msgspec.msgpack.encode
_PATIENCE = 20  # seconds


class Peer:
    """The other end of a stream, which sends exactly the pieces that a test chooses."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._reader = FrameReader(2**24)
        self._frames: list[Frame] = []

    def receive(self) -> Frame:
        while not self._frames:
            self._frames += self._reader.feed(self.stream.receive_some())
        return self._frames.pop(0)

    def send(self, *frames: bytes) -> None:
        """Sends the frames in one piece."""
        self.stream.send_all(b"".join(struct.pack("<I", len(one)) + one for one in frames))


class Server(Peer):
    def bind(self) -> None:
        assert self.receive().kind is Kind.BIND
        names = ("plain", "limited", "tell", "into", "out", "both")
        pipes = ("", "", "", "in int32", "out int32", "inout int32")
        ack = BindAck(1, (1, 0), 2**24, 2**21, 4, list(zip(names, pipes, strict=True)))
        self.send(encode(Kind.BIND_ACK, 0, encode_body(ack)))

    def serve(self) -> None:
        """Answers each plain call with its argument, until the client has closed."""
        while True:
            data = self.stream.receive_some()
            if not data:
                return
            self._frames += self._reader.feed(data)
            while self._frames:
                self.answer(self._frames.pop(0))

    def answer(self, request: Frame) -> None:
        if request.kind is Kind.REQUEST:
            self.send(answer_to(request))


def answer_to(request: Frame) -> bytes:
    (value,) = msgspec.msgpack.decode(request.body)
    return encode(Kind.RESPONSE, request.call, PACK(value))


@contextmanager
def scripted(script: Callable[[Server, Frame], None]) -> Iterator[Any]:
    """A client whose first call is answered by ``script``, and the others with their argument."""
    here, there = stream_pair()

    def run() -> None:
        with there:
            server = Server(there)
            server.bind()
            script(server, server.receive())
            server.serve()

    worker = Worker(run)
    with at_most(_PATIENCE), blocking.bind(Calls, here) as client:
        yield client
    worker.result()


@pytest.mark.parametrize("cut", [1, 4, 19, 20, 21])
def test_an_answer_may_come_in_two_pieces(cut: int) -> None:
    has_read = threading.Event()

    def script(server: Server, request: Frame) -> None:
        frame = answer_to(request)
        data = struct.pack("<I", len(frame)) + frame
        server.stream.send_all(data[:cut])
        assert has_read.wait(_PATIENCE)
        server.stream.send_all(data[cut:])

    with scripted(script) as client:
        duplex = client._link.transport.duplex
        receive = duplex.receive

        def receive_and_say_so(*arguments: Any) -> None:
            receive(*arguments)
            has_read.set()

        duplex.receive = receive_and_say_so
        assert client.plain("first") == "first"
        assert client.plain("second") == "second"


def _ping_behind(server: Server, request: Frame) -> None:
    server.send(answer_to(request), encode(Kind.PING))


def _ping_before(server: Server, request: Frame) -> None:
    server.send(encode(Kind.PING), answer_to(request))


def _ping_alone(server: Server, request: Frame) -> None:
    server.send(encode(Kind.PING))
    assert server.receive().kind is Kind.PONG
    server.send(answer_to(request))


@pytest.mark.parametrize("script", [_ping_behind, _ping_before, _ping_alone])
def test_other_frames_may_come_with_an_answer(script: Any) -> None:
    with scripted(script) as client:
        assert client.plain("first") == "first"
        assert client.plain("second") == "second"


def test_a_large_answer_ends_a_plain_call() -> None:
    with scripted(Server.answer) as client:
        for size in (10, 70_000, 10, 3_000_000, 10):
            assert client.plain(bytes(size)) == bytes(size)


def test_a_fault_ends_only_its_call() -> None:
    def script(server: Server, request: Frame) -> None:
        body = encode_body(FaultBody(77, "no luck"))
        server.send(encode(Kind.FAULT, request.call, body))

    with scripted(script) as client:
        with pytest.raises(rpc.RpcError, match="no luck"):
            client.plain("first")
        assert client.plain("second") == "second"


def test_a_shutdown_behind_an_answer_ends_the_calls() -> None:
    def script(server: Server, request: Frame) -> None:
        reason = Reason(0, "the server is going away", request.call)
        server.send(answer_to(request), encode(Kind.SHUTDOWN, 0, encode_body(reason)))

    with scripted(script) as client:
        assert client.plain("first") == "first"
        with pytest.raises(rpc.ServerUnavailable):
            client.plain("second")


@pytest.mark.parametrize("number", [0, 2, 2**63])
def test_an_answer_to_no_call_ends_the_connection(number: int) -> None:
    def script(server: Server, request: Frame) -> None:
        server.send(encode(Kind.RESPONSE, number, PACK("what?")))

    with scripted(script) as client:
        with pytest.raises(rpc.CommFailure, match="never was"):
            client.plain("first")
        with pytest.raises(rpc.RpcError):
            client.plain("second")


def test_a_second_answer_to_a_call_ends_the_connection() -> None:
    def script(server: Server, request: Frame) -> None:
        server.send(answer_to(request))
        assert server.receive().call == 2
        server.send(answer_to(request))

    with scripted(script) as client:
        assert client.plain("first") == "first"
        with pytest.raises(rpc.CommFailure, match="RESPONSE for a call that is done"):
            client.plain("second")


@pytest.mark.parametrize("cut", [0, 3, 15, 22])
def test_a_server_that_dies_fails_the_call(cut: int) -> None:
    def script(server: Server, request: Frame) -> None:
        frame = answer_to(request)
        server.stream.send_all((struct.pack("<I", len(frame)) + frame)[:cut])
        server.stream.close()

    here, there = stream_pair()

    def run() -> None:
        server = Server(there)
        server.bind()
        script(server, server.receive())

    worker = Worker(run)
    with at_most(_PATIENCE), blocking.bind(Calls, here) as client:
        with pytest.raises(rpc.CommFailure):
            client.plain("first")
        with pytest.raises(rpc.RpcError):
            client.plain("second")
    worker.result()


def test_views_of_a_result_are_not_overwritten_by_the_next_one() -> None:
    class Views(rpc.Interface, uuid="7c0d7e5e-58a5-4b3c-9a57-1f4c1e2a9d02", version=(1, 0)):
        @rpc.operation
        def echo(self, data: bytes) -> memoryview:
            raise NotImplementedError

    class Echo(Views):
        def echo(self, data: bytes) -> memoryview:
            return memoryview(data)

    here, there = stream_pair()
    worker = Worker(blocking.serve_connection, Echo(), there)
    with at_most(_PATIENCE), blocking.bind(Views, here) as client:
        views = [client.echo(bytes([one]) * 100) for one in range(50)]
    worker.result()
    assert [bytes(view) for view in views] == [bytes([one]) * 100 for one in range(50)]


# The server


@contextmanager
def serving(does: Callable[[Any], Any] | None = None) -> Iterator[Peer]:
    """A client of raw frames, bound to a server of the blocking driver."""
    here, there = stream_pair()
    worker = Worker(blocking.serve_connection, Manager(does), there)
    with at_most(_PATIENCE), here:
        client = Peer(here)
        client.send(_bind())
        assert client.receive().kind is Kind.BIND_ACK
        yield client
    worker.result()


def _bind() -> bytes:
    uuid = str(Calls._rpc_definition.uuid)
    return encode(Kind.BIND, 0, encode_body(Bind(1, uuid, (1, 0), 2**24, 2**21)))


def request(number: int, value: Any, operation: int = 0) -> bytes:
    return encode(Kind.REQUEST, number, PACK([value]), number=operation)


def values_of(frames: Sequence[Frame]) -> list[Any]:
    assert all(frame.kind is Kind.RESPONSE for frame in frames), frames
    return [msgspec.msgpack.decode(frame.body) for frame in frames]


def test_requests_may_come_together_and_in_pieces() -> None:
    with serving() as client:
        client.send(request(1, "alone"))
        assert values_of([client.receive()]) == ["alone"]
        client.send(request(2, "two"), request(3, "in one"))
        both = sorted([client.receive(), client.receive()], key=lambda frame: frame.call)
        assert values_of(both) == ["two", "in one"]
        frame = request(4, "in pieces")
        data = struct.pack("<I", len(frame)) + frame
        for piece in (data[:2], data[2:17], data[17:]):
            client.stream.send_all(piece)
        assert values_of([client.receive()]) == ["in pieces"]
        client.send(request(5, "alone again"))
        assert values_of([client.receive()]) == ["alone again"]


def test_a_ping_between_requests_is_answered() -> None:
    with serving() as client:
        for number in range(1, 4):
            client.send(request(number, number))
            assert values_of([client.receive()]) == [number]
            client.send(encode(Kind.PING))
            assert client.receive().kind is Kind.PONG


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(request(3, "skips a number"), id="skips"),
        pytest.param(request(1, "is an old number"), id="old"),
        pytest.param(encode(Kind.RESPONSE, 2, PACK("is no request")), id="response"),
    ],
)
def test_a_wrong_request_ends_the_connection(frame: bytes) -> None:
    with serving() as client:
        client.send(request(1, "right"))
        assert values_of([client.receive()]) == ["right"]
        client.send(frame)
        assert client.receive().kind is Kind.SHUTDOWN


def test_an_operation_that_is_not_there_fails_only_its_call() -> None:
    with serving() as client:
        client.send(request(1, "first"))
        assert values_of([client.receive()]) == ["first"]
        client.send(request(2, "no such", operation=6))
        assert client.receive().kind is Kind.FAULT
        client.send(request(3, "third"))
        assert values_of([client.receive()]) == ["third"]


def test_a_client_may_close_while_its_call_runs() -> None:
    begun = threading.Event()
    go_on = threading.Event()

    def manager(value: Any) -> Any:
        if value == "slow":
            begun.set()
            assert go_on.wait(_PATIENCE)
        return value

    here, there = stream_pair()
    worker = Worker(blocking.serve_connection, Manager(manager), there)
    with here:
        client = Peer(here)
        client.send(_bind())
        client.receive()
        client.send(request(1, "quick"))
        client.receive()
        client.send(request(2, "slow"))
        assert begun.wait(_PATIENCE)
    go_on.set()
    worker.result()
