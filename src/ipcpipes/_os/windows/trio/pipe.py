"""Windows: the ends of an anonymous pipe as trio streams."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import trio

from .... import abc
from ....abc import PeerIdentity
from ....endpoint import Endpoint
from ....errors import NotSupported
from ...common.inheritable import NO_SETTING, USED, InheritableEnd
from .. import calls, inheritance as inherited
from ..opened import Opened
from . import stream as streams

assert sys.platform == "win32" or not TYPE_CHECKING


class _End(InheritableEnd, streams.Pipe, abc.AnonymousPipeEnd):
    """One handle of a pipe. Lifetime: as any pipe's, but for what was handed over, which is kept
    in ``_handed_over`` until it is disposed of.
    """

    def __init__(self, opened: Opened, endpoint: Endpoint | None = None) -> None:
        handle = opened.number
        endpoint = Endpoint.inherited(handle) if endpoint is None else endpoint
        super().__init__(opened, endpoint, inherited.address_of(handle), server_end=False)

    def _register(self, handle: int) -> None:
        """Not yet: the system allows one completion port in the whole life of a pipe's end, and
        the child may need it.
        """

    @property
    def peer(self) -> PeerIdentity:
        return PeerIdentity()

    @property
    def capacity(self) -> int:
        return self.send_buffer_size

    @property
    def send_buffer_size(self) -> int:
        if self._handle == -1:
            raise self._closed_here()
        return max(calls.buffer_sizes(self._handle))

    @property
    def receive_buffer_size(self) -> int:
        return self.send_buffer_size

    def set_capacity(self, size: int) -> None:
        if self._handle == -1:
            raise self._closed_here()
        raise NotSupported(NO_SETTING)

    def _require_open(self) -> int:
        if self._handle == -1:
            raise self._closed_here()
        if not self._used:
            super()._register(self._handle)
            self._used = True
        return self._handle

    def _take_out(self) -> int:
        if self._handle == -1:
            raise self._closed_here()
        if self._sending or self._receiving:
            raise trio.BusyResourceError("another task is using this end")
        if self._used:
            raise RuntimeError(USED)
        handle, self._handle = self._handle, -1
        os.set_handle_inheritable(handle, True)
        return handle

    def _close_number(self, number: int) -> None:
        calls.close(number)

    def _close(self) -> None:
        super()._close()
        self.dispose_local_copy()

    def __del__(self) -> None:
        if self._handed_over != -1:
            self._handle, self._handed_over = self._handed_over, -1
        super().__del__()


class SendStream(_End, streams.SendStream):
    """The end of an anonymous pipe that data goes into; see
    :class:`ipcpipes.abc.AnonymousPipeEnd`.
    """


class ReceiveStream(_End, streams.ReceiveStream):
    """The end of an anonymous pipe that data comes out of; see
    :class:`ipcpipes.abc.AnonymousPipeEnd`.
    """


def open_anonymous_pipe(capacity: int | None) -> tuple[ReceiveStream, SendStream]:
    """(receive end, send end)"""
    with inherited.open_pipe(capacity) as opened:
        sending = SendStream(opened)
        return ReceiveStream(opened), sending
