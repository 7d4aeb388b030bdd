"""The abstract classes of byte streams and of the ends of anonymous pipes."""

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
"""How many descriptors can be sent at once: the limit of Linux (``unix(7)``, SCM_MAX_FD), used on
every system."""


class HasFileno(Protocol):
    """An object that has a descriptor: a file, a socket, a pipe."""

    def fileno(self) -> int:
        """The descriptor."""
        ...


ResultT = TypeVar("ResultT")


class Connection(Uncopied, trio.abc.AsyncResource):
    """One end of a connection: the base of byte streams in every direction.

    A forked child (POSIX) cannot use a connection that this process has connected: in the child
    every operation raises :exc:`trio.ClosedResourceError`. It can use a connection that a listener
    has accepted, because some servers fork for each client.

    The connections of ipcpipes also have ``fileno()`` (POSIX) or ``handle`` (Windows): the number
    by which the system knows this end; and ``detach()``, which gives the open connection to another
    owner.
    """

    @property
    @abstractmethod
    def endpoint(self) -> Endpoint:
        """The endpoint of this connection, as it was given to ``connect`` or ``listen``."""

    @property
    @abstractmethod
    def address(self) -> str:
        """The real address of the endpoint; an abstract name begins with ``@``."""

    @property
    @abstractmethod
    def peer(self) -> PeerIdentity:
        """The identity of the process at the other end. It is looked up once.

        Raises:
            trio.ClosedResourceError: this is the first use, and this end is closed.
        """

    @property
    @abstractmethod
    def send_buffer_size(self) -> int:
        """The size in bytes of the system's buffer for sent data, as the system reports it.

        Linux reports twice the size that was asked for, because it includes its own overhead
        (``socket(7)``, SO_SNDBUF).

        Raises:
            trio.ClosedResourceError: this end is closed.
        """

    @property
    @abstractmethod
    def receive_buffer_size(self) -> int:
        """The size in bytes of the system's buffer for received data, as the system reports it.

        On Linux this size has no effect: the send buffer of the peer is the limit (``unix(7)``).

        Raises:
            trio.ClosedResourceError: this end is closed.
        """

    async def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        """Runs ``fn(*args)`` under the identity of the client, in a thread of its own.

        Use this in a server that does something for a client and wants the system to decide whether
        the client may do it: what ``fn`` opens, it opens as the client. Keep ``fn`` to that. To
        open a path that the client has named, use :func:`ipcpipes.open_for_client`, because some
        paths (``/proc/self/fd/5``, ``CONIN$``) lead to files that the server itself has open. The
        thread runs nothing but ``fn``. Threads that ``fn`` starts have the identity of the client
        too, and on Linux so do processes.

        The client must have connected with ``impersonation="impersonate"`` or ``"delegate"``.
        Once ``fn`` has begun, this method waits for it even if it is cancelled, as
        :func:`trio.to_thread.run_sync` does, and ``fn`` counts against the same limiter.

        Windows: ImpersonateNamedPipeClient. A process that ``fn`` starts runs under the identity of
        the server ("Impersonation Tokens"). If the thread cannot return to the identity of the
        server (RevertToSelf), ipcpipes ends the process.

        Linux: the thread gets the user, group and supplementary groups that the client had when it
        connected. ipcpipes uses the raw system calls, which change only one thread. The thread has
        no capabilities then, unless the client is root; security labels, limits and namespaces
        stay those of the server. Meanwhile the client may send signals to that thread, and so to
        the process (kill(2)), and lower the limits of the process (prlimit(2)). If clients must
        not be able to end the server, do this work in a separate process.

        Linux: while ``fn`` runs, no thread of the process may change its user or groups through the
        C library (:func:`os.setuid`, :func:`os.seteuid`, :func:`os.setgroups`,
        :func:`os.initgroups` and similar functions). The library makes the same call in every
        thread (nptl(7)), the thread of ``fn`` is not allowed to make it, and if the results of the
        threads differ, the library ends the process (glibc: SIGABRT, musl: SIGKILL). If ``fn``
        itself makes such a call, it changes the whole server. ``subprocess.run(user=...)`` is
        harmless: it changes only the child.

        Args:
            fn: a function, not an async one. Its exception is raised here.
            args: its arguments.

        Returns:
            The result of ``fn``.

        Raises:
            ipcpipes.ImpersonationRefused: the client does not allow it; or this process lacks the
                privilege: on Linux CAP_SETUID and CAP_SETGID (root has them), unless the client is
                the same user; on Windows SeImpersonatePrivilege (services have it).
            ipcpipes.NotSupported: macOS and the BSDs can only change the user of the whole process.
            RuntimeError: this connection was not accepted by a listener, so it has no client.
            trio.ClosedResourceError: this end is closed.
        """
        raise NotSupported(
            "this stream has no client to act for; use a stream that a listener has accepted"
        )


class SendByteStream(Connection, trio.abc.SendStream):
    """The sending end of a one-way connection."""

    @abstractmethod
    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends bytes; returns when the system has accepted all of them.

        If it is cancelled before the first byte was sent, the stream stays as it was. If it is
        cancelled later, or on Windows after the system has begun to write, the stream is broken for
        sending, because the peer may have received a part.

        Args:
            data: the bytes; do not change them before this method returns.

        Raises:
            trio.BrokenResourceError: the peer has closed its end or died (raised at every call), or
                an earlier ``send_all`` was cancelled half-way.
            trio.ClosedResourceError: you closed this end, or this half of it.
            trio.BusyResourceError: another task of your program is sending.
            TypeError, BufferError: ``data`` is not a bytes-like object, or is not contiguous.
        """

    @abstractmethod
    async def wait_send_all_might_not_block(self) -> None:
        """Waits until the system may accept more bytes. Use it to produce data only when it can be
        sent.

        It may return too early. On Windows it does not wait: a pipe cannot be asked.

        Raises:
            trio.BrokenResourceError: the peer has closed its end or died.
            trio.ClosedResourceError: you closed this end, or this half of it.
            trio.BusyResourceError: another task of your program is sending.
        """


class ReceiveByteStream(Connection, trio.abc.ReceiveStream):
    """The receiving end of a one-way connection."""

    @abstractmethod
    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receives bytes, as soon as there are any. A cancelled call loses nothing.

        Args:
            max_bytes: the maximum number of bytes, 1 or more; 65,536 when ``None``. The
                result has 262,144 bytes at most.

        Returns:
            The bytes; ``b""`` at the end of the stream, at every call: the peer has closed its end
            or died, and everything that it sent has been received.

        Raises:
            trio.BrokenResourceError: this stream is broken for receiving (see
                :meth:`ByteStream.receive_descriptors`).
            trio.ClosedResourceError: you closed this end.
            trio.BusyResourceError: another task of your program is receiving.
            TypeError, ValueError: ``max_bytes`` is not an int, or is less than 1.
        """

    @abstractmethod
    async def receive_into(self, buffer: bytearray | memoryview) -> int:
        """Receives bytes into ``buffer``, as soon as there are any.

        It does what ``receive_some(len(buffer))`` does, without a new object and without that
        method's limit on the size.

        Args:
            buffer: writable, contiguous memory of one byte or more. Do not use it before this
                method returns. After a cancelled call its contents are undefined.

        Returns:
            The number of bytes received; 0 at the end of the stream.

        Raises:
            TypeError: ``buffer`` is not a bytes-like object.
            ValueError: it is read-only, not contiguous, or empty.
            And all that ``receive_some`` raises.
        """


class ByteStream(SendByteStream, ReceiveByteStream, trio.abc.Stream):
    """A connection in both directions.

    Outside Windows it is a :class:`trio.abc.HalfCloseableStream` too; a Windows pipe has no
    half-close, and so no ``send_eof``.

    ``await aclose()`` closes this end at once. The peer can still read what was sent before. Tasks
    inside the other methods get :exc:`trio.ClosedResourceError`.

    Attributes:
        carries_descriptors: whether :meth:`send_descriptors` and :meth:`receive_descriptors` work:
            over Unix domain sockets, but not over Windows pipes.
    """

    carries_descriptors: ClassVar[bool] = False

    @abstractmethod
    async def send_descriptors(
        self, data: bytes | bytearray | memoryview, descriptors: Sequence[int | HasFileno]
    ) -> None:
        """Sends ``data`` as ``send_all`` does, and open descriptors with its first byte.

        The peer gets descriptors of its own for the same open files, if it receives that byte
        with :meth:`receive_descriptors`; otherwise the system drops them. Yours stay open; you can
        close them as soon as this method has returned.

        If it is cancelled before the first byte was sent, no descriptor was sent either.

        Args:
            data: 1 byte or more, because the system attaches descriptors to a byte.
            descriptors: 1 to 253 (:data:`MOST_DESCRIPTORS`) ints, or objects with ``fileno()``;
                they must stay open until this method returns.

        Raises:
            OSError: the system refuses them, because of a mistake of your program or a limit of
                this machine. Nothing was sent; the stream is as it was. EBADF: one is not open.
                ETOOMANYREFS: more descriptors are in flight, not yet received, than this user may
                have (RLIMIT_NOFILE).
            TypeError, ValueError: an argument is of the wrong type, is empty, or has too many
                items.
            ipcpipes.NotSupported: descriptors cannot be sent here: the stream is in memory, or it
                is a Windows pipe, which cannot tell handles from data. There a channel sends them
                (:meth:`MessageChannel.send_descriptors`).
            And all that ``send_all`` raises.
        """

    @abstractmethod
    async def receive_descriptors(
        self, max_bytes: int | None = None, max_descriptors: int = MOST_DESCRIPTORS
    ) -> tuple[bytes, list[int]]:
        """Receives bytes as ``receive_some(max_bytes)`` does, and the descriptors sent with them.

        One call may return the bytes of several sends, but only the descriptors of one send. The
        other methods drop the descriptors of the bytes that they receive. A cancelled call loses
        nothing.

        Args:
            max_bytes: the maximum number of bytes, 1 or more; 65,536 when ``None``.
            max_descriptors: the maximum number of descriptors, 1 to 253. A peer can make this
                process hold as many as you allow.

        Returns:
            The bytes (``b""`` at the end) and the descriptors, in the order in which they were
            sent; usually there are none. They are close-on-exec and belong to you: close them.

        Raises:
            ipcpipes.DescriptorsLost: the peer sent more than ``max_descriptors`` at once, or this
                process cannot open more descriptors (RLIMIT_NOFILE). They are closed. The bytes
                that came with them are only in the exception, so from now on every method that
                receives from this stream raises trio.BrokenResourceError. Sending still works.
            TypeError, ValueError: an argument is of the wrong type or out of range.
            ipcpipes.NotSupported: descriptors cannot be received here, as for
                :meth:`send_descriptors`.
            And all that ``receive_some`` raises.
        """


class AnonymousPipeEnd(Connection):
    """One end of an anonymous pipe: a stream in one direction that can be given to a child.

    Everything about streams of that direction applies to it. ``peer`` is empty, because a pipe
    does not know its other end; ``endpoint`` has the number by which a child finds it. Closing the
    last copy of the send end ends the stream; closing the last copy of the receive end breaks it.
    """

    @property
    @abstractmethod
    def capacity(self) -> int:
        """The number of bytes that the pipe holds before a sender has to wait.

        Raises:
            trio.ClosedResourceError: this end is closed, or was handed over.
            ipcpipes.NotSupported: macOS does not report it.
        """

    @abstractmethod
    def set_capacity(self, size: int) -> None:
        """Makes the pipe hold at least ``size`` bytes (Linux: fcntl(2), F_SETPIPE_SZ).

        Args:
            size: 1 to 2**31 - 1 bytes. Linux rounds it up to a power of two of pages. Above
                ``/proc/sys/fs/pipe-max-size`` (1 MiB) it needs root.

        Raises:
            PermissionError: the size is above the limit of this user.
            OSError: the pipe contains more bytes than that now.
            trio.ClosedResourceError: this end is closed, or was handed over.
            ipcpipes.NotSupported: macOS cannot do this. Windows can do it only when the pipe is
                made: ``open_anonymous_pipe(capacity=...)``.
        """

    @abstractmethod
    def hand_over(self) -> str:
        """Gives this end to the child that is started next, and returns its number as text.

        After this call nothing in this process can use this end. A copy stays open for the child
        to inherit. It must be closed as soon as the child has started, because the pipe does not
        end while it is open. :func:`ipcpipes.open_child` does this (``pipes={"name": end}``); if
        you start the child in another way, call :meth:`dispose_local_copy`.

        The text is the decimal number that .NET's ``AnonymousPipeClientStream`` reads and
        :meth:`ipcpipes.Endpoint.inherited` takes.

        POSIX: the descriptor stays close-on-exec, so that only a child that is given it inherits
        it: ``subprocess.Popen(..., pass_fds=[int(text)])``. Windows: the handle becomes
        inheritable, because a child cannot get it otherwise; to limit it to one child, name it in
        ``STARTUPINFO.lpAttributeList`` (``handle_list``).

        Returns:
            The number; the same at every call.

        Raises:
            RuntimeError: this process has used this end before, so its data and the child's would
                mix.
            trio.ClosedResourceError: this end is closed.
            trio.BusyResourceError: a task is using this end.
        """

    @abstractmethod
    def dispose_local_copy(self) -> None:
        """Closes the copy that :meth:`hand_over` kept for the child. Call it when the child has
        started. Idempotent.

        .NET calls this ``DisposeLocalCopyOfClientHandle``. Without it, this process would wait for
        the end of a stream that it keeps open itself.
        """
