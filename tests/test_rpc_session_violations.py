"""Violations of the protocol by the peer: each is refused with an error of its own."""

from __future__ import annotations

import msgspec
import pytest

from ipcpipes.rpc.core.state import Party
from ipcpipes.rpc.errors import ProtocolError
from ipcpipes.rpc.wire.format import HEAD, LEAST_CREDIT, Kind, encode

from .rpc_pair_work import Work, ack_body, bind_body
from .rpc_pairs import Pair, close, definition, pull

C, S = Party.CLIENT, Party.SERVER
encode_body = msgspec.msgpack.encode


@pytest.fixture
def pair() -> Pair:
    return Pair(Work)


def violation(pair: Pair, party: Party, frame: bytes, words: str) -> None:
    """Checks that this end refuses the frame with this error."""
    with pytest.raises(ProtocolError, match=words):
        pair.ends[party].receive(frame)


def pipe(number: int, octets: bytes, call: int = 1) -> bytes:
    return encode(Kind.PIPE, call, octets, number=number)


def credit(number: int, amount: int, call: int = 1) -> bytes:
    return encode(Kind.CREDIT, call, number=number, amount=amount)


def test_more_data_than_the_credit(pair: Pair) -> None:
    pair.begin("total")
    most = (LEAST_CREDIT // 4).to_bytes(4, "little") + bytes(LEAST_CREDIT - 4)
    pair.server.receive(pipe(0, most[:-1]))
    pair.server.receive(pipe(0, most[-1:]))
    violation(pair, S, pipe(0, b"x"), r"^1 octets came for the pipe numbers, where 0 were allowed$")


def test_more_data_than_the_returned_credit(pair: Pair) -> None:
    _, served = pair.begin("total")
    pair.server.receive(pipe(0, (2**32 - 1).to_bytes(4, "little") + bytes(LEAST_CREDIT - 4)))
    violation(pair, S, pipe(0, b"x"), "where 0 were allowed")
    pull(served, "numbers")
    pair.server.receive(pipe(0, bytes(LEAST_CREDIT)))
    violation(pair, S, pipe(0, b"x"), "where 0 were allowed")


@pytest.mark.parametrize(
    ("name", "number"), [("total", 1), ("total", 65535), ("ins", 1), ("pass_on", 2), ("outs", 0)]
)
def test_a_pipe_out_of_turn(pair: Pair, name: str, number: int) -> None:
    pair.begin(name)
    violation(pair, S, pipe(number, bytes(4)), rf"^pipe {number} of Work.{name} came out of turn$")


def test_a_pipe_after_its_end(pair: Pair) -> None:
    pair.begin("ins")
    violation(pair, S, pipe(0, bytes(5)), "continues after its end")
    pair.begin("ins")
    pair.server.receive(pipe(0, bytes(4), call=2))
    violation(pair, S, pipe(0, bytes(4), call=2), "came out of turn")


def test_an_out_pipe_before_the_in_pipes_have_ended(pair: Pair) -> None:
    call, _ = pair.begin("pass_on")
    close(call, "first")
    violation(pair, C, pipe(0, bytes(4)), "answered before it had all its in-pipes")


def test_an_answer_before_the_in_pipes_have_ended(pair: Pair) -> None:
    pair.begin("total")
    violation(pair, C, encode(Kind.RESPONSE, 1, b"\1"), "before it had all its in-pipes")


def test_an_answer_before_the_out_pipes_have_ended(pair: Pair) -> None:
    pair.begin("count", 1)
    violation(pair, C, encode(Kind.RESPONSE, 1, b"\1"), "was answered before its pipes had ended")


def test_credit_for_a_pipe_that_is_not_sent(pair: Pair) -> None:
    pair.begin("total")
    violation(pair, C, credit(1, 5), r"^Work.total sends no pipe 1 from here$")
    violation(pair, S, credit(0, 5), r"^Work.total sends no pipe 0 from here$")


def test_calls_out_of_order(pair: Pair) -> None:
    pair.begin("add", 1)
    for number in (0, 1, 3, 2**64 - 1):
        violation(
            pair, S, encode(Kind.REQUEST, number, b"\x91\1"), rf"^call {number} follows call 1$"
        )


@pytest.mark.parametrize("kind", [Kind.PIPE, Kind.CREDIT, Kind.CANCEL, Kind.ORPHANED])
def test_a_frame_for_an_unknown_call(pair: Pair, kind: Kind) -> None:
    for number in (0, 1, 2**63):
        violation(
            pair, S, encode(kind, number), rf"^{kind.name} for call {number}, which never was"
        )


def test_an_answer_to_an_unknown_or_answered_call(pair: Pair) -> None:
    call, served = pair.begin("add", 1)
    violation(pair, C, encode(Kind.RESPONSE, 2, b"\1"), "which never was")
    pair.finish(served, 2)
    violation(pair, C, encode(Kind.RESPONSE, call.id, b"\1"), "for a call that is done")
    violation(pair, C, encode(Kind.FAULT, call.id, b"\1"), "for a call that is done")


def test_a_frame_after_orphaned(pair: Pair) -> None:
    for kind in (Kind.PIPE, Kind.CREDIT, Kind.CANCEL, Kind.ORPHANED):
        call, _ = pair.begin("count", 1)
        call.orphan()
        pair.pump()
        violation(pair, S, encode(kind, call.id), "for a call that is orphaned")


def test_a_bind_is_the_first_frame_and_the_only_bind(pair: Pair) -> None:
    violation(pair, S, encode(Kind.BIND, 0, bind_body()), "on a connection that is open")
    violation(pair, C, encode(Kind.BIND_ACK, 0, ack_body()), "on a connection that is open")
    unbound = Pair(Work, bind=False)
    for kind in set(Kind) - {Kind.BIND, Kind.SHUTDOWN}:
        violation(unbound, S, encode(kind, 1), "on a connection that is unbound")


@pytest.mark.parametrize("size", range(HEAD.size))
def test_a_frame_shorter_than_its_head(pair: Pair, size: int) -> None:
    words = rf"^a frame of {size} bytes is too short; its head has 16$"
    violation(pair, S, encode(Kind.PING)[:size], words)


@pytest.mark.parametrize("kind", [0, 99, 255])
def test_a_frame_of_an_unknown_kind(pair: Pair, kind: int) -> None:
    violation(pair, C, bytes([kind]) + bytes(15), rf"^there is no frame of kind {kind}$")


BAD_BODIES = [
    b"",
    b"\xc1",
    b"\x80",
    b"\x90",
    b"\x81\xa4code\xa1x",
    encode_body({"code": 0, "message": 5}),
    encode_body({"code": 0, "message": ""}) + b"\0",
    b"\x82\xa4code\0\xa7message\xa2\xff\xfe",
    b"\x83\xa4code\0\xa7message\xa0\xa4more" + b"\x91" * 50_000 + b"\0",
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_a_malformed_body(pair: Pair, body: bytes) -> None:
    pair.begin("add", 1)
    violation(pair, C, encode(Kind.FAULT, 1, body), r"^the body of FAULT is malformed")
    violation(pair, C, encode(Kind.SHUTDOWN, 0, body), r"^the body of SHUTDOWN is malformed")
    unbound = Pair(Work, bind=False)
    violation(unbound, S, encode(Kind.BIND, 0, body), r"^the body of BIND is malformed")
    for kind in (Kind.BIND_ACK, Kind.BIND_NAK):
        unbound = Pair(Work, bind=False)
        unbound.client.bind(definition(Work))
        violation(unbound, C, encode(kind, 0, body), rf"^the body of {kind.name} is malformed")
