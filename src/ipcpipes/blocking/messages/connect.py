"""From an endpoint to a message channel, without an event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ..._os import blocking as _os
from ...authentication.core import key_of
from ...endpoint import EndpointLike
from ...framing import Buffer, Framing, Native
from ...framing.resolving import kind_of, resolve_framing
from ...messages.core import MessageListenerCore
from ...opening import ConnectRequest, listen_arguments
from ...options import (
    DEFAULT_BACKLOG,
    DEFAULT_GRACE,
    Impersonation,
    check_max_descriptors,
    checked_seconds,
)
from ...security import AccessPolicy
from .. import abc
from ..authentication.handshake import authenticate_with
from ..authentication.listener import AuthenticatingListener
from ..connections.connect import authenticate_or_close, open_connection
from ..connections.serving import listener_for, serve_listener
from ..wrapping import WrappingListener
from .framed import MessageChannel, NativeMessageChannel, channel_over

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...opening import (
        ConnectMessagesOptions,
        ListenMessagesOptions,
        ServeMessagesOptions,
    )

__all__ = ["connect_messages", "listen_messages", "serve_messages"]

ChannelT = TypeVar("ChannelT")


@overload
def connect_messages(
    endpoint: EndpointLike,
    *,
    framing: Framing = ...,
    **options: Unpack[ConnectMessagesOptions],
) -> MessageChannel: ...
@overload
def connect_messages(
    endpoint: EndpointLike,
    *,
    framing: Native,
    **options: Unpack[ConnectMessagesOptions],
) -> NativeMessageChannel: ...
def connect_messages(
    endpoint: EndpointLike,
    *,
    framing: Framing | Native | None = None,
    wait: float = 0.0,
    buffer_size: int | None = None,
    server: AccessPolicy | None = None,
    impersonation: Impersonation = "identify",
    authkey: Buffer | None = None,
    max_descriptors: int = 0,
) -> MessageChannel | NativeMessageChannel:
    """Connects to the server that listens for messages on ``endpoint``.

    Args:
        endpoint: a plain name, an absolute path, or an :class:`ipcpipes.Endpoint`.
        framing: how messages are told apart, the same at both ends: ``LengthPrefixed()`` when it
            is left out, any other :class:`ipcpipes.Framing`, or ``NATIVE``.
        wait: how many seconds to wait for a server that is not there yet or has no room;
            0 (the default) is one attempt, ``math.inf`` waits for ever. The pauses between attempts
            grow from 1 to 50 ms, and Ctrl-C ends the wait. If more than 100 calls wait in
            one process, the pauses grow further: all calls together make at most 2,000 attempts a
            second.
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
            (:func:`ipcpipes.blocking.authenticate_as_client`). ``None`` for no authentication.
        max_descriptors: how many descriptors may come with one message, 0 to 253; see
            :meth:`ipcpipes.blocking.abc.MessageChannel.receive_descriptors`. On Windows it must be
            0 at both ends or at neither.

    Returns:
        A channel (:class:`ipcpipes.blocking.abc.MessageChannel`), for ``with``, ``send``,
        ``receive`` and ``for message in channel``.

    Raises:
        NotSupported: ``NATIVE`` on a system without such messages (macOS).
        TypeError: ``framing`` is not a framing.
        TypeError, ValueError: ``max_descriptors`` is not an int, or out of range.
        EndpointDenied: you ask for native messages, and the server does not listen for them; or the
            reverse, except on Windows, where such a client can connect.
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

    After ``wait`` seconds the error of the last attempt is raised, and not TimeoutError.
    """
    framing = resolve_framing(framing)
    authenticate = authenticate_with("client", authkey)
    del authkey  # as in authenticate_as_client
    check_max_descriptors(max_descriptors)
    request = ConnectRequest(endpoint, kind_of(framing), wait, buffer_size, server, impersonation)
    connection = open_connection(request)
    channel: MessageChannel | NativeMessageChannel = channel_over(
        connection, framing, max_descriptors
    )
    if authenticate is not None:
        authenticate_or_close(channel, authenticate)
    else:
        channel._may_be_refused = True
    return channel


class _MessageListener(MessageListenerCore, WrappingListener):
    """Returns the connections of the listener below as channels."""

    def accept(self, *, timeout: float | None = None) -> Any:
        connection = self._below.accept(timeout=timeout)
        return channel_over(connection, self._framing, self._max_descriptors)


@overload
def listen_messages(
    endpoint: EndpointLike,
    *,
    framing: Framing = ...,
    **options: Unpack[ListenMessagesOptions],
) -> abc.Listener[MessageChannel]: ...
@overload
def listen_messages(
    endpoint: EndpointLike,
    *,
    framing: Native,
    **options: Unpack[ListenMessagesOptions],
) -> abc.Listener[NativeMessageChannel]: ...
def listen_messages(
    endpoint: EndpointLike,
    *,
    framing: Framing | Native | None = None,
    access: AccessPolicy | None = None,
    max_instances: int | None = None,
    backlog: int = DEFAULT_BACKLOG,
    buffer_size: int | None = None,
    authkey: Buffer | None = None,
    max_descriptors: int = 0,
) -> abc.Listener[Any]:
    """Takes the name and listens on it for clients that send and receive messages.

    Clients can connect as soon as this returns. A live name is never taken over. A socket file that
    a dead server left behind is replaced; any other file is left alone.

    Args:
        endpoint: a plain name, an absolute path, or an :class:`ipcpipes.Endpoint`.
        framing: how messages are told apart, the same at both ends: ``LengthPrefixed()`` when it
            is left out, any other :class:`ipcpipes.Framing`, or ``NATIVE``.
        access: which users may connect; ``None`` means ``AccessPolicy.current_user()``.
        max_instances: how many connections may be open at one time (1 or more), ``None`` for
            no limit. The next client waits, or gets :exc:`ipcpipes.EndpointBusy`, as its own
            ``wait`` says.
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
            ``None`` for no authentication.
        max_descriptors: how many descriptors may come with one message, 0 to 253; see
            :meth:`ipcpipes.blocking.abc.MessageChannel.receive_descriptors`. On Windows it must be
            0 at both ends or at neither.

    Returns:
        A listener (:class:`ipcpipes.blocking.abc.Listener`); its ``accept`` returns channels.

    Raises:
        NotSupported: ``NATIVE`` on a system without such messages (macOS).
        TypeError: ``framing`` is not a framing.
        TypeError, ValueError: ``max_descriptors`` is not an int, or out of range.
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
    framing = resolve_framing(framing)
    key = key_of(authkey)
    del authkey
    check_max_descriptors(max_descriptors)
    connections = _os.listen(
        **listen_arguments(endpoint, kind_of(framing), access, max_instances, backlog, buffer_size)
    )
    listener: abc.Listener[Any] = _MessageListener(connections, framing, max_descriptors)
    return listener if key is None else AuthenticatingListener(listener, key)


@overload
def serve_messages(
    handler: Callable[[MessageChannel], object],
    endpoint: EndpointLike,
    *,
    framing: Framing = ...,
    **options: Unpack[ServeMessagesOptions],
) -> None: ...
@overload
def serve_messages(
    handler: Callable[[NativeMessageChannel], object],
    endpoint: EndpointLike,
    *,
    framing: Native,
    **options: Unpack[ServeMessagesOptions],
) -> None: ...
@overload
def serve_messages(
    handler: Callable[[ChannelT], object],
    endpoint: abc.Listener[ChannelT],
    *,
    grace: float = ...,
) -> None: ...
def serve_messages(
    handler: Callable[[Any], object],
    endpoint: EndpointLike | abc.Listener[Any],
    *,
    framing: Framing | Native | None = None,
    access: AccessPolicy | None = None,
    max_instances: int | None = None,
    backlog: int = DEFAULT_BACKLOG,
    buffer_size: int | None = None,
    authkey: Buffer | None = None,
    max_descriptors: int = 0,
    grace: float = DEFAULT_GRACE,
) -> None:
    """Calls ``handler(channel)`` for each client in a thread, until the listener is closed.

    >>> with blocking.listen_messages("svc") as listener:
    ...     server = threading.Thread(target=blocking.serve_messages, args=(handler, listener))
    ...     server.start()
    ...     ...                                              # the rest of the program

    The channel is closed when the handler returns. An :exc:`Exception` in a handler ends that one
    connection: it is logged with its traceback (logger ``ipcpipes``), and the server continues. If
    a handler ends because its client has left, or has sent bytes that are not a message, one line
    is logged, at INFO or at WARNING; see :func:`ipcpipes.serve`. An exception that is not an
    ``Exception`` (``SystemExit``) ends the server, and this function raises it.

    Closing the listener, from any thread, shuts the server down: the handlers have ``grace``
    seconds to finish. Then their connections are closed, which wakes handlers that wait there. A
    thread cannot be cancelled: this function returns after all handlers have returned. Ctrl-C
    closes the connections at once, waits for the handlers, and raises KeyboardInterrupt.

    Args:
        handler: a function of one channel.
        endpoint: a plain name, an absolute path, or an :class:`ipcpipes.Endpoint`; or a listener of
            :func:`listen_messages`, which is closed when this returns. A listener has its own
            options: give no others but ``grace``.
        framing: how messages are told apart, the same at both ends: ``LengthPrefixed()`` when it
            is left out, any other :class:`ipcpipes.Framing`, or ``NATIVE``.
        access: which users may connect; ``None`` means ``AccessPolicy.current_user()``.
        max_instances: how many connections may be open at one time (1 or more), ``None`` for
            no limit. The next client waits, or gets :exc:`ipcpipes.EndpointBusy`, as its own
            ``wait`` says.
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
            ``None`` for no authentication.
        max_descriptors: how many descriptors may come with one message, 0 to 253; see
            :meth:`ipcpipes.blocking.abc.MessageChannel.receive_descriptors`. On Windows it must be
            0 at both ends or at neither.
        grace: seconds, 0 or more, that the handlers have to finish after the listener was closed;
            ``math.inf`` waits for all of them, whatever their clients do.

    Raises:
        TypeError: a listener was given, and options for listening, too.
        TypeError, ValueError: ``grace`` is not a number of seconds, 0 or more.
        NotSupported: ``NATIVE`` on a system without such messages (macOS).
        TypeError: ``framing`` is not a framing.
        TypeError, ValueError: ``max_descriptors`` is not an int, or out of range.
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
    key = key_of(authkey)
    del authkey  # as authenticate_as_client does
    grace = checked_seconds("grace", grace)
    options: dict[str, Any] = {
        "framing": framing,
        "access": access,
        "max_instances": max_instances,
        "backlog": backlog,
        "buffer_size": buffer_size,
        "max_descriptors": max_descriptors,
    }
    serve_listener(handler, listener_for(endpoint, listen_messages, options, key), grace)
