"""The handshake without a connection: its bytes, and that it accepts no others."""

from __future__ import annotations

import hashlib
import hmac
import pickle
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ipcpipes import AuthenticationFailed
from ipcpipes.authentication.challenge import Side, derive_key

from .authenticating import KEY, OTHER_KEY, SIDES, each_side, handshake, messages
from .test_framing_properties import CUTS, PROFILE

# The messages of a client with the nonce 00 01 .. 1f and a server with 80 81 .. 9f, when the
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


def test_golden_bytes_of_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    client = golden("client", monkeypatch)
    assert (client.outgoing, client.missing) == (GOLDEN_CLIENT_HELLO, 72)
    client.receive(GOLDEN_SERVER_HELLO + GOLDEN_SERVER_PROOF)
    assert (client.outgoing, client.missing) == (GOLDEN_CLIENT_PROOF, 0)


def test_golden_bytes_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    server = golden("server", monkeypatch)
    assert (server.outgoing, server.missing) == (b"", 40)
    server.receive(GOLDEN_CLIENT_HELLO)
    assert (server.outgoing, server.missing) == (GOLDEN_SERVER_HELLO + GOLDEN_SERVER_PROOF, 32)
    server.receive(GOLDEN_CLIENT_PROOF)
    assert (server.outgoing, server.missing) == (b"", 0)


def test_golden_bytes_match_the_documented_formulas() -> None:
    key = hmac_sha256(b"ipcpipes authkey", GOLDEN_KEY)
    hellos = GOLDEN_CLIENT_HELLO + GOLDEN_SERVER_HELLO
    assert b"IPAC1\r\n\0" + GOLDEN_NONCES["client"] == GOLDEN_CLIENT_HELLO
    assert b"IPAS1\r\n\0" + GOLDEN_NONCES["server"] == GOLDEN_SERVER_HELLO
    assert hmac_sha256(key, b"IPAS1\r\n\0" + hellos) == GOLDEN_SERVER_PROOF
    assert hmac_sha256(key, b"IPAC1\r\n\0" + hellos) == GOLDEN_CLIENT_PROOF


def test_each_handshake_has_new_random_bytes() -> None:
    several = [messages() for _ in range(20)]
    for kind in zip(*several, strict=True):
        assert len(set(kind)) == 20


@pytest.mark.parametrize("key", [KEY, bytes(16), bytes(1000), bytearray(KEY), memoryview(KEY)])
def test_16_or_more_bytes_are_a_key(key: Any) -> None:
    messages(key)


# HMAC itself treats each of these as equal to the first one.
ALIKE = [b"k" * 16, b"k" * 16 + b"\0", b"k" * 16 + bytes(48)]
LONG = b"k" * 65


@pytest.mark.parametrize(
    ("one", "another"),
    [(ALIKE[0], ALIKE[1]), (ALIKE[0], ALIKE[2]), (LONG, hashlib.sha256(LONG).digest())],
    ids=["one zero more", "up to a block", "a long one and its hash"],
)
def test_keys_that_hmac_equates_are_different(one: bytes, another: bytes) -> None:
    assert hmac.digest(one, b"", "sha256") == hmac.digest(another, b"", "sha256")
    with pytest.raises(AuthenticationFailed):
        talk(one, another)


def talk(client_key: bytes, server_key: bytes) -> None:
    client, server = handshake("client", client_key), handshake("server", server_key)
    server.receive(client.outgoing)
    client.receive(server.outgoing)
    server.receive(client.outgoing)


@pytest.mark.parametrize("key", ["a str of 16 or more", None, 16, [1] * 16], ids=repr)
def test_other_types_are_not_a_key(key: Any) -> None:
    with pytest.raises(TypeError, match=f"authkey must be bytes, not {type(key).__name__}"):
        derive_key(key)


@pytest.mark.parametrize("size", [0, 1, 15])
def test_short_key_is_refused_with_advice(size: int) -> None:
    with pytest.raises(ValueError, match=rf"16 or more .* not {size}; .* secrets.token_bytes\(32"):
        derive_key(b"x" * size)


def test_client_notices_another_key_before_its_proof() -> None:
    client, server = handshake("client"), handshake("server", OTHER_KEY)
    server.receive(client.outgoing)
    with pytest.raises(AuthenticationFailed, match=r"the server is not .* same authkey"):
        client.receive(server.outgoing)
    assert client.outgoing == b""


def test_server_notices_another_key() -> None:
    client, server = handshake("client", OTHER_KEY), handshake("server")
    server.receive(client.outgoing)
    # The proof of a client that has the other key, and accepts the server's proof.
    hellos = client.outgoing + server.outgoing[:40]
    wrong = hmac_sha256(hmac_sha256(b"ipcpipes authkey", OTHER_KEY), b"IPAC1\r\n\0" + hellos)
    with pytest.raises(AuthenticationFailed, match=r"the client is not .* same authkey"):
        server.receive(wrong)


def deliver(side: Side, number: int, alter: Any) -> Any:
    """An end on that side that received ``alter(message)`` as the peer's message of that number."""
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
def test_unchanged_messages_are_accepted(side: Side, number: int, size: int) -> None:
    def look(message: bytes) -> bytes:
        assert len(message) == size
        return message

    deliver(side, number, look)


@each_message
def test_each_flipped_bit_is_refused(side: Side, number: int, size: int) -> None:
    for bit in range(8 * size):

        def flip(message: bytes, bit: int = bit) -> bytes:
            changed = bytearray(message)
            changed[bit // 8] ^= 1 << bit % 8
            return bytes(changed)

        if (side, number) == ("server", 0) and bit >= 64:
            # Other random bytes are valid; but the proofs do not cover them.
            client, server = handshake("client"), handshake("server")
            server.receive(flip(client.outgoing))
            with pytest.raises(AuthenticationFailed, match="proof is wrong"):
                client.receive(server.outgoing)
        else:
            with pytest.raises(AuthenticationFailed):
                deliver(side, number, flip)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 31, 32, 39, 40, 41, 71, 72])
def test_messages_may_arrive_in_parts_of_any_size(size: int) -> None:
    client, server = handshake("client"), handshake("server")
    for end, peer in ((server, client), (client, server), (server, client)):
        message = peer.outgoing
        for start in range(0, len(message), size):
            assert end.missing == len(message) - start
            end.receive(message[start : start + size])
    assert (client.missing, server.missing, server.outgoing) == (0, 0, b"")


@each_side
def test_first_wrong_byte_is_refused(side: Side) -> None:
    greeting = b"IPAC1\r\n\0" if side == "server" else b"IPAS1\r\n\0"
    for good in range(8):
        end = handshake(side)
        for position in range(good):
            end.receive(greeting[position : position + 1])
        wrong = bytes([greeting[good] ^ 0x20])
        with pytest.raises(AuthenticationFailed, match="do not belong to this handshake"):
            end.receive(wrong)


@each_side
def test_peer_on_the_same_side_is_named(side: Side) -> None:
    own = b"IPAC1\r\n\0" if side == "client" else b"IPAS1\r\n\0"
    with pytest.raises(AuthenticationFailed, match="has the same side as this end"):
        handshake(side).receive(own + bytes(20))


def test_client_refuses_its_own_hello() -> None:
    client = handshake("client")
    hello = client.outgoing
    with pytest.raises(AuthenticationFailed, match="as this end"):
        client.receive(hello)


def test_client_requires_a_proof_for_its_own_nonce() -> None:
    _, answer, proof = messages()
    for wrong in (answer[40:], proof, bytes(32)):
        client = handshake("client")
        nonce = client.outgoing[8:]
        with pytest.raises(AuthenticationFailed, match="proof is wrong"):
            client.receive(b"IPAS1\r\n\0" + nonce + wrong)


def test_server_refuses_its_own_proof() -> None:
    server = handshake("server")
    server.receive(messages()[0])
    with pytest.raises(AuthenticationFailed, match="proof is wrong"):
        server.receive(server.outgoing[40:])


def test_proof_of_another_connection_is_refused() -> None:
    # The attacker makes the same server compute a proof for the nonce that it has received.
    first, second = handshake("server"), handshake("server")
    first.receive(messages()[0])
    second.receive(b"IPAC1\r\n\0" + first.outgoing[8:40])
    with pytest.raises(AuthenticationFailed, match="proof is wrong"):
        first.receive(second.outgoing[40:])


def test_server_refuses_a_recorded_client() -> None:
    hello, _, proof = messages()
    server = handshake("server")
    server.receive(hello)
    with pytest.raises(AuthenticationFailed, match="proof is wrong"):
        server.receive(proof)


def test_client_refuses_a_recorded_server() -> None:
    with pytest.raises(AuthenticationFailed, match="proof is wrong"):
        handshake("client").receive(messages()[1])


@pytest.mark.parametrize("size", [0, 1, 39, 41, 72, 10_000])
def test_message_of_another_size_is_refused(size: int) -> None:
    server = handshake("server")
    with pytest.raises(AuthenticationFailed, match=f"{size} bytes that do not belong to this"):
        server.receive_message((messages()[0] + bytes(10_000))[:size])


@each_side
def test_error_of_an_early_end_says_how_much_arrived(side: Side) -> None:
    end = handshake(side)
    size = end.missing
    with pytest.raises(AuthenticationFailed, match=f"when 0 of {size} bytes"):
        end.receive(b"")
    end = handshake(side)
    end.receive(b"IPA")
    with pytest.raises(AuthenticationFailed, match=f"when 3 of {size} bytes"):
        end.receive(b"")
    assert f"after 1.5 s, 3 of {size} bytes" in str(end.timed_out(1.5))


def test_error_says_that_the_proof_was_not_sent() -> None:
    client, server = handshake("client"), handshake("server")
    server.receive(client.outgoing)
    client.receive(server.outgoing)
    assert "when its answer had arrived, and this end's proof had not been sent" in str(
        client.ended()
    )
    assert "after 2 s, its answer had arrived, and this end's proof had not" in str(
        client.timed_out(2)
    )


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


def test_error_names_the_endpoint() -> None:
    error = handshake("client", where="named endpoint 'svc'").ended()
    assert str(error).startswith("the server of named endpoint 'svc' is not authenticated: ")
    assert isinstance(error, PermissionError)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.errno) == (type(error), str(error), error.errno)


# Whole messages, their parts, and arbitrary bytes.
PIECES = st.one_of(
    st.sampled_from([b"IPAC1\r\n\0", b"IPAS1\r\n\0", *messages(), *messages(OTHER_KEY)]),
    st.binary(max_size=100),
)


@PROFILE
@given(st.sampled_from(SIDES), st.lists(PIECES, max_size=5).map(b"".join), CUTS)
def test_any_bytes_raise_only_authentication_failed(
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
def test_any_messages_raise_only_authentication_failed(side: Side, several: list[bytes]) -> None:
    end = handshake(side)
    with pytest.raises(AuthenticationFailed):
        for message in several:
            end.receive_message(message)


@each_side
def test_more_bytes_than_missing_are_refused(side: Side) -> None:
    end = handshake(side)
    hello, answer, _ = messages()
    with pytest.raises(AuthenticationFailed):
        end.receive((hello if side == "server" else answer) + b"x")
