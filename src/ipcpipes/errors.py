"""The exceptions of ipcpipes, and the one table from system codes to them.

Streams, channels and listeners raise trio's own errors, named by who is at fault:
:exc:`trio.BrokenResourceError` (the peer), :exc:`trio.ClosedResourceError`
(you closed it), :exc:`trio.BusyResourceError` (two tasks at once). What is here
is raised before there is a stream, while an endpoint is named, listened on or
connected to; or says what is wrong with a message, or what was lost. Each class is also the
built-in exception that code written against sockets would catch.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .abc import PeerIdentity
    from .endpoint import Endpoint

__all__ = [
    "AuthenticationFailed",
    "DescriptorsLost",
    "EndpointBusy",
    "EndpointDenied",
    "EndpointError",
    "EndpointInUse",
    "EndpointNotFound",
    "EndpointRefused",
    "FramingError",
    "ImpersonationRefused",
    "IncompleteMessage",
    "InvalidEndpoint",
    "IpcError",
    "MessageTooLarge",
    "NoParent",
    "NotAnEndpoint",
    "NotSupported",
    "UnknownAccount",
    "UnsafeDirectory",
    "UntrustedServer",
    "WorkerFailed",
]


class IpcError(Exception):
    """The base of every exception that ipcpipes defines."""


class InvalidEndpoint(IpcError, ValueError):
    """The endpoint can never work here: your program's mistake.

    Raised before any system call: a bad character, an empty or over-long name,
    a path longer than the system's socket addresses, a Windows pipe path on
    another system.
    """


class FramingError(IpcError, ValueError):
    """These bytes are not a message, or this message cannot be framed.

    Raised as it is by whoever sends: your program's mistake, and nothing went on the wire.
    A receiving channel raises :exc:`trio.BrokenResourceError` from it: the peer's mistake.
    """


class MessageTooLarge(FramingError):
    """A message is larger than the limit; the text says both.

    Attributes:
        size: its size in bytes; for a framing that announces none, what had come when it
            was refused.
        max_size: the largest that is allowed.
    """

    def __init__(self, size: int, max_size: int, reason: str = "the limit is max_size") -> None:
        super().__init__(size, max_size, reason)
        self.size = size
        self.max_size = max_size
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"a message of {self.size:,} bytes is too large: {self.reason}, {self.max_size:,} bytes"
        )


class IncompleteMessage(FramingError):
    """The stream ended inside a message.

    Attributes:
        received: how many bytes of it had come, what the framing adds included.
        expected: how many it would have had, ``None`` where that was not known yet.
    """

    def __init__(self, received: int, expected: int | None = None) -> None:
        super().__init__(received, expected)
        self.received = received
        self.expected = expected

    def __str__(self) -> str:
        whole = "" if self.expected is None else f" of {self.expected:,}"
        return f"the stream ended inside a message, after {self.received:,}{whole} bytes of it"


class _PlainOSError(IpcError, OSError):
    """An ``OSError`` that is no more than its one line of text."""

    default_errno: int

    def __init__(self, message: str) -> None:
        super().__init__(self.default_errno, message)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.strerror,)

    def __str__(self) -> str:
        return str(self.strerror)


class NotSupported(_PlainOSError):
    """This system has no such thing; the message names the alternative."""

    default_errno = errno.EOPNOTSUPP


class AuthenticationFailed(_PlainOSError, PermissionError):
    """The other end of a connection did not prove that it has the same ``authkey``.

    Its fault, or that of whoever gave the two ends different keys; the text says who it was, what
    it did in place of the proof, and what to do. The connection is still open, in the middle of
    the handshake: nothing can be done with it but to close it.
    """

    default_errno = errno.EACCES


class DescriptorsLost(_PlainOSError, trio.BrokenResourceError):
    """Descriptors came that this process does not take, and the system has closed them.

    More came at once than ``max_descriptors`` allows, which is the peer's fault (``errno`` is
    ``EMSGSIZE``), or this process may open no more of them, which is not (``EMFILE``; see
    RLIMIT_NOFILE).
    Nothing more can be received from the stream or channel; sending goes on. Only POSIX has it.

    Attributes:
        data: the bytes that came with the descriptors, perhaps after bytes that were sent before.
            A channel delivers the messages that these bytes complete before it raises.
    """

    default_errno = errno.EMSGSIZE

    def __init__(self, message: str, data: bytes, code: int = default_errno) -> None:
        OSError.__init__(self, code, message)
        self.data = data

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.strerror, self.data, self.errno)


class NoParent(IpcError, RuntimeError):
    """This process was not started by ``open_child``, or not with what it asks for now."""


class ImpersonationRefused(IpcError, PermissionError):
    """The client does not let the server act in its name, or the system does not let this process.
    The text says which.
    """


class UnknownAccount(IpcError, LookupError):
    """An access policy names a user or a group that this machine does not have: your program's
    mistake, or its configuration's. The text says which.
    """


class WorkerFailed(IpcError, RuntimeError):
    """A worker of a group ended or could not be started too often, or its replacement did not get
    ready.

    Attributes:
        number: which worker, from 0.
        status: its last exit status, as :attr:`ipcpipes.Child.status` has it; ``None`` when its
            process could not be started.
    """

    def __init__(self, number: int, status: int | None, text: str) -> None:
        super().__init__(number, status, text)
        self.number = number
        self.status = status
        self.text = text

    def __str__(self) -> str:
        return f"worker {self.number} {self.text}"


def printable(text: str) -> str:
    r"""``text`` as one line that is safe to print on a terminal. Control characters, which could
    move the cursor or change the title, and characters that change the direction of text are
    escaped, as ``\x1b``. A byte of a path that is not text (PEP 383) is escaped as ``\xff``,
    because no encoding can print it.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return ascii(char)[1:-1]


class EndpointError(IpcError, OSError):
    """Listening on, or connecting to, an endpoint failed.

    ``str()`` of it is one line that says what failed, where (the endpoint and
    its real address), and what to do. Characters of a path that cannot be printed
    are escaped in this text, and only there.

    Attributes:
        endpoint: the :class:`~ipcpipes.Endpoint` as it was given.
        address: its real address: a socket path (an abstract one begins with
            ``@``), or a pipe path. ``os.fsencode(address)`` gives the bytes of one that is not
            text in this locale.
        errno: the ``errno`` code; on Windows the nearest one.
        system_code: the system's own code (``errno``; on Windows that of ``winerror.h``),
            ``None`` when it was ipcpipes that refused.
        filename: the same as ``address``.
    """

    default_errno = errno.EIO

    def __init__(
        self, endpoint: Endpoint, address: str, advice: str, code: int | None = None
    ) -> None:
        super().__init__(self.default_errno if code is None else code, advice, address)
        self.endpoint = endpoint
        self.address = address
        self.system_code: int | None = code

    def __reduce__(self) -> tuple[object, ...]:
        # OSError's own would call __init__ with (errno, strerror).
        return type(self), (self.endpoint, self.address, self.strerror, self.errno), self.__dict__

    def __str__(self) -> str:
        # The NULs that an abstract name is padded with are counted in the endpoint's own text.
        address = self.address.rstrip("\0")
        return printable(f"{self.endpoint} (at {address}): {self.strerror}")


class EndpointNotFound(EndpointError, FileNotFoundError):
    """Nobody has made this endpoint: the server is not running yet, or it listens elsewhere."""

    default_errno = errno.ENOENT


class EndpointRefused(EndpointError, ConnectionRefusedError):
    """A socket file is there, but nobody listens on it: its server died, or has just begun."""

    default_errno = errno.ECONNREFUSED


class EndpointBusy(EndpointRefused):
    """The server is there and has no room: ``max_instances`` or its queue is full."""


class EndpointDenied(EndpointError, PermissionError):
    """The system's permissions, or the server's access policy, keep you out."""

    default_errno = errno.EACCES


class UntrustedServer(EndpointDenied):
    """Somebody listens there whom ``server=`` does not admit; nothing was sent to him."""


class EndpointInUse(EndpointError):
    """Someone listens on this endpoint already; ``errno`` is ``EADDRINUSE``.

    Attributes:
        holder_pid: the process that holds it, ``None`` where that is not known.
    """

    default_errno = errno.EADDRINUSE
    holder_pid: int | None = None


class NotAnEndpoint(EndpointError, FileExistsError):
    """A file at the address is not a socket or a pipe, so a server cannot listen there, or a client
    cannot connect. The file was left alone; the text says what it is.
    """

    default_errno = errno.EEXIST


class UnsafeDirectory(EndpointError, PermissionError):
    """Others could put something of theirs in the endpoint's place.

    Every user can write in its directory; or other users can write in the directory of plain names,
    or own it; or another file replaced the socket while it was made.
    """

    default_errno = errno.EPERM


_NOT_FOUND = "nothing is there; start the server first, or wait for it (wait=SECONDS)"
_DEAD = "nobody listens on this socket; its server has ended, or is just starting (wait=SECONDS)"
_DENIED = (
    "access denied; the server admits other users only, or its pipe goes in the other direction"
)
_BUSY = "the server has no room for another client now; wait for it (wait=SECONDS)"
_NO_PIPE = "this is not a pipe"

# The one table: what the system says to one who connects.
_CONNECT: dict[tuple[str, int], tuple[type[EndpointError], str]] = {
    ("errno", errno.ENOENT): (EndpointNotFound, _NOT_FOUND),
    ("errno", errno.ENOTDIR): (EndpointNotFound, "part of the path is not a directory"),
    ("errno", errno.ECONNREFUSED): (EndpointRefused, _DEAD),
    ("errno", errno.EAGAIN): (EndpointBusy, _BUSY),
    ("errno", errno.EACCES): (EndpointDenied, _DENIED),
    ("errno", errno.EPERM): (EndpointDenied, _DENIED),
    ("errno", errno.ELOOP): (EndpointDenied, "the path goes in a circle of links"),
    ("errno", errno.ESTALE): (
        UnsafeDirectory,
        "another file has replaced the socket; use a directory that other users cannot write in",
    ),
    ("errno", errno.EPROTOTYPE): (
        EndpointDenied,
        "this socket is of another type; is framing=NATIVE at one end only?",
    ),
    # winerror.h
    ("winerror", 2): (EndpointNotFound, _NOT_FOUND),  # ERROR_FILE_NOT_FOUND
    ("winerror", 3): (EndpointNotFound, _NOT_FOUND),  # ERROR_PATH_NOT_FOUND
    ("winerror", 5): (EndpointDenied, _DENIED),  # ERROR_ACCESS_DENIED
    ("winerror", 87): (  # ERROR_INVALID_PARAMETER, by SetNamedPipeHandleState
        EndpointDenied,
        "this pipe is of another type (a stream of bytes); leave framing=NATIVE out",
    ),
    ("winerror", 230): (NotAnEndpoint, _NO_PIPE),  # ERROR_BAD_PIPE
    ("winerror", 231): (EndpointBusy, _BUSY),  # ERROR_PIPE_BUSY
}


def connect_error(
    system: str,
    code: int,
    endpoint: Endpoint,
    address: str,
    *,
    waited: float = 0.0,
    elsewhere: Sequence[str] = (),
) -> EndpointError:
    """The exception for a failed connect; ``system`` is ``"errno"`` or ``"winerror"``.

    Args:
        elsewhere: the other addresses that were tried.
    """
    kind, advice = _CONNECT.get((system, code), (EndpointError, f"{system} {code}"))
    if kind is EndpointError and system == "errno":
        advice = os.strerror(code)
    if elsewhere:
        advice += f"; no server listens at {' or '.join(elsewhere)} either"
    if waited > 0:
        advice += f" (waited {waited:g} s)"
    error = kind(endpoint, address, advice, code=code if system == "errno" else None)
    error.system_code = code
    return error


def in_use_error(
    endpoint: Endpoint, address: str, holder_pid: int | None, *, instead_of: str = ""
) -> EndpointInUse:
    """The exception for ``listen`` on a live name.

    Args:
        instead_of: where this process would have listened, if it is another address.
    """
    holder = f"process {holder_pid}" if holder_pid is not None else "another listener"
    if instead_of:
        holder += (
            f", whose XDG_RUNTIME_DIR is another one (this process would listen at {instead_of})"
        )
    error = EndpointInUse(
        endpoint, address, f"in use by {holder}; connect to it, stop it, or take another name"
    )
    error.holder_pid = holder_pid
    return error


def untrusted_error(endpoint: Endpoint, address: str, owner: PeerIdentity) -> UntrustedServer:
    """The exception for a server that is another one's."""
    return UntrustedServer(
        endpoint,
        address,
        f"it is served by {owner}, whom you did not ask for, and nothing was sent; if you trust "
        "him, say so with server=AccessPolicy(...)",
    )


def single_errors(error: BaseException) -> Iterator[BaseException]:
    """The errors in an exception group, as a nursery raises it, and in its inner groups; or
    ``error`` itself.
    """
    # Not isinstance: Python 3.10 has no BaseExceptionGroup, only trio's backport of it.
    inner: tuple[BaseException, ...] | None = getattr(error, "exceptions", None)
    if inner is None:
        yield error
    else:
        for each in inner:
            yield from single_errors(each)


def consists_of(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether ``error`` is of this kind, or an exception group that contains only this kind."""
    return all(isinstance(each, kind) for each in single_errors(error))
