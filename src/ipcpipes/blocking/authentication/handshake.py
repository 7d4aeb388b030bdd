"""The handshake of :mod:`ipcpipes.authentication` without an event loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hmac import HMAC
from typing import Any

import trio

from ..._os.common.deadline import Deadline
from ...authentication.challenge import DEFAULT_SECONDS, Handshake, Side, keyed
from ...errors import AuthenticationFailed
from ...framing import Buffer
from ...options import checked_seconds
from .. import abc

__all__ = ["authenticate_as_client", "authenticate_as_server"]

Greeting = Callable[[Any], None]

# A connection on which nothing was sent has room for these few bytes.
_A_MOMENT = 1.0  # seconds


def authenticate_as_client(
    stream: abc.BareStream | abc.MessageChannel,
    authkey: Buffer,
    *,
    within: float = DEFAULT_SECONDS,
) -> None:
    """Proves to the server at the other end that this one has ``authkey``, and has it prove the
    same. The first thing on a new connection.

    Args:
        stream: a stream of ipcpipes or any :class:`ipcpipes.blocking.abc.BareStream`, or a message
            channel. It is not closed here, whatever happens. Failed, or interrupted by Ctrl-C, it
            is in the middle of the handshake: close it.
        authkey, within: as for :func:`ipcpipes.authenticate_as_client`, where it is said what this
            does, what not, and what the other end has to do.

    Raises:
        Everything that :func:`ipcpipes.authenticate_as_client` raises; when the time is over it is
        AuthenticationFailed too, and not TimeoutError.
    """
    key = keyed(authkey)
    del authkey  # what reports an error with the variables of each frame does not find it here
    authenticate("client", stream, key, within)


def authenticate_as_server(
    stream: abc.BareStream | abc.MessageChannel,
    authkey: Buffer,
    *,
    within: float = DEFAULT_SECONDS,
) -> None:
    """Has the client at the other end prove that it has ``authkey``, and proves the same to it.

    All else is as for :func:`authenticate_as_client`.
    """
    key = keyed(authkey)
    del authkey
    authenticate("server", stream, key, within)


def greeting(side: Side, authkey: Buffer | None) -> Greeting | None:
    """What is done first with a new connection where there is to be a secret.

    Raises:
        TypeError, ValueError: ``authkey`` is none.
    """
    if authkey is None:
        return None
    key = keyed(authkey)
    return lambda stream: authenticate(side, stream, key, DEFAULT_SECONDS)


def authenticate(
    side: Side, stream: abc.BareStream | abc.MessageChannel, key: HMAC, within: float
) -> None:
    """What both sides come down to; see :func:`authenticate_as_client`."""
    seconds = checked_seconds("within", within)
    ends = Ends(stream)
    handshake = Handshake(side, key, getattr(stream, "endpoint", None))
    try:
        deadline = Deadline.after(seconds)
        try:
            ends.shake(handshake, deadline)
        except TimeoutError as error:
            if deadline is None or deadline.remaining:
                raise  # a signal handler's
            raise handshake.late(seconds) from error
    except AuthenticationFailed:
        ends.refuse(handshake)
        raise


class Ends:
    """How one connection sends and receives a handshake: below its framing.

    Raises:
        TypeError: it is neither a stream nor a message channel.
    """

    def __init__(self, connection: Any) -> None:
        below = connection
        if not _has(connection, "send_all") and _has(connection, "send"):
            below = getattr(connection, "stream", connection)
        self._below = below
        self._send: Callable[..., object]
        if _has(below, "send_all"):
            self._send, self._receive = below.send_all, self._receive_bytes
        elif _has(below, "send"):
            self._send, self._receive = below.send, self._receive_message
        else:
            raise TypeError(f"stream must be a stream or a message channel, not {connection!r}")

    def shake(self, handshake: Handshake, deadline: Deadline | None) -> None:
        """Continues the handshake until the peer is authenticated.

        Raises:
            TimeoutError: the deadline has passed; it can be called again.
            AuthenticationFailed: the handshake has failed.
        """
        try:
            while True:
                if handshake.outgoing:
                    self._send(handshake.outgoing, timeout=_remaining(deadline, _A_MOMENT))
                    handshake.outgoing = b""
                if not handshake.missing:
                    return
                self._receive(handshake, _remaining(deadline))
        except (trio.BrokenResourceError, trio.EndOfChannel) as error:
            raise handshake.ended(error) from error

    def refuse(self, handshake: Handshake) -> None:
        """Sends what a peer that has failed may be told, without waiting."""
        if handshake.refusal:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, TimeoutError):
                self._send(handshake.refusal, timeout=_A_MOMENT)

    def _receive_bytes(self, handshake: Handshake, timeout: float | None) -> None:
        # Read no byte beyond the handshake: what follows is the application's.
        handshake.receive(self._below.receive_some(handshake.missing, timeout=timeout))

    def _receive_message(self, handshake: Handshake, timeout: float | None) -> None:
        handshake.receive_message(self._below.receive(timeout=timeout))


def _has(connection: object, method: str) -> bool:
    return callable(getattr(connection, method, None))


def _remaining(deadline: Deadline | None, at_least: float = 0.0) -> float | None:
    return None if deadline is None else max(deadline.remaining, at_least)
