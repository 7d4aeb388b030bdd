"""Message channels without an event loop over packets of the system."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from ..._os.common.deadline import Deadline
from ...abc import HasFileno
from ...errors import FramingError
from ...framing import Buffer
from ...messages.core import ENDED, NativeCore
from .base import Channel


class NativeMessageChannel(NativeCore, Channel):
    """Messages that the system itself keeps apart, made by ``framing=NATIVE``.

    See :class:`ipcpipes.blocking.abc.MessageChannel` for what it does. On Linux it is a
    :class:`ipcpipes.blocking.abc.HalfCloseableMessageChannel` too.
    """

    def _transmit(
        self,
        deadline: Deadline | None,
        wire: Sequence[Buffer],
        descriptors: Sequence[int | HasFileno] | None = None,
    ) -> None:
        if descriptors is None:
            self._carrier._put_packets(wire, deadline)
        else:
            self._carrier._put_packets(wire, deadline, descriptors)

    def _fill(self, limit: int, deadline: Deadline | None) -> bytes | None:
        if self._receive_fault is not None:
            self._raise_fault()
        try:
            if self._carrier._get_packets(self._into, self._native.max_size, limit, deadline):
                if self._may_be_refused and self._arrived:
                    self._check_first_packet()
                return None
            if self._headers is not None:
                self._headers.end()
        except FramingError as error:
            self._break_receiving(error)
            return None
        else:
            raise trio.EndOfChannel(ENDED)

    def __repr__(self) -> str:
        return f"<ipcpipes blocking {NativeMessageChannel.__name__} over {self._carrier!r}>"
