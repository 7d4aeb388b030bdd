"""The exceptions of ipcpipes, and the one table from system codes to them.

Streams, channels and listeners raise trio's own errors, which tell where the fault is:
:exc:`trio.BrokenResourceError` (the peer), :exc:`trio.ClosedResourceError` (you closed it),
:exc:`trio.BusyResourceError` (two tasks at once). The exceptions here are raised before there is a
stream, while an endpoint is named, listened on or connected to; or they say what is wrong with a
message, or what was lost. Each class also derives from the built-in exception that code written for
sockets would catch.
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
    """The base of every exception that ipcpipes defines. Catch it to handle all of them in one
    place.

    Cause and cure: docs/troubleshooting.md#ipcerror
    """


class InvalidEndpoint(IpcError, ValueError):
    """Raised when an endpoint can never work on this system. Correct the name or path in your
    program; the text says what is wrong with it.

    It is raised before any system call: for a bad character, an empty or over-long name, a path
    longer than the socket addresses of this system, or a Windows pipe path on another system.

    Cause and cure: docs/troubleshooting.md#invalidendpoint
    """


class FramingError(IpcError, ValueError):
    """Raised when a message cannot be framed, or received bytes are not a message. Check that both
    ends use the same framing, and that it can carry your messages.

    A method that sends raises it directly: it is your program's mistake, and nothing was sent. A
    channel that receives raises :exc:`trio.BrokenResourceError` from it: it is the peer's mistake.
    (``receive_into`` raises :exc:`MessageTooLarge` directly if your memory is too small.)

    Cause and cure: docs/troubleshooting.md#framingerror
    """


class MessageTooLarge(FramingError):
    """Raised when a message is larger than the limit; the text says both sizes. Raise ``max_size``
    at both ends, or send the message in parts. ``receive_into`` raises it if the memory that you
    gave is too small: give at least ``size`` bytes, and the next call receives the same message.

    Attributes:
        size: the size of the message in bytes; with a framing that does not announce sizes, the
            number of bytes received before it was refused.
        max_size: the largest size allowed; from ``receive_into``, the size of the memory.
        reason: where the limit comes from, in words.

    Cause and cure: docs/troubleshooting.md#messagetoolarge
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
    """Raised when the stream ended inside a message: usually the peer died or was cancelled while
    it sent. Connect again; if it happens every time, check that both ends use the same framing.

    Attributes:
        received: the number of bytes of the message that had arrived, including those that the
            framing adds.
        expected: the full number; ``None`` if it was not known yet.

    Cause and cure: docs/troubleshooting.md#incompletemessage
    """

    def __init__(self, received: int, expected: int | None = None) -> None:
        super().__init__(received, expected)
        self.received = received
        self.expected = expected

    def __str__(self) -> str:
        total = "" if self.expected is None else f" of {self.expected:,}"
        return f"the stream ended inside a message, after {self.received:,}{total} bytes of it"


class _PlainOSError(IpcError, OSError):
    """An ``OSError`` that prints as one line of text, without the errno.

    Attributes:
        default_errno: the ``errno`` of the class.
    """

    default_errno: int

    def __init__(self, message: str) -> None:
        super().__init__(self.default_errno, message)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.strerror,)

    def __str__(self) -> str:
        return str(self.strerror)


class NotSupported(_PlainOSError):
    """Raised when this system or this object cannot do what you asked for. The text names the
    alternative.

    Cause and cure: docs/troubleshooting.md#notsupported
    """

    default_errno = errno.EOPNOTSUPP


class AuthenticationFailed(_PlainOSError, PermissionError):
    """Raised when the peer did not prove that it has the same ``authkey``. Give both ends the same
    key; the text says which process the peer is, what it did instead of the proof, and what to do.

    The connection is still open, in the middle of the handshake. You can only close it.

    Cause and cure: docs/troubleshooting.md#authenticationfailed
    """

    default_errno = errno.EACCES


class DescriptorsLost(_PlainOSError, trio.BrokenResourceError):
    """Raised when the system has closed descriptors that arrived, because this process could not
    take them. Raise ``max_descriptors`` or the limit of open files (RLIMIT_NOFILE), and connect
    again.

    ``errno`` is ``EMSGSIZE`` when the peer sent more at once than ``max_descriptors`` allows, which
    is the peer's fault, and ``EMFILE`` when this process cannot open more descriptors, which is
    not. The stream or channel cannot receive any more; sending still works. Raised only on POSIX.

    Attributes:
        data: the bytes that came with the descriptors, possibly after bytes that were sent before.
            A channel delivers the messages that these bytes complete before it raises.

    Cause and cure: docs/troubleshooting.md#descriptorslost
    """

    default_errno = errno.EMSGSIZE

    def __init__(self, message: str, data: bytes, code: int = default_errno) -> None:
        OSError.__init__(self, code, message)
        self.data = data

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.strerror, self.data, self.errno)


class NoParent(IpcError, RuntimeError):
    """Raised when this process was not started by ``open_child``, or not with the pipe or endpoint
    that it asks for. Start the program through ``open_child`` with that pipe, or do not ask for it.

    Cause and cure: docs/troubleshooting.md#noparent
    """


class ImpersonationRefused(IpcError, PermissionError):
    """Raised when a server may not act in the name of a client. The text says what is missing: the
    client must connect with ``impersonation="impersonate"``, or this process needs a privilege.

    Cause and cure: docs/troubleshooting.md#impersonationrefused
    """


class UnknownAccount(IpcError, LookupError):
    """Raised when an access policy names a user or group that this machine does not have. Correct
    the name in your program or its configuration; the text says which it is.

    Cause and cure: docs/troubleshooting.md#unknownaccount
    """


class WorkerFailed(IpcError, RuntimeError):
    """Raised when a worker of a group ended too often, could not be started, or its replacement did
    not become ready. Look at the exit status and the worker's own output for the cause.

    Attributes:
        number: the number of the worker, from 0.
        text: what happened, without the number.
        status: its last exit status, as in :attr:`ipcpipes.Child.status`; ``None`` if its process
            could not be started.

    Cause and cure: docs/troubleshooting.md#workerfailed
    """

    def __init__(self, number: int, status: int | None, text: str) -> None:
        super().__init__(number, status, text)
        self.number = number
        self.status = status
        self.text = text

    def __str__(self) -> str:
        return f"worker {self.number} {self.text}"


def printable(text: str) -> str:
    r"""Returns ``text`` as one line that is safe to print on a terminal. Control characters, which
    could move the cursor or change the title, and characters that change the direction of text are
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
    """Raised when listening on an endpoint or connecting to it fails. Read the text, one line: it
    says what failed, where (the endpoint and its real address), and what to do.

    Characters of a path that cannot be printed are escaped in ``str(error)``, but not in the
    attributes.

    Attributes:
        endpoint: the :class:`~ipcpipes.Endpoint` as it was given.
        address: its real address: a socket path (an abstract one begins with ``@``), or a pipe
            path. For a path that is not text in this locale, ``os.fsencode(address)`` gives its
            bytes.
        errno: the ``errno`` code; on Windows the nearest one.
        default_errno: the ``errno`` code of the class.
        system_code: the code of the system (``errno``; on Windows a code of ``winerror.h``);
            ``None`` if ipcpipes itself refused.
        filename: the same as ``address``.

    Cause and cure: docs/troubleshooting.md#endpointerror
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
        # OSError's __reduce__ would call __init__ with (errno, strerror).
        return type(self), (self.endpoint, self.address, self.strerror, self.errno), self.__dict__

    def __str__(self) -> str:
        # The NULs that an abstract name is padded with are counted in the endpoint's own text.
        address = self.address.rstrip("\0")
        return printable(f"{self.endpoint} (at {address}): {self.strerror}")


class EndpointNotFound(EndpointError, FileNotFoundError):
    """Raised when there is no socket or pipe at the address. Start the server first, wait for it
    with ``wait=``, or check that both ends use the same endpoint.

    Cause and cure: docs/troubleshooting.md#endpointnotfound
    """

    default_errno = errno.ENOENT


class EndpointRefused(EndpointError, ConnectionRefusedError):
    """Raised when there is a socket file without a listener: its server has died, or is just
    starting. Start the server again, or wait for it with ``wait=``.

    Cause and cure: docs/troubleshooting.md#endpointrefused
    """

    default_errno = errno.ECONNREFUSED


class EndpointBusy(EndpointRefused):
    """Raised when the server has no room for another client: ``max_instances`` is reached, or its
    queue is full. Wait with ``wait=``, or raise the limits of the server.

    Cause and cure: docs/troubleshooting.md#endpointbusy
    """


class EndpointDenied(EndpointError, PermissionError):
    """Raised when the permissions of the system, or the access policy of the server, do not let you
    connect or listen. Connect as another user, or change the policy of the server.

    Cause and cure: docs/troubleshooting.md#endpointdenied
    """

    default_errno = errno.EACCES


class UntrustedServer(EndpointDenied):
    """Raised when the server at the endpoint runs as a user that ``server=`` does not allow. If you
    trust that user, allow it with ``server=AccessPolicy(...)``. Nothing was sent to the server.

    Cause and cure: docs/troubleshooting.md#untrustedserver
    """


class EndpointInUse(EndpointError):
    """Raised when another listener has this endpoint; ``errno`` is ``EADDRINUSE``. Connect to it,
    stop it, or use another name.

    Attributes:
        holder_pid: the process that listens there; ``None`` if it is not known.

    Cause and cure: docs/troubleshooting.md#endpointinuse
    """

    default_errno = errno.EADDRINUSE
    holder_pid: int | None = None


class NotAnEndpoint(EndpointError, FileExistsError):
    """Raised when a file at the address is not a socket or a pipe, so that a server cannot listen
    there and a client cannot connect. Use another path, or remove the file, which was left
    untouched; the text says what it is.

    Cause and cure: docs/troubleshooting.md#notanendpoint
    """

    default_errno = errno.EEXIST


class UnsafeDirectory(EndpointError, PermissionError):
    """Raised when another user could replace the endpoint with a socket of its own. Use a directory
    that only trusted users can write in.

    Either every user can write in the directory of the socket; or another user can write in the
    directory of plain names, or owns it; or another file replaced the socket while it was made.

    Cause and cure: docs/troubleshooting.md#unsafedirectory
    """

    default_errno = errno.EPERM


_NOT_FOUND = "nothing is there; start the server first, or wait for it (wait=SECONDS)"
_DEAD = "no server listens on this socket; it has ended, or is just starting (wait=SECONDS)"
_DENIED = "access denied; the server allows only other users"
_BUSY = "the server has no room for another client now; wait for it (wait=SECONDS)"
_NO_PIPE = "this is not a pipe"

# The one table from what the system reports for a failed connect to an exception and an advice.
_CONNECT: dict[tuple[str, int], tuple[type[EndpointError], str]] = {
    ("errno", errno.ENOENT): (EndpointNotFound, _NOT_FOUND),
    ("errno", errno.ENOTDIR): (EndpointNotFound, "part of the path is not a directory"),
    ("errno", errno.ECONNREFUSED): (EndpointRefused, _DEAD),
    ("errno", errno.EAGAIN): (EndpointBusy, _BUSY),
    ("errno", errno.EACCES): (EndpointDenied, _DENIED),
    ("errno", errno.EPERM): (EndpointDenied, _DENIED),
    ("errno", errno.ELOOP): (EndpointDenied, "the path has too many symbolic links, or a circle"),
    ("errno", errno.ESTALE): (
        UnsafeDirectory,
        "another file has replaced the socket; use a directory that other users cannot write in",
    ),
    ("errno", errno.EPROTOTYPE): (
        EndpointDenied,
        "this socket is of another type; use framing=NATIVE at both ends, or at neither",
    ),
    # winerror.h
    ("winerror", 2): (EndpointNotFound, _NOT_FOUND),  # ERROR_FILE_NOT_FOUND
    ("winerror", 3): (EndpointNotFound, _NOT_FOUND),  # ERROR_PATH_NOT_FOUND
    ("winerror", 5): (  # ERROR_ACCESS_DENIED
        EndpointDenied,
        f"{_DENIED}, or its pipe goes in the other direction",
    ),
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
    """Returns the exception for a failed connect.

    Args:
        system: ``"errno"`` or ``"winerror"``: which table ``code`` is from.
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
    """Returns the exception for ``listen`` on a live name.

    Args:
        instead_of: where this process would have listened, if that is another address.
    """
    holder = f"process {holder_pid}" if holder_pid is not None else "another listener"
    if instead_of:
        holder += f" with another XDG_RUNTIME_DIR (this process would listen at {instead_of})"
    error = EndpointInUse(
        endpoint, address, f"in use by {holder}; connect to it, stop it, or take another name"
    )
    error.holder_pid = holder_pid
    return error


def untrusted_error(endpoint: Endpoint, address: str, owner: PeerIdentity) -> UntrustedServer:
    """Returns the exception for a server that ``server=`` does not allow."""
    return UntrustedServer(
        endpoint,
        address,
        f"it is served by {owner}, which server= does not allow, and nothing was sent; if you "
        "trust this user, allow it with server=AccessPolicy(...)",
    )


def single_errors(error: BaseException) -> Iterator[BaseException]:
    """Iterates over the errors in an exception group, as a nursery raises it, and in its inner
    groups; or over ``error`` itself.
    """
    # Not isinstance: Python 3.10 has no BaseExceptionGroup, only trio's backport of it.
    inner: tuple[BaseException, ...] | None = getattr(error, "exceptions", None)
    if inner is None:
        yield error
    else:
        for each in inner:
            yield from single_errors(each)


def consists_of(error: BaseException, kind: type[BaseException]) -> bool:
    """Returns whether ``error`` is a ``kind``, or an exception group that contains only such."""
    return all(isinstance(each, kind) for each in single_errors(error))
