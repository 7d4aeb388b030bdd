"""Message channels for trio over packets of the system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import trio

from ..abc import HasFileno
from ..errors import FramingError
from ..framing import Buffer, Native
from .base import Channel
from .core import ENDED, NativeCore

if TYPE_CHECKING:
    from .._os import Packets
    from ..endpoint import Endpoint


class NativeMessageChannel(NativeCore, Channel):
    """Messages that the system itself keeps apart, made by ``framing=NATIVE``.

    See :class:`ipcpipes.abc.MessageChannel` for what it does. On Linux it is a
    :class:`ipcpipes.abc.HalfCloseableMessageChannel` too.
    """

    def __init__(self, packets: Packets, native: Native, max_descriptors: int = 0) -> None:
        super().__init__(packets, native, max_descriptors)
        self._sends_now = packets._sends_now
        if self._attached is not None:
            self._carrier._enclosed = self._attached

    @property
    def endpoint(self) -> Endpoint:
        endpoint: Endpoint = self._carrier.endpoint
        return endpoint

    async def _transmit(
        self, wire: Sequence[Buffer], descriptors: Sequence[int | HasFileno] | None = None
    ) -> None:
        try:
            if descriptors is None:
                await self._carrier.send_packets(wire)
            else:
                await self._carrier.send_packets(wire, descriptors)
        except trio.ClosedResourceError:
            raise
        except trio.BrokenResourceError as error:
            self._send_fault = str(error)
            raise
        except BaseException:
            if self._carrier.sent_some:
                self._send_fault = "an earlier send was cancelled half-way"
            raise

    def _transmit_now(self, wire: Sequence[Buffer]) -> list[Buffer]:
        try:
            rest: list[Buffer] = self._carrier.send_packets_now(wire)
            return rest
        except trio.BrokenResourceError as error:
            self._send_fault = str(error)
            raise

    async def _fill(self, limit: int) -> None:
        self._require_open()
        if self._receive_fault is not None:
            self._raise_fault()
        try:
            some = await self._carrier.receive_packets(self._into, self._native.max_size, limit)
            self._check_received(some)
        except FramingError as error:
            self._break_receiving(error)

    def _fill_now(self) -> bool:
        if self._receive_fault is not None:
            self._raise_fault()
        try:
            some = self._carrier.receive_packets_now(self._into, self._native.max_size)
            if some is not None:
                self._check_received(some)
        except FramingError as error:
            self._break_receiving(error)
            return True
        return some is not None

    def _check_received(self, some: bool) -> None:
        """Checks the received packets. ``some`` is false at the end of the stream."""
        if not some:
            if self._headers is not None:
                self._headers.end()
            raise trio.EndOfChannel(ENDED)
        if self._may_be_refused and self._arrived:
            self._check_first_packet()

    def __repr__(self) -> str:
        return f"<ipcpipes {NativeMessageChannel.__name__} over {self._carrier!r}>"
