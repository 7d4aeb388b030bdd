"""POSIX: the ends of a pipe(2) as trio streams."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import trio

from .... import abc
from ....abc import PeerIdentity
from ....endpoint import Endpoint
from ...common.inheritable import USED, InheritableEnd
from .. import calls, inheritance as inherited, pipe_size as pipe
from ..opened import Opened
from . import stream as streams

assert sys.platform != "win32" or not TYPE_CHECKING


class _End(InheritableEnd, streams.Socket, abc.AnonymousPipeEnd):
    """One descriptor of a pipe. Lifetime: as a socket's, but for what was handed over, which is
    kept in ``_handed_over`` until it is disposed of.
    """

    def __init__(self, opened: Opened, endpoint: Endpoint | None = None) -> None:
        fd = opened.number
        where = Endpoint.inherited(fd) if endpoint is None else endpoint
        super().__init__(opened, where, b"descriptor %d" % fd, calls.UnknownPeer())
        # A pipe with both ends here is also for a forked child, as pipe(2) is.
        self.ends_at_fork = endpoint is not None
        self._peer = PeerIdentity()

    def _prepare(self, fd: int) -> None:
        os.set_blocking(fd, False)

    @property
    def capacity(self) -> int:
        return pipe.capacity(self._require_ours())

    def set_capacity(self, size: int) -> None:
        pipe.set_capacity(self._require_ours(), size)

    @property
    def send_buffer_size(self) -> int:
        return self.capacity

    @property
    def receive_buffer_size(self) -> int:
        return self.capacity

    def _require_ours(self) -> int:
        if self._fd == -1:
            raise self._closed_here()
        return self._fd

    def _require_open(self) -> int:
        fd = self._require_ours()
        self._used = True
        return fd

    def _take_out(self) -> int:
        self._require_ours()
        if self._sending or self._receiving:
            raise trio.BusyResourceError("another task is using this end")
        if self._used:
            raise RuntimeError(USED)
        fd, self._fd = self._fd, -1
        # As any program expects of what it inherits.
        os.set_blocking(fd, True)
        return fd

    def _close_number(self, number: int) -> None:
        os.close(number)

    def _close(self) -> None:
        super()._close()
        self.dispose_local_copy()

    def __del__(self) -> None:
        if self._handed_over != -1:
            self._fd, self._handed_over = self._handed_over, -1
        super().__del__()


class SendStream(_End, streams.SendStream):
    """The end of an anonymous pipe that data goes into; see
    :class:`ipcpipes.abc.AnonymousPipeEnd`.
    """

    _shut_half = None
    _put = staticmethod(calls.write)


class ReceiveStream(_End, streams.ReceiveStream):
    """The end of an anonymous pipe that data comes out of; see
    :class:`ipcpipes.abc.AnonymousPipeEnd`.
    """

    _shut_half = None


def open_anonymous_pipe(capacity: int | None) -> tuple[ReceiveStream, SendStream]:
    """(receive end, send end)"""
    with inherited.open_pipe(capacity) as opened:
        sending = SendStream(opened)
        return ReceiveStream(opened), sending
