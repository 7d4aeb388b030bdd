"""The handshake of a shared secret, with a peer that does not have the secret.

Invariant: any bytes, in parts of any size, raise AuthenticationFailed or are incomplete; they never
authenticate the peer.
"""

from __future__ import annotations

from collections.abc import Iterable

from ipcpipes import AuthenticationFailed
from ipcpipes.authentication.challenge import Handshake, Side, derive_key

_KEY, _OTHER = derive_key(b"the key of the fuzzers"), derive_key(b"some other key of theirs")
_SIDES: tuple[Side, Side] = ("client", "server")


def handshake(data: bytes) -> None:
    """The first byte chooses the side, the second one the size of the parts."""
    side, size, octets = _SIDES[data[:1] > b"\x7f"], data[1:2], data[2:]
    end = Handshake(side, _KEY)
    part = max(1, size[0] if size else 1)
    try:
        while octets:
            taken = octets[: min(part, end.missing)]
            octets = octets[len(taken) :]
            end.receive(taken)
            assert end.missing, "a peer without the secret was authenticated"
    except AuthenticationFailed:
        pass


def seeds() -> Iterable[bytes]:
    """Yields what an end with another key sends, up to where it is refused."""
    client, server = Handshake("client", _OTHER), Handshake("server", _OTHER)
    hello = client.outgoing
    server.receive(hello)
    answer = server.outgoing
    yield b"\xff\x28" + hello
    yield b"\xff\x01" + hello + bytes(32)
    yield b"\x00\x48" + answer
    yield b"\x00\x07" + answer[:50]
