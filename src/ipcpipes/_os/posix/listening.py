"""POSIX: a listening Unix domain socket, and everything about it that does not wait."""

from __future__ import annotations

import errno
import math
import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ...endpoint import Endpoint
from ...errors import EndpointError, NotSupported, connect_error, in_use_error
from ..common.connection_slot import ConnectionSlot
from ..common.listening import AcceptStatus, ConnectionT, ListenerCore, ListenOptions, logger
from . import (
    address as addresses,
    calls,
    claim as posix_claim,
    connecting,
    inheritance as inherited,
    removing,
)
from .opened import OpenDescriptors

assert sys.platform != "win32" or not TYPE_CHECKING

_AGAIN = -errno.EAGAIN
_EXHAUSTED = {-errno.EMFILE, -errno.ENFILE, -errno.ENOMEM, -errno.ENOBUFS}
_VANISHED = {-errno.ECONNABORTED, -errno.EINTR, -errno.EPROTO}

# Seconds between two checks of the socket file while a listener waits for clients. To notice the
# removal at once, inotify(7) or kqueue(2) would be needed, with different rules on each system. A
# shorter pause would wake a sleeping machine more often.
FILE_CHECK_PAUSE = 10.0


class ListeningSocket(ListenerCore[ConnectionT]):
    """A listening socket, the claim to its name, and the count of its open connections.

    ``max_instances`` limits the accepted connections that are open. A client above the limit must
    be refused at once; it must not wait unnoticed in the kernel's queue. So the queue is never
    longer than the number of connections that may still be opened; listen(2) is called again to
    change the length. The kernel's shortest queue holds one connection. While no further connection
    is allowed, this process fills that place with a connection to its own socket (the blocker). A
    client that connects just before the blocker waits in the queue.

    A forked child may accept beside its parent, as pre-forking servers do, and may close its copy.
    The queue, the blocker and the clients in ``_early`` belong to the parent.

    Only one thread at a time may use this object. The driver's subclass does the waiting.

    Attributes:
        _early: clients that were taken out of the queue before they can be accepted.
        _candidate: the descriptor of the client that is being accepted. The object is reused,
            because making a new one takes time.
        _is_shared: other processes accept from the socket too, so its queue must not be changed.
        _file: the socket file; ``None`` in the abstract namespace, and when the file was lost.
    """

    _connector: ClassVar[connecting.Connector]

    def __init__(
        self,
        endpoint: Endpoint,
        address: bytes,
        options: ListenOptions,
        claim: posix_claim.Claim | None,
        descriptors: OpenDescriptors,
        *,
        is_shared: bool = False,
    ) -> None:
        self._set_up(endpoint, options)
        self._address = address
        self._claim = claim
        self._fd = -1
        self._admits = options.permissions.admits
        self._is_shared = is_shared
        self._file = removing.file_at(address) if claim is None else claim.socket_file
        self._blocker = OpenDescriptors()
        self._early = OpenDescriptors()
        self._candidate = OpenDescriptors()
        self._prepare()
        self._closed = False
        # This is the last step: if an earlier step raises, the caller closes the descriptor.
        (self._fd,) = descriptors.handed_over()

    @property
    def address(self) -> str:
        return calls.readable(self._address)

    def fileno(self) -> int:
        """Returns the descriptor of the listening socket (POSIX; on Windows there is
        ``handle`` instead).

        It belongs to the listener, and is valid until the listener is closed. You may ask the
        system about it (:func:`os.fstat`, getsockopt(2)), watch it in a selector, and give a copy
        to another process. If it is readable, a client has probably connected. ``accept`` can still
        wait: the client may have left, the access policy may refuse it, and with ``max_instances``
        the listener itself makes the socket readable.

        Do not accept from it, do not call listen(2), do not close it, and do not change its
        blocking mode.

        Raises:
            trio.ClosedResourceError: the listener is closed.
        """
        self._require_open()
        return self._fd

    def _try_accept(self) -> ConnectionT | AcceptStatus:
        if len(self._taken) >= self._max_instances:
            return AcceptStatus.FULL
        candidate = self._candidate
        try:
            if candidate.numbers:  # signal handlers have raised twice, so it was not closed
                fd = candidate.number
            elif self._early.numbers:
                fd = candidate.open(list.pop, self._early.numbers, 0)
            else:
                fd = candidate.open(calls.accept, self._fd)
            if fd >= 0:
                self._exhausted = False
                # The connection is not stored in a variable, because the traceback of an exception
                # must not keep it open.
                return self._admit(candidate) or AcceptStatus.VANISHED
        except BaseException:
            candidate.close()
            raise
        if fd == _AGAIN:
            return AcceptStatus.NO_CLIENT
        if fd in _EXHAUSTED:
            self._note_exhausted(os.strerror(-fd))
            return AcceptStatus.EXHAUSTED
        if fd not in _VANISHED:
            raise OSError(-fd, os.strerror(-fd), self.address)
        return AcceptStatus.VANISHED

    def _check_file(self) -> None:
        """Logs, once, if clients no longer find this listener. .NET servers remove every file at
        their address, and some programs clean up temporary directories.
        """
        if self._file is None or removing.is_at(self._address, self._file):
            return
        self._file = None
        if not self._closed:
            logger.error(
                "%r: another program has removed or replaced its socket file, and clients no "
                "longer reach it; close it and listen again",
                self,
            )

    def _admit(self, candidate: OpenDescriptors) -> ConnectionT | None:
        """Returns the connection of ``candidate``, or ``None`` if the client has left or is
        refused.
        """
        fd = candidate.numbers[-1]
        slot = ConnectionSlot(self, self._taken)
        try:
            credentials = calls.client_credentials(fd)
            if credentials is not None and not self._admits(credentials):
                # The user is logged by number: to look up the name can take long where accounts are
                # on a network, and a refused client must not make other clients wait.
                logger.warning(
                    "%r: turned away user %d, process %s", self, credentials.uid, credentials.pid
                )
                credentials = None
        except OSError as error:
            calls.require_system_error(error)
            credentials = None
        if credentials is None:
            candidate.close()
            return None
        try:
            self._taken.add(slot)
            self._adjust_queue()
            connection: ConnectionT = self._connector.adopt(
                candidate,
                self._endpoint,
                self._address,
                self._kind,
                self._buffer_size,
                slot,
                credentials,
            )
        except BaseException:
            self._taken.discard(slot)
            self._adjust_queue()
            raise
        return connection

    def _adjust_queue(self) -> None:
        """Makes room for as many clients as are allowed now."""
        if self._fd == -1 or self._max_instances == math.inf or self._is_shared:
            return
        free = int(self._max_instances) - len(self._taken) - len(self._early.numbers)
        calls.set_queue_length(self._fd, min(max(free, 1), self._backlog))
        if free <= 0 and self._blocker.number == -1:
            # If another program has replaced the socket file, the blocker would connect there.
            if self._claim is None or self._claim.socket_is_ours():
                self._connect_blocker()
        elif free > 0 and self._blocker.number != -1:
            self._disconnect_blocker()
            # Usually this accepts the blocker, which must leave the queue. If it accepts a client,
            # the client is kept in ``_early``.
            with OpenDescriptors() as descriptors:
                fd = descriptors.open(calls.accept, self._fd)
                if fd >= 0 and calls.peer_left(fd) == 0:
                    self._early.numbers.extend(descriptors.handed_over())

    def _connect_blocker(self) -> None:
        calls.connect(self._blocker, self._address, packets=self._kind == "messages")

    def _in_forked_child(self, text: str) -> None:
        self._is_shared = True
        self._drop_kept()
        self._blocker.close()
        self._early.close()
        self._candidate.close()

    def _disconnect_blocker(self) -> None:
        blocker = self._blocker.number
        if blocker != -1:
            # A forked child may have a copy of it; shutdown(2) ends the connection for all copies.
            calls.close_half(blocker, True)
            calls.close_half(blocker, False)
            self._blocker.close()

    def _close_sockets(self) -> None:
        """Closes everything except the claim to the name. The caller releases the claim first:
        otherwise a client could find the name and be refused a moment later.
        """
        fd, self._fd = self._fd, -1
        if fd != -1:
            os.close(fd)
        self._disconnect_blocker()
        self._drop_kept()
        self._early.close()
        self._candidate.close()


ListenerT = TypeVar("ListenerT", bound=ListeningSocket[Any])


def listen(listener: type[ListenerT], endpoint: Endpoint, **asked: Any) -> ListenerT:
    """Takes the name and listens. If this fails, it leaves nothing behind.

    Args:
        asked: the values of :class:`.ListenOptions`.
    """
    options = ListenOptions(**asked)
    connecting.check_kind(options.kind)
    if endpoint._is_number:
        return adopt(listener, endpoint, endpoint, options)
    address = addresses.resolve(endpoint)
    addresses.check_directory_safety(endpoint, address, create=True)
    _require_known_users(endpoint, address)
    claim = posix_claim.Claim(endpoint, address) if address[:1] != b"\0" else None
    descriptors = OpenDescriptors()
    try:
        if claim is not None:
            claim.take()
        queue = min(options.backlog, options.max_instances or options.backlog)
        file = calls.BoundFile() if claim is None else claim.bound
        packets = options.kind == "messages"
        fd = calls.listen(descriptors, file, address, options.permissions, queue, packets=packets)
        if fd < 0:
            raise OSError(-fd, os.strerror(-fd))
        return listener(endpoint, address, options, claim, descriptors)
    except BaseException as error:
        descriptors.close()
        if claim is not None:
            claim.release()
        if not isinstance(error, OSError) or isinstance(error, EndpointError):
            raise
        calls.require_system_error(error)
        path = calls.readable(address)
        if error.errno == errno.EADDRINUSE:
            raise in_use_error(endpoint, path, None) from None
        raise connect_error("errno", error.errno or errno.EIO, endpoint, path) from None


def adopt(
    listener: type[ListenerT], endpoint: Endpoint, socket: Endpoint, options: ListenOptions
) -> ListenerT:
    """Makes a listener at ``endpoint`` with a socket that listens already, and from which other
    processes may accept too.
    """
    fd = inherited.examine_listener(socket, options.kind)
    where = inherited.listener_address(fd)
    _require_known_users(endpoint, where)
    with OpenDescriptors() as descriptors:
        inherited.take_over(descriptors, socket)
        return listener(endpoint, where, options, None, descriptors, is_shared=True)


def _require_known_users(endpoint: Endpoint, address: bytes) -> None:
    """Raises:
    NotSupported: neither the kernel nor permissions tell other users from this one.
    """
    if address[:1] == b"\0" and not calls.can_tell_users_apart():
        raise NotSupported(
            f"{endpoint}: in this user namespace the kernel shows users from outside as this user "
            f"({os.geteuid()}), and an abstract name has no permissions that would refuse them; "
            "take a plain name, or run as another user"
        )
