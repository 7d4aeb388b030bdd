"""The contracts: what every stream, channel and listener of ipcpipes is, on every system.

They are trio's own (:class:`trio.abc.Stream`, :class:`trio.abc.Listener`) and add
who is at the other end and where. Code that needs no more should ask for trio's.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .endpoint import Endpoint

__all__ = [
    "AnonymousPipeEnd",
    "ByteStream",
    "Connection",
    "HalfCloseableMessageChannel",
    "Listener",
]
__all__ += ["MOST_DESCRIPTORS", "HasFileno", "MessageChannel", "PeerIdentity"]
__all__ += ["ReceiveByteStream", "SendByteStream"]

MOST_DESCRIPTORS = 253
"""How many descriptors can go together: what Linux allows (``unix(7)``, SCM_MAX_FD), and so what
a receiver everywhere has to expect at the most."""


class HasFileno(Protocol):
    """What stands for its descriptor: a file, a socket, a pipe."""

    def fileno(self) -> int: ...


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
        groups: the supplementary group ids then (POSIX). Linux and macOS tell those of the
            process; elsewhere they are those of the account.
        sid: the security identifier of the user that process runs under (Windows).
        executable: the path of the program that the process runs, when it was asked for; ``None``
            once it has ended, and where it is not ours to see: Linux shows that of another user's
            process to root alone. Linux makes sure that it is still the same process (SO_PEERPIDFD,
            6.5); elsewhere it is worth what the pid is. A program is what its owner runs: do not
            let it decide who may do what.
    """

    pid: int | None = None
    user: str | None = None
    uid: int | None = None
    gid: int | None = None
    sid: str | None = None
    groups: tuple[int, ...] | None = None
    executable: str | None = None

    def __str__(self) -> str:
        number = self.sid if self.sid is not None else self.uid
        if self.user is None and number is None:
            return "unknown" if self.pid is None else f"process {self.pid}"
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

    @abstractmethod
    async def receive_into(self, buffer: bytearray | memoryview) -> int:
        """As ``receive_some(len(buffer))``, into memory of yours and without its limit.

        Args:
            buffer: writable, contiguous memory of one byte or more; nobody else may use it
                until this has returned. After a cancelled call its contents are undefined.

        Returns:
            How many bytes were received, 0 at the end of the stream.

        Raises:
            TypeError: ``buffer`` is no bytes-like object.
            ValueError: it is read-only, not contiguous, or empty.
            And all that ``receive_some`` raises.
        """


class ByteStream(SendByteStream, ReceiveByteStream, trio.abc.Stream):
    """A connection in both directions.

    ``carries_descriptors`` says whether :meth:`send_descriptors` and :meth:`receive_descriptors`
    can do what they say: over Unix domain sockets, not over Windows pipes.

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

    carries_descriptors: ClassVar[bool] = False

    @abstractmethod
    async def send_descriptors(
        self, data: bytes | bytearray | memoryview, descriptors: Sequence[int | HasFileno]
    ) -> None:
        """Sends ``data`` as ``send_all`` does, and open descriptors with its first byte.

        The peer gets descriptors of its own for the same open files, if it receives that byte
        with :meth:`receive_descriptors`; else the system drops them. Yours stay open, and yours;
        you can close them as soon as this has returned.

        Cancelled before the first byte went out, it has sent no descriptor either.

        Args:
            data: 1 byte or more; a byte is what descriptors travel with.
            descriptors: 1 to 253 of them (:data:`MOST_DESCRIPTORS`), as ints or as objects with
                ``fileno()``; they must stay open until this has returned.

        Raises:
            OSError: the system refuses them, by your program's fault or this machine's limits;
                nothing went out and the stream is as it was. EBADF: one is not open;
                ETOOMANYREFS: more are on their way, not yet received, than this user may have
                (RLIMIT_NOFILE).
            TypeError, ValueError: an argument is of the wrong type, empty, or has too many.
            ipcpipes.NotSupported: no descriptors can go this way: over a Windows pipe, or in
                memory.
            And all that ``send_all`` raises.
        """

    @abstractmethod
    async def receive_descriptors(
        self, max_bytes: int | None = None, max_descriptors: int = MOST_DESCRIPTORS
    ) -> tuple[bytes, list[int]]:
        """As ``receive_some(max_bytes)``, and takes the descriptors that came with these bytes.

        The bytes of several sends may come together, as ever, but never the descriptors of two.
        Bytes that are received in another way have lost their descriptors. A cancelled call loses
        nothing.

        Args:
            max_bytes: how many bytes at most, 1 or more; 65,536 when ``None``.
            max_descriptors: how many descriptors may come at once, 1 to 253. What you ask for is
                what a peer can make this process hold.

        Returns:
            The bytes (``b""`` at the end) and the descriptors, in the order in which they were
            sent, mostly none. They are close-on-exec, and yours: close them.

        Raises:
            trio.BrokenResourceError: more than ``max_descriptors`` came at once, by the peer's
                fault; or they came and this process may open no more (RLIMIT_NOFILE; then
                ``__cause__`` is an OSError with EMFILE). They are closed, and the bytes with them
                are lost; so this and all other ways to receive from this stream raise it from
                now on. Sending goes on.
            TypeError, ValueError: an argument is of the wrong type or out of range.
            ipcpipes.NotSupported: as for :meth:`send_descriptors`.
            And all that ``receive_some`` raises.
        """


class AnonymousPipeEnd(Connection):
    """One end of an anonymous pipe: a stream of its direction, which can go to a child instead.

    What applies to streams of that direction applies to it. ``peer`` says nothing, because a pipe
    does not know who is there; ``endpoint`` is what the child finds it by. Closing the last copy
    of the send end ends the stream; closing the last copy of the receive end breaks it.
    """

    @property
    @abstractmethod
    def capacity(self) -> int:
        """How many bytes the pipe holds before a sender has to wait.

        Raises:
            trio.ClosedResourceError: this end is closed, or was handed over.
            ipcpipes.NotSupported: macOS does not tell it.
        """

    @abstractmethod
    def set_capacity(self, size: int) -> None:
        """Makes the pipe hold at least so many bytes (Linux: fcntl(2), F_SETPIPE_SZ).

        Args:
            size: 1 to 2**31 - 1 bytes. Linux rounds it up to a power of two of pages, and lets
                only root go above ``/proc/sys/fs/pipe-max-size`` (1 MiB).

        Raises:
            PermissionError: it is above what this user may have.
            OSError: there is more in the pipe now.
            trio.ClosedResourceError: this end is closed, or was handed over.
            ipcpipes.NotSupported: macOS has no such thing. Windows has, only when the pipe is
                made: ``open_anonymous_pipe(capacity=...)``.
        """

    @abstractmethod
    def hand_over(self) -> str:
        """Gives this end to the child that is started next, and returns its number as text.

        From here on nothing here can use it. The copy that stays here, for the child to
        inherit, has to go as soon as the child has started, or the child's end never closes:
        :func:`ipcpipes.open_child` sees to it (``pipes={"name": end}``); who starts the child in
        another way calls :meth:`dispose_local_copy`.

        The text is the decimal number that .NET's ``AnonymousPipeClientStream`` reads and
        ``ipcpipes.Endpoint.inherited`` takes.

        POSIX: the descriptor stays close-on-exec, so that only who names it inherits it:
        ``subprocess.Popen(..., pass_fds=[int(text)])``. Windows: the handle becomes inheritable,
        which is the only way there; name it in ``STARTUPINFO.lpAttributeList`` (``handle_list``).

        Returns:
            The number. Asked again, the same.

        Raises:
            RuntimeError: this end was used here before; its data and the child's would mix.
            trio.ClosedResourceError: this end is closed.
            trio.BusyResourceError: a task is using it.
        """

    @abstractmethod
    def dispose_local_copy(self) -> None:
        """Closes what :meth:`hand_over` kept for the child, once it has started.

        What .NET calls ``DisposeLocalCopyOfClientHandle``. Without it this process would wait for
        the end of a stream that it holds open itself. Twice is as good as once.
        """


class MessageChannel(trio.abc.Channel[bytes]):
    """Messages in both directions: each arrives whole, once, and in order, or not at all.

    An empty message is a message. Memory is bounded: nothing above :attr:`max_size` is sent,
    received, or waited for.

    ``async for message in channel`` ends at the end of the channel.

    ``await aclose()`` closes the channel and what is below it, at once; what was sent before
    remains readable for the peer. Tasks inside the other methods are woken with
    :exc:`trio.ClosedResourceError`.

    Several tasks may send: they wait for each other, in the order in which they came, and no
    message gets into another. One task may receive.
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
    async def send(self, value: bytes | bytearray | memoryview) -> None:
        """Sends one message; returns when the system has taken all of it.

        Cancelled before any of it went out, it leaves the channel as it was. Cancelled later,
        or on Windows once the system has begun to write, it leaves the channel broken for
        sending, because the peer may have a part; receiving goes on.

        Args:
            value: 0 to :attr:`max_size` bytes, as bytes or contiguous memory. It must not
                change until this has returned.

        Raises:
            ipcpipes.MessageTooLarge: the message is above :attr:`max_size`, or above what the
                system can send in one; nothing went out, and the channel is as it was.
            ipcpipes.FramingError: the framing cannot carry this message; nothing went out.
            trio.BrokenResourceError: the peer closed its end or died (each time), or an earlier
                send was cancelled half-way.
            trio.ClosedResourceError: you closed the channel, or its sending half.
            TypeError: ``value`` is no bytes-like object, or not contiguous.
        """

    @abstractmethod
    async def send_many(self, values: Sequence[bytes | bytearray | memoryview]) -> None:
        """Sends these messages, in order, with nobody else's in between.

        Far cheaper for small ones than a :meth:`send` for each. None goes out when one of
        them is refused. Cancelled after the first byte went out, it leaves the channel broken
        for sending, as :meth:`send` does.

        Args:
            values: a sequence (a list, a tuple) of what :meth:`send` takes; an empty one sends
                nothing.

        Raises:
            What :meth:`send` raises. TypeError: ``values`` is one message, no sequence of them.
        """

    @abstractmethod
    async def receive(self) -> bytes:
        """Returns the next message. Cancelled, it loses nothing.

        Raises:
            trio.EndOfChannel: the peer closed its end or died after its last whole message;
                each time.
            trio.BrokenResourceError: what came cannot be a message, by the peer's fault; its
                ``__cause__`` is an :exc:`ipcpipes.FramingError`: :exc:`ipcpipes.MessageTooLarge`
                with both sizes, refused before the memory was taken, or
                :exc:`ipcpipes.IncompleteMessage` when the stream ended inside a message. Each
                time, after the messages before it.
            trio.ClosedResourceError: you closed the channel.
            trio.BusyResourceError: another task of yours is receiving.
        """

    @abstractmethod
    async def receive_many(self) -> list[bytes]:
        """Returns all messages that have come, at least one; waits for the first.

        Far cheaper for small ones than a :meth:`receive` for each. How many one call returns
        is bounded by what one read of the system gives.

        Raises:
            What :meth:`receive` raises.
        """

    @abstractmethod
    async def send_descriptors(
        self, value: bytes | bytearray | memoryview, descriptors: Sequence[int | HasFileno]
    ) -> None:
        """Sends one message as :meth:`send` does, and open descriptors with it.

        The peer gets them if it fetches the message with :meth:`receive_descriptors`; in any other
        way it receives the message alone.

        Args:
            value: as for :meth:`send`.
            descriptors: as for :meth:`ByteStream.send_descriptors`.

        Raises:
            ipcpipes.NotSupported: no descriptors can go this way: over a Windows pipe, over a
                stream that is not one of ipcpipes.
            OSError, TypeError, ValueError: these descriptors cannot be sent, as for
                :meth:`ByteStream.send_descriptors`; nothing went out.
            And all that :meth:`send` raises.
        """

    @abstractmethod
    async def receive_descriptors(self) -> tuple[bytes, list[int]]:
        """Returns the next message, and the descriptors that came with it.

        Only a channel that was made with ``max_descriptors=`` can: it reads ahead, and has to know
        before it does; without, the system drops them. Cancelled, it loses nothing. Descriptors of
        messages that are received in another way, or not before closing, are closed.

        Returns:
            The message and its descriptors, in the order in which they were sent; mostly none.
            They are close-on-exec, and yours: close them.

        Raises:
            RuntimeError: the channel was made without ``max_descriptors=``, your program's
                mistake.
            trio.BrokenResourceError: more came with one message than ``max_descriptors``, by the
                peer's fault; or this process may open no more (RLIMIT_NOFILE). They are closed,
                and nothing can be received any more.
            And all that :meth:`receive` raises.
        """


class HalfCloseableMessageChannel(MessageChannel):
    """A channel that can end what it sends and go on receiving.

    Over a Windows pipe there is none, so that a channel there is only a
    :class:`MessageChannel`; a message that says so does the same everywhere.
    """

    @abstractmethod
    async def send_eof(self) -> None:
        """Ends what this end sends: the peer gets :exc:`trio.EndOfChannel` after the last
        message. Senders that came earlier are waited for. Twice is as good as once.

        Raises:
            trio.ClosedResourceError: this end is closed.
            trio.BrokenResourceError: an earlier send was cancelled half-way; the end would
                make the part look like the whole.
        """


ResourceT_co = TypeVar("ResourceT_co", bound=trio.abc.AsyncResource, covariant=True)


class Listener(trio.abc.Listener[ResourceT_co]):
    """Accepts connections; holds the name from :func:`ipcpipes.listen` to :meth:`aclose`.

    ``await accept()`` returns the next client's stream, or channel. Clients that left before they
    were accepted, and clients that the access policy turns away, are passed over; when descriptors
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
