"""The bytes on the wire never change."""

from __future__ import annotations

from ipcpipes.rpc.wire.format import Kind, decode, encode

from .rpc_golden import GOLDEN, GOLDEN_STREAMS, golden_conversation, golden_streams
from .rpc_pairs import kinds


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
