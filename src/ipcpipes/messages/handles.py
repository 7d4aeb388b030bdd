"""Messages for trio: how channels over a Windows pipe pass handles."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from .._os.handles.labels import WITHOUT, HandleHeaderReader, label_too_large
from ..abc import HasFileno
from ..framing import Buffer
from ..framing.outgoing import flat
from .base import Channel, PassesHandles, whole


class HandlePassingChannel(Channel):
    """A channel whose messages come each after its label."""

    def _enclosing(self, most: int) -> HandleHeaderReader:
        assert isinstance(self._carrier, PassesHandles)
        self._handles = self._carrier.handles()
        self._labelled = HandleHeaderReader(most, self._arrived, self._handles)
        return self._labelled

    @whole
    async def send_descriptors(self, value: Buffer, descriptors: Sequence[int | HasFileno]) -> None:
        message = flat(value)
        if len(message) > self._max_size:
            raise self._too_large(len(message))
        await self._in_turn(self._transmit_with, message, descriptors)

    async def _transmit_with(self, message: Buffer, descriptors: Sequence[int | HasFileno]) -> None:
        with self._handles.giving(descriptors) as label:
            await self._transmit(self._labelled_wire(label, (message,)))

    def _wire(self, messages: Sequence[Buffer]) -> Sequence[Buffer]:
        return self._labelled_wire(WITHOUT, messages)

    def _labelled_wire(self, label: bytes, messages: Sequence[Buffer]) -> Sequence[Buffer]:
        if len(label) > self._max_size:
            raise label_too_large(label, self._max_size)
        return self._wire_of_parts([part for message in messages for part in (label, message)])

    @abstractmethod
    def _wire_of_parts(self, parts: Sequence[Buffer]) -> Sequence[Buffer]:
        """What is handed to the system for these labels and messages."""
