"""From an endpoint to a stream: the doors that users come in by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, cast, overload

import trio

from .. import _os, abc
from .._os import Kind, Listener, ReceiveStream, SendStream, Stream
from ..authentication import AuthenticatingListener, Greeting, greeting
from ..authentication.challenge import Side, check_both_ways, keyed
from ..endpoint import EndpointLike
from ..framing import Buffer
from ..opening import Attempts, listening
from ..options import (
    DEFAULT_BACKLOG,
    DEFAULT_GRACE,
    Direction,
    Impersonation,
    check_direction,
    checked_seconds,
)
from ..security import AccessPolicy
from .serving import serve_listener

__all__ = ["Listener", "ReceiveStream", "SendStream", "Stream", "connect", "listen", "serve"]


@overload
async def connect(
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
async def connect(
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
async def connect(
    endpoint: EndpointLike,
    *,
    wait: float = ...,
    direction: Literal["receive"],
    buffer_size: int | None = ...,
    server: AccessPolicy | None = ...,
    impersonation: Impersonation = ...,
    authkey: Buffer | None = ...,
) -> ReceiveStream: ...
async def connect(
    endpoint: EndpointLike,
    *,
    wait: float = 0.0,
    direction: Direction = "duplex",
    buffer_size: int | None = None,
    server: AccessPolicy | None = None,
    impersonation: Impersonation = "identify",
    authkey: Buffer | None = None,
) -> Stream | SendStream | ReceiveStream:
    r"""Connects to the server that listens on ``endpoint``.

    Args:
        endpoint: a plain name, an absolute path, or an :class:`Endpoint`.
        wait: how many seconds to wait for a server that is not there yet or has no room;
            0 (the default) is one attempt, ``math.inf`` for ever. The pauses between attempts
            grow from 1 to 50 ms, and can be cancelled at any time. If more than 100 calls wait in
            one process, the pauses grow further: all calls together make at most 2,000 attempts a
            second.
        direction: what this end does: ``"duplex"``, ``"send"`` or ``"receive"``. The listener
            must have the opposite one. Windows refuses any other; elsewhere the half that is
            not used is shut down, which the other end sees as end of stream or broken stream.
        buffer_size: asks the system to hold this many bytes (1 or more) of what this end
            sends; a hint, 524,288 when ``None``. On Windows the listener's holds for both ends.
        server: whose server it has to be, as a policy: you and the system's administrator, whom
            it allows, and nobody whom it denies. It is looked at before a byte is sent. ``None``
            means ``AccessPolicy.current_user()`` for a plain name, and anybody for other endpoints,
            which may be meant to be another user's. On Linux and macOS it is who called
            ``listen``, as the kernel knows him (``unix(7)``, SO_PEERCRED; getpeereid(3)), with
            his groups; on Windows the owner of the pipe, who has no groups there.
        impersonation: how far the server may go in your name: ``"identify"`` to learn who you
            are, ``"impersonate"`` to act as you on this machine (``run_as_client``),
            ``"delegate"`` on others too, ``"anonymous"`` not even to learn it. On Windows
            (CreateFileW, ``SECURITY_SQOS_PRESENT``) a server that may act as you can, and knows
            you, once you have sent something, and so not before ``server`` is looked at. Linux and
            macOS always tell the server who you are, and on macOS nobody can act as you; on Linux
            a privileged server could anyway, and one of ipcpipes keeps to what you say.
        authkey: a secret that both ends have, 16 bytes or more (``secrets.token_bytes(32)``), which
            both prove to each other before anything else is sent
            (:func:`authenticate_as_client`); ``None`` for no such thing. It needs both directions.

    Returns:
        A stream of that direction.

    Raises:
        UntrustedServer: it is served by somebody whom ``server`` does not admit; nothing was sent.
        AuthenticationFailed: the server has not proved within 10 s that it has ``authkey``.
        EndpointNotFound: nobody has made this endpoint (a ``FileNotFoundError``).
        EndpointRefused: a socket is there and nobody listens (a ``ConnectionRefusedError``).
        EndpointBusy: the server has no room now (a ``ConnectionRefusedError``).
        NotAnEndpoint: the file there is not a socket or pipe (a ``FileExistsError``).
        EndpointDenied: permissions or policy keep you out (a ``PermissionError``).
        UnsafeDirectory: the directory of plain names is not safely yours.
        InvalidEndpoint, NotSupported: the endpoint cannot work on this system, or it cannot tell
            what ``server`` asks.
        UnknownAccount: ``server`` names a user or a group that this machine does not have.
        TypeError, ValueError: an argument is of the wrong type or out of range.

    Linux says "busy" when the server's queue is full; macOS says "refused" then too.
    """
    check_direction(direction)
    greet = greeting_of("client", authkey, direction)
    del authkey  # as authenticate_as_client does
    stream: Stream | SendStream | ReceiveStream = await open_connection(
        endpoint,
        kind=direction,
        wait=wait,
        buffer_size=buffer_size,
        server=server,
        impersonation=impersonation,
    )
    if greet is not None and isinstance(stream, Stream):
        await greet_server(stream, greet)
    return stream


def greeting_of(side: Side, authkey: Buffer | None, direction: Direction) -> Greeting | None:
    """What is done first with a new connection.

    Raises:
        TypeError, ValueError: ``authkey`` is none, or there is no way for it.
    """
    check_both_ways(authkey, direction)
    return greeting(side, authkey)


async def greet_server(stream: trio.abc.Stream | abc.MessageChannel, greet: Greeting) -> None:
    """Greets, or closes."""
    try:
        await greet(stream)
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def open_connection(endpoint: EndpointLike, *, kind: Kind, **options: Any) -> Any:
    """What every way to connect comes down to; see :func:`connect`."""
    attempts = Attempts(_os.connect, endpoint, kind=kind, **options)
    await trio.lowlevel.checkpoint()
    deadline = trio.current_time() + attempts.wait
    with attempts:
        while True:
            connection = attempts.attempt(deadline - trio.current_time())
            if connection is not None:
                return connection
            await trio.sleep(attempts.pause)


@overload
async def listen(
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
async def listen(
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
async def listen(
    endpoint: EndpointLike,
    *,
    access: AccessPolicy | None = ...,
    max_instances: int | None = ...,
    direction: Literal["receive"],
    backlog: int = ...,
    buffer_size: int | None = ...,
    authkey: Buffer | None = ...,
) -> Listener[ReceiveStream]: ...
async def listen(
    endpoint: EndpointLike,
    *,
    access: AccessPolicy | None = None,
    max_instances: int | None = None,
    direction: Direction = "duplex",
    backlog: int = DEFAULT_BACKLOG,
    buffer_size: int | None = None,
    authkey: Buffer | None = None,
) -> Listener[Any]:
    r"""Takes the name and listens on it until the listener is closed.

    Clients can connect as soon as this returns. A live name is never taken over, and a socket
    file that a dead server left behind is replaced; any other file is left alone. A live server,
    also one of another program, does not notice the check.

    While a task waits for clients, the listener checks its socket file every ten seconds (Linux,
    macOS). If another program has removed or replaced the file, the listener logs an error, once.

    Args:
        endpoint: a plain name, an absolute path, or an :class:`Endpoint`.
        access: who may connect; ``None`` means ``AccessPolicy.current_user()``.
        max_instances: how many connections may be open at one time (1 or more), ``None`` for
            no limit. The next client waits, or gets :exc:`EndpointBusy`, by its own ``wait``.
        direction: what this end does with its connections: ``"duplex"``, ``"send"`` or
            ``"receive"``; the clients must have the opposite.
        backlog: how many clients may be connected and not accepted yet, 1 to 4096; more get
            :exc:`EndpointBusy`. Linux and macOS cap it (``/proc/sys/net/core/somaxconn``);
            Windows makes that many pipe instances in advance.
        buffer_size: asks the system to hold this many bytes (1 or more) for what each
            connection sends; a hint, 524,288 when ``None``. On Windows it holds for both
            directions, and is 65,536 when ``None``.
        authkey: a secret, as for :func:`connect`: ``accept`` returns only clients that have proved
            that they have it. While you are in ``accept``, all handshakes run side by side, so
            that no client waits for another one. A client that has not proved it 10 s after its
            connection was accepted is turned away, and that is logged. ``connection_count`` and
            ``max_instances`` count the client until then.

    Returns:
        A listener, for ``async with`` and ``await listener.accept()``.

    Raises:
        EndpointInUse: somebody listens there (``errno`` is ``EADDRINUSE``).
        NotAnEndpoint: a file that is not a socket is in the way (a ``FileExistsError``).
        EndpointNotFound: the directory of the path is missing (a ``FileNotFoundError``).
        UnsafeDirectory: others could replace the socket in its directory (a ``PermissionError``).
        EndpointDenied: you may not make it there (a ``PermissionError``).
        InvalidEndpoint, NotSupported: the endpoint cannot work on this system.
        UnknownAccount: the policy names a user or a group that this machine does not have.
        NotSupported: the system cannot express the policy; it is never weakened.
        TypeError, ValueError: an argument is of the wrong type or out of range, or the policy
            denies access to the user that listens.
        EndpointError: anything else that the system says (an ``OSError``).

    Nothing is left behind when it fails.
    """
    check_direction(direction)
    check_both_ways(authkey, direction)
    key = None if authkey is None else keyed(authkey)
    del authkey
    listener: Any = await open_listener(
        endpoint,
        kind=direction,
        access=access,
        max_instances=max_instances,
        backlog=backlog,
        buffer_size=buffer_size,
    )
    if key is not None:
        listener = AuthenticatingListener(listener, key)
    return cast("Listener[Any]", listener)  # which has what there is to a listener


async def open_listener(
    endpoint: EndpointLike,
    *,
    kind: Kind,
    access: AccessPolicy | None,
    max_instances: int | None,
    backlog: int,
    buffer_size: int | None,
) -> Listener[Any]:
    """What every way to listen comes down to; see :func:`listen`."""
    options = listening(
        endpoint,
        kind=kind,
        access=access,
        max_instances=max_instances,
        backlog=backlog,
        buffer_size=buffer_size,
    )
    await trio.lowlevel.checkpoint()
    return _os.listen(**options)


@overload
async def serve(
    handler: Callable[[Stream], Awaitable[object]],
    endpoint: EndpointLike,
    *,
    access: AccessPolicy | None = ...,
    max_instances: int | None = ...,
    direction: Literal["duplex"] = ...,
    backlog: int = ...,
    buffer_size: int | None = ...,
    authkey: Buffer | None = ...,
    grace: float = ...,
    task_status: trio.TaskStatus[Listener[Stream]] = ...,
) -> None: ...
@overload
async def serve(
    handler: Callable[[SendStream], Awaitable[object]],
    endpoint: EndpointLike,
    *,
    access: AccessPolicy | None = ...,
    max_instances: int | None = ...,
    direction: Literal["send"],
    backlog: int = ...,
    buffer_size: int | None = ...,
    authkey: Buffer | None = ...,
    grace: float = ...,
    task_status: trio.TaskStatus[Listener[SendStream]] = ...,
) -> None: ...
@overload
async def serve(
    handler: Callable[[ReceiveStream], Awaitable[object]],
    endpoint: EndpointLike,
    *,
    access: AccessPolicy | None = ...,
    max_instances: int | None = ...,
    direction: Literal["receive"],
    backlog: int = ...,
    buffer_size: int | None = ...,
    authkey: Buffer | None = ...,
    grace: float = ...,
    task_status: trio.TaskStatus[Listener[ReceiveStream]] = ...,
) -> None: ...
async def serve(
    handler: Callable[[Any], Awaitable[object]],
    endpoint: EndpointLike,
    *,
    access: AccessPolicy | None = None,
    max_instances: int | None = None,
    direction: Direction = "duplex",
    backlog: int = DEFAULT_BACKLOG,
    buffer_size: int | None = None,
    authkey: Buffer | None = None,
    grace: float = DEFAULT_GRACE,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listens on ``endpoint`` and runs ``handler(stream)`` for each client, until cancelled.

    Each handler runs in a task of its own, and its stream is closed when it returns. An
    :exc:`Exception` in a handler ends that one connection: it is logged with its traceback
    (logger ``ipcpipes``), and the server keeps running. If a handler ends because its client has
    left (a :exc:`trio.BrokenResourceError` or :exc:`trio.EndOfChannel` of the handler's own
    connection), that is not an error: it is logged as one line at INFO, without a traceback, or at
    WARNING if the client has sent bytes that are not a message. An exception that is not an
    ``Exception`` (``KeyboardInterrupt``, ``SystemExit``) ends the server. Cancelling ``serve``
    cancels the handlers at once. Closing the listener shuts the server down: it accepts no more
    clients, the handlers have ``grace`` seconds to finish, handlers that have not finished by then
    are cancelled, and ``serve`` returns.

    Args:
        handler: an async function of one stream.
        authkey: a secret, as for :func:`connect`. The handler sees only clients who have proved
            that they have it; who has not within 10 s is turned away, and logged. Who has not when
            the listener is closed is not waited for.
        grace: seconds, 0 or more, that the handlers have to finish after the listener was closed;
            ``math.inf`` waits for all of them, whatever their clients do. If handlers are
            cancelled, that is logged (logger ``ipcpipes``, a warning).
        task_status: for ``await nursery.start(serve, ...)``, which then returns the listener
            as soon as clients can connect.
        endpoint, access, max_instances, direction, backlog, buffer_size: as for :func:`listen`.

    Raises:
        TypeError, ValueError: ``authkey`` is not bytes-like, or shorter than 16 bytes, or
            ``direction`` is not ``"duplex"``; or ``grace`` is not a number of seconds, 0 or more.
        And everything that :func:`listen` raises.
    """
    greet = greeting_of("server", authkey, direction)
    del authkey
    grace = checked_seconds("grace", grace)
    listener: Listener[Any] = await listen(
        endpoint,
        access=access,
        max_instances=max_instances,
        direction=direction,
        backlog=backlog,
        buffer_size=buffer_size,
    )
    await serve_listener(handler, listener, task_status, greet, grace)
