"""Messages for trio: native, over packets of the system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import trio

from .._os.handles.attached import AttachedDescriptors
from ..abc import HasFileno, PeerIdentity
from ..errors import FramingError, MessageTooLarge
from ..framing import Buffer, Native
from .base import Channel, HalfCloseable, PassesHandles, SendsEof
from .handles import HandlePassingChannel

if TYPE_CHECKING:
    from .._os import Packets
    from ..endpoint import Endpoint


class NativeMessageChannel(Channel):
    """Messages that the system itself keeps apart, made by ``framing=NATIVE``.

    See :class:`ipcpipes.abc.MessageChannel` for what it does. On Linux it is a
    :class:`ipcpipes.abc.HalfCloseableMessageChannel` too.
    """

    def __new__(
        cls, packets: Packets, native: Native, max_descriptors: int = 0
    ) -> NativeMessageChannel:
        if cls is NativeMessageChannel and isinstance(packets, SendsEof):
            cls = _HalfCloseableNative
        elif cls is NativeMessageChannel and max_descriptors and isinstance(packets, PassesHandles):
            cls = _HandlePassingNative
        return super().__new__(cls)

    def __init__(self, packets: Packets, native: Native, max_descriptors: int = 0) -> None:
        super().__init__(packets, min(native.max_size, packets.largest), max_descriptors)
        self._packets = packets
        self._native = native
        # Where packets are put.
        self._into: Any = self._arrived
        if isinstance(self._enclosed, AttachedDescriptors):
            carrying: Any = packets  # they are of those that have it
            carrying.enclosed = self._enclosed

    @property
    def endpoint(self) -> Endpoint:
        return self._packets.endpoint

    @property
    def address(self) -> str:
        """The real address of the endpoint; an abstract name is written with ``@`` in front."""
        return self._packets.address

    @property
    def peer(self) -> PeerIdentity:
        return self._packets.peer

    def _too_large(self, size: int) -> MessageTooLarge:
        if self._max_size < self._native.max_size:
            return MessageTooLarge(size, self._max_size, "the system's limit for one packet is")
        return super()._too_large(size)

    def _wire(self, messages: Sequence[Buffer]) -> Sequence[Buffer]:
        return messages

    async def _transmit(
        self, wire: Sequence[Buffer], descriptors: Sequence[int | HasFileno] | None = None
    ) -> None:
        try:
            if descriptors is None:
                await self._packets.send_packets(wire)
            else:
                packets: Any = self._packets  # they are of those that carry them
                await packets.send_packets(wire, descriptors)
        except trio.ClosedResourceError:
            raise
        except trio.BrokenResourceError as error:
            self._send_fault = str(error)
            raise
        except BaseException:
            if self._packets.sent_some:
                self._send_fault = "an earlier send was cancelled half-way"
            raise

    async def _fill(self, limit: int) -> None:
        self._raise_fault()
        try:
            some = await self._packets.receive_packets(self._into, self._native.max_size, limit)
        except FramingError as error:
            self._receive_fault = error
            if not self._arrived:
                self._raise_fault()
        else:
            if not some:
                raise trio.EndOfChannel("the other end has closed")
            if self._may_be_refused and self._arrived:
                first = self._arrived[0]
                self._check_refusal(first if self._enclosed is None else first[0])

    def __repr__(self) -> str:
        return f"<ipcpipes {NativeMessageChannel.__name__} over {self._packets!r}>"


class _HalfCloseableNative(NativeMessageChannel, HalfCloseable):
    pass


class _HandlePassingNative(HandlePassingChannel, NativeMessageChannel):
    def __init__(self, packets: Packets, native: Native, max_descriptors: int = 0) -> None:
        super().__init__(packets, native, max_descriptors)
        self._into = self._labelled

    def _wire_of_parts(self, parts: Sequence[Buffer]) -> Sequence[Buffer]:
        return parts

    async def _fill(self, limit: int) -> None:
        try:
            await super()._fill(limit)
        except trio.EndOfChannel:
            try:
                self._labelled.end()
            except FramingError as error:
                self._receive_fault = error
                self._raise_fault()
            raise
