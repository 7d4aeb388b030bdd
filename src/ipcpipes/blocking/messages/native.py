"""Messages without an event loop: native, over packets of the system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from ..._os import blocking as _os
from ..._os.common.deadline import Deadline
from ...abc import HasFileno
from ...errors import FramingError, MessageTooLarge
from ...framing import Buffer, Native
from .base import Channel, HalfCloseable
from .handles import HandlePassingChannel
from .transport import PassesHandles


class NativeMessageChannel(Channel):
    """Messages that the system itself keeps apart, made by ``framing=NATIVE``.

    See :class:`ipcpipes.blocking.abc.MessageChannel` for what it does. On Linux it is a
    :class:`ipcpipes.blocking.abc.HalfCloseableMessageChannel` too.
    """

    _carrier: _os.Packets

    def __new__(
        cls, packets: _os.Packets, native: Native, max_descriptors: int = 0
    ) -> NativeMessageChannel:
        if cls is NativeMessageChannel and hasattr(packets, "_put_eof"):
            cls = _HalfCloseableNative
        elif cls is NativeMessageChannel and max_descriptors and isinstance(packets, PassesHandles):
            cls = _HandlePassingNative
        return super().__new__(cls)

    def __init__(self, packets: _os.Packets, native: Native, max_descriptors: int = 0) -> None:
        super().__init__(packets, min(native.max_size, packets.largest), max_descriptors)
        self._native = native
        # Where packets are put.
        self._into: Any = self._arrived

    @property
    def address(self) -> str:
        """The real address of the endpoint; an abstract name is written with ``@`` in front."""
        return self._carrier.address

    def _too_large(self, size: int) -> MessageTooLarge:
        if self._max_size < self._native.max_size:
            return MessageTooLarge(size, self._max_size, "the system's limit for one packet is")
        return super()._too_large(size)

    def _wire(self, messages: list[Buffer]) -> list[Buffer]:
        return messages

    def _transmit(self, wire: list[Buffer], deadline: Deadline | None) -> None:
        self._carrier._put_packets(wire, deadline)

    def _transmit_with(
        self, wire: tuple[list[Buffer], Sequence[int | HasFileno]], deadline: Deadline | None
    ) -> None:
        packets, descriptors = wire
        self._carrying()._put_packets(packets, deadline, descriptors)

    def _fill(self, limit: int, deadline: Deadline | None) -> bytes | None:
        if self._receive_fault is not None:
            self._raise_fault()
        try:
            some = self._carrier._get_packets(self._into, self._native.max_size, limit, deadline)
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
        return None

    def __repr__(self) -> str:
        return f"<ipcpipes blocking {NativeMessageChannel.__name__} over {self._carrier!r}>"


class _HalfCloseableNative(NativeMessageChannel, HalfCloseable):
    pass


class _HandlePassingNative(HandlePassingChannel, NativeMessageChannel):
    def __init__(self, packets: _os.Packets, native: Native, max_descriptors: int = 0) -> None:
        super().__init__(packets, native, max_descriptors)
        self._into = self._labelled

    def _wire_of_parts(self, parts: list[Buffer]) -> list[Buffer]:
        return parts

    def _fill(self, limit: int, deadline: Deadline | None) -> bytes | None:
        try:
            return super()._fill(limit, deadline)
        except trio.EndOfChannel:
            try:
                self._labelled.end()
            except FramingError as error:
                self._receive_fault = error
                self._raise_fault()
            raise
