"""Messages without an event loop: how channels over a Windows pipe pass handles."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from ..._os.common.deadline import Deadline
from ..._os.handles.labels import WITHOUT, HandleHeaderReader, label_too_large
from ...abc import HasFileno
from ...framing import Buffer
from ...framing.outgoing import flat
from .base import Channel
from .transport import PassesHandles


class HandlePassingChannel(Channel):
    """A channel whose messages come each after its label."""

    def _enclosing(self, most: int) -> HandleHeaderReader:
        assert isinstance(self._carrier, PassesHandles)
        self._handles = self._carrier.handles()
        self._carrier._enclosed = self._labelled = HandleHeaderReader(
            most, self._arrived, self._handles
        )
        return self._labelled

    def send_descriptors(
        self,
        value: Buffer,
        descriptors: Sequence[int | HasFileno],
        *,
        timeout: float | None = None,
    ) -> None:
        deadline = None if timeout is None else Deadline.after(timeout)
        message = flat(value)
        if len(message) > self._max_size:
            raise self._too_large(len(message))
        self._in_turn(self._transmit_labelled, (message, descriptors), deadline)

    def _transmit_labelled(
        self, given: tuple[Buffer, Sequence[int | HasFileno]], deadline: Deadline | None
    ) -> None:
        message, descriptors = given
        with self._handles.giving(descriptors) as label:
            self._transmit(self._labelled_wire(label, [message]), deadline)

    def _wire(self, messages: list[Buffer]) -> list[Buffer]:
        return self._labelled_wire(WITHOUT, messages)

    def _labelled_wire(self, label: bytes, messages: list[Buffer]) -> list[Buffer]:
        if len(label) > self._max_size:
            raise label_too_large(label, self._max_size)
        return self._wire_of_parts([part for message in messages for part in (label, message)])

    @abstractmethod
    def _wire_of_parts(self, parts: list[Buffer]) -> list[Buffer]:
        """What is handed to the system for these labels and messages."""
