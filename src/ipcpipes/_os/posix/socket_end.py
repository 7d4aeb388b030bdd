"""POSIX: one end of a connection, as far as both drivers treat it alike."""

from __future__ import annotations

import errno
import os
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import trio

from ...abc import PeerIdentity
from ...abc.uncopied import Uncopied
from ...endpoint import Endpoint
from ..common.connection_slot import ConnectionSlot
from ..common.forking import remember
from ..common.inheritable import InheritableEnd
from . import calls
from .opened import OpenDescriptors

assert sys.platform != "win32" or not TYPE_CHECKING


class SocketEnd(Uncopied, ABC):
    """One connected descriptor.

    Lifetime: it owns the descriptor from the end of :meth:`__init__`, until the driver closes it.

    Attributes:
        ends_at_fork: whether a forked child cannot use it. The child can use one that a listener
            has accepted, because some servers fork for each client.
        _number: the descriptor; -1 before :meth:`__init__` has ended, and after closing, so that a
            number which the system has given to something else is never used.
        _send_fault: why nothing can be sent any more.
        _receive_fault: why nothing can be received any more.
    """

    _shut_half: ClassVar[bool | None] = None
    _closed_text = "this stream was closed here"
    _number = -1
    _peer: PeerIdentity | None = None
    _send_fault: str | None = None
    _receive_fault: str | None = None
    _eof_sent = False

    def __init__(
        self,
        descriptors: OpenDescriptors,
        endpoint: Endpoint,
        address: bytes,
        credentials: calls.Peer,
        owner: ConnectionSlot | None = None,
    ) -> None:
        """Takes over the last of ``descriptors``."""
        self._endpoint = endpoint
        self._address = address
        self._credentials = credentials
        self._owner = owner
        self.ends_at_fork = owner is None
        self._prepare(descriptors.numbers[-1])
        remember(self)
        # Last: until then the caller closes the descriptor.
        (self._number,) = descriptors.handed_over()

    @abstractmethod
    def _prepare(self, fd: int) -> None:
        """Makes what the driver needs to use this descriptor."""

    @abstractmethod
    def _in_forked_child(self, text: str) -> None: ...

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    @property
    def address(self) -> str:
        return calls.readable(self._address)

    @property
    def peer(self) -> PeerIdentity:
        if self._peer is None:
            self._peer = self._credentials.identity(self._require_open())
        return self._peer

    def _require_open(self) -> int:
        if self._number == -1:
            raise self._closed_here()
        return self._number

    def _closed_here(self) -> trio.ClosedResourceError:
        return trio.ClosedResourceError(self._closed_text)

    def _check_end(self, error: OSError) -> None:
        """Raises unless this error of a read means the end of the stream."""
        calls.require_system_error(error)
        self._require_open()
        # ECONNRESET: the peer closed before it had read all that this end sent. For the receiver
        # that is the end of the stream.
        if error.errno != errno.ECONNRESET:
            raise trio.BrokenResourceError(str(error)) from error

    def __repr__(self) -> str:
        state = "closed" if self._number == -1 else f"fd {self._number}"
        return f"<ipcpipes {type(self).__name__} {self.address!r} {state}>"


class AnonymousEnd(InheritableEnd, SocketEnd):
    """One descriptor of a pipe.

    After it was handed over, the descriptor is kept in ``_handed_over`` until it is disposed of.
    """

    _peer = PeerIdentity()

    def __init__(self, descriptors: OpenDescriptors, endpoint: Endpoint | None = None) -> None:
        fd = descriptors.number
        where = Endpoint.inherited(fd) if endpoint is None else endpoint
        super().__init__(descriptors, where, b"descriptor %d" % fd, calls.UnknownPeer())
        # A pipe whose two ends are in this process is also for a forked child, as pipe(2) is.
        self.ends_at_fork = endpoint is not None

    @property
    @abstractmethod
    def capacity(self) -> int: ...

    @property
    def send_buffer_size(self) -> int:
        return self.capacity

    @property
    def receive_buffer_size(self) -> int:
        return self.capacity

    def _close_number(self, number: int) -> None:
        os.close(number)
