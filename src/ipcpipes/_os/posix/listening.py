"""POSIX: a listening Unix domain socket, as far as nothing has to be waited for."""

from __future__ import annotations

import errno
import logging
import math
import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ...endpoint import Endpoint
from ...errors import EndpointError, NotSupported, connect_error, in_use_error
from ..common.accept_status import AcceptStatus
from ..common.place import Place
from . import (
    address as places,
    calls,
    claim as posix_claim,
    connecting,
    inheritance as inherited,
    removing,
)
from .opened import Opened

assert sys.platform != "win32" or not TYPE_CHECKING

logger = logging.getLogger("ipcpipes")

_AGAIN = -errno.EAGAIN
_EXHAUSTED = {-errno.EMFILE, -errno.ENFILE, -errno.ENOMEM, -errno.ENOBUFS}
_VANISHED = {-errno.ECONNABORTED, -errno.EINTR, -errno.EPROTO}

# Seconds between two checks of the socket file while a listener waits for clients. To notice its
# removal at once would need one more descriptor for each listener (inotify(7), kqueue(2)). The
# pause is not shorter because an idle server wakes a sleeping machine each time.
LOOK_PAUSE = 10.0

ConnectionT = TypeVar("ConnectionT")


class ListeningSocket(Generic[ConnectionT]):
    """A listening socket, the claim to its name, and the count of those who came in.

    ``max_instances`` counts accepted streams that are open. So that a client above the limit
    hears of it at once instead of waiting unheard in the kernel's queue, the queue is kept no
    longer than what is free, by listen(2) again; and because the kernel's shortest queue
    holds one, that one place is taken by a connection of our own (the plug) while nothing is
    free. A client that slips in during the instant before the plug waits in the queue.

    A forked child may accept beside its parent (as pre-forking servers do), and may close its copy.
    The queue, the plug and the clients that have arrived belong to the parent.

    One thread at a time; whoever waits for clients builds on this.
    """

    _connector: ClassVar[connecting.Connector]

    def __init__(
        self,
        endpoint: Endpoint,
        address: bytes,
        claim: posix_claim.Claim | None,
        opened: Opened,
        *,
        kind: connecting.Kind,
        max_instances: int | None,
        backlog: int,
        buffer_size: int | None,
        permissions: calls.Permissions,
        is_shared: bool = False,
    ) -> None:
        self._endpoint = endpoint
        self._address = address
        self._claim = claim
        self._fd = -1
        self._kind: connecting.Kind = kind
        self._max_instances = math.inf if max_instances is None else max_instances
        self._backlog = backlog
        self._buffer_size = buffer_size
        self._admits = permissions.admits
        # A socket that other processes accept from too: its queue is not ours to change.
        self._is_shared = is_shared
        # None: there is no file, or the file is known to be gone.
        self._file = removing.file_at(address) if claim is None else claim.socket_file
        self._taken: set[Place] = set()
        self._plug = Opened()
        self._arrived = Opened()
        # The client that is being accepted. One object serves all accepts, because each costs time.
        self._candidate = Opened()
        self._exhausted = False
        self._prepare()
        # Last: until then our caller closes what is opened.
        (self._fd,) = opened.handed_over()

    def _prepare(self) -> None:
        """What a driver has besides; before the listener owns the socket."""

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def address(self) -> str:
        return calls.readable(self._address)

    def _try_accept(self) -> ConnectionT | AcceptStatus:
        """A new connection, or what stands in its way."""
        if len(self._taken) >= self._max_instances:
            return AcceptStatus.FULL
        candidate = self._candidate
        try:
            if candidate.numbers:  # an earlier accept was interrupted here, and once more below
                fd = candidate.number
            elif self._arrived.numbers:
                fd = candidate.open(list.pop, self._arrived.numbers, 0)
            else:
                fd = candidate.open(calls.accept, self._fd)
            if fd >= 0:
                self._exhausted = False
                # Not stored in a variable: if an exception comes, its traceback must not keep the
                # connection open.
                return self._admit(candidate) or AcceptStatus.VANISHED
        except BaseException:
            candidate.close()
            raise
        if fd == _AGAIN:
            return AcceptStatus.NOBODY
        if fd in _EXHAUSTED:
            if not self._exhausted:
                logger.warning("%r: %s; waiting for it to end", self, os.strerror(-fd))
            self._exhausted = True
            return AcceptStatus.EXHAUSTED
        if fd not in _VANISHED:
            raise OSError(-fd, os.strerror(-fd), self.address)
        return AcceptStatus.VANISHED

    def _look_at_file(self) -> None:
        """Logs, once, that clients no longer find this listener. .NET servers remove whatever is at
        their address, and some programs clean up temporary directories.
        """
        if self._file is None or removing.is_at(self._address, self._file):
            return
        self._file = None
        if not self._is_closing():
            logger.error(
                "%r: another program has removed or replaced its socket file, and clients no "
                "longer reach it; close it and listen again",
                self,
            )

    def _is_closing(self) -> bool:
        """Whether the name has been released, or is about to be."""
        return self._fd == -1

    def _admit(self, candidate: Opened) -> ConnectionT | None:
        """The connection of ``candidate``; ``None`` for a client that has left or is refused."""
        fd = candidate.numbers[-1]
        place = Place(self, self._taken)
        try:
            credentials = calls.peer_credentials(fd)
            welcome = calls.peer_left(fd) == 0
            if welcome and not self._admits(credentials):
                welcome = False
                # By number: to look for a name can take long where accounts are on a network, and
                # strangers must not make the others wait for that.
                logger.warning(
                    "%r: turned away user %d, process %s", self, credentials.uid, credentials.pid
                )
        except OSError as error:
            calls.require_system_error(error)
            welcome = False
        if not welcome:
            candidate.close()
            return None
        try:
            self._taken.add(place)
            self._fit_queue()
            connection: ConnectionT = self._connector.adopt(
                candidate,
                self._endpoint,
                self._address,
                self._kind,
                self._buffer_size,
                place,
                credentials,
            )
        except BaseException:
            self._taken.discard(place)
            self._fit_queue()
            raise
        return connection

    def _count_released(self) -> None:
        """A stream that was accepted is closed, and its place is free."""
        self._fit_queue()

    def _fit_queue(self) -> None:
        if self._fd == -1 or self._max_instances == math.inf or self._is_shared:
            return
        free = int(self._max_instances) - len(self._taken) - len(self._arrived.numbers)
        calls.set_places(self._fd, min(max(free, 1), self._backlog))
        if free <= 0 and self._plug.number == -1:
            # Where somebody has put a file in our socket's place, the plug would go to him.
            if self._claim is None or self._claim.socket_is_ours():
                self._connect_plug()
        elif free > 0 and self._plug.number != -1:
            self._pull_plug()
            # Usually this is the plug's other end; it must not keep its place in the queue.
            with Opened() as opened:
                fd = opened.open(calls.accept, self._fd)
                if fd >= 0 and calls.peer_left(fd) == 0:
                    self._arrived.numbers.extend(opened.handed_over())

    def _connect_plug(self) -> None:
        calls.connect(self._plug, self._address, packets=self._kind == "messages")

    def _in_forked_child(self, text: str) -> None:
        self._is_shared = True
        self._plug.close()
        self._arrived.close()
        self._candidate.close()

    def _pull_plug(self) -> None:
        plug = self._plug.number
        if plug != -1:
            # A forked child may hold it too: shut down, it is at its end for all of them.
            calls.close_half(plug, True)
            calls.close_half(plug, False)
            self._plug.close()

    def _close_sockets(self) -> None:
        """Gives up all but the claim to the name, which comes first: a client that finds the
        name would be turned away a moment later.
        """
        fd, self._fd = self._fd, -1
        if fd != -1:
            os.close(fd)
        self._pull_plug()
        self._arrived.close()
        self._candidate.close()

    def __repr__(self) -> str:
        state = " closed" if self._fd == -1 else ""
        return f"<ipcpipes Listener {self.address!r}{state}>"


PlacesT = TypeVar("PlacesT", bound=ListeningSocket[Any])


def listen(
    listener: type[PlacesT],
    endpoint: Endpoint,
    *,
    kind: connecting.Kind,
    max_instances: int | None,
    backlog: int,
    buffer_size: int | None,
    permissions: calls.Permissions,
) -> PlacesT:
    """Takes the name and listens; what it made is gone again when it fails."""
    connecting.check_kind(kind)
    options: dict[str, Any] = {
        "kind": kind,
        "max_instances": max_instances,
        "backlog": backlog,
        "buffer_size": buffer_size,
        "permissions": permissions,
    }
    if endpoint.kind == "inherited":
        fd = inherited.claim_listener(endpoint, kind)
        with Opened(fd) as opened:
            where = inherited.listener_address(fd)
            return listener(endpoint, where, None, opened, is_shared=True, **options)
    address = places.resolve(endpoint)
    places.check_directory_safety(endpoint, address, create=True)
    if address[:1] == b"\0" and not calls.knows_users_apart():
        raise NotSupported(
            f"{endpoint}: in this user namespace the kernel shows users of others as ours "
            f"({os.geteuid()}), and an abstract name has no permissions that would keep them out; "
            "take a plain name, or run as another user"
        )
    claim = posix_claim.Claim(endpoint, address) if address[:1] != b"\0" else None
    opened = Opened()
    try:
        if claim is not None:
            claim.take()
        queue = min(backlog, max_instances or backlog)
        file = calls.BoundFile() if claim is None else claim.bound
        fd = calls.listen(opened, file, address, permissions, queue, packets=kind == "messages")
        if fd < 0:
            raise OSError(-fd, os.strerror(-fd))
        return listener(endpoint, address, claim, opened, **options)
    except BaseException as error:
        opened.close()
        if claim is not None:
            claim.release()
        if not isinstance(error, OSError) or isinstance(error, EndpointError):
            raise
        calls.require_system_error(error)
        path = calls.readable(address)
        if error.errno == errno.EADDRINUSE:
            raise in_use_error(endpoint, path, None) from None
        raise connect_error("errno", error.errno or errno.EIO, endpoint, path) from None
