"""The memory of a connection is bounded by its limits, however its bytes are cut into reads."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.rpc._trio.transport import joined
from ipcpipes.rpc.core.call import Call
from ipcpipes.rpc.core.session import Session
from ipcpipes.rpc.core.state import Party
from ipcpipes.rpc.wire import frames
from ipcpipes.rpc.wire.format import Kind, Limits, decode, encode
from ipcpipes.rpc.wire.frames import READ_SIZE, FrameReader
from ipcpipes.rpc.wire.ndr import ChunkWriter

from .rpc_over_managers import Calls

MIB = 2**20
CREDIT = 8 * MIB
# Four spare buffers for large reads, the buffers that are being filled, and objects.
CONSTANT = 6 * MIB
DEFINITION = Calls._rpc_definition
OCTETS = DEFINITION.operations["octets_into"]
PLAIN = DEFINITION.operations["plain"]


@pytest.fixture(autouse=True)
def _traced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(frames, "_spare", [])  # buffers shared by all connections
    tracemalloc.start()
    yield
    tracemalloc.stop()


class Server:
    """A server's session, and what it keeps for its client."""

    def __init__(self) -> None:
        limits = Limits(credit=CREDIT)
        client = Session(Party.CLIENT, {}, limits)
        client.bind(DEFINITION)
        self.session = Session(Party.SERVER, {str(DEFINITION.uuid): DEFINITION}, limits)
        for frame in client.take_output():
            self.session.receive(frame)
        self.reader = FrameReader(limits.max_frame)
        self.session.take_output()
        self.kept: list[Call] = []
        self._before = tracemalloc.get_traced_memory()[0]

    @property
    def grown(self) -> int:
        """Bytes that were allocated since this server was made."""
        return tracemalloc.get_traced_memory()[0] - self._before

    def receive(self, *parts: bytes) -> None:
        """Has frames come in one read, or in as many as it takes."""
        self.receive_octets(memoryview(joined(parts)))

    def receive_octets(self, octets: memoryview) -> None:
        while octets:
            buffer = self.reader.get_buffer()
            if buffer is None:
                size = min(len(octets), READ_SIZE)
                found = self.reader.feed(bytes(octets[:size]))
            else:
                size = min(len(octets), len(buffer))
                buffer[:size] = octets[:size]
                found = self.reader.buffer_updated(buffer, size)
            octets = octets[size:]
            for frame in found:
                _, call = self.session.receive(frame)
                if frame.kind is Kind.REQUEST and call is not None:
                    self.kept.append(call)

    def request(self, call: int, operation: Any, *values: Any) -> bytes:
        number = list(DEFINITION.operations.values()).index(operation)
        return encode(Kind.REQUEST, call, msgspec.msgpack.encode(values), number=number)

    def begin_two(self) -> Call:
        """A call that is over, and call 2, of a pipe."""
        self.receive(self.request(1, OCTETS), self.request(2, OCTETS))
        done, live = self.kept
        done.finish(None, rpc.Fault("over"))
        self.kept.clear()
        return live


def widened(server: Server, live: Call, writer: ChunkWriter) -> int:
    """Lets the pipe of the call get its largest credit, by pulling all that comes. Returns how much
    may be sent now.
    """
    credit = server.session.limits.first_credit
    while credit < CREDIT * 3 // 4:
        size = min(credit, MIB) - 8
        server.receive(encode(Kind.PIPE, 2, writer.prefix(size) + bytes(size)))
        credit -= size + 4
        while live.pull(0):
            pass
        credit += granted(server)
    return credit


def granted(server: Server) -> int:
    return sum(
        decode(frame).amount for frame in server.session.take_output() if frame[0] == Kind.CREDIT
    )


@pytest.mark.parametrize(
    ("size", "filler"),
    [
        (2_100, READ_SIZE - 3_000),
        (2_048, READ_SIZE - 3_000),
        (5_000, READ_SIZE - 6_000),
        (1, 300),
        (2_048, MIB),
        (200_000, MIB),
        (270_000, 770_000),
        (300_000, 500_000),
        (600_000, 400_000),
    ],
)
def test_credit_bounds_the_memory_of_a_pipe(size: int, filler: int) -> None:
    """Frames of a live call between others, which are passed over and keep nothing."""
    server = Server()
    live = server.begin_two()
    writer = ChunkWriter(OCTETS.pipes[0].element)
    data = random.Random(size).randbytes(size)
    rest = encode(Kind.PIPE, 1, bytes(filler))
    times = min(widened(server, live, writer) // (size + 8), 5_000)
    most = 0
    for _ in range(times):
        server.receive(encode(Kind.PIPE, 2, writer.prefix(size) + data), rest)
        most = max(most, server.grown)
    assert most <= CREDIT * 5 // 4 + CONSTANT
    digest = hashlib.sha256()
    while octets := live.pull(0):
        digest.update(octets)
    assert digest.digest() == hashlib.sha256(data * times).digest()


def test_credit_bounds_the_memory_of_a_slowly_read_pipe() -> None:
    """Element by element: what is left of a piece keeps all of it."""
    server = Server()
    live = server.begin_two()
    writer = ChunkWriter(OCTETS.pipes[0].element)
    draw = random.Random(1)
    sent, pulled = hashlib.sha256(), hashlib.sha256()
    credit, most = widened(server, live, writer), 0
    for _ in range(3_000):
        size = draw.choice([1, 2_000, 2_100, 70_000, 300_000])
        if size + 8 <= credit:
            data = draw.randbytes(size)
            octets = writer.prefix(size) + data
            server.receive(encode(Kind.PIPE, 2, octets), encode(Kind.PIPE, 1, bytes(60_000)))
            sent.update(data)
            credit -= len(octets)
        pulled.update(live.pull(0, draw.choice([1, 10, 3_000, 100_000])) or b"")
        credit += granted(server)
        most = max(most, server.grown)
    assert most <= CREDIT * 5 // 4 + CONSTANT
    while rest := live.pull(0):
        pulled.update(rest)
    assert pulled.digest() == sent.digest()


def test_small_arguments_keep_no_read_buffers() -> None:
    """Of calls that wait to be begun; what came beside them was passed over."""
    server = Server()
    server.begin_two()
    rest = encode(Kind.PIPE, 1, bytes(READ_SIZE - 300))
    for number in range(3, 1_003):
        server.receive(server.request(number, PLAIN, bytes(100)), rest)
    assert len(server.kept) == 1_000
    assert server.grown <= 4 * MIB


@pytest.mark.parametrize("size", [100_000, 3 * MIB])
def test_large_arguments_are_stored_once(size: int) -> None:
    server = Server()
    server.begin_two()
    octets = server.request(3, PLAIN, bytes(size))
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    view = memoryview(joined([octets]))
    wire = tracemalloc.get_traced_memory()[0] - before
    for start in range(0, len(view), READ_SIZE):
        server.receive_octets(view[start : start + READ_SIZE])
    # A bytearray that grows has an eighth to spare.
    assert tracemalloc.get_traced_memory()[1] - before - wire <= size * 9 // 8 + 2 * MIB
    assert msgspec.msgpack.decode(server.kept[0].body) == [bytes(size)]


def test_frames_without_a_body_use_little_memory() -> None:
    server = Server()
    server.begin_two()
    server.receive(encode(Kind.PIPE, 1, bytes(3 * MIB)))  # so that much is read at once
    octets = memoryview(joined([encode(Kind.PONG)] * 50_000))
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    server.receive_octets(octets)
    assert tracemalloc.get_traced_memory()[1] - before <= 12 * MIB
