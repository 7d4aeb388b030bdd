"""The contracts of streams, channels and listeners without an event loop.

They are those of :mod:`ipcpipes.abc` with two additions: threads take the place of tasks, and
every operation that can wait takes ``timeout``.

``timeout`` is a number of seconds; ``None`` (the default) and ``math.inf`` wait for ever, and 0
takes only what can be had at once. When it has passed, :exc:`TimeoutError` is raised. A receive
that timed out has lost nothing. A send that timed out before the first byte went out has changed
nothing; one that timed out later leaves the stream broken for sending, because the peer has a part.

``close`` may be called from any thread, also from a signal handler or a finalizer that has
interrupted one of the other methods. It wakes whoever is inside, who gets
:exc:`trio.ClosedResourceError`; the descriptor or handle is given back when the last one has left.

An exception that a signal handler raises (:exc:`KeyboardInterrupt` on Ctrl-C) ends an operation at
any step, whether it waits or not. Data that a receive had got by then is kept for the next receive.
If it cannot be kept (because descriptors had come with it, or a framing was in the middle of
splitting it into messages), the stream or channel is broken for receiving from then on, and every
receive raises an error that says so. A message never arrives in part. A send that was interrupted
half-way leaves the stream or channel broken for sending. Python 3.10 also runs signal handlers when
a function has returned: then the bytes or the message that were just returned can be lost.

The errors are trio's, named by who is at fault: :exc:`trio.BrokenResourceError` (the peer),
:exc:`trio.ClosedResourceError` (you closed it), :exc:`trio.BusyResourceError` (two threads at
once), :exc:`trio.EndOfChannel`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from ..abc import MOST_DESCRIPTORS, HasFileno

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..abc import PeerIdentity
    from ..endpoint import Endpoint

__all__ = [
    "AnonymousPipeEnd",
    "BareStream",
    "ByteStream",
    "Connection",
    "HalfCloseableMessageChannel",
    "Listener",
]
__all__ += ["MessageChannel", "ReceiveByteStream", "SendByteStream"]


ResultT = TypeVar("ResultT")


class BareStream(Protocol):
    """The least that a :class:`MessageChannel` can be made over: one more stream of yours.

    The methods do what those of :class:`ByteStream` do, and raise the same.
    """

    def send_all(
        self, data: bytes | bytearray | memoryview, *, timeout: float | None = ...
    ) -> object: ...
    def receive_some(
        self, max_bytes: int | None = ..., *, timeout: float | None = ...
    ) -> bytes: ...
    def close(self) -> None: ...


class Connection(Protocol):
    """One end of a connection: what byte streams of every direction have in common.

    A forked child (POSIX) cannot use a connection that this process has connected; see
    :class:`ipcpipes.abc.Connection`.
    """

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that was connected to or listened on."""

    @property
    def address(self) -> str:
        """Its real address; an abstract name is written with ``@`` in front."""

    @property
    def peer(self) -> PeerIdentity:
        """Who is at the other end, looked up once.

        Raises:
            trio.ClosedResourceError: it is asked for the first time after closing.
        """

    @property
    def send_buffer_size(self) -> int:
        """How many bytes the system holds for what this end sends, as the system says.

        Raises:
            trio.ClosedResourceError: this end is closed.
        """

    @property
    def receive_buffer_size(self) -> int:
        """The same for what this end receives; see :class:`ipcpipes.abc.Connection`.

        Raises:
            trio.ClosedResourceError: this end is closed.
        """

    def close(self) -> None:
        """Closes at once, and wakes threads that are inside the other methods.

        What was sent before remains readable for the peer. Twice is as good as once.
        """

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...

    def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        """As :meth:`ipcpipes.abc.Connection.run_as_client`; it waits until ``fn`` has ended,
        whatever a signal handler raises meanwhile.

        Raises:
            trio.BusyResourceError: two other threads are inside the other methods (Windows).
            And all that it raises there.
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
            TimeoutError: the system has not taken all of it in time.
            trio.BrokenResourceError: the peer closed its end or died (each time), or an earlier
                ``send_all`` was ended half-way by its timeout or by a signal handler.
            trio.ClosedResourceError: you closed this end, or this half of it.
            trio.BusyResourceError: another thread of yours is sending on this stream.
            TypeError, BufferError, ValueError: ``data`` is no buffer, or not contiguous.
            TypeError, ValueError: ``timeout`` is no number of seconds, or negative.

        Windows: a write that was ended once the system had begun with it leaves the stream broken
        for sending, also when the peer may have got nothing of it.
        """


class ReceiveByteStream(Connection, Protocol):
    """The receiving end of a one-way connection.

    ``for data in stream`` gives what :meth:`receive_some` returns, until the end of the stream.
    """

    def receive_some(self, max_bytes: int | None = None, *, timeout: float | None = None) -> bytes:
        """Returns bytes as soon as there are any.

        Args:
            max_bytes: how many at most, 1 or more; 65,536 when ``None``.
            timeout: seconds, 0 or more; ``None`` waits for ever.

        Returns:
            1 to ``max_bytes`` bytes; ``b""`` at the end of the stream: after the other end closed
            or died and all it had sent was read, again and again.

        Raises:
            TimeoutError: nothing has come in time; nothing is lost.
            trio.BrokenResourceError: the system reports an error, or a signal handler interrupted
                an earlier receive whose data could not be kept.
            trio.ClosedResourceError: you closed this end.
            trio.BusyResourceError: another thread of yours is receiving from this stream.
            TypeError, ValueError: an argument is of the wrong type or out of range.
        """

    def receive_into(self, buffer: bytearray | memoryview, *, timeout: float | None = None) -> int:
        """As ``receive_some(len(buffer))``, into memory of yours and without its limit.

        Args:
            buffer: writable, contiguous memory of one byte or more; nobody else may use it until
                this has returned.
            timeout: seconds, 0 or more; ``None`` waits for ever.

        Returns:
            How many bytes were received, 0 at the end of the stream.

        Raises:
            TypeError, ValueError, BufferError: ``buffer`` is not writable, not contiguous, or
                empty. And all that :meth:`receive_some` raises.
        """

    def __iter__(self) -> Iterator[bytes]: ...
    def __next__(self) -> bytes: ...


class ByteStream(SendByteStream, ReceiveByteStream, Protocol):
    """A connection in both directions. One thread may send while another one receives.

    ``carries_descriptors`` is what it is for :class:`ipcpipes.abc.ByteStream`.

    Outside Windows it has ``send_eof()`` too, which ends what this end sends; a Windows pipe has
    no half-close.
    """

    @property
    def carries_descriptors(self) -> bool: ...

    def send_descriptors(
        self,
        data: bytes | bytearray | memoryview,
        descriptors: Sequence[int | HasFileno],
        *,
        timeout: float | None = None,
    ) -> None:
        """Sends ``data`` as :meth:`send_all` does, and open descriptors with its first byte.

        See :meth:`ipcpipes.abc.ByteStream.send_descriptors`, where all of it is said. When the
        timeout passes before the first byte went out, no descriptor has gone either.
        """

    def receive_descriptors(
        self,
        max_bytes: int | None = None,
        max_descriptors: int = MOST_DESCRIPTORS,
        *,
        timeout: float | None = None,
    ) -> tuple[bytes, list[int]]:
        """As :meth:`receive_some`, and takes the descriptors that came with these bytes.

        See :meth:`ipcpipes.abc.ByteStream.receive_descriptors` for the details. If a signal handler
        raises before the caller has the result, the descriptors are closed, and the stream is
        broken for receiving.
        """


class AnonymousPipeEnd(Connection, Protocol):
    """One end of an anonymous pipe: a stream of its direction, which can go to a child instead.

    See :class:`ipcpipes.abc.AnonymousPipeEnd`, where all of it is said; threads take the place of
    tasks.
    """

    @property
    def capacity(self) -> int:
        """How many bytes the pipe holds before a sender has to wait.

        Raises:
            trio.BusyResourceError: another thread asks just now.
            And what the other one raises.
        """

    def set_capacity(self, size: int) -> None:
        """Makes the pipe hold at least so many bytes."""

    def hand_over(self) -> str:
        """Gives this end to the child that is started next, and returns its number as text."""

    def dispose_local_copy(self) -> None:
        """Closes what :meth:`hand_over` kept for the child, once it has started."""


class MessageChannel(Protocol):
    """Messages in both directions: each arrives whole, once, and in order, or not at all.

    An empty message is a message. Memory is bounded: nothing above :attr:`max_size` is sent,
    received, or waited for.

    ``for message in channel`` ends at the end of the channel.

    Several threads may send: they wait for each other, and no message gets into another. One
    thread may receive. One may send while another one receives, always.
    """

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint | None:
        """The endpoint that was connected to or listened on, ``None`` where there is none."""

    @property
    @abstractmethod
    def peer(self) -> PeerIdentity:
        """Who is at the other end, as :attr:`Connection.peer` says it."""

    @property
    @abstractmethod
    def max_size(self) -> int:
        """The largest message in bytes, for sending and receiving."""

    @abstractmethod
    def send(self, value: bytes | bytearray | memoryview, *, timeout: float | None = None) -> None:
        """Sends one message; returns when the system has taken all of it.

        Args:
            value: 0 to :attr:`max_size` bytes, as bytes or contiguous memory. It must not
                change until this has returned.
            timeout: seconds, 0 or more, which include waiting for other threads that are sending;
                ``None`` waits for ever.

        Raises:
            TimeoutError: not all went out in time. If a part did, the channel is broken for
                sending from now on.
            ipcpipes.MessageTooLarge: the message is above :attr:`max_size`, or above what the
                system can send in one; nothing went out, and the channel is as it was.
            ipcpipes.FramingError: the framing cannot carry this message; nothing went out.
            trio.BrokenResourceError: the peer closed its end or died (each time), or an earlier
                send was ended half-way by its timeout or by a signal handler.
            trio.ClosedResourceError: you closed the channel, or its sending half.
            TypeError: ``value`` is no bytes-like object, or not contiguous.
            TypeError, ValueError: ``timeout`` is no number of seconds, or negative.
        """

    @abstractmethod
    def send_many(
        self,
        values: Sequence[bytes | bytearray | memoryview],
        *,
        timeout: float | None = None,
    ) -> None:
        """Sends these messages, in order, with nobody else's in between.

        Far cheaper for small ones than a :meth:`send` for each. None goes out when one of them
        is refused. Ended by its timeout after the first byte went out, it leaves the channel
        broken for sending, as :meth:`send` does.

        Args:
            values: a sequence (a list, a tuple) of what :meth:`send` takes; an empty one sends
                nothing.
            timeout: seconds, for all of them together.

        Raises:
            What :meth:`send` raises. TypeError: ``values`` is one message, no sequence of them.
        """

    @abstractmethod
    def receive(self, *, timeout: float | None = None) -> bytes:
        """Returns the next message.

        Args:
            timeout: seconds, 0 or more; ``None`` waits for ever. What has come of a message
                when it passes is kept for the next call.

        Raises:
            TimeoutError: no whole message has come in time; nothing is lost.
            trio.EndOfChannel: the peer closed its end or died after its last whole message;
                each time.
            trio.BrokenResourceError: what came cannot be a message, by the peer's fault; its
                ``__cause__`` is an :exc:`ipcpipes.FramingError`: :exc:`ipcpipes.MessageTooLarge`
                with both sizes, refused before the memory was taken, or
                :exc:`ipcpipes.IncompleteMessage` when the stream ended inside a message. If it has
                no cause, a signal handler interrupted an earlier receive in the middle of a step.
                Raised each time, after the messages before it.
            trio.ClosedResourceError: you closed the channel.
            trio.BusyResourceError: another thread of yours is receiving.
            TypeError, ValueError: ``timeout`` is no number of seconds, or negative.
        """

    @abstractmethod
    def receive_many(self, *, timeout: float | None = None) -> list[bytes]:
        """Returns all messages that have come, at least one; waits for the first.

        Far cheaper for small ones than a :meth:`receive` for each. How many one call returns
        is bounded by what one read of the system gives.

        Raises:
            What :meth:`receive` raises.
        """

    @abstractmethod
    def send_descriptors(
        self,
        value: bytes | bytearray | memoryview,
        descriptors: Sequence[int | HasFileno],
        *,
        timeout: float | None = None,
    ) -> None:
        """Sends one message as :meth:`send` does, and open descriptors with it.

        See :meth:`ipcpipes.abc.MessageChannel.send_descriptors`, where all of it is said.
        """

    @abstractmethod
    def receive_descriptors(self, *, timeout: float | None = None) -> tuple[bytes, list[int]]:
        """Returns the next message, and the descriptors that came with it.

        See :meth:`ipcpipes.abc.MessageChannel.receive_descriptors`, where all of it is said.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes the channel and what is below it, at once, and wakes threads inside.

        What was sent before remains readable for the peer. Twice is as good as once.
        """

    @abstractmethod
    def __iter__(self) -> Iterator[bytes]: ...
    @abstractmethod
    def __next__(self) -> bytes: ...
    @abstractmethod
    def __enter__(self) -> Self: ...
    @abstractmethod
    def __exit__(self, *_: object) -> None: ...

    def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        """As :meth:`Connection.run_as_client`: under the identity of who is at the other end."""


class HalfCloseableMessageChannel(MessageChannel, Protocol):
    """A channel that can end what it sends and go on receiving.

    Over a Windows pipe there is none.
    """

    @abstractmethod
    def send_eof(self) -> None:
        """Ends what this end sends: the peer gets :exc:`trio.EndOfChannel` after the last
        message. Threads that are sending are waited for. Twice is as good as once.

        Raises:
            trio.ClosedResourceError: this end is closed.
            trio.BrokenResourceError: an earlier send was ended half-way; the end would make the
                part look like the whole.
        """


ConnectionT_co = TypeVar("ConnectionT_co", covariant=True)


class Listener(Protocol[ConnectionT_co]):
    """Accepts connections; holds the name from :func:`ipcpipes.blocking.listen` to :meth:`close`.

    ``for stream in listener`` accepts until the listener is closed. A forked child (POSIX) may
    accept beside this process, and may close its copy of the listener: the name, the queue and
    ``max_instances`` stay with this process.
    """

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that is listened on."""

    @property
    def address(self) -> str:
        """Its real address; an abstract name is written with ``@`` in front."""

    @property
    def connection_count(self) -> int:
        """How many accepted connections are open now."""

    def accept(self, *, timeout: float | None = None) -> ConnectionT_co:
        """Returns the next client's stream, or channel.

        Clients that left before they were accepted, and clients that the access policy turns
        away, are passed over; when descriptors run out, it logs a warning and goes on as soon as
        there are some again.

        Args:
            timeout: seconds, 0 or more; ``None`` waits for ever.

        Raises:
            TimeoutError: no client has come in time; none is lost.
            trio.ClosedResourceError: you closed the listener.
            trio.BusyResourceError: another thread of yours is accepting.
            TypeError, ValueError: ``timeout`` is no number of seconds, or negative.
        """

    def close(self) -> None:
        """Gives the name up, and wakes a thread that is accepting. Twice is as good as once.

        Connections that were accepted live on; clients that were not see the end of the stream.
        On Windows the name becomes free when the last accepted connection has closed too.
        """

    def __iter__(self) -> Iterator[ConnectionT_co]: ...
    def __next__(self) -> ConnectionT_co: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...
