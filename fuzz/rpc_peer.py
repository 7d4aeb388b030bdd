"""The peer of a session, which keeps to the protocol as often as the fuzzer chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ipcpipes.rpc.core.call import Call
from ipcpipes.rpc.core.session import Session
from ipcpipes.rpc.core.state import Party
from ipcpipes.rpc.wire.format import (
    LEAST_CREDIT,
    LEAST_FRAME,
    MAYBE,
    TIMED,
    VERSION,
    Bind,
    BindAck,
    FaultBody,
    Kind,
    Reason,
    encode,
)
from ipcpipes.rpc.wire.metadata import MOST_METADATA
from ipcpipes.rpc.wire.ndr import ChunkWriter
from tests.rpc_over_managers import Calls

from .drawing import Drawing, filling

DEFINITION = Calls._rpc_definition
_OPERATIONS = tuple(DEFINITION.operations.values())
# Frames that do something are more frequent than frames that end the connection.
_KINDS: dict[Party, Sequence[Kind]] = {
    Party.CLIENT: (
        *(Kind.REQUEST, Kind.PIPE, Kind.PIPE, Kind.PIPE, Kind.PIPE, Kind.CREDIT, Kind.CREDIT),
        *(Kind.CANCEL, Kind.ORPHANED, Kind.PING, Kind.PONG, Kind.METADATA),
    ),
    Party.SERVER: (
        *(Kind.PIPE, Kind.PIPE, Kind.PIPE, Kind.PIPE, Kind.PIPE, Kind.CREDIT, Kind.CREDIT),
        *(Kind.RESPONSE, Kind.RESPONSE, Kind.FAULT, Kind.PING, Kind.PONG, Kind.PIPE, Kind.CREDIT),
        *(Kind.RESPONSE, Kind.PIPE, Kind.CREDIT, Kind.SHUTDOWN, Kind.METADATA),
    ),
}
_COUNTS = (1, 2, 3, 4, 100, 3000, 20_000)
_AMOUNTS = (LEAST_CREDIT, 1, 0, 2**32 - 1)
_NUMBERS = (LEAST_CREDIT, LEAST_FRAME, 0, 1, -1, 5, 2**32, 2**63)
_TEXTS = ("", "text", "x" * 300, "\u20ac" * 9000)
_KEYS = ("a", "trace", "A", "", "k" * 65)
_CODES = (1726, 1717, 1818, 1820, 1, 0, -1, 2**40)
_REASONS = (0, 0, 0, 1717, 1728, -1)


class Peer:
    """Makes frames for a session, as its peer would.

    Args:
        session: the session that receives them; its open calls are looked up there.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._party = session.peer
        self._last_call = 0
        self._writers: dict[tuple[Call, int], ChunkWriter] = {}
        self._ended: dict[Call, int] = {}  # how many of its pipes the peer has ended
        self._given_up: set[Call] = set()

    def hello(self, drawing: Drawing) -> bytes:
        """Returns the first frame."""
        kind = Kind.BIND if self._party is Party.CLIENT else Kind.BIND_ACK
        if drawing.number() < 240:
            return encode(kind, body=_GOOD[kind])
        kind = drawing.one_of((kind, Kind.BIND_NAK))
        return self._twisted(kind, 0, self._body(kind, drawing), {}, drawing)

    def frame(self, drawing: Drawing) -> bytes:
        """Returns a frame that is allowed now, a frame with a fault, or random bytes."""
        twist = drawing.number()
        if twist == 253:
            return drawing.take(drawing.number() % 64)
        if twist >= 254:
            return encode(drawing.one_of(tuple(Kind)), drawing.number(), drawing.take(40))
        kind = drawing.one_of(_KINDS[self._party])
        calls = [one for one in self._session.calls.values() if one not in self._given_up]
        call = calls[-1 - drawing.number() % len(calls)] if calls else None
        if kind is Kind.REQUEST:
            message = self._request(drawing, twist)
        elif kind in (Kind.PING, Kind.PONG):
            message = self._twisted(kind, 0, b"", {}, drawing, twist)
        elif kind is Kind.SHUTDOWN:
            message = self._twisted(kind, 0, self._body(kind, drawing), {}, drawing, twist)
        elif kind is Kind.METADATA and self._party is Party.CLIENT:
            body = self._body(kind, drawing)
            if self._session.metadata.coming is None:
                message = self._twisted(kind, self._last_call + 1, body, {}, drawing, twist)
            else:
                message = self._request(drawing, twist)
        elif call is None or (kind is Kind.METADATA and call.answer_metadata):
            message = encode(Kind.PING)
        elif kind is Kind.RESPONSE and not self._may_answer(call):
            message = self._of_pipe(Kind.PIPE, call, drawing, twist)
        elif kind in (Kind.PIPE, Kind.CREDIT):
            message = self._of_pipe(kind, call, drawing, twist)
        else:
            if kind is Kind.ORPHANED:
                self._given_up.add(call)
            message = self._twisted(kind, call.id, self._body(kind, drawing), {}, drawing, twist)
        return message

    def _request(self, drawing: Drawing, twist: int) -> bytes:
        operation = drawing.one_of(_OPERATIONS)
        flags = (MAYBE if operation.options.maybe else 0) | (TIMED if twist % 2 else 0)
        self._last_call += 1
        head = {"flags": flags, "number": operation.number, "amount": 1000}
        body = msgspec.msgpack.encode([1] * len(operation.types))
        return self._twisted(Kind.REQUEST, self._last_call, body, head, drawing, twist)

    def _sends(self, call: Call) -> tuple[int, ...]:
        return call.operation.ins if self._party is Party.CLIENT else call.operation.outs

    def _may_answer(self, call: Call) -> bool:
        turn = call.cursor.turn
        has_all = turn is None or not turn[0]
        return has_all and self._ended.get(call, 0) == len(self._sends(call))

    def _of_pipe(self, kind: Kind, call: Call, drawing: Drawing, twist: int) -> bytes:
        """Returns elements if a pipe can send some, otherwise credit."""
        place = self._ended.get(call, 0)
        turn = call.cursor.turn
        waits = self._party is Party.SERVER and turn is not None and turn[0]
        if kind is Kind.PIPE and place < len(self._sends(call)) and not waits:
            index = self._sends(call)[place]
            body = self._chunk(call, index, drawing)
            return self._twisted(Kind.PIPE, call.id, body, {"number": index}, drawing, twist)
        if not call.outgoing:
            return encode(Kind.PING)
        head = {"number": drawing.one_of(tuple(call.outgoing)), "amount": drawing.one_of(_AMOUNTS)}
        return self._twisted(Kind.CREDIT, call.id, b"", head, drawing, twist)

    def _chunk(self, call: Call, index: int, drawing: Drawing) -> bytes:
        element = call.operation.pipes[index].element
        writer = self._writers.setdefault((call, index), ChunkWriter(element))
        choice = drawing.number()
        if choice % 4 == 0:
            self._ended[call] = self._ended.get(call, 0) + 1
            del self._writers[call, index]  # a pipe in both directions begins anew
            return writer.end()
        count = drawing.one_of(_COUNTS)
        size = (count - 1) * element.stride + element.size
        return writer.prefix(count) + filling(size)

    def _body(self, kind: Kind, drawing: Drawing) -> bytes:
        """Returns a body of the type that belongs to this kind of frame."""
        encoded = msgspec.msgpack.encode
        number, code = drawing.one_of(_NUMBERS), drawing.one_of(_CODES)
        text = drawing.one_of(_TEXTS)
        value: Any
        if kind is Kind.BIND:
            version = drawing.one_of((DEFINITION.version, (1, 0), (1, 9), (-1, 2)))
            uuid = drawing.one_of((str(DEFINITION.uuid), text))
            value = Bind(drawing.one_of((VERSION, 2)), uuid, version, number, code << 20, text)
        elif kind is Kind.BIND_ACK:
            operations = [(text, text), ("into", "in int32"), ("out", "")]
            value = BindAck(code, (code, 0), number, LEAST_CREDIT, number, operations)
        elif kind is Kind.METADATA:
            value = {drawing.one_of(_KEYS): drawing.one_of((text, number, b"x", 0.5, None, [code]))}
        elif kind in (Kind.BIND_NAK, Kind.SHUTDOWN):
            value = Reason(drawing.one_of(_REASONS), text, number)
        elif kind is Kind.FAULT:
            value = FaultBody(code, text, text or None, text or None)
        elif kind is Kind.RESPONSE:
            value = text
        else:
            return b""
        return encoded(value)

    def _twisted(
        self,
        kind: Kind,
        call: int,
        body: bytes,
        head: dict[str, int],
        drawing: Drawing,
        twist: int = 255,
    ) -> bytes:
        """Returns the frame, with one fault for some values of ``twist``."""
        if twist == 240:
            head = {**head, "flags": drawing.number()}
        elif twist == 241:
            head = {**head, "number": drawing.number(2)}
        elif twist == 242:
            head = {**head, "amount": drawing.number(4)}
        elif twist == 243:
            call = drawing.number(drawing.one_of((1, 8)))
        elif twist == 244:
            body = drawing.take(drawing.number())
        elif twist == 245:
            body = body[: drawing.number()]
        elif twist == 246:
            place = drawing.number()
            body = body[:place] + drawing.take(4) + body[place + 4 :]
        return encode(kind, call, body, **head)


_GOOD = {
    Kind.BIND: msgspec.msgpack.encode(
        Bind(
            *(VERSION, str(DEFINITION.uuid), DEFINITION.version),
            *(LEAST_FRAME, LEAST_CREDIT, DEFINITION.name),
            metadata=MOST_METADATA,
        )
    ),
    Kind.BIND_ACK: msgspec.msgpack.encode(
        BindAck(
            *(VERSION, DEFINITION.version, LEAST_FRAME, LEAST_CREDIT, 5),
            [(one.name, one.signature_of_pipes) for one in _OPERATIONS],
            MOST_METADATA,
        )
    ),
}
