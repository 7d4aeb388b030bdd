"""The contracts of byte streams without an event loop, and of the ends of anonymous pipes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from ...abc import MOST_DESCRIPTORS, HasFileno

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...abc import PeerIdentity
    from ...endpoint import Endpoint

ResultT = TypeVar("ResultT")


class BareStream(Protocol):
    """The methods that a stream of yours needs, so that a channel can be made over it.

    The methods do what those of :class:`ByteStream` do, and raise the same errors.
    """

    def send_all(
        self, data: bytes | bytearray | memoryview, *, timeout: float | None = ...
    ) -> object:
        """Sends all bytes, as :meth:`ByteStream.send_all` does."""
        ...

    def receive_some(self, max_bytes: int | None = ..., *, timeout: float | None = ...) -> bytes:
        """Receives bytes, as :meth:`ByteStream.receive_some` does."""
        ...

    def close(self) -> None:
        """Closes the stream, and wakes threads that are inside other methods."""
        ...


class Connection(Protocol):
    """One end of a connection: what byte streams of every direction have in common.

    A forked child (POSIX) cannot use a connection that this process has connected. It can use a
    connection that a listener has accepted.

    The connections of ipcpipes also have ``fileno()`` (POSIX) or ``handle`` (Windows): the number
    by which the system knows this end; and ``detach()``, which gives the open connection to another
    owner.
    """

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that was connected to or listened on."""

    @property
    def address(self) -> str:
        """The real address of the endpoint; an abstract name is written with ``@`` in front."""

    @property
    def peer(self) -> PeerIdentity:
        """The identity of the peer. The system is asked once.

        Raises:
            trio.ClosedResourceError: it is asked for the first time after closing.
        """

    @property
    def send_buffer_size(self) -> int:
        """How many bytes the system holds of what this end sends. Linux reports twice the requested
        size, because it counts its own overhead (``socket(7)``, SO_SNDBUF).

        Raises:
            trio.ClosedResourceError: this end is closed.
        """

    @property
    def receive_buffer_size(self) -> int:
        """How many bytes the system holds of what this end receives. On Linux only the sender's
        size matters (``unix(7)``).

        Raises:
            trio.ClosedResourceError: this end is closed.
        """

    def close(self) -> None:
        """Closes at once, and wakes threads that are inside the other methods.

        The peer can still read what was sent before. Idempotent.
        """

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...

    def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        """Runs ``fn(*args)`` under the client's identity, in a thread of its own.

        A server uses it when the system has to decide whether the client may do something: what
        ``fn`` opens, it opens as the client. The client must have connected with
        ``impersonation="impersonate"`` or ``"delegate"``. This returns when ``fn`` has ended,
        whatever a signal handler raises meanwhile. :meth:`ipcpipes.abc.Connection.run_as_client`
        describes the limits of each system.

        Returns:
            What ``fn`` returns.

        Raises:
            ImpersonationRefused: the client does not allow it, or this process may not do it.
            NotSupported: macOS and the BSDs can only change the user of the whole process.
            RuntimeError: no listener has accepted this connection: there is no client.
            trio.BusyResourceError: two other threads are inside the other methods (Windows).
            trio.ClosedResourceError: this end is closed.
        """


class SendByteStream(Connection, Protocol):
    """The sending end of a one-way connection."""

    def send_all(
        self, data: bytes | bytearray | memoryview, *, timeout: float | None = None
    ) -> None:
        """Returns when the system has taken all of ``data``.

        Args:
            data: bytes, or contiguous memory, which must not change until this has returned.
            timeout: seconds, 0 or more; ``None`` waits for ever.

        Raises:
            TimeoutError: the system has not taken all of ``data`` in time.
            trio.BrokenResourceError: the peer closed its end or died (each time), or an earlier
                ``send_all`` was ended half-way by its timeout or by a signal handler.
            trio.ClosedResourceError: you closed this end, or this half of it.
            trio.BusyResourceError: another thread of yours is sending on this stream.
            TypeError, BufferError, ValueError: ``data`` is not a buffer, or not contiguous.
            TypeError, ValueError: ``timeout`` is not a number of seconds, or negative.

        Windows: a write that was ended after the system had begun it leaves the stream broken for
        sending, even if the peer has received nothing of it.
        """


class ReceiveByteStream(Connection, Protocol):
    """The receiving end of a one-way connection.

    ``for data in stream`` yields the results of :meth:`receive_some` until the end of the stream.
    """

    def receive_some(self, max_bytes: int | None = None, *, timeout: float | None = None) -> bytes:
        """Returns bytes as soon as there are any.

        Args:
            max_bytes: how many at most, 1 or more; 65,536 when ``None``.
            timeout: seconds, 0 or more; ``None`` waits for ever.

        Returns:
            1 to ``max_bytes`` bytes; ``b""`` at the end of the stream: after the other end closed
            or died and everything that it had sent was read, each time.

        Raises:
            TimeoutError: nothing has arrived in time; nothing is lost.
            trio.BrokenResourceError: the system reports an error, or a signal handler interrupted
                an earlier receive, and the data could not be kept.
            trio.ClosedResourceError: you closed this end.
            trio.BusyResourceError: another thread of yours is receiving from this stream.
            TypeError, ValueError: an argument is of the wrong type or out of range.
        """

    def receive_into(self, buffer: bytearray | memoryview, *, timeout: float | None = None) -> int:
        """Receives bytes into your memory, as soon as there are any, and at most as many as fit.

        Args:
            buffer: writable, contiguous memory of one byte or more. Do not use it until this has
                returned.
            timeout: seconds, 0 or more; ``None`` waits for ever.

        Returns:
            How many bytes were received, 0 at the end of the stream.

        Raises:
            TypeError, ValueError, BufferError: ``buffer`` is not writable, not contiguous, or
                empty. And everything that :meth:`receive_some` raises.
        """

    def __iter__(self) -> Iterator[bytes]: ...
    def __next__(self) -> bytes: ...


class ByteStream(SendByteStream, ReceiveByteStream, Protocol):
    """A connection in both directions. One thread may send while another one receives.

    ``carries_descriptors`` says whether :meth:`send_descriptors` and :meth:`receive_descriptors`
    work: over Unix domain sockets, not over Windows pipes.

    Outside Windows it has ``send_eof()`` too, which ends this end's sending half; a Windows pipe
    has no half-close.
    """

    @property
    def carries_descriptors(self) -> bool:
        """Whether this connection can carry descriptors."""
        ...

    def send_descriptors(
        self,
        data: bytes | bytearray | memoryview,
        descriptors: Sequence[int | HasFileno],
        *,
        timeout: float | None = None,
    ) -> None:
        """Sends ``data`` as :meth:`send_all` does, and open descriptors with its first byte.

        The peer gets descriptors of its own for the same open files, if it receives that byte with
        :meth:`receive_descriptors`; otherwise the system drops them. Yours stay open; you can close
        them as soon as this has returned. If the timeout passes before the first byte was sent, no
        descriptor was sent either.

        Args:
            data: 1 byte or more.
            descriptors: 1 to 253, as ints or as objects with ``fileno()``; they must stay open
                until this has returned.
            timeout: seconds, 0 or more; ``None`` waits for ever.

        Raises:
            OSError: the system refuses them; nothing was sent (EBADF, ETOOMANYREFS).
            TypeError, ValueError: an argument is of the wrong type, empty, or has too many.
            ipcpipes.NotSupported: this stream cannot carry descriptors (a Windows pipe).
            And everything that :meth:`send_all` raises.
        """

    def receive_descriptors(
        self,
        max_bytes: int | None = None,
        max_descriptors: int = MOST_DESCRIPTORS,
        *,
        timeout: float | None = None,
    ) -> tuple[bytes, list[int]]:
        """Receives bytes as :meth:`receive_some` does, and the descriptors that came with them.

        The bytes of several sends may arrive together, but never the descriptors of two. If a
        signal handler raises before the caller has the result, the descriptors are closed, and the
        stream is broken for receiving.

        Args:
            max_bytes: how many bytes at most, 1 or more; 65,536 when ``None``.
            max_descriptors: how many descriptors may come at once, 1 to 253.
            timeout: seconds, 0 or more; ``None`` waits for ever.

        Returns:
            The bytes (``b""`` at the end) and the descriptors in the order in which they were sent,
            usually none. They are close-on-exec, and yours: close them.

        Raises:
            ipcpipes.DescriptorsLost: more came at once than ``max_descriptors``, or this process
                may open no more (RLIMIT_NOFILE). They are closed, and nothing can be received any
                more.
            TypeError, ValueError: an argument is of the wrong type or out of range.
            ipcpipes.NotSupported: this stream cannot carry descriptors (a Windows pipe).
            And everything that :meth:`receive_some` raises.
        """


class AnonymousPipeEnd(Connection, Protocol):
    """One end of an anonymous pipe: a stream of its direction, which can go to a child instead.

    ``peer`` is empty, because a pipe does not report its other end. ``endpoint`` is what a child
    connects to. See :class:`ipcpipes.abc.AnonymousPipeEnd` for how each system does it.
    """

    @property
    def capacity(self) -> int:
        """How many bytes the pipe holds before a sender has to wait.

        Raises:
            trio.BusyResourceError: another thread is asking.
            trio.ClosedResourceError: this end is closed, or was handed over.
            ipcpipes.NotSupported: macOS does not report it.
        """

    def set_capacity(self, size: int) -> None:
        """Makes the pipe hold at least ``size`` bytes, 1 to 2**31 - 1 (Linux; Windows only when the
        pipe is made: ``open_anonymous_pipe(capacity=...)``).
        """

    def hand_over(self) -> str:
        """Gives this end to the child that is started next, and returns its number as text. From
        then on this process cannot use it.
        """

    def dispose_local_copy(self) -> None:
        """Closes the copy that :meth:`hand_over` kept for the child. Call it once the child has
        started, or the child's end never closes. Idempotent.
        """
