"""From an endpoint to a stream: connect, listen, serve."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import trio

from .. import _os
from .._os import Listener, ReceiveStream, SendStream, Stream
from ..authentication import Authenticate, AuthenticatingListener, authenticate_with
from ..authentication.core import key_of
from ..endpoint import EndpointLike
from ..framing import Buffer
from ..opening import ConnectRequest, listen_arguments, pauses
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

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..opening import ConnectOptions, ListenOptions, ServeOptions

__all__ = ["Listener", "ReceiveStream", "SendStream", "Stream", "connect", "listen", "serve"]


@overload
async def connect(
    endpoint: EndpointLike,
    *,
    direction: Literal["duplex"] = ...,
    **options: Unpack[ConnectOptions],
) -> Stream: ...
@overload
async def connect(
    endpoint: EndpointLike,
    *,
    direction: Literal["send"],
    **options: Unpack[ConnectOptions],
) -> SendStream: ...
@overload
async def connect(
    endpoint: EndpointLike,
    *,
    direction: Literal["receive"],
    **options: Unpack[ConnectOptions],
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
    """Connects to the server that listens on ``endpoint``.

    Args:
        endpoint: a plain name, an absolute path, or an :class:`Endpoint`.
        wait: how many seconds to wait for a server that is not there yet or has no room;
            0 (the default) is one attempt, ``math.inf`` waits for ever. The pauses between attempts
            grow from 1 to 50 ms, and can be cancelled at any time. If more than 100 calls wait in
            one process, the pauses grow further: all calls together make at most 2,000 attempts a
            second.
        direction: what this end does: ``"duplex"``, ``"send"`` or ``"receive"``. The listener must
            have the opposite direction; otherwise Windows refuses the connection. On Linux and
            macOS the unused half is shut down, which the other end sees as the end of the stream or
            as a broken stream.
        buffer_size: asks the system to hold this many bytes (1 or more) of what this end
            sends; a hint, 524,288 when ``None``. On Windows the listener's size is used for both
            ends.
        server: which users may run the server, as a policy. A user that it denies is refused. Of
            the others, your own user, the system administrator and the users that it allows are
            accepted. This is checked before a byte is sent. ``None`` means
            ``AccessPolicy.current_user()`` for a plain name, and any server for other endpoints,
            because those may belong to another user. On Linux and macOS the kernel reports the user
            that called ``listen``, with groups (``unix(7)``, SO_PEERCRED; getpeereid(3)); on
            Windows the policy is compared with the owner of the pipe, without groups.
        impersonation: what the server may do with your identity: ``"identify"`` to learn it,
            ``"impersonate"`` to act as you on this machine (``run_as_client``), ``"delegate"`` on
            other machines too, ``"anonymous"``: nothing, not even to learn it. On Windows
            (CreateFileW, ``SECURITY_SQOS_PRESENT``) a server can use these rights only after you
            have sent something, and so not before ``server`` is checked. Linux and macOS always
            tell the server your identity. On macOS no server can act as you. On Linux, a privileged
            server can always act as you; a server of ipcpipes obeys this option.
        authkey: a secret that both ends have, 16 bytes or more (``secrets.token_bytes(32)``). Both
            ends prove it to each other before anything else is sent
            (:func:`authenticate_as_client`). ``None`` for no authentication. It needs
            ``direction="duplex"``.

    Returns:
        A stream of that direction.

    Raises:
        UntrustedServer: the server runs as a user that ``server`` does not allow; nothing was sent.
        AuthenticationFailed: the server has not proved within 10 s that it has ``authkey``.
        EndpointNotFound: the endpoint does not exist (a ``FileNotFoundError``).
        EndpointRefused: the socket is there, and no server listens (a ``ConnectionRefusedError``).
        EndpointBusy: the server has no room now (a ``ConnectionRefusedError``).
        NotAnEndpoint: the file there is not a socket or pipe (a ``FileExistsError``).
        EndpointDenied: permissions or the server's policy exclude you (a ``PermissionError``).
        UnsafeDirectory: the directory of plain names is not safely yours.
        InvalidEndpoint, NotSupported: the endpoint cannot work on this system, or the system cannot
            check ``server``.
        UnknownAccount: ``server`` names a user or a group that this machine does not have.
        TypeError, ValueError: an argument is of the wrong type or out of range.

    When the server's queue is full, Linux reports "busy", and macOS reports "refused".
    """
    check_direction(direction)
    authenticate = authenticate_with("client", authkey, direction)
    del authkey  # as in authenticate_as_client
    request = ConnectRequest(endpoint, direction, wait, buffer_size, server, impersonation)
    stream: Stream | SendStream | ReceiveStream = await open_connection(request)
    if authenticate is not None and isinstance(stream, Stream):
        await authenticate_or_close(stream, authenticate)
    return stream


async def authenticate_or_close(connection: Any, authenticate: Authenticate) -> None:
    try:
        await authenticate(connection)
    except BaseException:
        await trio.aclose_forcefully(connection)
        raise


async def open_connection(request: ConnectRequest) -> Any:
    """Makes the connection. All functions that connect call this."""
    await trio.lowlevel.checkpoint()
    remaining = request.wait
    connection = request.attempt(_os.connect, remaining)
    if connection is not None:
        return connection
    deadline = trio.current_time() + remaining
    back_off = pauses()
    try:
        while connection is None:
            await trio.sleep(min(next(back_off), remaining))
            remaining = deadline - trio.current_time()
            connection = request.attempt(_os.connect, remaining)
        return connection
    finally:
        back_off.close()


@overload
async def listen(
    endpoint: EndpointLike,
    *,
    direction: Literal["duplex"] = ...,
    **options: Unpack[ListenOptions],
) -> Listener[Stream]: ...
@overload
async def listen(
    endpoint: EndpointLike,
    *,
    direction: Literal["send"],
    **options: Unpack[ListenOptions],
) -> Listener[SendStream]: ...
@overload
async def listen(
    endpoint: EndpointLike,
    *,
    direction: Literal["receive"],
    **options: Unpack[ListenOptions],
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
    """Takes the name and listens on it until the listener is closed.

    Clients can connect as soon as this returns. A live name is never taken over. A socket file that
    a dead server left behind is replaced; any other file is left alone. The check does not disturb
    a live server, not even one of another program.

    While a task waits for clients, the listener checks its socket file every ten seconds (Linux,
    macOS). If another program has removed or replaced the file, the listener logs an error, once.

    Args:
        endpoint: a plain name, an absolute path, or an :class:`Endpoint`.
        access: which users may connect; ``None`` means ``AccessPolicy.current_user()``.
        max_instances: how many connections may be open at one time (1 or more), ``None`` for
            no limit. The next client waits, or gets :exc:`EndpointBusy`, as its own ``wait`` says.
        direction: what this end does with its connections: ``"duplex"``, ``"send"`` or
            ``"receive"``; the clients must have the opposite.
        backlog: how many clients may be connected and not accepted yet, 1 to 4096; more get
            :exc:`EndpointBusy`. Linux and macOS cap it (``/proc/sys/net/core/somaxconn``);
            Windows makes that many pipe instances in advance.
        buffer_size: asks the system to hold this many bytes (1 or more) of what each connection
            sends; a hint, 524,288 when ``None``. On Windows it is used for both directions, and is
            65,536 when ``None``.
        authkey: a secret that both ends have, 16 bytes or more (``secrets.token_bytes(32)``).
            ``accept`` returns only clients that have proved that they have it. The handshakes run
            concurrently while ``accept`` is running, so that no client waits for another one. A
            client that has not proved it 10 s after its connection was accepted is turned away, and
            that is logged. ``connection_count`` and ``max_instances`` count the client until then.
            ``None`` for no authentication. It needs ``direction="duplex"``.

    Returns:
        A listener, for ``async with`` and ``await listener.accept()``.

    Raises:
        EndpointInUse: a server already listens there (``errno`` is ``EADDRINUSE``).
        NotAnEndpoint: there is a file that is not a socket (a ``FileExistsError``).
        EndpointNotFound: the directory of the path is missing (a ``FileNotFoundError``).
        UnsafeDirectory: others could replace the socket in its directory (a ``PermissionError``).
        EndpointDenied: you may not create it there (a ``PermissionError``).
        InvalidEndpoint, NotSupported: the endpoint cannot work on this system.
        UnknownAccount: the policy names a user or a group that this machine does not have.
        NotSupported: the system cannot express the policy; it is never weakened.
        TypeError, ValueError: an argument is of the wrong type or out of range, or the policy
            denies access to the user that listens.
        EndpointError: any other error of the system (an ``OSError``).

    When it fails, nothing is left behind.
    """
    check_direction(direction)
    key = key_of(authkey, direction)
    del authkey
    arguments = listen_arguments(endpoint, direction, access, max_instances, backlog, buffer_size)
    listener: Any = await open_listener(arguments)
    if key is not None:
        listener = AuthenticatingListener(listener, key)
    return cast("Listener[Any]", listener)  # it has the same methods


async def open_listener(arguments: dict[str, Any]) -> Listener[Any]:
    """Makes the listener. All functions that listen call this."""
    await trio.lowlevel.checkpoint()
    return _os.listen(**arguments)


@overload
async def serve(
    handler: Callable[[Stream], Awaitable[object]],
    endpoint: EndpointLike,
    *,
    direction: Literal["duplex"] = ...,
    handler_nursery: trio.Nursery | None = ...,
    task_status: trio.TaskStatus[Listener[Stream]] = ...,
    **options: Unpack[ServeOptions],
) -> None: ...
@overload
async def serve(
    handler: Callable[[SendStream], Awaitable[object]],
    endpoint: EndpointLike,
    *,
    direction: Literal["send"],
    handler_nursery: trio.Nursery | None = ...,
    task_status: trio.TaskStatus[Listener[SendStream]] = ...,
    **options: Unpack[ServeOptions],
) -> None: ...
@overload
async def serve(
    handler: Callable[[ReceiveStream], Awaitable[object]],
    endpoint: EndpointLike,
    *,
    direction: Literal["receive"],
    handler_nursery: trio.Nursery | None = ...,
    task_status: trio.TaskStatus[Listener[ReceiveStream]] = ...,
    **options: Unpack[ServeOptions],
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
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listens on ``endpoint`` and runs ``handler(stream)`` for each client, until cancelled.

    Each handler runs in a task of its own, and the stream is closed when the handler returns. An
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
        endpoint: a plain name, an absolute path, or an :class:`Endpoint`.
        access: which users may connect; ``None`` means ``AccessPolicy.current_user()``.
        max_instances: how many connections may be open at one time (1 or more), ``None`` for
            no limit. The next client waits, or gets :exc:`EndpointBusy`, as its own ``wait`` says.
        direction: what this end does with its connections: ``"duplex"``, ``"send"`` or
            ``"receive"``; the clients must have the opposite.
        backlog: how many clients may be connected and not accepted yet, 1 to 4096; more get
            :exc:`EndpointBusy`. Linux and macOS cap it (``/proc/sys/net/core/somaxconn``);
            Windows makes that many pipe instances in advance.
        buffer_size: asks the system to hold this many bytes (1 or more) of what each connection
            sends; a hint, 524,288 when ``None``. On Windows it is used for both directions, and is
            65,536 when ``None``.
        authkey: a secret that both ends have, 16 bytes or more (``secrets.token_bytes(32)``). The
            handler gets only clients that have proved that they have it. A client that has not
            proved it within 10 s is turned away, and that is logged. When the listener is closed,
            unfinished handshakes end at once. ``None`` for no authentication. It needs
            ``direction="duplex"``.
        grace: seconds, 0 or more, that the handlers have to finish after the listener was closed;
            ``math.inf`` waits for all of them, whatever their clients do. If handlers are
            cancelled, that is logged (logger ``ipcpipes``, a warning).
        handler_nursery: the nursery in which the handlers run, as that of
            :func:`trio.serve_listeners`. They then outlive this function: cancelling it, or closing
            the listener, ends no handler, and ``grace`` has no effect. If the nursery has ended,
            the next client is turned away, and RuntimeError is raised. ``None`` for a nursery of
            this function.
        task_status: for ``await nursery.start(serve, ...)``, which then returns the listener
            as soon as clients can connect.

    Raises:
        TypeError, ValueError: ``grace`` is not a number of seconds, 0 or more.
        EndpointInUse: a server already listens there (``errno`` is ``EADDRINUSE``).
        NotAnEndpoint: there is a file that is not a socket (a ``FileExistsError``).
        EndpointNotFound: the directory of the path is missing (a ``FileNotFoundError``).
        UnsafeDirectory: others could replace the socket in its directory (a ``PermissionError``).
        EndpointDenied: you may not create it there (a ``PermissionError``).
        InvalidEndpoint, NotSupported: the endpoint cannot work on this system.
        UnknownAccount: the policy names a user or a group that this machine does not have.
        NotSupported: the system cannot express the policy; it is never weakened.
        TypeError, ValueError: an argument is of the wrong type or out of range, or the policy
            denies access to the user that listens.
        EndpointError: any other error of the system (an ``OSError``).
    """
    authenticate = authenticate_with("server", authkey, direction)
    del authkey
    grace = checked_seconds("grace", grace)
    check_direction(direction)
    arguments = listen_arguments(endpoint, direction, access, max_instances, backlog, buffer_size)
    listener = await open_listener(arguments)
    await serve_listener(handler, listener, task_status, authenticate, grace, handler_nursery)
