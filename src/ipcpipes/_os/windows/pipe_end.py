"""Windows: the part of a connected pipe's end that is the same in both drivers."""

from __future__ import annotations

import os
import sys
from abc import abstractmethod
from typing import TYPE_CHECKING

import trio

from ...abc import PeerIdentity
from ...endpoint import Endpoint
from ...errors import NotSupported
from ..common.connection_end import ConnectionEnd
from ..common.connection_slot import ConnectionSlot
from ..common.inheritable import InheritableEnd
from . import calls, inheritance as inherited
from .opened import Opened

assert sys.platform == "win32" or not TYPE_CHECKING


class PipeEnd(ConnectionEnd):
    """One handle of a connected pipe.

    Attributes:
        sent_some: whether the system may have begun to write data, which the peer may have read.
        _known_process: the process at the other end, if the caller knows it; otherwise ``None``.
            Then the system is asked, which names the process that opened the other end.
    """

    _word_for_number = "handle"
    sent_some = False

    def __init__(
        self,
        opened: Opened,
        endpoint: Endpoint,
        address: str,
        *,
        server_end: bool,
        owner: ConnectionSlot | None = None,
        process: int | None = None,
    ) -> None:
        """Takes the handle out of ``opened``.

        Args:
            server_end: this is the end that CreateNamedPipe made.
            owner: the slot of a connection that a listener has accepted.
            process: the process at the other end, if it is known; 0 if there is no such process.
        """
        self._endpoint = endpoint
        self._address = address
        self._server_end = server_end
        self._owner = owner
        self._known_process = process
        # Set here, because an attribute of the class takes longer to read.
        self._send_fault = self._receive_fault = None
        self._prepare(opened.number)
        # This is the last step: until then the caller closes the handle.
        (self._number,) = opened.handed_over()

    @property
    def address(self) -> str:
        return self._address

    @property
    def peer(self) -> PeerIdentity:
        if self._peer is not None:
            return self._peer
        found = self._look_up_peer(self._require_open())
        if found.sid is not None:  # otherwise it may be known later
            self._peer = found
        return found

    @property
    def handle(self) -> int:
        """The handle of this end (Windows; elsewhere there is ``fileno()`` instead).

        It belongs to this end, and is valid until this end is closed. You may ask the system about
        it (GetNamedPipeInfo, PeekNamedPipe), and give a copy to another process (DuplicateHandle,
        ``send_descriptors``). The copy is the same connection: only one of the two processes may
        use it from then on.

        Do not read, write, disconnect or close it, and do not change its mode. Do not wait for it
        either: Windows signals the handle of a pipe at the end of any operation, and not when data
        arrives. Under trio it belongs to the completion port of trio.

        Raises:
            trio.ClosedResourceError: this end is closed, or was handed over.
        """
        number = self._number  # not _require_open(), which marks the end of a pipe as used
        if number == -1:
            raise self._closed_here()
        return number

    @abstractmethod
    def _look_up_peer(self, handle: int) -> PeerIdentity: ...

    def _require_sendable(self) -> None:
        self._require_open()
        if self._send_fault is not None:
            raise trio.BrokenResourceError(self._send_fault)

    def _require_good_end(self, code: int) -> None:
        """Raises unless this code of a read means the end of the stream."""
        self._require_open()
        if code not in calls.PEER_GONE:
            raise trio.BrokenResourceError(str(calls.winerror(code)))


class AnonymousEnd(InheritableEnd, PipeEnd):
    """One handle of an anonymous pipe.

    After it was handed over, the handle is kept in ``_handed_over`` until it is disposed of.
    """

    _peer = PeerIdentity()

    def __init__(self, opened: Opened, endpoint: Endpoint | None = None) -> None:
        handle = opened.number
        endpoint = Endpoint.inherited(handle) if endpoint is None else endpoint
        address = inherited.address_of(handle)
        super().__init__(opened, endpoint, address, server_end=False, process=0)

    @property
    def capacity(self) -> int:
        return max(self._buffer_sizes())

    def set_capacity(self, size: int) -> None:
        if self._number == -1:
            raise self._closed_here()
        raise NotSupported(
            "the size of a pipe is set when it is made: open_anonymous_pipe(capacity=...)"
        )

    def _prepare_for_child(self, number: int) -> None:
        os.set_handle_inheritable(number, True)

    def _close_number(self, number: int) -> None:
        calls.close(number)
