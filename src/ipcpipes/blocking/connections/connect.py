"""From an endpoint to a stream, without an event loop."""

from __future__ import annotations

import time
from typing import Any, Literal, cast, overload

from ..._os import Kind, blocking as _os
from ..._os.blocking import Listener, ReceiveStream, SendStream, Stream
from ...authentication.challenge import check_both_ways, keyed
from ...endpoint import EndpointLike
from ...framing import Buffer
from ...opening import Attempts, listening
from ...options import DEFAULT_BACKLOG, Direction, Impersonation, check_direction
from ...security import AccessPolicy
from ..authentication.handshake import Greeting, greeting
from ..authentication.listener import AuthenticatingListener

__all__ = ["connect", "listen"]


@overload
def connect(
    endpoint: EndpointLike,
    *,
    wait: float = ...,
    direction: Literal["duplex"] = ...,
    buffer_size: int | None = ...,
    server: AccessPolicy | None = ...,
    impersonation: Impersonation = ...,
    authkey: Buffer | None = ...,
) -> Stream: ...
@overload
def connect(
    endpoint: EndpointLike,
    *,
    wait: float = ...,
    direction: Literal["send"],
    buffer_size: int | None = ...,
    server: AccessPolicy | None = ...,
    impersonation: Impersonation = ...,
    authkey: Buffer | None = ...,
) -> SendStream: ...
@overload
def connect(
    endpoint: EndpointLike,
    *,
    wait: float = ...,
    direction: Literal["receive"],
    buffer_size: int | None = ...,
    server: AccessPolicy | None = ...,
    impersonation: Impersonation = ...,
    authkey: Buffer | None = ...,
) -> ReceiveStream: ...
def connect(
    endpoint: EndpointLike,
    *,
    wait: float = 0.0,
    direction: Direction = "duplex",
    buffer_size: int | None = None,
    server: AccessPolicy | None = None,
    impersonation: Impersonation = "identify",
    authkey: Buffer | None = None,
) -> Stream | SendStream | ReceiveStream:
    """Connects to the server that listens on ``endpoint``.

    Args:
        endpoint: a plain name, an absolute path, or an :class:`ipcpipes.Endpoint`.
        wait: how many seconds to wait for a server that is not there yet or has no room;
            0 (the default) is one attempt, ``math.inf`` for ever. Ctrl-C ends the wait.
        direction, buffer_size, server, impersonation, authkey: as for :func:`ipcpipes.connect`.

    Returns:
        A stream of that direction (:mod:`ipcpipes.blocking.abc`), for ``with``.

    Raises:
        Everything that :func:`ipcpipes.connect` raises; after ``wait`` seconds too it is the
        error of the last attempt, and not TimeoutError.
    """
    check_direction(direction)
    check_both_ways(authkey, direction)
    greet = greeting("client", authkey)
    del authkey  # as authenticate_as_client does
    stream: Stream | SendStream | ReceiveStream = open_connection(
        endpoint,
        kind=direction,
        wait=wait,
        buffer_size=buffer_size,
        server=server,
        impersonation=impersonation,
    )
    if greet is not None:
        greet_server(stream, greet)
    return stream


def greet_server(stream: Any, greet: Greeting) -> None:
    """Greets, or closes."""
    try:
        greet(stream)
    except BaseException:
        stream.close()
        raise


def open_connection(endpoint: EndpointLike, *, kind: Kind, **options: Any) -> Any:
    """What every way to connect comes down to; see :func:`connect`."""
    attempts = Attempts(_os.connect, endpoint, kind=kind, **options)
    deadline = time.monotonic() + attempts.wait
    connection: Any = None
    try:
        with attempts:
            while (connection := attempts.attempt(deadline - time.monotonic())) is None:
                time.sleep(attempts.pause)
    except BaseException:
        # A signal handler has raised after the last attempt.
        if connection is not None:
            connection.close()
        raise
    return connection


@overload
def listen(
    endpoint: EndpointLike,
    *,
    access: AccessPolicy | None = ...,
    max_instances: int | None = ...,
    direction: Literal["duplex"] = ...,
    backlog: int = ...,
    buffer_size: int | None = ...,
    authkey: Buffer | None = ...,
) -> Listener[Stream]: ...
@overload
def listen(
    endpoint: EndpointLike,
    *,
    access: AccessPolicy | None = ...,
    max_instances: int | None = ...,
    direction: Literal["send"],
    backlog: int = ...,
    buffer_size: int | None = ...,
    authkey: Buffer | None = ...,
) -> Listener[SendStream]: ...
@overload
def listen(
    endpoint: EndpointLike,
    *,
    access: AccessPolicy | None = ...,
    max_instances: int | None = ...,
    direction: Literal["receive"],
    backlog: int = ...,
    buffer_size: int | None = ...,
    authkey: Buffer | None = ...,
) -> Listener[ReceiveStream]: ...
def listen(
    endpoint: EndpointLike,
    *,
    access: AccessPolicy | None = None,
    max_instances: int | None = None,
    direction: Direction = "duplex",
    backlog: int = DEFAULT_BACKLOG,
    buffer_size: int | None = None,
    authkey: Buffer | None = None,
) -> Listener[Any]:
    """Takes the name and listens on it until the listener is closed.

    Clients can connect as soon as this returns.

    Args:
        endpoint, access, max_instances, direction, backlog, buffer_size, authkey: as for
            :func:`ipcpipes.listen`.

    Returns:
        A listener (:class:`ipcpipes.blocking.abc.Listener`), for ``with``, ``accept()`` and
        ``for stream in listener``.

    Raises:
        Everything that :func:`ipcpipes.listen` raises. Nothing is left behind when it fails.
    """
    check_direction(direction)
    check_both_ways(authkey, direction)
    key = None if authkey is None else keyed(authkey)
    del authkey
    listener = open_listener(
        endpoint,
        kind=direction,
        access=access,
        max_instances=max_instances,
        backlog=backlog,
        buffer_size=buffer_size,
    )
    if key is None:
        return listener
    try:
        # It has what there is to a listener.
        return cast("Listener[Any]", AuthenticatingListener(listener, key))
    except BaseException:
        listener.close()
        raise


def open_listener(endpoint: EndpointLike, *, kind: Kind, **options: Any) -> Listener[Any]:
    """What every way to listen comes down to; see :func:`listen`."""
    return _os.listen(**listening(endpoint, kind=kind, **options))
