"""Windows: the ends of an anonymous pipe without an event loop."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from ....abc import PeerIdentity
from ....endpoint import Endpoint
from ....errors import NotSupported
from ...common.deadline import Deadline
from ...common.inheritable import NO_SETTING, USED, InheritableEnd
from .. import calls, inheritance as inherited
from ..opened import Opened
from . import stream as streams

assert sys.platform == "win32" or not TYPE_CHECKING


class _End(InheritableEnd, streams.Pipe):
    """One handle of a pipe. Lifetime: as any pipe's, but for what was handed over, which is kept
    in ``_handed_over`` until it is disposed of.
    """

    def __init__(self, opened: Opened, endpoint: Endpoint | None = None) -> None:
        handle = opened.number
        endpoint = Endpoint.inherited(handle) if endpoint is None else endpoint
        super().__init__(
            opened, endpoint, inherited.address_of(handle), server_end=False, process=0
        )

    @property
    def peer(self) -> PeerIdentity:
        return PeerIdentity()

    @property
    def capacity(self) -> int:
        return max(self._buffer_size(0), self._buffer_size(1))

    @property
    def send_buffer_size(self) -> int:
        return self.capacity

    @property
    def receive_buffer_size(self) -> int:
        return self.capacity

    def set_capacity(self, size: int) -> None:
        self._require_open()
        raise NotSupported(NO_SETTING)

    def _require_open(self) -> int:
        if self._number == -1:
            raise self._closed_here()
        return self._number

    def _busy(self, doing: str) -> Exception:
        return self._closed_here() if self._number == -1 else super()._busy(doing)

    def _transfer(
        self, operation: Any, memory: Any, size: int, deadline: Deadline | None, *, sending: bool
    ) -> tuple[int, int]:
        self._used = True
        return super()._transfer(operation, memory, size, deadline, sending=sending)

    def _take_out(self) -> int:
        handle = self._take_number(USED if self._used else None)
        self._events.close()
        os.set_handle_inheritable(handle, True)
        return handle

    def _close_number(self, number: int) -> None:
        calls.close(number)

    def close(self) -> None:
        super().close()
        self.dispose_local_copy()

    def __del__(self) -> None:
        if self._handed_over != -1:
            self._number, self._handed_over = self._handed_over, -1
        super().__del__()


class SendStream(_End, streams.SendStream):
    """The end of an anonymous pipe that data goes into; see
    :class:`ipcpipes.blocking.abc.AnonymousPipeEnd`.
    """


class ReceiveStream(_End, streams.ReceiveStream):
    """The end of an anonymous pipe that data comes out of; see
    :class:`ipcpipes.blocking.abc.AnonymousPipeEnd`.
    """


def open_anonymous_pipe(capacity: int | None) -> tuple[ReceiveStream, SendStream]:
    """(receive end, send end)"""
    with inherited.open_pipe(capacity) as opened:
        sending = SendStream(opened)
        return ReceiveStream(opened), sending
