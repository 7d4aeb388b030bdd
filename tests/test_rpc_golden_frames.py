"""The bytes on the wire never change."""

from __future__ import annotations

from ipcpipes.rpc.core.metadata import answer_metadata_of
from ipcpipes.rpc.wire.format import Kind, Limits, decode, encode

from .rpc_golden import (
    GOLDEN,
    GOLDEN_STREAMS,
    OLD_BIND,
    OLD_BIND_ACK,
    C,
    Golden,
    S,
    golden_conversation,
    golden_streams,
)
from .rpc_pairs import Pair, kinds, result_of


def test_golden_frames() -> None:
    # Long frames contain nothing that the short ones do not.
    sent = [(party, octets) for party, octets in golden_conversation() if len(octets) < 300]
    assert sent == [(party, bytes.fromhex(octets)) for party, _, octets in GOLDEN]
    assert [kind for _, kind, _ in GOLDEN] == kinds(octets for _, octets in sent)


def test_golden_frames_are_of_every_kind() -> None:
    assert {kind for _, kind, _ in (*GOLDEN, *GOLDEN_STREAMS)} == set(Kind)


def test_golden_frames_of_streams() -> None:
    sent = golden_streams()
    assert sent == [(party, bytes.fromhex(octets)) for party, _, octets in GOLDEN_STREAMS]
    assert [kind for _, kind, _ in GOLDEN_STREAMS] == kinds(octets for _, octets in sent)


def test_golden_frames_are_encoded_the_same_again() -> None:
    for _, octets in (*golden_conversation(), *golden_streams()):
        frame = decode(octets)
        again = encode(
            frame.kind,
            frame.call,
            bytes(frame.body),
            flags=frame.flags,
            number=frame.number,
            amount=frame.amount,
        )
        assert again == octets


def golden_pair() -> Pair:
    return Pair(
        Golden,
        client=Limits(credit=2**20),
        server=Limits(max_frame=2**20, credit=2**18, calls=3),
        bind=False,
    )


def test_a_client_that_knows_no_metadata_is_answered_as_before() -> None:
    pair = golden_pair()
    pair.server.receive(bytes.fromhex(OLD_BIND))
    assert pair.server.take_output() == [bytes.fromhex(OLD_BIND_ACK)]
    pair.server.receive(encode(Kind.REQUEST, 1, b"\x92\x02\x03"))
    served = pair.server.calls[1]
    answer_metadata_of(served)["cached"] = True
    served.finish(b"\x05", None)
    assert pair.server.take_output() == [encode(Kind.RESPONSE, 1, b"\x05")]


def test_a_server_that_knows_no_metadata_gets_none() -> None:
    pair = golden_pair()
    pair.client.bind(Golden._rpc_definition)
    pair.client.take_output()
    pair.client.receive(bytes.fromhex(OLD_BIND_ACK))
    call = pair.request("add", 2, 3, metadata={"trace": b"\x01"})
    assert pair.client.take_output() == [encode(Kind.REQUEST, 1, b"\x92\x02\x03")]
    pair.client.receive(encode(Kind.RESPONSE, 1, b"\x05"))
    assert result_of(call) == 5
    assert call.answer_metadata == {}


def test_what_the_golden_metadata_is() -> None:
    came = [decode(octets) for _, octets in golden_conversation() if octets[0] == Kind.METADATA]
    assert [frame.call for frame in came] == [1, 1]
    assert [party for party, octets in golden_conversation() if octets[0] == Kind.METADATA] == [
        C,
        S,
    ]
