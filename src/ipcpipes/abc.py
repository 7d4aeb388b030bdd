"""The contracts: what every stream and listener of ipcpipes is, on every system.

They are trio's own (:class:`trio.abc.Stream`, :class:`trio.abc.Listener`) and add
who is at the other end and where. Code that needs no more should ask for trio's.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    from .endpoint import Endpoint

__all__ = ["ByteStream", "Connection", "Listener", "PeerIdentity", "ReceiveByteStream"]
__all__ += ["SendByteStream"]


@dataclass(frozen=True)
class PeerIdentity:
    r"""Who is at the other end, as far as the system says; ``None`` where it does not.

    Attributes:
        pid: the process id. It is worth little against an attacker: the process may have
            ended and its number been given away. On Windows the pid that a client sees is
            that of the process which made the pipe's first instance.
        user: the account name; ``DOMAIN\user`` on Windows.
        uid: the effective user id when the connection was made (POSIX).
        gid: the effective group id then (POSIX).
        sid: the security identifier of the user that process runs under (Windows).
    """

    pid: int | None = None
    user: str | None = None
    uid: int | None = None
    gid: int | None = None
    sid: str | None = None

    def __str__(self) -> str:
        number = self.sid if self.sid is not None else self.uid
        return f"{self.user or 'unknown user'} ({number}), process {self.pid}"


class Connection(trio.abc.AsyncResource):
    """One end of a connection: what byte streams of every direction have in common."""

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint:
        """The endpoint that was connected to or listened on."""

    @property
    @abstractmethod
    def address(self) -> str:
        """Its real address; an abstract name is written with ``@`` in front."""

    @property
    @abstractmethod
    def peer(self) -> PeerIdentity:
        """Who is at the other end, looked up once.

        Raises:
            trio.ClosedResourceError: it is asked for the first time after closing.
        """

    @property
    @abstractmethod
    def send_buffer_size(self) -> int:
        """How many bytes the system holds for what this end sends, as the system says.

        Linux answers twice what was asked, because it counts its own overhead
        (``socket(7)``, SO_SNDBUF).

        Raises:
            trio.ClosedResourceError: this end is closed.
        """

    @property
    @abstractmethod
    def receive_buffer_size(self) -> int:
        """The same for what this end receives.

        On Linux the sender's size is the one that counts (``unix(7)``).

        Raises:
            trio.ClosedResourceError: this end is closed.
        """


class SendByteStream(Connection, trio.abc.SendStream):
    """The sending end of a one-way connection."""


class ReceiveByteStream(Connection, trio.abc.ReceiveStream):
    """The receiving end of a one-way connection."""


class ByteStream(Connection, trio.abc.Stream):
    """A connection in both directions.

    Outside Windows it is a :class:`trio.abc.HalfCloseableStream` too; a Windows pipe has no
    half-close, and so no ``send_eof``.

    ``await send_all(data)`` (bytes, bytearray or memoryview) returns when the system has
    taken all of ``data``. Cancelled before the first byte went out, it leaves the stream as
    it was; cancelled later, or on Windows once the system has begun to write, the stream is
    broken for sending: the peer may have a part.

    ``await receive_some(max_bytes=None)`` returns 1 to ``max_bytes`` bytes (65,536 when
    ``None``) as soon as there are any, and ``b""`` at the end of the stream: after the other
    end closed or died and all it had sent was read, again and again. A cancelled
    ``receive_some`` loses nothing.

    ``await aclose()`` closes at once, and wakes tasks that are inside the other methods with
    :exc:`trio.ClosedResourceError`; what was sent before remains readable for the peer.

    Raises:
        trio.BrokenResourceError: the peer closed its end or died and you send (each time),
            or an earlier ``send_all`` was cancelled half-way.
        trio.ClosedResourceError: you closed this end, or this half of it.
        trio.BusyResourceError: another task of yours is inside the same method.
        TypeError, BufferError: ``data`` is no buffer, or not contiguous.
        TypeError, ValueError: ``max_bytes`` is no int, or less than 1.
    """


StreamT_co = TypeVar("StreamT_co", bound=Connection, covariant=True)


class Listener(trio.abc.Listener[StreamT_co]):
    """Accepts connections; holds the name from :func:`ipcpipes.listen` to :meth:`aclose`.

    ``await accept()`` returns the next client's stream. Clients that left before they were
    accepted, and clients that the access policy turns away, are passed over; when descriptors
    run out, it logs a warning and goes on as soon as there are some again. A cancelled
    ``accept`` loses no client.

    ``await aclose()`` gives the name up. Connections that were accepted live on; clients that
    were not see the end of the stream. On Windows the name becomes free when the last accepted
    connection has closed too.

    Raises:
        trio.ClosedResourceError: you closed the listener.
        trio.BusyResourceError: another task of yours is accepting.
    """

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint:
        """The endpoint that is listened on."""

    @property
    @abstractmethod
    def address(self) -> str:
        """Its real address; an abstract name is written with ``@`` in front."""

    @property
    @abstractmethod
    def connection_count(self) -> int:
        """How many accepted connections are open now."""
