"""POSIX: descriptors on their way from a parent to its child, and open descriptors that become
connections and listeners.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from ...endpoint import Endpoint
from ...errors import EndpointDenied, EndpointNotFound, NotAnEndpoint
from ..common.given import require_given, take_given
from . import calls, pipe_size as pipe, standard_numbers as standard
from .opened import OpenDescriptors

assert sys.platform != "win32" or not TYPE_CHECKING

_WAYS = {"send": os.O_WRONLY, "receive": os.O_RDONLY}


# The parent's side

# The option of subprocess.Popen that keeps the terminal's Ctrl-C away from a child: the terminal
# sends SIGINT only to its foreground process group, and a child in a session of its own is not in
# that group.
APART: dict[str, Any] = {"start_new_session": True}


def open_pair(kind: str) -> OpenDescriptors:
    """Makes two connected ends. Returns the parent's end, which is of this ``kind``, and after it
    the child's end. No process inherits an end before it is handed over. The child's end is in
    blocking mode, as programs expect.
    """
    descriptors = OpenDescriptors()
    if kind not in _WAYS:
        calls.open_pair(descriptors, packets=kind == "messages")
    else:
        standard.open_pipe(descriptors)
        if kind == "send":
            descriptors.numbers.reverse()
    return descriptors


def open_pipe(capacity: int | None) -> OpenDescriptors:
    """Opens a pipe(2). Returns (receive end, send end)."""
    descriptors = OpenDescriptors()
    standard.open_pipe(descriptors)
    if capacity is not None:
        pipe.set_capacity(descriptors.number, capacity)
    return descriptors


close = os.close


def fingerprint(number: int) -> str:
    """Returns text that identifies this pipe or socket, even if another one gets its number
    later.
    """
    found = os.fstat(number)
    return f"{found.st_dev}:{found.st_ino}"


def child_environment(
    base: Mapping[str, str] | None, added: Mapping[str, str], is_ours: Callable[[str], bool]
) -> dict[bytes, bytes]:
    """Returns ``base`` (``None``: the environment of this process) without the names for which
    ``is_ours`` is true, and with the variables in ``added``. They are bytes, as the system stores
    them, because subprocess would encode each text again.
    """
    if base is None:
        found = _own_environment()
    else:
        found = {os.fsencode(name): os.fsencode(value) for name, value in base.items()}
    for name in [name for name in found if name.startswith(b"IPCPIPES_")]:
        if is_ours(os.fsdecode(name)):
            del found[name]
    found.update({os.fsencode(name): os.fsencode(value) for name, value in added.items()})
    return found


def _own_environment() -> dict[bytes, bytes]:
    # The dictionary inside os.environb is copied in one step. The public copy() decodes each name,
    # which takes 60 times as long, and fails if another thread adds a variable meanwhile.
    inside = getattr(os.environb, "_data", None)
    return inside.copy() if type(inside) is dict else os.environb.copy()


def inheriting(
    numbers: Sequence[int], options: Mapping[str, Any], program: object
) -> AbstractContextManager[dict[str, Any]]:
    """Returns a context that yields the options of subprocess.Popen with which the child inherits
    ``numbers`` and no others. The block starts ``program``.

    They stay close-on-exec in this process, and become inheritable only in the child, between fork
    and exec. So processes that other threads start meanwhile do not inherit them.
    """
    complete = {**options, "close_fds": True, "pass_fds": tuple(numbers)}
    if calls.has_standard_streams():
        return nullcontext(complete)
    return standard.occupied(complete)


# The child's side


def examine(endpoint: Endpoint, kind: str) -> tuple[int, bool]:
    """Returns the descriptor that ``endpoint`` stands for, if it can be of ``kind``, and whether it
    is a pipe (otherwise it is a socket). The descriptor stays as it is.

    Raises:
        EndpointNotFound: there is no such descriptor, it was not inherited, or it was taken over
            before.
        NotAnEndpoint: it is neither a pipe nor a Unix domain socket of that type.
        EndpointDenied: the pipe goes in the other direction.
    """
    fd, mode = _found(endpoint)
    where = f"descriptor {fd}"
    if stat.S_ISFIFO(mode):
        way = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        if kind not in _WAYS:
            wanted = "messages of the system" if kind == "messages" else "both directions"
            raise NotAnEndpoint(
                endpoint,
                where,
                f"this is a pipe, which cannot carry {wanted}; take it over with direction="
                f'"{"receive" if way == os.O_RDONLY else "send"}"',
            )
        if way not in (_WAYS[kind], os.O_RDWR):
            advice = f'this pipe goes in the other direction, and cannot be used to "{kind}"'
            raise EndpointDenied(endpoint, where, advice)
    elif stat.S_ISSOCK(mode):
        _check_socket(endpoint, where, fd, kind, listening=False)
    else:
        raise NotAnEndpoint(endpoint, where, "this is neither a pipe nor a socket")
    return fd, stat.S_ISFIFO(mode)


def examine_listener(endpoint: Endpoint, kind: str) -> int:
    """Does the same as :func:`examine` for a listening socket. Returns the descriptor."""
    fd, mode = _found(endpoint)
    where = f"descriptor {fd}"
    if not stat.S_ISSOCK(mode):
        raise NotAnEndpoint(endpoint, where, "this is not a socket that listens")
    _check_socket(endpoint, where, fd, kind, listening=True)
    return fd


def take_over(descriptors: OpenDescriptors, endpoint: Endpoint) -> None:
    """Takes over the descriptor that ``endpoint`` stands for, and keeps it in ``descriptors``. The
    caller has examined it.

    Raises:
        EndpointNotFound: another thread has taken it over meanwhile.
    """
    fd = int(endpoint.name)
    if endpoint.kind == "inherited":
        descriptors.numbers.append(fd)
    else:
        take_given(descriptors, endpoint, f"descriptor {fd}")
    os.set_inheritable(fd, False)
    os.set_blocking(fd, False)


def listener_address(fd: int) -> bytes:
    """Returns the address of a listening socket."""
    with _borrowed(fd) as sock:
        return os.fsencode(sock.getsockname())


def credentials(fd: int) -> calls.Peer:
    """Returns the credentials of the process that made the socket. macOS does not tell them for a
    socketpair(2).
    """
    try:
        return calls.peer_credentials(fd)
    except OSError as error:
        calls.require_system_error(error)
        return calls.UnknownPeer()


def _found(endpoint: Endpoint) -> tuple[int, int]:
    """Returns the descriptor and the mode of its file."""
    fd = int(endpoint.name)
    where = f"descriptor {fd}"
    is_inherited = endpoint.kind == "inherited"
    if not is_inherited:
        require_given(endpoint, where)
    try:
        mode = os.fstat(fd).st_mode
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError):
            calls.require_system_error(error)
        advice = "this process has no such descriptor"
        if is_inherited:
            advice += "; its parent has to pass it on (pass_fds)"
        raise EndpointNotFound(endpoint, where, advice, errno.EBADF) from None
    # A descriptor that came through exec is not close-on-exec. Descriptors that this program has
    # opened itself are (PEP 446), and so are those that were taken over before.
    if is_inherited and not os.get_inheritable(fd):
        advice = "this descriptor was not inherited, or it was taken over before"
        raise EndpointNotFound(endpoint, where, advice, errno.EBADF)
    return fd, mode


def _check_socket(endpoint: Endpoint, where: str, fd: int, kind: str, *, listening: bool) -> None:
    wanted = socket.SOCK_SEQPACKET if kind == "messages" else socket.SOCK_STREAM
    with _borrowed(fd) as sock:
        if sock.family != socket.AF_UNIX:
            fault = "this is not a Unix domain socket"
        elif sock.type not in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
            fault = "this socket is neither a stream (SOCK_STREAM) nor SOCK_SEQPACKET"
        elif sock.type != wanted:
            is_packets = sock.type == socket.SOCK_SEQPACKET
            fault = (
                "this socket keeps messages apart; take it over with framing=NATIVE"
                if is_packets
                else "this socket does not keep messages apart; leave framing=NATIVE out"
            )
        elif _listens(sock, listening) != listening:
            fault = (
                "this socket does not listen; connect takes it over"
                if listening
                else "this socket listens; listen takes it over"
            )
        elif not listening and _is_unconnected(sock):
            fault = "this socket is not connected"
        else:
            return
    raise NotAnEndpoint(endpoint, where, fault)


def _listens(sock: socket.socket, expected: bool) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError as error:
        calls.require_system_error(error)
        if error.errno != errno.ENOPROTOOPT:
            raise
    # XNU (macOS) does not answer the question. Only a socket with a peer is known not to listen;
    # accept(2) and send(2) report any other mistake.
    try:
        sock.getpeername()
    except OSError as error:
        calls.require_system_error(error)
        return expected
    return False


def _is_unconnected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError as error:
        calls.require_system_error(error)
        # Linux remembers a peer that has closed. On other systems a closed peer and no peer look
        # the same.
        return sys.platform == "linux"
    return False


@contextmanager
def _borrowed(fd: int) -> Iterator[socket.socket]:
    blocks = os.get_blocking(fd)
    sock = socket.socket(fileno=fd)
    os.set_blocking(fd, blocks)  # socket.setdefaulttimeout may have changed it
    try:
        yield sock
    finally:
        sock.detach()
