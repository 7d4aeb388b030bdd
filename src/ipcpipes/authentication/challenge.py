r"""The handshake itself, sans-I/O: what each end sends, and what it believes.

The wire format, version 1. There are three messages, each of a fixed size. An end sends nothing
else before the last one has gone out, or come in. ``+`` joins bytes::

    client -> server   client_hello                    40 bytes
    server -> client   server_hello + server_proof     72 bytes
    client -> server   client_proof                    32 bytes

    client_hello = "IPAC1" CR LF NUL + 32 random bytes
    server_hello = "IPAS1" CR LF NUL + 32 random bytes

    key          = HMAC-SHA-256("ipcpipes authkey", authkey)
    server_proof = HMAC-SHA-256(key, "IPAS1" CR LF NUL + client_hello + server_hello)
    client_proof = HMAC-SHA-256(key, "IPAC1" CR LF NUL + client_hello + server_hello)

``HMAC-SHA-256(key, message)`` is that of RFC 2104 and FIPS 180-4, all 32 bytes of it; text is
ASCII. The random bytes are drawn anew for each connection. Over a stream the messages stand one
after the other with nothing between them, and the application's bytes follow at once. A channel
over a stream is authenticated over that stream, below its framing, because a framing may not be
able to carry arbitrary bytes. Where the system keeps messages apart (native messages), each of the
three is one message.

If a client sends something else, or nothing in time, the server tells it that it requires a key,
and closes the connection. To a client that began with its hello, it sends nothing::

    server -> client   "IPAR1" CR LF, a line of text, CR LF

Why it is like that:

- Three passes are what mutual authentication takes (the mechanism of ISO/IEC 9798-4 with random
  numbers), and there is no fourth one that says "accepted". A client that has another key learns
  that from the server's proof, before it has sent its own; one that has the same key is always
  accepted, or somebody has changed its message on the way, who could forge the answer as well.
  What remains, a server that dies or gives up in that moment, looks like one that does so a moment
  later, and the client has to expect that anyway. TLS 1.3 ends in the same way.
- The server proves itself first. Whoever poses as the server gets random bytes out of a client,
  and nothing to try keys on. Whoever connects does get a proof of the server's, and can try keys
  on it at home: that is why short ones are refused, and why a password will not do.
- The two proofs differ in how they begin, so that an end's own proof, sent back to it, proves
  nothing, whatever the random bytes are. Each covers both sides' random bytes, so that
  none that was recorded is worth anything later; and all else that was sent before it, so that
  nobody can talk two ends into an older version, once there are two.
- The key is HKDF-Extract (RFC 5869) of the authkey. HMAC itself takes some keys for equal: those
  that differ only in zero bytes at their end, and a long one and its hash.
- The greetings are told apart from anything else, and from each other, by their first bytes, so
  that a peer that speaks something else, or has taken the same side, is refused at its first wrong
  byte. Most others refuse the greeting as early: CR LF ends a line for those that speak lines, and
  as the length of a message it is a gigabyte.

It says who is there when it ends, and protects nothing of what is sent afterwards. Whoever sits
between the two ends can pass the handshake on, and then take over. On one machine that takes
somebody who listens in the server's place, which is what private directories and access policies
are for; over a network, run it inside of TLS. And it says of the peer only that it is one of those
who have the key: peers that must be told apart need a key each.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Generator
from typing import Literal, NamedTuple

from ..errors import AuthenticationFailed, FramingError, IncompleteMessage, MessageTooLarge
from ..options import Direction

Side = Literal["client", "server"]

DEFAULT_SECONDS = 10.0
"""How long the whole handshake may take."""

REFUSED = b"IPAR1\r\n"
"""The first bytes of the answer to a client that has not begun to authenticate."""

REFUSAL = REFUSED + b"This server asks for an authkey; connect with the same one.\r\n"


_SMALLEST_KEY = 16
_SALT = b"ipcpipes authkey"
# Who is who, the version, and the end of a line; each begins a greeting and what a proof is of.
_CLIENT = b"IPAC1\r\n\0"
_SERVER = b"IPAS1\r\n\0"
_NONCE_SIZE = 32
_HELLO_SIZE = len(_CLIENT) + _NONCE_SIZE
_PROOF_SIZE = 32
# The first bytes of a client's greeting, as the length of a message.
_GREETINGS_AS_LENGTHS = {
    int.from_bytes(_CLIENT[:width], order) for width in (4, 8) for order in ("little", "big")
}
_NO_KEY_HERE = (
    "its length is the first bytes of a client with authkey=, and this server has no key; serve "
    "with the same authkey="
)


def keyed(authkey: bytes | bytearray | memoryview) -> hmac.HMAC:
    """The key that proofs are made with, as something that does not show it.

    Raises:
        TypeError: ``authkey`` is no bytes-like object.
        ValueError: it is shorter than 16 bytes.
    """
    try:
        secret = bytes(memoryview(authkey))
    except TypeError:
        raise TypeError(f"authkey must be bytes, not {type(authkey).__name__}") from None
    if len(secret) < _SMALLEST_KEY:
        raise ValueError(
            f"authkey must have {_SMALLEST_KEY} or more bytes, not {len(secret)}; make it with "
            "secrets.token_bytes(32)"
        )
    return hmac.new(hmac.digest(_SALT, secret, "sha256"), digestmod="sha256")


def check_both_ways(authkey: object, direction: Direction) -> None:
    """Checks that an ``authkey`` is given only for a connection in both directions.

    Raises:
        ValueError: the direction is another one.
    """
    if authkey is not None and direction != "duplex":
        raise ValueError("authkey needs direction='duplex', because both ends send a proof")


def unless_refused(data: bytes) -> AuthenticationFailed | None:
    """If ``data``, the first bytes from the server, refuses a client without a key: the error."""
    if not data.startswith(REFUSED):
        return None
    return AuthenticationFailed(
        "the server requires an authkey, and this client gave none; connect with the server's "
        "authkey="
    )


def explain(error: FramingError) -> FramingError:
    """The same error; if it is about a greeting that was taken for the length of a message, one
    that says so.
    """
    if isinstance(error, MessageTooLarge) and error.size in _GREETINGS_AS_LENGTHS:
        return MessageTooLarge(error.size, error.max_size, f"{_NO_KEY_HERE}; {error.reason}")
    return error


class _Step(NamedTuple):
    """What is sent now, and what has to come then: ``size`` bytes that begin with ``begins``."""

    send: bytes
    size: int = 0
    begins: bytes = b""


class Handshake:
    """One end of one handshake. Whoever drives it has the connection and the clock.

    It sends :attr:`outgoing`; as long as something is :attr:`missing`, it hands over what has come
    and sends :attr:`outgoing` again. The peer is authenticated when that has been sent and nothing
    is missing any more.

    Invariant: any bytes in any parts are taken or raise :exc:`ipcpipes.AuthenticationFailed`, and
    nothing else. After that, it is not used again.

    Args:
        side: which end this is.
        key: what :func:`keyed` gives; for any number of handshakes.
        where: for the text of errors: the endpoint, ``None`` where there is none.

    Attributes:
        outgoing: one message that is to be sent now, ``b""`` for none.
    """

    def __init__(self, side: Side, key: hmac.HMAC, where: object = None) -> None:
        self._peers_side = "server" if side == "client" else "client"
        self._peer = f"the {self._peers_side}" + ("" if where is None else f" of {where}")
        self._own_greeting = _CLIENT if side == "client" else _SERVER
        self._key = key
        self._received = b""
        self._may_refuse = side == "server"
        self._steps = self._as_client() if side == "client" else self._as_server()
        self._step = next(self._steps)
        self.outgoing = self._step.send

    def _as_client(self) -> Generator[_Step, bytes, None]:
        hello = _CLIENT + secrets.token_bytes(_NONCE_SIZE)
        answer = yield _Step(hello, _HELLO_SIZE + _PROOF_SIZE, _SERVER)
        hellos = hello + answer[:_HELLO_SIZE]
        self._check(answer[_HELLO_SIZE:], _SERVER + hellos)
        yield _Step(self._proof(_CLIENT + hellos))

    def _as_server(self) -> Generator[_Step, bytes, None]:
        client_hello = yield _Step(b"", _HELLO_SIZE, _CLIENT)
        hello = _SERVER + secrets.token_bytes(_NONCE_SIZE)
        hellos = client_hello + hello
        proof = yield _Step(hello + self._proof(_SERVER + hellos), _PROOF_SIZE)
        self._check(proof, _CLIENT + hellos)
        yield _Step(b"")

    def _proof(self, what: bytes) -> bytes:
        proof = self._key.copy()
        proof.update(what)
        return proof.digest()

    def _check(self, proof: bytes, what: bytes) -> None:
        if not hmac.compare_digest(proof, self._proof(what)):
            raise self._failed("its proof is wrong; give both ends the same authkey")

    @property
    def missing(self) -> int:
        """How many bytes of the peer's next message have not come yet; 0 when there is none."""
        return self._step.size - len(self._received)

    def receive(self, data: bytes | bytearray) -> None:
        """Takes what came next from a stream.

        Args:
            data: up to :attr:`missing` bytes; none at the end of the stream.

        Raises:
            AuthenticationFailed: the peer has not proved itself, and never will.
        """
        if not data:
            raise self.ended()
        self._received += data
        begun = self._received[: len(self._step.begins)]
        if not self._step.begins.startswith(begun) or self.missing < 0:
            raise self._no_part(self._received)
        self._may_refuse = False
        self.outgoing = b""
        if not self.missing:
            message, self._received = self._received, b""
            self._step = self._steps.send(message)
            self.outgoing = self._step.send

    @property
    def refusal(self) -> bytes:
        """What to send to a peer that has failed, before its connection is closed: to a client that
        has not begun the handshake, the line that says that a key is required; otherwise nothing.
        """
        return REFUSAL if self._may_refuse else b""

    def receive_message(self, message: bytes) -> None:
        """Takes the next message of a channel; all as :meth:`receive`."""
        if len(message) != self._step.size:
            raise self._no_part(message)
        self.receive(message)

    def ended(self, error: Exception | None = None) -> AuthenticationFailed:
        """The error for a connection that has ended, or broken with this one."""
        cause = None if error is None else error.__cause__
        if isinstance(cause, FramingError) and not isinstance(cause, IncompleteMessage):
            return self._failed(
                f"what it sent is no message here ({cause}); both ends have to authenticate over "
                "streams, or both over channels of one framing"
            )
        return self._failed(
            f"it ended the connection when {self._so_far()}, as one does that has another authkey, "
            "or asks for none"
        )

    def late(self, seconds: float) -> AuthenticationFailed:
        """The error for a peer that has let so many seconds pass."""
        # A listener with authkey= runs handshakes only while a task or thread is in accept().
        meanwhile = "" if self._peers_side == "client" else ", and to accept clients meanwhile"
        return self._failed(
            f"after {seconds:g} s, {self._so_far()}; it has to authenticate as the "
            f"{self._peers_side}{meanwhile}"
        )

    def _so_far(self) -> str:
        if not self._step.size:
            return "its answer had come, and this end's proof had not gone out"
        return f"{len(self._received)} of {self._step.size} bytes of its message had come"

    def _no_part(self, data: bytes) -> AuthenticationFailed:
        if data.startswith(self._own_greeting):
            return self._failed(
                "it authenticates as this end does; one has to be the client, the other the server"
            )
        if data.startswith(REFUSED):
            return self._failed("it waited for this end's greeting, and then closed the connection")
        # Not the bytes themselves: servers log this, and what came may be a password.
        return self._failed(
            f"it sent {len(data)} bytes that do not belong to this handshake; it has to "
            f"authenticate as the {self._peers_side}"
        )

    def _failed(self, why: str) -> AuthenticationFailed:
        return AuthenticationFailed(f"{self._peer} is not authenticated: {why}")
