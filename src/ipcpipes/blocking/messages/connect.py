"""From an endpoint to a channel, without an event loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ...abc.uncopied import Uncopied
from ...authentication.challenge import keyed
from ...endpoint import Endpoint, EndpointLike
from ...framing import Buffer, Framing, Native
from ...framing.resolving import kind_of, resolve_framing
from ...options import DEFAULT_BACKLOG, Impersonation, check_max_descriptors
from ...security import AccessPolicy
from .. import abc
from ..authentication.handshake import greeting
from ..authentication.listener import AuthenticatingListener
from ..connections.connect import greet_server, open_connection, open_listener
from .framed import MessageChannel, NativeMessageChannel

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["connect_messages", "listen_messages"]

ChannelT_co = TypeVar("ChannelT_co", bound=abc.MessageChannel, covariant=True)


@overload
def connect_messages(
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
def connect_messages(
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
        framing: how messages are told apart, the same at both ends: ``LengthPrefixed()`` when it
            is left out, any other :class:`ipcpipes.Framing`, or ``NATIVE``.
        endpoint, wait, buffer_size, server, impersonation, authkey: as for
            :func:`ipcpipes.blocking.connect`.
        max_descriptors: how many descriptors may come with one message, 0 to 253; see
            :meth:`ipcpipes.blocking.abc.MessageChannel.receive_descriptors`.

    Returns:
        A channel (:class:`ipcpipes.blocking.abc.MessageChannel`), for ``with``, ``send``,
        ``receive`` and ``for message in channel``.

    Raises:
        Everything that :func:`ipcpipes.connect_messages` raises.
    """
    framing = resolve_framing(framing)
    greet = greeting("client", authkey)
    del authkey  # as authenticate_as_client does
    check_max_descriptors(max_descriptors)
    connection = open_connection(
        endpoint,
        kind=kind_of(framing),
        wait=wait,
        buffer_size=buffer_size,
        server=server,
        impersonation=impersonation,
    )
    channel: MessageChannel | NativeMessageChannel = _channel(connection, framing, max_descriptors)
    if greet is not None:
        greet_server(channel, greet)
    else:
        channel._may_be_refused = True
    return channel


class _MessageListener(Uncopied, abc.Listener[ChannelT_co], Generic[ChannelT_co]):
    """A listener whose connections are handed out as channels. It owns the listener below."""

    _instead = "to serve one endpoint from several processes, use a WorkerGroup"

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

    def accept(self, *, timeout: float | None = None) -> ChannelT_co:
        return self._over(self._connections.accept(timeout=timeout))

    def close(self) -> None:
        self._connections.close()

    def __iter__(self) -> Iterator[ChannelT_co]:
        return self

    def __next__(self) -> ChannelT_co:
        return self._over(next(self._connections))

    def _over(self, connection: Any) -> ChannelT_co:
        channel: ChannelT_co = _channel(connection, self._framing, self._max_descriptors)
        return channel

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{self._connections!r} for messages, {self._framing!r}>"


@overload
def listen_messages(
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
def listen_messages(
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

    Args:
        framing, max_descriptors: as for :func:`connect_messages`.
        endpoint, access, max_instances, backlog, buffer_size, authkey: as for
            :func:`ipcpipes.listen`.

    Returns:
        A listener (:class:`ipcpipes.blocking.abc.Listener`) whose ``accept`` returns channels.

    Raises:
        Everything that :func:`ipcpipes.listen_messages` raises.
    """
    framing = resolve_framing(framing)
    key = None if authkey is None else keyed(authkey)
    del authkey
    check_max_descriptors(max_descriptors)
    connections = open_listener(
        endpoint,
        kind=kind_of(framing),
        access=access,
        max_instances=max_instances,
        backlog=backlog,
        buffer_size=buffer_size,
    )
    listener: abc.Listener[Any] = _MessageListener(connections, framing, max_descriptors)
    return listener if key is None else AuthenticatingListener(listener, key)


def _channel(connection: Any, framing: Framing | Native, max_descriptors: int) -> Any:
    if isinstance(framing, Native):
        return NativeMessageChannel(connection, framing, max_descriptors)
    return MessageChannel(connection, framing, max_descriptors=max_descriptors)
