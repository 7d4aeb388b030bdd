"""The handshake under trio, over a stream or a channel."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from hmac import HMAC

import trio

from .. import abc
from ..errors import AuthenticationFailed
from ..framing import Buffer
from ..options import checked_seconds
from .challenge import DEFAULT_SECONDS, Handshake, Side, keyed

# A connection on which nothing was sent has room for these few bytes.
_A_MOMENT = 1.0  # seconds

Greeting = Callable[[trio.abc.Stream | abc.MessageChannel], Awaitable[None]]


async def authenticate_as_client(
    stream: trio.abc.Stream | abc.MessageChannel,
    authkey: Buffer,
    *,
    within: float = DEFAULT_SECONDS,
) -> None:
    """Proves to the server at the other end that this one has ``authkey``, and has it prove the
    same. The first thing on a new connection::

        stream = await ipcpipes.connect("svc")
        await ipcpipes.authenticate_as_client(stream, authkey)

    The other end calls :func:`authenticate_as_server` with the same key, or listens or serves with
    ``authkey=``. A channel over a stream is authenticated below its framing, so any framing works,
    and one end may authenticate over the stream and the other end over the channel. The
    application's data may follow at once; this function reads none of it.

    When this returns, the server has proved itself. Should it still not like this end's proof,
    which takes somebody who changes it on the way, or should the time be over there, then it closes
    the connection, and this end gets to see that as it sees any server that closes.

    It does not encrypt, and does not protect what is sent afterwards from whoever can change it on
    the way. :mod:`ipcpipes.authentication.challenge` has the wire format.

    Args:
        stream: any trio stream, or a message channel; nobody else may use it meanwhile. It is not
            closed here, whatever happens. Cancelled, or failed, it is in the middle of the
            handshake: close it.
        authkey: the secret, 16 bytes or more, of a random source: ``secrets.token_bytes(32)``. A
            password can be guessed.
        within: how many seconds the whole of it may take, 0 or more; ``math.inf`` for any time.

    Raises:
        AuthenticationFailed: the peer has another key, does not speak this, is on the same side,
            ended the connection, or has not answered in time (a ``PermissionError``).
        trio.ClosedResourceError: you closed the stream.
        trio.BusyResourceError: another task of yours is using it.
        FramingError: a channel that is not over a stream cannot carry the messages of this end, up
            to 72 bytes of any value.
        TypeError, ValueError: an argument is of the wrong type or out of range.
    """
    key = keyed(authkey)
    del authkey  # what reports an error with the variables of each frame does not find it here
    await authenticate("client", stream, key, within)


async def authenticate_as_server(
    stream: trio.abc.Stream | abc.MessageChannel,
    authkey: Buffer,
    *,
    within: float = DEFAULT_SECONDS,
) -> None:
    """Has the client at the other end prove that it has ``authkey``, and proves the same to it.

    The first thing that a handler does::

        async def handler(stream):
            await ipcpipes.authenticate_as_server(stream, authkey)

    When this returns, the client has proved itself. A client that sent something else, or nothing
    in time, is told that this server requires a key. All else is as for
    :func:`authenticate_as_client`: the arguments, the errors, and what it does not protect from.
    :func:`listen` and :func:`serve` with ``authkey=`` do this for each client.
    """
    key = keyed(authkey)
    del authkey
    await authenticate("server", stream, key, within)


def greeting(side: Side, authkey: Buffer | None) -> Greeting | None:
    """What is done first with a new connection where there is to be a secret.

    Raises:
        TypeError, ValueError: ``authkey`` is none.
    """
    if authkey is None:
        return None
    key = keyed(authkey)
    return lambda stream: authenticate(side, stream, key, DEFAULT_SECONDS)


async def authenticate(
    side: Side, stream: trio.abc.Stream | abc.MessageChannel, key: HMAC, within: float
) -> None:
    """What both sides come down to; see :func:`authenticate_as_client`."""
    seconds = checked_seconds("within", within)
    ends = Ends(stream)
    handshake = Handshake(side, key, getattr(stream, "endpoint", None))
    try:
        with trio.move_on_after(seconds):
            await ends.shake(handshake)
            return
        # The deadline has passed: no other case gets here.
        raise handshake.late(seconds)
    except AuthenticationFailed:
        await ends.refuse(handshake)
        raise


class Ends:
    """How one connection sends and receives a handshake: below its framing.

    Raises:
        TypeError: it is neither a stream nor a message channel.
    """

    def __init__(self, connection: trio.abc.Stream | abc.MessageChannel) -> None:
        below = (
            getattr(connection, "stream", connection)
            if isinstance(connection, abc.MessageChannel)
            else connection
        )
        self._send: Callable[[bytes], Awaitable[None]]
        self._receive: Callable[[Handshake], Awaitable[None]]
        if isinstance(below, trio.abc.Stream):
            self._send, self._receive = below.send_all, partial(_receive_bytes, below)
        elif isinstance(below, abc.MessageChannel):
            self._send, self._receive = below.send, partial(_receive_message, below)
        else:
            raise TypeError(
                f"stream must be a trio.abc.Stream or a message channel, not {connection!r}"
            )

    async def shake(self, handshake: Handshake) -> None:
        """Continues the handshake until the peer is authenticated. If it is cancelled while it
        receives, it can be called again.

        Raises:
            AuthenticationFailed: the handshake has failed.
        """
        try:
            while True:
                if handshake.outgoing:
                    await self._send(handshake.outgoing)
                    handshake.outgoing = b""
                if not handshake.missing:
                    return
                await self._receive(handshake)
        except (trio.BrokenResourceError, trio.EndOfChannel) as error:
            raise handshake.ended(error) from error

    async def refuse(self, handshake: Handshake) -> None:
        """Sends what a peer that has failed may be told, without waiting."""
        if handshake.refusal:
            with (
                trio.move_on_after(_A_MOMENT, shield=True),
                suppress(trio.BrokenResourceError, trio.ClosedResourceError),
            ):
                await self._send(handshake.refusal)


async def _receive_bytes(stream: trio.abc.Stream, handshake: Handshake) -> None:
    # Not a byte more than is missing: what follows is the application's.
    handshake.receive(await stream.receive_some(handshake.missing))


async def _receive_message(channel: abc.MessageChannel, handshake: Handshake) -> None:
    handshake.receive_message(await channel.receive())
