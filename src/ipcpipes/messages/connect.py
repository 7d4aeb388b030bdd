"""From an endpoint to a channel: the doors that users of messages come in by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar, overload

import trio

from .. import abc
from ..authentication import AuthenticatingListener, greeting
from ..authentication.challenge import keyed
from ..connections.connect import greet_server, open_connection, open_listener
from ..connections.serving import serve_listener
from ..endpoint import Endpoint, EndpointLike
from ..framing import Buffer, Framing, Native
from ..framing.resolving import kind_of, resolve_framing
from ..options import (
    DEFAULT_BACKLOG,
    DEFAULT_GRACE,
    Impersonation,
    check_max_descriptors,
    checked_seconds,
)
from ..security import AccessPolicy
from .framed import MessageChannel, NativeMessageChannel

__all__ = ["connect_messages", "listen_messages", "serve_messages"]

ChannelT_co = TypeVar("ChannelT_co", bound=abc.MessageChannel, covariant=True)


@overload
async def connect_messages(
    endpoint: EndpointLike,
    *,
    framing: Framing = ...,
    wait: float = ...,
    buffer_size: int | None = ...,
    server: AccessPolicy | None = ...,
    impersonation: Impersonation = ...,
    authkey: Buffer | None = ...,
    max_descriptors: int = ...,
) -> MessageChannel: ...
@overload
async def connect_messages(
    endpoint: EndpointLike,
    *,
    framing: Native,
    wait: float = ...,
    buffer_size: int | None = ...,
    server: AccessPolicy | None = ...,
    impersonation: Impersonation = ...,
    authkey: Buffer | None = ...,
    max_descriptors: int = ...,
) -> NativeMessageChannel: ...
async def connect_messages(
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
        framing: how messages are told apart, the same at both ends: ``LengthPrefixed()`` when it
            is left out, any other :class:`Framing`, or ``NATIVE``.
        endpoint, wait, buffer_size, server, impersonation, authkey: as for
            :func:`ipcpipes.connect`.
        max_descriptors: how many descriptors may come with one message, 0 to 253; see
            :meth:`ipcpipes.abc.MessageChannel.receive_descriptors`. On Windows it must not be 0 at
            one end, and 0 at the other one.

    Returns:
        A channel, for ``async with``, ``send``, ``receive`` and ``async for``.

    Raises:
        NotSupported: ``NATIVE`` on a system that has no such thing (macOS).
        EndpointDenied: the server does not listen for native messages and you ask for them, or
            (except on Windows, which lets you in) the reverse.
        TypeError: ``framing`` is no framing.
        TypeError, ValueError: ``max_descriptors`` is no int, or out of range.
        And everything that :func:`ipcpipes.connect` raises.
    """
    framing = resolve_framing(framing)
    greet = greeting("client", authkey)
    del authkey  # as authenticate_as_client does
    check_max_descriptors(max_descriptors)
    connection = await open_connection(
        endpoint,
        kind=kind_of(framing),
        wait=wait,
        buffer_size=buffer_size,
        server=server,
        impersonation=impersonation,
    )
    channel: MessageChannel | NativeMessageChannel = _channel(connection, framing, max_descriptors)
    if greet is not None:
        await greet_server(channel, greet)
    else:
        channel._may_be_refused = True
    return channel


class _MessageListener(abc.Listener[ChannelT_co], Generic[ChannelT_co]):
    """A listener whose connections are handed out as channels. It owns the listener below."""

    def __init__(
        self, connections: abc.Listener[Any], framing: Framing | Native, max_descriptors: int
    ) -> None:
        self._connections = connections
        self._framing = framing
        self._max_descriptors = max_descriptors

    @property
    def endpoint(self) -> Endpoint:
        return self._connections.endpoint

    @property
    def address(self) -> str:
        return self._connections.address

    @property
    def connection_count(self) -> int:
        return self._connections.connection_count

    async def accept(self) -> ChannelT_co:
        connection = await self._connections.accept()
        channel: ChannelT_co = _channel(connection, self._framing, self._max_descriptors)
        return channel

    async def aclose(self) -> None:
        await self._connections.aclose()

    def __repr__(self) -> str:
        return f"<{self._connections!r} for messages, {self._framing!r}>"


@overload
async def listen_messages(
    endpoint: EndpointLike,
    *,
    framing: Framing = ...,
    access: AccessPolicy | None = ...,
    max_instances: int | None = ...,
    backlog: int = ...,
    buffer_size: int | None = ...,
    authkey: Buffer | None = ...,
    max_descriptors: int = ...,
) -> abc.Listener[MessageChannel]: ...
@overload
async def listen_messages(
    endpoint: EndpointLike,
    *,
    framing: Native,
    access: AccessPolicy | None = ...,
    max_instances: int | None = ...,
    backlog: int = ...,
    buffer_size: int | None = ...,
    authkey: Buffer | None = ...,
    max_descriptors: int = ...,
) -> abc.Listener[NativeMessageChannel]: ...
async def listen_messages(
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

    Args:
        framing, max_descriptors: as for :func:`connect_messages`.
        endpoint, access, max_instances, backlog, buffer_size, authkey: as for
            :func:`ipcpipes.listen`.

    Returns:
        A listener whose ``accept`` returns channels.

    Raises:
        NotSupported: ``NATIVE`` on a system that has no such thing (macOS).
        TypeError: ``framing`` is no framing.
        TypeError, ValueError: ``max_descriptors`` is no int, or out of range.
        And everything that :func:`ipcpipes.listen` raises.
    """
    key = None if authkey is None else keyed(authkey)
    del authkey
    listener: Any = await _listen(
        endpoint,
        resolve_framing(framing),
        access=access,
        max_instances=max_instances,
        backlog=backlog,
        buffer_size=buffer_size,
        max_descriptors=max_descriptors,
    )
    return listener if key is None else AuthenticatingListener(listener, key)


@overload
async def serve_messages(
    handler: Callable[[MessageChannel], Awaitable[object]],
    endpoint: EndpointLike,
    *,
    framing: Framing = ...,
    access: AccessPolicy | None = ...,
    max_instances: int | None = ...,
    backlog: int = ...,
    buffer_size: int | None = ...,
    authkey: Buffer | None = ...,
    max_descriptors: int = ...,
    grace: float = ...,
    task_status: trio.TaskStatus[abc.Listener[MessageChannel]] = ...,
) -> None: ...
@overload
async def serve_messages(
    handler: Callable[[NativeMessageChannel], Awaitable[object]],
    endpoint: EndpointLike,
    *,
    framing: Native,
    access: AccessPolicy | None = ...,
    max_instances: int | None = ...,
    backlog: int = ...,
    buffer_size: int | None = ...,
    authkey: Buffer | None = ...,
    max_descriptors: int = ...,
    grace: float = ...,
    task_status: trio.TaskStatus[abc.Listener[NativeMessageChannel]] = ...,
) -> None: ...
async def serve_messages(
    handler: Callable[[Any], Awaitable[object]],
    endpoint: EndpointLike,
    *,
    framing: Framing | Native | None = None,
    access: AccessPolicy | None = None,
    max_instances: int | None = None,
    backlog: int = DEFAULT_BACKLOG,
    buffer_size: int | None = None,
    authkey: Buffer | None = None,
    max_descriptors: int = 0,
    grace: float = DEFAULT_GRACE,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listens on ``endpoint`` and runs ``handler(channel)`` for each client, until cancelled.

    In all else it is :func:`ipcpipes.serve`: a task for each handler, its channel closed when it
    returns, errors of one client logged and kept from the others.

    Args:
        handler: an async function of one channel.
        framing, max_descriptors: as for :func:`connect_messages`.
        task_status: for ``await nursery.start(serve_messages, ...)``, which returns the listener.
        endpoint, access, max_instances, backlog, buffer_size: as for :func:`ipcpipes.listen`.
        authkey, grace: as for :func:`ipcpipes.serve`.

    Raises:
        TypeError, ValueError: ``authkey`` is not bytes-like, or shorter than 16 bytes; or ``grace``
            is not 0 or more seconds.
        And everything that :func:`listen_messages` raises.
    """
    greet = greeting("server", authkey)
    del authkey
    grace = checked_seconds("grace", grace)
    listener = await _listen(
        endpoint,
        resolve_framing(framing),
        access=access,
        max_instances=max_instances,
        backlog=backlog,
        buffer_size=buffer_size,
        max_descriptors=max_descriptors,
    )
    await serve_listener(handler, listener, task_status, greet, grace)


async def _listen(
    endpoint: EndpointLike,
    framing: Framing | Native,
    *,
    access: AccessPolicy | None,
    max_instances: int | None,
    backlog: int,
    buffer_size: int | None,
    max_descriptors: int,
) -> _MessageListener[Any]:
    check_max_descriptors(max_descriptors)
    connections = await open_listener(
        endpoint,
        kind=kind_of(framing),
        access=access,
        max_instances=max_instances,
        backlog=backlog,
        buffer_size=buffer_size,
    )
    return _MessageListener(connections, framing, max_descriptors)


def _channel(connection: Any, framing: Framing | Native, max_descriptors: int) -> Any:
    if isinstance(framing, Native):
        return NativeMessageChannel(connection, framing, max_descriptors)
    return MessageChannel(connection, framing, max_descriptors=max_descriptors)
