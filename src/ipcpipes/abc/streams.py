"""The contracts of byte streams, and of the ends of anonymous pipes."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

import trio

from ..errors import NotSupported
from .uncopied import Uncopied

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..endpoint import Endpoint
    from .peer import PeerIdentity

MOST_DESCRIPTORS = 253
"""How many descriptors can go together: what Linux allows (``unix(7)``, SCM_MAX_FD), and so what
a receiver everywhere has to expect at the most."""


class HasFileno(Protocol):
    """What stands for its descriptor: a file, a socket, a pipe."""

    def fileno(self) -> int: ...


ResultT = TypeVar("ResultT")


class Connection(Uncopied, trio.abc.AsyncResource):
    """One end of a connection: what byte streams of every direction have in common.

    A forked child (POSIX) cannot use a connection that this process has connected: in the child
    every operation raises :exc:`trio.ClosedResourceError`. It can use a connection that a listener
    has accepted, because some servers fork for each client.
    """

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

    async def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        """Runs ``fn(*args)`` under the client's identity, in a thread of its own.

        For a server that does something for a client and wants the system to decide whether the
        client may: what ``fn`` opens, it opens as the client. ``fn`` should do that and no more.
        Take :func:`ipcpipes.open_for_client` to open a path that the client has named: some
        paths (``/proc/self/fd/5``, ``CONIN$``) lead to what the server itself has open.
        The thread is used for nothing else, before or afterwards; threads and, on Linux, processes
        that ``fn`` starts are the client's too.

        Only a client that connected with ``impersonation="impersonate"`` or ``"delegate"`` lets a
        server do this. Once ``fn`` has begun, it is waited for, as with
        :func:`trio.to_thread.run_sync`, and counts against the same limiter.

        Windows: ImpersonateNamedPipeClient; a process that ``fn`` starts runs under the server's
        own identity ("Impersonation Tokens"). Should it be impossible to revert to the server's
        identity (RevertToSelf), the process is ended. Linux: the thread's user, group and
        supplementary groups become those that the client had when it connected, by the system
        calls, which concern one thread alone, and it has no capabilities then, unless the client
        is root; security labels, limits and namespaces stay the server's. Meanwhile the client may
        send signals to that thread, and so to the process (kill(2)), and lower the limits of the
        process (prlimit(2)): a server that must not be ended by its clients acts for them in a
        process of its own.

        Linux: while ``fn`` runs, no thread of the process may change its user or groups through the
        C library (:func:`os.setuid`, :func:`os.seteuid`, :func:`os.setgroups`,
        :func:`os.initgroups` and similar functions). The library makes the same call in every
        thread (nptl(7)), the thread of ``fn`` is not allowed to make it, and if the results of the
        threads differ, the library ends the process (glibc: SIGABRT, musl: SIGKILL). If ``fn``
        itself makes such a call, it changes the whole server. ``subprocess.run(user=...)`` is
        harmless: it changes only the child.

        Args:
            fn: a function, not an async one; an exception of it is raised here.

        Returns:
            What ``fn`` returns.

        Raises:
            ImpersonationRefused: the client does not want it; or this process may not: Linux wants
                CAP_SETUID and CAP_SETGID (root has them) unless the client is the same user,
                Windows SeImpersonatePrivilege (services have it).
            NotSupported: macOS and the BSDs can only change the user of the whole process.
            RuntimeError: no listener has accepted this connection: there is no client.
            trio.ClosedResourceError: this end is closed.
        """
        raise NotSupported("this is no connection of the system's, and has no client's identity")


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
            ipcpipes.NotSupported: no descriptors can go this way: in memory, or over a Windows
                pipe, where nothing tells the numbers of handles from data; there a channel
                passes them (:meth:`MessageChannel.send_descriptors`).
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
            ipcpipes.DescriptorsLost: more than ``max_descriptors`` came at once, by the peer's
                fault; or they came and this process may open no more (RLIMIT_NOFILE). They are
                closed, and the bytes with them are in the exception only; so this and all other
                ways to receive from this stream raise trio.BrokenResourceError from now on.
                Sending goes on.
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
