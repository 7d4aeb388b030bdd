"""POSIX: all calls of the C layer.

Calls on a hot path return the result of the C layer (a value, or ``-errno``), so that EAGAIN costs
no exception. The other calls raise.
"""

from __future__ import annotations

import errno
import os
import pwd
import select
import sys
from collections.abc import Callable
from itertools import chain, starmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._ffi import ffi, lib
from ...abc import PeerIdentity
from ...framing import Buffer
from ..common.system_error import require_system_error as require_system_error
from .opened import OpenDescriptors

assert sys.platform != "win32" or not TYPE_CHECKING

accept = lib.ipc_accept
close_half = lib.ipc_close_half
has_expired = lib.ipc_has_expired
next_packet_size = lib.ipc_next_packet_size
peer_left = lib.ipc_peer_left
# The options of a new connection. The buffer size is a hint.
set_options = lib.ipc_set_options
send = lib.ipc_send
send_from = lib.ipc_send_from
send_message = lib.ipc_send_message
send_rest = lib.ipc_send_rest
send_two = lib.ipc_send_two
write = lib.ipc_write
write_rest = lib.ipc_write_rest
set_queue_length = lib.ipc_set_queue_length
can_spawn = lib.ipc_can_spawn
has_standard_streams = lib.ipc_has_standard_streams
spawn = lib.ipc_spawn
PACKETS_END = lib.IPC_PACKETS_END
# The errors of a system without SO_PEERPIDFD, and those of a system that does not tell a peer's
# groups.
_NO_PEER_PIDFD = frozenset({-errno.ENOTSUP, -errno.EOPNOTSUPP, -errno.ENOPROTOOPT})
_ENODATA = getattr(errno, "ENODATA", errno.ENOPROTOOPT)  # FreeBSD has none
_NO_PEER_GROUPS = _NO_PEER_PIDFD | {-_ENODATA}
# The largest number of groups in an xucred(4) (XU_NGROUPS). Some systems tell the groups in an
# xucred.
_MOST_TOLD = 16
_PEER_GONE = frozenset({errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN})
new_position = ffi.typeof("size_t *")
_new_peer = ffi.typeof("ipc_peer *")
_two_numbers = ffi.typeof("int[2]")


class Credentials(NamedTuple):
    """What the kernel knows about a peer.

    Attributes:
        pid: ``None`` if the kernel does not tell it.
        groups: the supplementary groups.
        address: the address that the client is bound to; empty unless a listener has accepted the
            connection.
    """

    pid: int | None
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    address: bytes = b""

    def identity(self, fd: int) -> PeerIdentity:
        """Returns the identity, with the name of the account and the program. The look-up of the
        name can take long where accounts are on a network.

        Args:
            fd: the connection.
        """
        try:
            user = pwd.getpwuid(self.uid).pw_name
        except KeyError:
            user = None
        return PeerIdentity(
            pid=self.pid,
            user=user,
            uid=self.uid,
            gid=self.gid,
            groups=self.groups,
            executable=None if self.pid is None else _executable(fd, self.pid),
        )


class UnknownPeer(NamedTuple):
    """A peer of which the kernel knows nothing; ``pid`` is known from elsewhere."""

    pid: int | None = None

    def identity(self, fd: int) -> PeerIdentity:
        return PeerIdentity(pid=self.pid)


Peer = Credentials | UnknownPeer


class Permissions(NamedTuple):
    """A compiled access policy: the mode and the group of the socket file, and a check at accept
    for rules that these cannot express (an abstract socket has no file).
    """

    mode: int
    admits: Callable[[Credentials], bool]
    group: int | None = None


ServerCheck = Callable[[Credentials], bool]
"""Returns whether a client accepts a process with these credentials as its server."""


def peer_credentials(fd: int) -> Credentials:
    peer: Any = ffi.new(_new_peer)
    _check(lib.ipc_ask_peer(fd, peer))
    return _credentials(fd, peer)


def client_credentials(fd: int) -> Credentials | None:
    """Returns the credentials of the client of an accepted connection, with its address; ``None``
    if it has left and there is nothing to read.
    """
    # New memory for each call: a signal handler could make another call meanwhile.
    peer: Any = ffi.new(_new_peer)
    return None if _check(lib.ipc_ask_client(fd, peer)) else _credentials(fd, peer)


def _credentials(fd: int, peer: Any) -> Credentials:
    pid, uid, gid, count = peer.pid, peer.uid, peer.gid, peer.group_count
    groups: tuple[int, ...] = ()
    if 0 < count < _MOST_TOLD:
        groups = tuple(peer.groups[0:count])
    elif count:  # more than the C layer asks for at first, or an error
        groups = _peer_groups(fd, uid, gid)
    length = peer.address_length
    address: Any = ffi.unpack(peer.address, length) if length else b""
    return Credentials(pid if pid > 0 else None, uid, gid, groups, address)


def become_user(uid: int, gid: int, groups: tuple[int, ...]) -> int:
    """Makes this thread act as another user, permanently. Returns an errno, 0 on success."""
    return -int(lib.ipc_become_user(uid, gid, ffi.new("uint32_t[]", groups), len(groups)))


def drop_capabilities() -> int:
    """Drops this thread's capabilities, permanently. Returns an errno, 0 on success."""
    return -int(lib.ipc_drop_capabilities())


def open_without_magic_links(path: bytes, flags: int, mode: int) -> tuple[int, int]:
    """Opens a file without following magic links. Returns an errno (0 on success) and the
    descriptor.

    Raises:
        ValueError: the path contains a NUL, which would end it early.
    """
    if b"\0" in path:
        raise ValueError("embedded null byte")
    fd = -errno.EINTR
    while fd == -errno.EINTR:
        fd = lib.ipc_open_without_magic_links(path, flags, mode)
    return max(-fd, 0), fd


def is_of_procfs(fd: int) -> bool:
    """Returns whether the file or directory is in procfs."""
    return bool(_check(lib.ipc_is_of_procfs(fd)))


def can_tell_users_apart() -> bool:
    """Returns whether the kernel never shows another user as the user of this process.

    In a user namespace that does not map every user (user_namespaces(7)), all users from outside
    appear as the overflow user, and this process may run as that user too.
    """
    try:
        overflow = int(Path("/proc/sys/kernel/overflowuid").read_text())
        ranges = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError as error:
        require_system_error(error)
        return True  # the system has no user namespaces
    return os.geteuid() != overflow or sum(int(one.split()[2]) for one in ranges) >= 2**32 - 1


def _executable(fd: int, pid: int) -> str | None:
    """Returns the program of a peer; ``None`` if /proc does not tell it or the process has
    ended.
    """
    try:
        path = os.readlink(f"/proc/{pid}/exe")
    except OSError as error:
        require_system_error(error)
        return None
    pidfd = lib.ipc_peer_pidfd(fd)
    if pidfd < 0:
        # A kernel without SO_PEERPIDFD cannot tell whether another process has the number by now.
        # On a newer kernel, an error means that the answer is unknown: this process is out of
        # descriptors, or the peer was reaped.
        return path if pidfd in _NO_PEER_PIDFD else None
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return None if poll.poll(0) else path  # readable: it has ended
    finally:
        os.close(pidfd)


def _peer_groups(fd: int, uid: int, gid: int) -> tuple[int, ...]:
    size = 32
    while True:
        groups: Any = ffi.new("uint32_t[]", size)
        count = lib.ipc_peer_groups(fd, groups, size)
        if count in _NO_PEER_GROUPS:
            return _groups_of(uid, gid)
        if _check(count) > size:
            size = count
            continue
        found = tuple(groups[0:count])
        if sys.platform != "linux" and count >= _MOST_TOLD:
            # The peer may have more groups, and a policy may deny one of those.
            found = (*found, *(set(_groups_of(uid, gid)) - set(found)))
        return found


def _groups_of(uid: int, gid: int) -> tuple[int, ...]:
    """Returns the groups of the account. Used where the system does not tell the groups of the
    process.
    """
    try:
        return tuple(os.getgrouplist(pwd.getpwuid(uid).pw_name, gid))
    except KeyError:
        return ()


def buffer_sizes(fd: int) -> tuple[int, int]:
    """Returns (size for sending, size for receiving)."""
    return _check(lib.ipc_buffer_size(fd, True)), _check(lib.ipc_buffer_size(fd, False))


class FileId(NamedTuple):
    """Identifies a file, whatever its path: the device and inode of stat(2)."""

    device: int
    inode: int


class BoundFile:
    """The socket file that :func:`listen` makes. It is recorded here before :func:`listen` returns,
    so that a signal handler's exception cannot hide it.
    """

    def __init__(self) -> None:
        self.memory: Any = ffi.new("ipc_file *")

    @property
    def id(self) -> FileId | None:
        """The identity of the file; ``None`` before there is a file."""
        return FileId(self.memory.device, self.memory.inode) if self.memory.inode else None


def listen(
    descriptors: OpenDescriptors,
    file: BoundFile,
    address: bytes,
    permissions: Permissions,
    queue_length: int,
    *,
    packets: bool,
) -> int:
    """Opens a listening descriptor, whose queue holds ``queue_length`` connections.

    Returns:
        The descriptor, which is in ``descriptors``; or ``-errno``. ``file`` identifies the socket
        file, also after an error.
    """
    group = -1 if permissions.group is None else permissions.group
    return descriptors.open(
        lib.ipc_listen,
        address,
        len(address),
        permissions.mode,
        group,
        queue_length,
        packets,
        file.memory,
    )


def is_bound(path: bytes) -> int:
    """Returns 1 if a process has bound the socket at ``path``, 0 if that process has ended, and
    ``-errno`` otherwise. The process does not notice the check.
    """
    return int(lib.ipc_is_bound(path, len(path)))


def connect(
    descriptors: OpenDescriptors, address: bytes, *, packets: bool, source: bytes = b""
) -> int:
    """Opens a connected descriptor. The server sees ``source`` as the client's address.

    Returns:
        The descriptor, which is in ``descriptors``; or ``-errno``.
    """
    return descriptors.open(lib.ipc_connect, address, len(address), source, len(source), packets)


def open_pair(descriptors: OpenDescriptors, *, packets: bool) -> None:
    """Adds two connected sockets to ``descriptors``: one for this process, and after it one in
    blocking mode, for a child.
    """
    fds = ffi.new(_two_numbers, (-1, -1))
    # One step makes the call and stores what it has opened; see OpenNumbers. A result other than 0
    # goes before the two numbers, which are -1 then.
    failed = filter(None, starmap(lib.ipc_pair, ((packets, fds),)))
    descriptors.numbers.extend(chain(failed, fds))
    _check(min(descriptors.numbers))


def open_watch(descriptors: OpenDescriptors, fd: int, seconds: float) -> None:
    """Adds two descriptors to ``descriptors``: one that can be read when ``fd`` can be read or the
    time has passed, and after it the timer for :data:`has_expired`, which begins anew by itself.
    Adds none if the system cannot do this (only Linux can), or has no more descriptors.
    """
    descriptors.numbers.clear()  # an exception may have left the result of a failed call here
    fds = ffi.new(_two_numbers, (-1, -1))
    # One step, as in open_pair.
    arguments = (fd, max(int(seconds * 1000), 1), fds)
    failed = filter(None, starmap(lib.ipc_open_watch, (arguments,)))
    descriptors.numbers.extend(chain(failed, fds))
    if descriptors.numbers[-1] == -1:
        descriptors.numbers.clear()


def send_packet(fd: int, packet: Buffer, *, wait: bool = False) -> int:
    """0, or ``-errno``."""
    if type(packet) is bytes:
        return int(lib.ipc_send_packet(fd, packet, len(packet), wait))
    with ffi.from_buffer(packet) as data:
        return int(lib.ipc_send_packet(fd, data, len(packet), wait))


def send_fault(code: int) -> str:
    """Returns the error text for a connection whose send failed with this errno."""
    reason = os.strerror(code)
    return f"the other end has closed or died ({reason})" if code in _PEER_GONE else reason


def largest_packet(fd: int) -> int:
    """Returns the size in bytes of the largest packet that can be sent (unix_dgram_sendmsg in
    Linux' net/unix/af_unix.c).
    """
    return _check(lib.ipc_buffer_size(fd, True)) - 32


def _check(result: int) -> int:
    if result < 0:
        raise OSError(-result, os.strerror(-result))
    return result


def can_be_read(fd: int) -> bool:
    """Returns whether a read, or an accept, would find something now, perhaps the end."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def readable(address: bytes) -> str:
    """Returns an address as text. An abstract name begins with ``@``, as in ss(8) and lsof(8)."""
    return "@" + os.fsdecode(address[1:]) if address[:1] == b"\0" else os.fsdecode(address)


transport = "Unix domain socket"
