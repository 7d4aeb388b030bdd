"""The handshake for trio, over a stream or a channel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from hmac import HMAC
from typing import Any

import trio

from .. import abc
from ..errors import AuthenticationFailed
from ..framing import Buffer
from ..options import Direction, checked_seconds
from .challenge import DEFAULT_SECONDS, SEND_SECONDS, Handshake, Side, derive_key
from .core import key_of

Authenticate = Callable[[trio.abc.Stream | abc.MessageChannel], Awaitable[None]]


async def authenticate_as_client(
    stream: trio.abc.Stream | abc.MessageChannel,
    authkey: Buffer,
    *,
    within: float = DEFAULT_SECONDS,
) -> None:
    """Proves to the server at the other end that this client has ``authkey``, and requires the
    same proof from the server. Call it first on a new connection::

        stream = await ipcpipes.connect("svc")
        await ipcpipes.authenticate_as_client(stream, authkey)

    The other end calls :func:`authenticate_as_server` with the same key, or listens or serves with
    ``authkey=``. A channel over a stream is authenticated below its framing, so any framing works,
    and one end may authenticate over the stream and the other end over the channel. The
    application's data may follow at once; this function reads none of it.

    When this returns, the server has proved itself. The server may still reject this end's proof,
    if the proof was changed on the way or if it arrives too late. Then the server closes the
    connection, and this end sees that as it sees any server that closes.

    The handshake does not encrypt. It does not protect the data that is sent afterwards from a
    program that can change the data on the way. docs/wire.md has the bytes.

    Args:
        stream: any trio stream, or a message channel. Do not use it until this has returned. It is
            never closed here. If this is cancelled or fails, the stream is in the middle of the
            handshake: close it.
        authkey: the secret, 16 bytes or more, from a random source: ``secrets.token_bytes(32)``. A
            password can be guessed.
        within: how many seconds the whole handshake may take, 0 or more; ``math.inf`` for no limit.

    Raises:
        AuthenticationFailed: the peer has another key, speaks another protocol, has the same side,
            closed the connection, or has not answered in time (a ``PermissionError``).
        trio.ClosedResourceError: you closed the stream.
        trio.BusyResourceError: another task of yours uses the stream.
        FramingError: the channel is not over a stream, and cannot carry messages of up to 72
            arbitrary bytes.
        TypeError, ValueError: an argument is of the wrong type or out of range.
    """
    key = derive_key(authkey)
    del authkey  # an error report with the variables of each frame must not contain it
    await run_handshake("client", key, stream, within)


async def authenticate_as_server(
    stream: trio.abc.Stream | abc.MessageChannel,
    authkey: Buffer,
    *,
    within: float = DEFAULT_SECONDS,
) -> None:
    """Requires the client at the other end to prove that it has ``authkey``, and proves the same to
    it. Call it first in a handler::

        async def handler(stream):
            await ipcpipes.authenticate_as_server(stream, authkey)

    When this returns, the client has proved itself. A client that sent something else, or nothing
    in time, is told that this server requires a key. :func:`listen` and :func:`serve` with
    ``authkey=`` do this for each client. The handshake does not encrypt, and does not protect the
    data that is sent afterwards; see :func:`authenticate_as_client`.

    Args:
        stream: any trio stream, or a message channel. Do not use it until this has returned. It is
            never closed here. If this is cancelled or fails, the stream is in the middle of the
            handshake: close it.
        authkey: the secret of the client, 16 bytes or more, from a random source.
        within: how many seconds the whole handshake may take, 0 or more; ``math.inf`` for no limit.

    Raises:
        AuthenticationFailed: the peer has another key, speaks another protocol, has the same side,
            closed the connection, or has not answered in time (a ``PermissionError``).
        trio.ClosedResourceError: you closed the stream.
        trio.BusyResourceError: another task of yours uses the stream.
        FramingError: the channel is not over a stream, and cannot carry messages of up to 72
            arbitrary bytes.
        TypeError, ValueError: an argument is of the wrong type or out of range.
    """
    key = derive_key(authkey)
    del authkey
    await run_handshake("server", key, stream, within)


def authenticate_with(
    side: Side, authkey: Buffer | None, direction: Direction = "duplex"
) -> Authenticate | None:
    """Returns a function that authenticates a new connection, or ``None`` if there is no
    ``authkey``; see :func:`key_of`.
    """
    key = key_of(authkey, direction)
    return None if key is None else partial(run_handshake, side, key)


async def run_handshake(
    side: Side,
    key: HMAC,
    stream: trio.abc.Stream | abc.MessageChannel,
    within: float = DEFAULT_SECONDS,
) -> None:
    seconds = checked_seconds("within", within)
    transport = HandshakeTransport(side, key, stream)
    try:
        with trio.move_on_after(seconds):
            await transport.run()
            return
        # Reached only when the deadline has passed.
        raise transport.handshake.timed_out(seconds)
    except AuthenticationFailed:
        await transport.send_refusal()
        raise


class HandshakeTransport:
    """Sends and receives the messages of a handshake over one connection. For a channel over a
    stream, the messages are sent below its framing.

    Raises:
        TypeError: the connection is neither a stream nor a message channel.
    """

    def __init__(
        self, side: Side, key: HMAC, connection: trio.abc.Stream | abc.MessageChannel
    ) -> None:
        self.connection = connection
        self.handshake = Handshake(side, key, getattr(connection, "endpoint", None))
        below: Any = connection
        if isinstance(connection, abc.MessageChannel):
            below = getattr(connection, "stream", connection)
        self._below = below
        self._is_stream = isinstance(below, trio.abc.Stream)
        if not self._is_stream and not isinstance(below, abc.MessageChannel):
            raise TypeError(
                f"stream must be a trio.abc.Stream or a message channel, not {connection!r}"
            )
        self._send = below.send_all if self._is_stream else below.send

    async def run(self) -> None:
        """Continues the handshake until the peer is authenticated. If it is cancelled while it
        receives, it can be called again.

        Raises:
            AuthenticationFailed: the handshake has failed.
        """
        handshake = self.handshake
        try:
            while True:
                if handshake.outgoing:
                    await self._send(handshake.outgoing)
                    handshake.outgoing = b""
                if not handshake.missing:
                    return
                if self._is_stream:
                    # Read no byte beyond the handshake: the bytes after it are the application's.
                    handshake.receive(await self._below.receive_some(handshake.missing))
                else:
                    handshake.receive_message(await self._below.receive())
        except (trio.BrokenResourceError, trio.EndOfChannel) as error:
            raise handshake.ended(error) from error

    async def send_refusal(self) -> None:
        """Sends the refusal to a peer that has failed, if there is one to send."""
        if self.handshake.refusal:
            with (
                trio.move_on_after(SEND_SECONDS, shield=True),
                suppress(trio.BrokenResourceError, trio.ClosedResourceError),
            ):
                await self._send(self.handshake.refusal)
