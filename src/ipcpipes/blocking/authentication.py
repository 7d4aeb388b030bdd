"""The handshake of :mod:`ipcpipes.authentication` without an event loop."""

from __future__ import annotations

from collections.abc import Callable
from hmac import HMAC
from typing import Any

import trio

from .._os.deadline import Deadline
from ..authentication.challenge import DEFAULT_SECONDS, Handshake, Side, keyed
from ..framing import Buffer
from ..options import checked_seconds
from . import abc

__all__ = ["authenticate_as_client", "authenticate_as_server"]

Greeting = Callable[[Any], None]


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
    handshake = Handshake(side, key, getattr(stream, "endpoint", None))
    send, receive = _carrier(stream, handshake)
    deadline = Deadline.after(seconds)
    try:
        while True:
            if handshake.outgoing:
                send(handshake.outgoing, timeout=_remaining(deadline))
            if not handshake.missing:
                return
            receive(_remaining(deadline))
    except (trio.BrokenResourceError, trio.EndOfChannel) as error:
        raise handshake.ended(error) from error
    except TimeoutError as error:
        raise handshake.late(seconds) from error


def _carrier(
    stream: Any, handshake: Handshake
) -> tuple[Callable[..., object], Callable[[float | None], None]]:
    if callable(getattr(stream, "send_all", None)):

        def receive_bytes(timeout: float | None) -> None:
            # Not a byte more than is missing: what follows is the application's.
            handshake.receive(stream.receive_some(handshake.missing, timeout=timeout))

        return stream.send_all, receive_bytes
    if callable(getattr(stream, "send", None)):

        def receive_message(timeout: float | None) -> None:
            handshake.receive_message(stream.receive(timeout=timeout))

        return stream.send, receive_message
    raise TypeError(f"stream must be a stream or a message channel, not {stream!r}")


def _remaining(deadline: Deadline | None) -> float | None:
    return None if deadline is None else deadline.remaining
