"""POSIX: the part of a connection's end that is the same in both drivers."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, ClassVar

import trio

from ...abc import PeerIdentity
from ...endpoint import Endpoint
from ..common.connection_end import ConnectionEnd
from ..common.connection_slot import ConnectionSlot
from ..common.forking import remember
from ..common.inheritable import InheritableEnd
from . import calls, impersonation
from .opened import OpenDescriptors

assert sys.platform != "win32" or not TYPE_CHECKING


class SocketEnd(ConnectionEnd):
    """One connected descriptor.

    Attributes:
        ends_at_fork: whether a forked child cannot use this end. A child can use an end that a
            listener has accepted, because some servers fork for each client.
    """

    _word_for_number = "fd"
    _shut_half: ClassVar[bool | None] = None
    _eof_sent = False

    def __init__(
        self,
        descriptors: OpenDescriptors,
        endpoint: Endpoint,
        address: bytes,
        credentials: calls.Peer,
        owner: ConnectionSlot | None = None,
    ) -> None:
        """Takes over the last descriptor in ``descriptors``."""
        self._endpoint = endpoint
        self._address = address
        self._credentials = credentials
        self._owner = owner
        self.ends_at_fork = owner is None
        # Set here, because an attribute of the class takes longer to read.
        self._send_fault = self._receive_fault = None
        self._eof_sent = False
        self._prepare(descriptors.numbers[-1])
        remember(self)
        # This is the last step: until then the caller closes the descriptor.
        (self._number,) = descriptors.handed_over()

    def _in_forked_child(self, text: str) -> None:
        self._begin_anew()
        if self.ends_at_fork and self._number != -1:
            self._closed_text = f"this stream was {text}"
            self._close()

    @property
    def address(self) -> str:
        return calls.readable(self._address)

    @property
    def peer(self) -> PeerIdentity:
        if self._peer is None:
            self._peer = self._credentials.identity(self._require_open())
        return self._peer

    def fileno(self) -> int:
        """Returns the descriptor of this end (POSIX; on Windows there is ``handle`` instead).

        It belongs to this end, and is valid until this end is closed. You may:

        - ask the system about it: :func:`os.fstat`, getsockopt(2), ``/proc/self/fdinfo``;
        - watch it in a selector. If it is readable, a receive finds bytes or the end at once,
          unless another task or thread takes them first. If it is writable, the beginning of a
          send goes out at once; the rest may have to wait. ``ipcpipes.wait`` and
          ``ipcpipes.blocking.wait`` do this for several objects;
        - give a copy to another process (``pass_fds`` of :class:`subprocess.Popen`,
          ``send_descriptors``). The copy is the same connection: only one of the two processes may
          use it from then on, and the peer sees the end when both have closed.

        Do not read, write or close it, do not shut it down, and do not change its blocking mode:
        each driver depends on its own. The mode belongs to the connection, so a copy in another
        process has the same mode.

        Raises:
            trio.ClosedResourceError: this end is closed, or was handed over.
        """
        number = self._number  # not _require_open(), which marks the end of a pipe as used
        if number == -1:
            raise self._closed_here()
        return number

    def _release(self, number: int) -> None:
        # Programs expect descriptors in blocking mode. Other copies of it have the same mode.
        os.set_blocking(number, True)
        super()._release(number)

    def _client(self) -> impersonation.Client:
        return impersonation.Client(self._credentials)

    def _check_end(self, error: OSError) -> None:
        """Raises unless this error of a read means the end of the stream."""
        calls.require_system_error(error)
        self._require_open()
        # ECONNRESET: the peer closed before it had read all that this end sent. For the receiver
        # that is the end of the stream.
        if error.errno != errno.ECONNRESET:
            raise trio.BrokenResourceError(str(error)) from error


class AnonymousEnd(InheritableEnd, SocketEnd):
    """One descriptor of a pipe.

    After it was handed over, the descriptor is kept in ``_handed_over`` until it is disposed of.
    """

    _peer = PeerIdentity()

    def __init__(self, descriptors: OpenDescriptors, endpoint: Endpoint | None = None) -> None:
        fd = descriptors.number
        where = Endpoint.inherited(fd) if endpoint is None else endpoint
        super().__init__(descriptors, where, b"descriptor %d" % fd, calls.UnknownPeer())
        # A forked child can use a pipe whose two ends are in this process, as with pipe(2).
        self.ends_at_fork = endpoint is not None

    def _prepare_for_child(self, number: int) -> None:
        # Programs expect inherited descriptors in blocking mode.
        os.set_blocking(number, True)

    def _close_number(self, number: int) -> None:
        os.close(number)
