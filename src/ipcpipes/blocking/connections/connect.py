"""From an endpoint to a stream, without an event loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from ..._os import blocking as _os
from ..._os.blocking import Listener, ReceiveStream, SendStream, Stream
from ...authentication.core import key_of
from ...endpoint import EndpointLike
from ...framing import Buffer
from ...opening import ConnectRequest, listen_arguments, pauses
from ...options import (
    DEFAULT_BACKLOG,
    DEFAULT_GRACE,
    Direction,
    Impersonation,
    check_direction,
    checked_seconds,
)
from ...security import AccessPolicy
from .. import abc
from ..authentication.handshake import Authenticate, authenticate_with
from ..authentication.listener import AuthenticatingListener
from .serving import listener_for, serve_listener

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...opening import ConnectOptions, ListenOptions, ServeOptions

__all__ = ["connect", "listen", "serve"]

ConnectionT = TypeVar("ConnectionT")


@overload
def connect(
    endpoint: EndpointLike,
    *,
    direction: Literal["duplex"] = ...,
    **options: Unpack[ConnectOptions],
) -> Stream: ...
@overload
def connect(
    endpoint: EndpointLike,
    *,
    direction: Literal["send"],
    **options: Unpack[ConnectOptions],
) -> SendStream: ...
@overload
def connect(
    endpoint: EndpointLike,
    *,
    direction: Literal["receive"],
    **options: Unpack[ConnectOptions],
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
            0 (the default) is one attempt, ``math.inf`` waits for ever. The pauses between attempts
            grow from 1 to 50 ms, and Ctrl-C ends the wait. If more than 100 calls wait in
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
            (:func:`ipcpipes.blocking.authenticate_as_client`). ``None`` for no authentication. It
            needs ``direction="duplex"``.

    Returns:
        A stream of that direction (:mod:`ipcpipes.blocking.abc`), for ``with``.

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

    After ``wait`` seconds the error of the last attempt is raised, and not TimeoutError. When the
    server's queue is full, Linux reports "busy", and macOS reports "refused".
    """
    check_direction(direction)
    authenticate = authenticate_with("client", authkey, direction)
    del authkey  # as in authenticate_as_client
    request = ConnectRequest(endpoint, direction, wait, buffer_size, server, impersonation)
    stream: Stream | SendStream | ReceiveStream = open_connection(request)
    if authenticate is not None:
        authenticate_or_close(stream, authenticate)
    return stream


def authenticate_or_close(connection: Any, authenticate: Authenticate) -> None:
    try:
        authenticate(connection)
    except BaseException:
        connection.close()
        raise


def open_connection(request: ConnectRequest) -> Any:
    """Makes the connection. All functions that connect call this."""
    deadline = time.monotonic() + request.wait
    back_off = pauses()
    connection: Any = None
    try:
        try:
            while connection is None:
                remaining = deadline - time.monotonic()
                connection = request.attempt(_os.connect, remaining)
                if connection is None:
                    time.sleep(min(next(back_off), remaining))
        finally:
            back_off.close()
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
    direction: Literal["duplex"] = ...,
    **options: Unpack[ListenOptions],
) -> Listener[Stream]: ...
@overload
def listen(
    endpoint: EndpointLike,
    *,
    direction: Literal["send"],
    **options: Unpack[ListenOptions],
) -> Listener[SendStream]: ...
@overload
def listen(
    endpoint: EndpointLike,
    *,
    direction: Literal["receive"],
    **options: Unpack[ListenOptions],
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

    Clients can connect as soon as this returns. A live name is never taken over. A socket file that
    a dead server left behind is replaced; any other file is left alone. The check does not disturb
    a live server, not even one of another program.

    While a thread waits for clients, the listener checks its socket file every ten seconds (Linux,
    macOS). If another program has removed or replaced the file, the listener logs an error, once.

    Args:
        endpoint: a plain name, an absolute path, or an :class:`ipcpipes.Endpoint`.
        access: which users may connect; ``None`` means ``AccessPolicy.current_user()``.
        max_instances: how many connections may be open at one time (1 or more), ``None`` for
            no limit. The next client waits, or gets :exc:`ipcpipes.EndpointBusy`, as its own
            ``wait`` says.
        direction: what this end does with its connections: ``"duplex"``, ``"send"`` or
            ``"receive"``; the clients must have the opposite.
        backlog: how many clients may be connected and not accepted yet, 1 to 4096; more get
            :exc:`ipcpipes.EndpointBusy`. Linux and macOS cap it (``/proc/sys/net/core/somaxconn``);
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
        A listener (:class:`ipcpipes.blocking.abc.Listener`), for ``with``, ``accept()`` and
        ``for stream in listener``.

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
    listener: Listener[Any] = _os.listen(**arguments)
    if key is None:
        return listener
    try:
        # It has the same methods.
        return cast("Listener[Any]", AuthenticatingListener(listener, key))
    except BaseException:
        listener.close()
        raise


@overload
def serve(
    handler: Callable[[Stream], object],
    endpoint: EndpointLike,
    *,
    direction: Literal["duplex"] = ...,
    **options: Unpack[ServeOptions],
) -> None: ...
@overload
def serve(
    handler: Callable[[SendStream], object],
    endpoint: EndpointLike,
    *,
    direction: Literal["send"],
    **options: Unpack[ServeOptions],
) -> None: ...
@overload
def serve(
    handler: Callable[[ReceiveStream], object],
    endpoint: EndpointLike,
    *,
    direction: Literal["receive"],
    **options: Unpack[ServeOptions],
) -> None: ...
@overload
def serve(
    handler: Callable[[ConnectionT], object],
    endpoint: abc.Listener[ConnectionT],
    *,
    grace: float = ...,
) -> None: ...
def serve(
    handler: Callable[[Any], object],
    endpoint: EndpointLike | abc.Listener[Any],
    *,
    access: AccessPolicy | None = None,
    max_instances: int | None = None,
    direction: Direction = "duplex",
    backlog: int = DEFAULT_BACKLOG,
    buffer_size: int | None = None,
    authkey: Buffer | None = None,
    grace: float = DEFAULT_GRACE,
) -> None:
    """Calls ``handler(stream)`` for each client in a thread, until the listener is closed.

    >>> with blocking.listen("svc") as listener:
    ...     server = threading.Thread(target=blocking.serve, args=(handler, listener))
    ...     server.start()
    ...     ...                                              # the rest of the program

    The stream is closed when the handler returns. An :exc:`Exception` in a handler ends that one
    connection: it is logged with its traceback (logger ``ipcpipes``), and the server continues. If
    a handler ends because its client has left, or has sent bytes that are not a message, one line
    is logged, at INFO or at WARNING; see :func:`ipcpipes.serve`. An exception that is not an
    ``Exception`` (``SystemExit``) ends the server, and this function raises it.

    Closing the listener, from any thread, shuts the server down: the handlers have ``grace``
    seconds to finish. Then their connections are closed, which wakes handlers that wait there. A
    thread cannot be cancelled: this function returns after all handlers have returned. Ctrl-C
    closes the connections at once, waits for the handlers, and raises KeyboardInterrupt.

    Args:
        handler: a function of one stream.
        endpoint: a plain name, an absolute path, or an :class:`ipcpipes.Endpoint`; or a listener of
            :func:`listen`, which is closed when this returns. A listener has its own
            options: give no others but ``grace``.
        access: which users may connect; ``None`` means ``AccessPolicy.current_user()``.
        max_instances: how many connections may be open at one time (1 or more), ``None`` for
            no limit. The next client waits, or gets :exc:`ipcpipes.EndpointBusy`, as its own
            ``wait`` says.
        direction: what this end does with its connections: ``"duplex"``, ``"send"`` or
            ``"receive"``; the clients must have the opposite.
        backlog: how many clients may be connected and not accepted yet, 1 to 4096; more get
            :exc:`ipcpipes.EndpointBusy`. Linux and macOS cap it (``/proc/sys/net/core/somaxconn``);
            Windows makes that many pipe instances in advance.
        buffer_size: asks the system to hold this many bytes (1 or more) of what each connection
            sends; a hint, 524,288 when ``None``. On Windows it is used for both directions, and is
            65,536 when ``None``.
        authkey: a secret that both ends have, 16 bytes or more (``secrets.token_bytes(32)``).
            The handler gets only clients that have proved that they have it. The handshakes run
            concurrently while ``accept`` is running, so that no client waits for another one. A
            client that has not proved it 10 s after its connection was accepted is turned away, and
            that is logged. ``connection_count`` and ``max_instances`` count the client until then.
            ``None`` for no authentication. It needs ``direction="duplex"``.
        grace: seconds, 0 or more, that the handlers have to finish after the listener was closed;
            ``math.inf`` waits for all of them, whatever their clients do.

    Raises:
        TypeError: a listener was given, and options for listening, too.
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
    check_direction(direction)
    key = key_of(authkey, direction)
    del authkey  # as authenticate_as_client does
    grace = checked_seconds("grace", grace)
    options: dict[str, Any] = {
        "access": access,
        "max_instances": max_instances,
        "direction": direction,
        "backlog": backlog,
        "buffer_size": buffer_size,
    }
    serve_listener(handler, listener_for(endpoint, listen, options, key), grace)
