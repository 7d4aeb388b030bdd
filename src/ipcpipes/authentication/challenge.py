r"""The handshake without I/O: what each end sends, and what it accepts.

The wire format, version 1. There are three messages, each of a fixed size. An end sends nothing
else before the last message was sent or received. ``+`` joins bytes::

    client -> server   client_hello                    40 bytes
    server -> client   server_hello + server_proof     72 bytes
    client -> server   client_proof                    32 bytes

    client_hello = "IPAC1" CR LF NUL + 32 random bytes
    server_hello = "IPAS1" CR LF NUL + 32 random bytes

    key          = HMAC-SHA-256("ipcpipes authkey", authkey)
    server_proof = HMAC-SHA-256(key, "IPAS1" CR LF NUL + client_hello + server_hello)
    client_proof = HMAC-SHA-256(key, "IPAC1" CR LF NUL + client_hello + server_hello)

``HMAC-SHA-256(key, message)`` is that of RFC 2104 and FIPS 180-4, all 32 bytes of it; text is
ASCII. The random bytes are drawn anew for each connection. Over a stream the messages follow each
other with nothing between them, and the application's bytes follow at once. A channel over a stream
is authenticated over that stream, below its framing, because a framing may not be able to carry
arbitrary bytes. Where the system keeps messages apart (native messages), each of the three is one
message.

If a client sends something else, or nothing in time, the server sends the following text, which
says that a key is required, and closes the connection. The server does not send this to a client
that began with its hello::

    server -> client   "IPAR1" CR LF, a line of text, CR LF

The reasons for this design:

- Mutual authentication takes three messages (the mechanism of ISO/IEC 9798-4 with random numbers),
  and there is no fourth one that says "accepted". A client with another key notices that in the
  server's proof, before it has sent its own proof. A client with the same key is always accepted,
  unless an attacker has changed its message on the way; such an attacker could also forge a fourth
  message. One case remains: the server dies or closes at that moment. To the client this looks as
  if the server had closed a moment later, which every client must expect. TLS 1.3 ends in the same
  way.
- The server proves itself first. A program that poses as the server gets random bytes from a
  client, and nothing to test keys on. A program that connects does get a proof from the server, and
  can test keys on it offline: for that reason short keys are refused, and a password is not enough.
- The two proofs begin differently, so that an end's own proof, sent back to it, proves nothing,
  whatever the random bytes are. Each proof covers the random bytes of both sides, so that a
  recorded proof is worthless later. It also covers everything that was sent before it, so that two
  ends cannot be talked into an older version, once there are two versions.
- The key is HKDF-Extract (RFC 5869) of the authkey. HMAC itself treats some different keys as
  equal: those that differ only in zero bytes at their end, and a long key and its hash.
- The first bytes of a hello differ from those of anything else, and from those of the other side's
  hello. A peer that speaks another protocol, or has taken the same side, is refused at its first
  wrong byte. Most other protocols refuse the hello as early: for a line-based protocol, CR LF ends
  the line; a protocol with length prefixes reads the first four bytes as a length of about a
  gigabyte.

The handshake identifies the peer at the moment when it ends, and does not protect what is sent
afterwards. A program between the two ends can forward the handshake, and then take over. On one
machine, such a program would have to listen in the server's place, which private directories and
access policies prevent; over a network, run the handshake inside TLS. The handshake shows only that
the peer is one of those that have the key: peers that must be distinguished need a key each.
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

SEND_SECONDS = 1.0
"""How long the sending of one message of the handshake may wait, even after the deadline: a
connection on which nothing was sent yet has room for these few bytes.
"""

REFUSED = b"IPAR1\r\n"
"""The first bytes of the answer to a client that has not begun to authenticate."""

REFUSAL = REFUSED + b"This server asks for an authkey; connect with the same one.\r\n"

_SMALLEST_KEY = 16
_SALT = b"ipcpipes authkey"
# The side, the version, and the end of a line: the first bytes of a hello, and of what a proof
# covers.
_CLIENT = b"IPAC1\r\n\0"
_SERVER = b"IPAS1\r\n\0"
_NONCE_SIZE = 32
_HELLO_SIZE = len(_CLIENT) + _NONCE_SIZE
_PROOF_SIZE = 32
# The first bytes of a client's hello, if they are read as the length of a message.
_GREETINGS_AS_LENGTHS = {
    int.from_bytes(_CLIENT[:width], order) for width in (4, 8) for order in ("little", "big")
}
_NO_KEY_HERE = (
    "its length is the first bytes of a client with authkey=, and this server has no key; serve "
    "with the same authkey="
)


def derive_key(authkey: bytes | bytearray | memoryview) -> hmac.HMAC:
    """The key for the proofs, as an object whose text does not show the key.

    Raises:
        TypeError: ``authkey`` is not a bytes-like object.
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
        ValueError: there is an ``authkey``, and the direction is not ``"duplex"``.
    """
    if authkey is not None and direction != "duplex":
        raise ValueError("authkey needs direction='duplex', because both ends send a proof")


def refusal_in(data: bytes) -> AuthenticationFailed | None:
    """The error if ``data``, the first bytes from the server, says that it requires a key."""
    if not data.startswith(REFUSED):
        return None
    return AuthenticationFailed(
        "the server requires an authkey, and this client gave none; connect with the server's "
        "authkey="
    )


def explain(error: FramingError) -> FramingError:
    """Returns the error. If a client's hello was read as the length of a message, returns an error
    that says so.
    """
    if isinstance(error, MessageTooLarge) and error.size in _GREETINGS_AS_LENGTHS:
        return MessageTooLarge(error.size, error.max_size, f"{_NO_KEY_HERE}; {error.reason}")
    return error


class _Step(NamedTuple):
    """What to send now, and what to receive next: ``size`` bytes that begin with ``begins``."""

    send: bytes
    size: int = 0
    begins: bytes = b""


class Handshake:
    """One end of one handshake. The caller owns the connection and measures the time.

    The caller sends :attr:`outgoing`. While bytes are :attr:`missing`, it passes received bytes to
    :meth:`receive` and sends :attr:`outgoing` again. The peer is authenticated when
    :attr:`outgoing` was sent and no bytes are missing.

    Invariant: any bytes in any parts are accepted or raise :exc:`ipcpipes.AuthenticationFailed`,
    and nothing else. After that error, it is not used again.

    Args:
        side: which end this is.
        key: the result of :func:`derive_key`, for any number of handshakes.
        where: the endpoint, for the text of errors; or ``None``.

    Attributes:
        outgoing: the message to send now, or ``b""``.
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
        """How many bytes of the peer's next message have not arrived yet; 0 after the last one."""
        return self._step.size - len(self._received)

    def receive(self, data: bytes | bytearray) -> None:
        """Processes the next bytes from a stream.

        Args:
            data: up to :attr:`missing` bytes; empty at the end of the stream.

        Raises:
            AuthenticationFailed: the handshake has failed.
        """
        if not data:
            raise self.ended()
        self._received += data
        begun = self._received[: len(self._step.begins)]
        if not self._step.begins.startswith(begun) or self.missing < 0:
            raise self._unexpected(self._received)
        self._may_refuse = False
        self.outgoing = b""
        if not self.missing:
            message, self._received = self._received, b""
            self._step = self._steps.send(message)
            self.outgoing = self._step.send

    @property
    def refusal(self) -> bytes:
        """What to send to a peer that has failed, before its connection is closed: the line that
        says that a key is required, if a client has not begun the handshake; otherwise nothing.
        """
        return REFUSAL if self._may_refuse else b""

    def receive_message(self, message: bytes) -> None:
        """Processes the next message of a channel, as :meth:`receive` does."""
        if len(message) != self._step.size:
            raise self._unexpected(message)
        self.receive(message)

    def ended(self, error: Exception | None = None) -> AuthenticationFailed:
        """The error for a connection that has ended, or was broken by ``error``."""
        cause = None if error is None else error.__cause__
        if isinstance(cause, FramingError) and not isinstance(cause, IncompleteMessage):
            return self._failed(
                f"what it sent is not a message here ({cause}); both ends have to authenticate "
                "over streams, or both over channels of one framing"
            )
        return self._failed(
            f"it closed the connection when {self._progress()}; it has another authkey, or does "
            "not ask for one"
        )

    def timed_out(self, seconds: float) -> AuthenticationFailed:
        """The error for a handshake that has not ended within ``seconds``."""
        # A listener with authkey= runs handshakes only while a task or thread is in accept().
        meanwhile = "" if self._peers_side == "client" else ", and to accept clients meanwhile"
        return self._failed(
            f"after {seconds:g} s, {self._progress()}; it has to authenticate as the "
            f"{self._peers_side}{meanwhile}"
        )

    def _progress(self) -> str:
        if not self._step.size:
            return "its answer had arrived, and this end's proof had not been sent"
        return f"{len(self._received)} of {self._step.size} bytes of its message had arrived"

    def _unexpected(self, data: bytes) -> AuthenticationFailed:
        if data.startswith(self._own_greeting):
            return self._failed(
                "it has the same side as this end; one has to be the client, the other the server"
            )
        if data.startswith(REFUSED):
            return self._failed("it waited for this end's hello, and then closed the connection")
        # Without the bytes themselves: servers log this, and the bytes may be a password.
        return self._failed(
            f"it sent {len(data)} bytes that do not belong to this handshake; it has to "
            f"authenticate as the {self._peers_side}"
        )

    def _failed(self, why: str) -> AuthenticationFailed:
        return AuthenticationFailed(f"{self._peer} is not authenticated: {why}")
