"""The handshake of :mod:`ipcpipes.authentication` without an event loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from hmac import HMAC
from typing import Any

import trio

from ..._os.common.deadline import Deadline
from ...authentication.challenge import (
    DEFAULT_SECONDS,
    SEND_SECONDS,
    Handshake,
    Side,
    derive_key,
)
from ...authentication.core import key_of
from ...errors import AuthenticationFailed
from ...framing import Buffer
from ...options import Direction, checked_seconds
from .. import abc

__all__ = ["authenticate_as_client", "authenticate_as_server"]

Authenticate = Callable[[Any], None]


def authenticate_as_client(
    stream: abc.BareStream | abc.MessageChannel,
    authkey: Buffer,
    *,
    within: float = DEFAULT_SECONDS,
) -> None:
    """Proves to the server at the other end that this client has ``authkey``, and requires the
    same proof from the server. Call it first on a new connection::

        stream = blocking.connect("svc")
        blocking.authenticate_as_client(stream, authkey)

    The other end calls :func:`authenticate_as_server` with the same key, or listens or serves with
    ``authkey=``, with or without an event loop. A channel over a stream is authenticated below its
    framing, so any framing works. The application's data may follow at once; this function reads
    none of it. The handshake does not encrypt, and does not protect the data that is sent
    afterwards; see :func:`ipcpipes.authenticate_as_client`.

    Args:
        stream: a stream of ipcpipes or any :class:`ipcpipes.blocking.abc.BareStream`, or a message
            channel. Do not use it until this has returned. It is never closed here. If this fails
            or is interrupted by Ctrl-C, the stream is in the middle of the handshake: close it.
        authkey: the secret, 16 bytes or more, from a random source: ``secrets.token_bytes(32)``. A
            password can be guessed.
        within: how many seconds the whole handshake may take, 0 or more; ``math.inf`` for no limit.

    Raises:
        AuthenticationFailed: the peer has another key, speaks another protocol, has the same side,
            closed the connection, or has not answered in time (a ``PermissionError``). It is raised
            instead of TimeoutError, too.
        trio.ClosedResourceError: you closed the stream.
        trio.BusyResourceError: another thread of yours uses the stream.
        FramingError: a channel that is not over a stream cannot carry the messages of this end, up
            to 72 bytes of any value.
        TypeError, ValueError: an argument is of the wrong type or out of range.
    """
    key = derive_key(authkey)
    del authkey  # an error report with the variables of each frame must not contain it
    run_handshake("client", key, stream, within)


def authenticate_as_server(
    stream: abc.BareStream | abc.MessageChannel,
    authkey: Buffer,
    *,
    within: float = DEFAULT_SECONDS,
) -> None:
    """Requires the client at the other end to prove that it has ``authkey``, and proves the same to
    it. Call it first on an accepted connection.

    A client that sent something else, or nothing in time, is told that this server requires a key.
    :func:`ipcpipes.blocking.listen` with ``authkey=`` does this for each client. The handshake does
    not encrypt, and does not protect the data that is sent afterwards; see
    :func:`ipcpipes.authenticate_as_client`.

    Args:
        stream: a stream of ipcpipes or any :class:`ipcpipes.blocking.abc.BareStream`, or a message
            channel. Do not use it until this has returned. It is never closed here. If this fails
            or is interrupted by Ctrl-C, the stream is in the middle of the handshake: close it.
        authkey: the secret of the client, 16 bytes or more, from a random source.
        within: how many seconds the whole handshake may take, 0 or more; ``math.inf`` for no limit.

    Raises:
        AuthenticationFailed: the peer has another key, speaks another protocol, has the same side,
            closed the connection, or has not answered in time (a ``PermissionError``). It is raised
            instead of TimeoutError, too.
        trio.ClosedResourceError: you closed the stream.
        trio.BusyResourceError: another thread of yours uses the stream.
        FramingError: a channel that is not over a stream cannot carry the messages of this end, up
            to 72 bytes of any value.
        TypeError, ValueError: an argument is of the wrong type or out of range.
    """
    key = derive_key(authkey)
    del authkey
    run_handshake("server", key, stream, within)


def authenticate_with(
    side: Side, authkey: Buffer | None, direction: Direction = "duplex"
) -> Authenticate | None:
    """Returns a function that authenticates a new connection, or ``None`` if there is no
    ``authkey``; see :func:`key_of`.
    """
    key = key_of(authkey, direction)
    return None if key is None else partial(run_handshake, side, key)


def run_handshake(
    side: Side,
    key: HMAC,
    stream: abc.BareStream | abc.MessageChannel,
    within: float = DEFAULT_SECONDS,
) -> None:
    seconds = checked_seconds("within", within)
    transport = HandshakeTransport(side, key, stream)
    try:
        deadline = Deadline.after(seconds)
        try:
            transport.run(deadline)
        except TimeoutError as error:
            if deadline is None or deadline.remaining:
                raise  # a signal handler raised it
            raise transport.handshake.timed_out(seconds) from error
    except AuthenticationFailed:
        transport.send_refusal()
        raise


class HandshakeTransport:
    """Sends and receives the messages of a handshake over one connection. For a channel over a
    stream, the messages are sent below its framing.

    Raises:
        TypeError: the connection is neither a stream nor a message channel.
    """

    def __init__(self, side: Side, key: HMAC, connection: Any) -> None:
        self.connection = connection
        self.handshake = Handshake(side, key, getattr(connection, "endpoint", None))
        below = connection
        if not _has(connection, "send_all") and _has(connection, "send"):
            below = getattr(connection, "stream", connection)
        self._below = below
        self._is_stream = _has(below, "send_all")
        if not self._is_stream and not _has(below, "send"):
            raise TypeError(f"stream must be a stream or a message channel, not {connection!r}")
        self._send = below.send_all if self._is_stream else below.send

    def run(self, deadline: Deadline | None) -> None:
        """Continues the handshake until the peer is authenticated.

        Raises:
            TimeoutError: the deadline has passed; this can be called again.
            AuthenticationFailed: the handshake has failed.
        """
        handshake = self.handshake
        try:
            while True:
                if handshake.outgoing:
                    # This sends even after the deadline: a new connection has room for these few
                    # bytes.
                    self._send(handshake.outgoing, timeout=_remaining(deadline, SEND_SECONDS))
                    handshake.outgoing = b""
                if not handshake.missing:
                    return
                timeout = _remaining(deadline)
                if self._is_stream:
                    # Read no byte beyond the handshake: the bytes after it are the application's.
                    data = self._below.receive_some(handshake.missing, timeout=timeout)
                    handshake.receive(data)
                else:
                    handshake.receive_message(self._below.receive(timeout=timeout))
        except (trio.BrokenResourceError, trio.EndOfChannel) as error:
            raise handshake.ended(error) from error

    def send_refusal(self) -> None:
        """Sends the refusal to a peer that has failed, if there is one to send."""
        if self.handshake.refusal:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, TimeoutError):
                self._send(self.handshake.refusal, timeout=SEND_SECONDS)


def _has(connection: object, method: str) -> bool:
    return callable(getattr(connection, method, None))


def _remaining(deadline: Deadline | None, at_least: float = 0.0) -> float | None:
    return None if deadline is None else max(deadline.remaining, at_least)
