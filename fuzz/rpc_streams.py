"""Calls with streams: two sessions whose users do anything, and a peer that sends what it likes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from random import Random

import msgspec

from ipcpipes.rpc.core.call_streams import BATCH, decoded
from ipcpipes.rpc.core.session import Event, Session
from ipcpipes.rpc.core.state import Party
from ipcpipes.rpc.core.stream_call import StreamCall
from ipcpipes.rpc.errors import CommFailure, ProtocolError, RpcError, TooLarge
from ipcpipes.rpc.wire.batches import head_of
from ipcpipes.rpc.wire.format import END, HEAD, LEAST_CREDIT, LEAST_FRAME, Kind, Limits, encode
from tests.rpc_streaming import Streams

from .drawing import Drawing

DEFINITION = Streams._rpc_definition
_CALLED = tuple(DEFINITION.operations[name] for name in ("two", "chat", "octets", "upper"))
# The smallest limits allowed, so that they are reached often.
_LIMITS = Limits(LEAST_FRAME, LEAST_CREDIT, calls=5)
_SIZES = (0, 1, 30, 3000, 40_000, LEAST_FRAME - HEAD.size - 5)
_COUNTS = (1, 2, 15, 16, 300)
_WRONG = (b"", b"\x90", b"\xc1", b"\x91", b"\x91\xc1", b"\x92\xa1a", b"\xdd\xff\xff\xff\xff\xa1a")


class User:
    """The users of one end's calls, and what the end may do.

    Attributes:
        received: how many values of each stream have been received.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.calls: list[StreamCall] = []
        self.received: Counter[tuple[int, int]] = Counter()
        self.sent: Counter[tuple[int, int]] = Counter()

    def note(self, call: object) -> None:
        if isinstance(call, StreamCall):
            self.calls.append(call)

    def act(self, drawing: Drawing) -> None:
        """Does something with one of the calls."""
        if not self.calls:
            return
        call = self.calls[-1 - drawing.number() % min(len(self.calls), 4)]
        index = drawing.number() % len(call.operation.streams)
        action = drawing.number() % 16
        with suppress(RpcError, TooLarge):  # the action may not be allowed now
            if action == 0:
                self._end(call, drawing)
            elif index in call.incoming:
                self._receive(call, index, leaves=action == 1)
            elif action == 1:
                call.end_stream(index)
            elif not call.outgoing[index].closed:
                octets = _value_of(call, index, drawing.one_of(_SIZES))
                self.sent[call.id, index] += call.send(index, octets)
        self.check()

    def _receive(self, call: StreamCall, index: int, *, leaves: bool) -> None:
        incoming = call.incoming[index]
        if leaves:
            call.leave_stream(index)
        if incoming.closed:
            return
        call.require_receiving()
        batch = call.values_of(index)
        if batch:
            values, error = decoded(incoming.stream, batch)
            call.took(index, batch, values, error)
            assert len(incoming.values) == len(values)
            self.received[call.id, index] += len(values)
            incoming.values.clear()

    def _end(self, call: StreamCall, drawing: Drawing) -> None:
        if self.session.party is Party.SERVER:
            call.finish(b"\xc0", None)
        elif drawing.number() % 2:
            call.orphan()
        else:
            call.cancel()

    def check(self) -> None:
        """Checks the memory that the streams use, which holds at any time."""
        for call in self.session.calls.values():
            assert isinstance(call, StreamCall)
            for incoming in call.incoming.values():
                # One value may exceed the credit. The heads of merged batches count too.
                assert incoming._waiting <= 2 * LEAST_CREDIT + LEAST_FRAME
            for outgoing in call.outgoing.values():
                assert len(outgoing.values) <= BATCH + LEAST_FRAME


def _value_of(call: StreamCall, index: int, size: int) -> bytes:
    """An encoded value of this stream, of about this size."""
    kind = call.operation.streams[index].type
    if kind is int:
        return msgspec.msgpack.encode(size)
    return msgspec.msgpack.encode(bytes(size) if kind is bytes else "x" * size)


def two_ends(data: bytes) -> None:
    """Both ends keep to the protocol: no connection ends, and nothing is lost."""
    drawing = Drawing(data)
    client = User(Session(Party.CLIENT, {}, _LIMITS))
    server = User(Session(Party.SERVER, {str(DEFINITION.uuid): DEFINITION}, _LIMITS))
    client.session.bind(DEFINITION)
    ways = [(client, server), (server, client)]
    for one, other in ways:
        _deliver(one, other)
    while drawing.more:
        choice = drawing.number() % 8
        if choice == 0:
            with suppress(RpcError):
                if client.session.has_room:
                    operation = drawing.one_of(_CALLED)
                    client.note(client.session.request(operation, b"\x90", None))
        elif choice < 3:
            _deliver(*ways[choice - 1])
        else:
            ways[choice % 2][0].act(drawing)
    for one, other in ways:
        for stream, count in other.received.items():
            assert count <= one.sent[stream]
    for user in (client, server):
        assert user.session.failure is None
        user.session.close(CommFailure())


def _deliver(one: User, other: User) -> None:
    """Delivers what one end has sent."""
    for frame in one.session.take_output():
        event, call = other.session.receive(frame)
        if event is Event.REQUEST:
            other.note(call)
    other.check()


def server(data: bytes) -> None:
    """A client sends anything: the call or the connection fails, and nothing else."""
    drawing = Drawing(data)
    user = User(Session(Party.SERVER, {str(DEFINITION.uuid): DEFINITION}, _LIMITS))
    client = Session(Party.CLIENT, {}, _LIMITS)
    client.bind(DEFINITION)
    for frame in client.take_output():
        user.session.receive(frame)
    last_call = 0
    while drawing.more and user.session.failure is None:
        choice = drawing.number() % 8
        if choice == 0 or not last_call:
            last_call += 1
            frame = encode(Kind.REQUEST, last_call, b"\x90", number=drawing.one_of(_CALLED).number)
        elif choice < 5:
            frame = _anything(drawing, last_call)
        else:
            user.act(drawing)
            continue
        try:
            event, call = user.session.receive(frame)
        except ProtocolError as error:
            user.session.close(error)
            break
        if event is Event.REQUEST:
            user.note(call)
        user.check()
        user.session.take_output()
    user.session.close(CommFailure())
    for _ in range(8):
        user.act(drawing)


def _anything(drawing: Drawing, last_call: int) -> bytes:
    kind = drawing.one_of(
        (Kind.STREAM, Kind.STREAM, Kind.STREAM, Kind.STOP, Kind.CREDIT, Kind.PIPE)
    )
    call = max(last_call - drawing.number() % 3, drawing.number() < 250)
    flags = END if drawing.number() % 16 == 0 else 0
    body = b""
    if kind is Kind.STREAM:
        way = drawing.number()
        if way < 16:
            body = drawing.one_of(_WRONG)
        elif way < 32:
            body = drawing.take(way)
        else:
            value = drawing.one_of(
                (b"\x01", b"\xa1a", b"\xc4\x01a", b"\xdb\x00\x00\x40\x00" + bytes(2**14))
            )
            count = drawing.one_of(_COUNTS)
            body = head_of(count) + value * count
    amount = drawing.one_of((1, LEAST_CREDIT, 2**32 - 1))
    return encode(kind, call, body, flags=flags, number=drawing.number() % 3, amount=amount)


def seeds() -> Iterable[bytes]:
    """Yields random bytes, which mostly choose valid actions."""
    for number in range(20):
        yield Random(number).randbytes(60 * (number + 1))
