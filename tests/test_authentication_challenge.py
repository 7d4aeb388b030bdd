"""The handshake itself, without a connection: its bytes, and that it believes nothing else."""

from __future__ import annotations

import hashlib
import hmac
import pickle
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ipcpipes import AuthenticationFailed
from ipcpipes.authentication.challenge import Side, keyed

from .authenticating import KEY, OTHER_KEY, SIDES, each_side, handshake, messages
from .test_framing_properties import CUTS, PROFILE

# What a client sends with a nonce of 00 01 .. 1f and a server with one of 80 81 .. 9f, when the
# key is 40 41 .. 5f. These bytes never change.
GOLDEN_KEY = bytes(range(0x40, 0x60))
GOLDEN_NONCES = {"client": bytes(range(32)), "server": bytes(range(0x80, 0xA0))}
GOLDEN_CLIENT_HELLO = bytes.fromhex(
    "4950414331 0d0a00 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)
GOLDEN_SERVER_HELLO = bytes.fromhex(
    "4950415331 0d0a00 808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"
)
GOLDEN_SERVER_PROOF = bytes.fromhex(
    "f519f40752982eec971b8e6c81683dd2af0cd80f06e1c592369c8512dcd99ef9"
)
GOLDEN_CLIENT_PROOF = bytes.fromhex(
    "0a93a522ac01d98b4c5fc255cdc3bf6c3d256d83d7206524ead71263d361a278"
)


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """RFC 2104, for keys of up to 64 bytes."""
    padded = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in padded) + inner).digest()


def golden(side: Side, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("secrets.token_bytes", lambda size: GOLDEN_NONCES[side][:size])
    return handshake(side, GOLDEN_KEY)


def test_the_golden_bytes_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    client = golden("client", monkeypatch)
    assert (client.outgoing, client.missing) == (GOLDEN_CLIENT_HELLO, 72)
    client.receive(GOLDEN_SERVER_HELLO + GOLDEN_SERVER_PROOF)
    assert (client.outgoing, client.missing) == (GOLDEN_CLIENT_PROOF, 0)


def test_the_golden_bytes_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    server = golden("server", monkeypatch)
    assert (server.outgoing, server.missing) == (b"", 40)
    server.receive(GOLDEN_CLIENT_HELLO)
    assert (server.outgoing, server.missing) == (GOLDEN_SERVER_HELLO + GOLDEN_SERVER_PROOF, 32)
    server.receive(GOLDEN_CLIENT_PROOF)
    assert (server.outgoing, server.missing) == (b"", 0)


def test_the_golden_bytes_are_what_the_document_says() -> None:
    key = hmac_sha256(b"ipcpipes authkey", GOLDEN_KEY)
    hellos = GOLDEN_CLIENT_HELLO + GOLDEN_SERVER_HELLO
    assert b"IPAC1\r\n\0" + GOLDEN_NONCES["client"] == GOLDEN_CLIENT_HELLO
    assert b"IPAS1\r\n\0" + GOLDEN_NONCES["server"] == GOLDEN_SERVER_HELLO
    assert hmac_sha256(key, b"IPAS1\r\n\0" + hellos) == GOLDEN_SERVER_PROOF
    assert hmac_sha256(key, b"IPAC1\r\n\0" + hellos) == GOLDEN_CLIENT_PROOF


def test_every_handshake_has_bytes_of_its_own() -> None:
    several = [messages() for _ in range(20)]
    for kind in zip(*several, strict=True):
        assert len(set(kind)) == 20


@pytest.mark.parametrize("key", [KEY, bytes(16), bytes(1000), bytearray(KEY), memoryview(KEY)])
def test_any_bytes_of_16_or_more_are_a_key(key: Any) -> None:
    messages(key)


# HMAC itself takes each of these for the first one's equal.
ALIKE = [b"k" * 16, b"k" * 16 + b"\0", b"k" * 16 + bytes(48)]
LONG = b"k" * 65


@pytest.mark.parametrize(
    ("one", "another"),
    [(ALIKE[0], ALIKE[1]), (ALIKE[0], ALIKE[2]), (LONG, hashlib.sha256(LONG).digest())],
    ids=["one zero more", "up to a block", "a long one and its hash"],
)
def test_keys_that_hmac_takes_for_equal_are_not(one: bytes, another: bytes) -> None:
    assert hmac.digest(one, b"", "sha256") == hmac.digest(another, b"", "sha256")
    with pytest.raises(AuthenticationFailed):
        talk(one, another)


def talk(client_key: bytes, server_key: bytes) -> None:
    client, server = handshake("client", client_key), handshake("server", server_key)
    server.receive(client.outgoing)
    client.receive(server.outgoing)
    server.receive(client.outgoing)


@pytest.mark.parametrize("key", ["a str of 16 or more", None, 16, [1] * 16], ids=repr)
def test_what_is_no_key(key: Any) -> None:
    with pytest.raises(TypeError, match=f"authkey must be bytes, not {type(key).__name__}"):
        keyed(key)


@pytest.mark.parametrize("size", [0, 1, 15])
def test_a_short_key_is_refused_with_the_way_to_a_good_one(size: int) -> None:
    with pytest.raises(ValueError, match=rf"16 or more .* not {size}; .* secrets.token_bytes\(32"):
        keyed(b"x" * size)


def test_another_key_is_noticed_by_the_client_which_then_has_proved_nothing() -> None:
    client, server = handshake("client"), handshake("server", OTHER_KEY)
    server.receive(client.outgoing)
    with pytest.raises(AuthenticationFailed, match=r"the server is not .* same authkey"):
        client.receive(server.outgoing)
    assert client.outgoing == b""


def test_another_key_is_noticed_by_the_server_also_when_the_client_does_not_care() -> None:
    client, server = handshake("client", OTHER_KEY), handshake("server")
    server.receive(client.outgoing)
    # What a client sends that has the other key, and lets the server's proof pass.
    hellos = client.outgoing + server.outgoing[:40]
    wrong = hmac_sha256(hmac_sha256(b"ipcpipes authkey", OTHER_KEY), b"IPAC1\r\n\0" + hellos)
    with pytest.raises(AuthenticationFailed, match=r"the client is not .* same authkey"):
        server.receive(wrong)


def deliver(side: Side, number: int, alter: Any) -> Any:
    """An end on that side that got ``alter(message)`` as the peer's message of that number."""
    ends = {name: handshake(name) for name in SIDES}
    mine = ends.pop(side)
    (peer,) = ends.values()
    if side == "server":
        mine.receive(peer.outgoing if number else alter(peer.outgoing))
    peer.receive(mine.outgoing)
    if side == "client" or number:
        mine.receive(alter(peer.outgoing))
    return mine


MESSAGES = [("server", 0, 40), ("client", 0, 72), ("server", 1, 32)]
each_message = pytest.mark.parametrize(("side", "number", "size"), MESSAGES)


@each_message
def test_each_message_as_it_is_passes(side: Side, number: int, size: int) -> None:
    def look(message: bytes) -> bytes:
        assert len(message) == size
        return message

    deliver(side, number, look)


@each_message
def test_any_flipped_bit_is_refused(side: Side, number: int, size: int) -> None:
    for bit in range(8 * size):

        def flip(message: bytes, bit: int = bit) -> bytes:
            changed = bytearray(message)
            changed[bit // 8] ^= 1 << bit % 8
            return bytes(changed)

        if (side, number) == ("server", 0) and bit >= 64:
            # Random bytes are as good as others; but the proofs are not for these.
            client, server = handshake("client"), handshake("server")
            server.receive(flip(client.outgoing))
            with pytest.raises(AuthenticationFailed, match="proof is wrong"):
                client.receive(server.outgoing)
        else:
            with pytest.raises(AuthenticationFailed):
                deliver(side, number, flip)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 31, 32, 39, 40, 41, 71, 72])
def test_in_parts_of_any_size_it_is_the_same(size: int) -> None:
    client, server = handshake("client"), handshake("server")
    for end, peer in ((server, client), (client, server), (server, client)):
        message = peer.outgoing
        for start in range(0, len(message), size):
            assert end.missing == len(message) - start
            end.receive(message[start : start + size])
    assert (client.missing, server.missing, server.outgoing) == (0, 0, b"")


@each_side
def test_the_first_wrong_byte_is_refused(side: Side) -> None:
    greeting = b"IPAC1\r\n\0" if side == "server" else b"IPAS1\r\n\0"
    for good in range(8):
        end = handshake(side)
        for position in range(good):
            end.receive(greeting[position : position + 1])
        wrong = bytes([greeting[good] ^ 0x20])
        with pytest.raises(AuthenticationFailed, match="do not belong to this handshake"):
            end.receive(wrong)


@each_side
def test_the_same_side_is_named(side: Side) -> None:
    own = b"IPAC1\r\n\0" if side == "client" else b"IPAS1\r\n\0"
    with pytest.raises(AuthenticationFailed, match="authenticates as this end does"):
        handshake(side).receive(own + bytes(20))


def test_a_client_that_gets_its_own_bytes_back_refuses_them() -> None:
    client = handshake("client")
    hello = client.outgoing
    with pytest.raises(AuthenticationFailed, match="as this end does"):
        client.receive(hello)


def test_a_client_that_gets_its_own_random_bytes_back_wants_a_proof_for_them() -> None:
    _, answer, proof = messages()
    for wrong in (answer[40:], proof, bytes(32)):
        client = handshake("client")
        nonce = client.outgoing[8:]
        with pytest.raises(AuthenticationFailed, match="proof is wrong"):
            client.receive(b"IPAS1\r\n\0" + nonce + wrong)


def test_a_server_that_gets_its_own_proof_back_refuses_it() -> None:
    server = handshake("server")
    server.receive(messages()[0])
    with pytest.raises(AuthenticationFailed, match="proof is wrong"):
        server.receive(server.outgoing[40:])


def test_a_proof_got_from_one_connection_is_worth_nothing_in_another() -> None:
    # Who wants to be let in has the same server prove itself to the nonce that it was given.
    first, second = handshake("server"), handshake("server")
    first.receive(messages()[0])
    second.receive(b"IPAC1\r\n\0" + first.outgoing[8:40])
    with pytest.raises(AuthenticationFailed, match="proof is wrong"):
        first.receive(second.outgoing[40:])


def test_what_was_recorded_of_a_client_is_refused_by_the_server() -> None:
    hello, _, proof = messages()
    server = handshake("server")
    server.receive(hello)
    with pytest.raises(AuthenticationFailed, match="proof is wrong"):
        server.receive(proof)


def test_what_was_recorded_of_a_server_is_refused_by_the_client() -> None:
    with pytest.raises(AuthenticationFailed, match="proof is wrong"):
        handshake("client").receive(messages()[1])


@pytest.mark.parametrize("size", [0, 1, 39, 41, 72, 10_000])
def test_a_message_of_another_size_is_no_part_of_it(size: int) -> None:
    server = handshake("server")
    with pytest.raises(AuthenticationFailed, match=f"{size} bytes that do not belong to this"):
        server.receive_message((messages()[0] + bytes(10_000))[:size])


@each_side
def test_the_end_is_told_with_how_much_had_come(side: Side) -> None:
    end = handshake(side)
    size = end.missing
    with pytest.raises(AuthenticationFailed, match=f"when 0 of {size} bytes"):
        end.receive(b"")
    end = handshake(side)
    end.receive(b"IPA")
    with pytest.raises(AuthenticationFailed, match=f"when 3 of {size} bytes"):
        end.receive(b"")
    assert f"after 1.5 s, 3 of {size} bytes" in str(end.late(1.5))


def test_a_client_whose_proof_does_not_go_out_says_so() -> None:
    client, server = handshake("client"), handshake("server")
    server.receive(client.outgoing)
    client.receive(server.outgoing)
    assert "when its answer had come, and this end's proof had not gone out" in str(client.ended())
    assert "after 2 s, its answer had come, and this end's proof had not" in str(client.late(2))


def test_proofs_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bool] = []

    def compare(one: bytes, another: bytes) -> bool:
        assert (type(one), len(one), type(another), len(another)) == (bytes, 32, bytes, 32)
        compared.append(compare_digest(one, another))
        return compared[-1]

    compare_digest = hmac.compare_digest
    monkeypatch.setattr("hmac.compare_digest", compare)
    messages()
    assert compared == [True, True]
    with pytest.raises(AuthenticationFailed):
        talk(KEY, OTHER_KEY)
    assert compared == [True, True, False]


def test_where_it_happened_is_in_the_text() -> None:
    error = handshake("client", where="named endpoint 'svc'").ended()
    assert str(error).startswith("the server of named endpoint 'svc' is not authenticated: ")
    assert isinstance(error, PermissionError)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.errno) == (type(error), str(error), error.errno)


# Whole messages, what they are made of, and anything else.
PIECES = st.one_of(
    st.sampled_from([b"IPAC1\r\n\0", b"IPAS1\r\n\0", *messages(), *messages(OTHER_KEY)]),
    st.binary(max_size=100),
)


@PROFILE
@given(st.sampled_from(SIDES), st.lists(PIECES, max_size=5).map(b"".join), CUTS)
def test_any_bytes_in_any_parts_are_refused_and_raise_nothing_else(
    side: Side, data: bytes, cuts: list[int]
) -> None:
    end = handshake(side)
    position = 0
    try:
        for size in cuts * (1 + len(data)):
            assert end.missing
            size = min(size, end.missing)
            end.receive(data[position : position + size])
            position += size
    except AuthenticationFailed as error:
        assert "\n" not in str(error)
    else:
        pytest.fail("it was accepted, or has not come to an end")


@PROFILE
@given(st.sampled_from(SIDES), st.lists(PIECES, min_size=2, max_size=3))
def test_any_messages_are_refused_and_raise_nothing_else(side: Side, several: list[bytes]) -> None:
    end = handshake(side)
    with pytest.raises(AuthenticationFailed):
        for message in several:
            end.receive_message(message)


@each_side
def test_more_than_was_asked_for_is_refused(side: Side) -> None:
    end = handshake(side)
    hello, answer, _ = messages()
    with pytest.raises(AuthenticationFailed):
        end.receive((hello if side == "server" else answer) + b"x")
