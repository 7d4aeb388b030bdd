"""Messages without an event loop: framed over any blocking stream. Native ones, over packets of
the system, are :mod:`ipcpipes.blocking.messages.native`'s; one contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from ..._os import blocking as _os
from ..._os.common.deadline import Deadline
from ..._os.common.receive_size import RECEIVE_INTERRUPTED
from ..._os.handles.attached import AttachedDescriptors
from ..._os.handles.labels import HandleHeaderSplitter
from ...abc import HasFileno
from ...authentication.challenge import explain
from ...errors import DescriptorsLost, FramingError
from ...framing import Buffer, Framing, LengthPrefixed, Native
from ...framing.outgoing import LARGE, pieces
from .. import abc
from .base import Channel, HalfCloseable
from .handles import HandlePassingChannel
from .native import NativeMessageChannel
from .transport import ForeignStream, PassesHandles, StreamTransport

__all__ = ["MessageChannel", "NativeMessageChannel"]

_READ_SIZE = 64 * 1024


class MessageChannel(Channel):
    """Messages over any blocking stream, cut out of its bytes by a framing.

    ``MessageChannel(stream, framing)`` is all it takes;
    :func:`ipcpipes.blocking.connect_messages` and :func:`ipcpipes.blocking.listen_messages` make
    one for you. See :class:`ipcpipes.blocking.abc.MessageChannel` for what it does. Over a stream
    with ``send_eof`` it is a :class:`ipcpipes.blocking.abc.HalfCloseableMessageChannel` too.

    Over a stream that is not one of ipcpipes, an interrupted send or receive always leaves the
    channel broken in that direction: only streams of ipcpipes report whether a part was sent or
    lost.

    Args:
        stream: belongs to the channel from now on, which closes it; nobody else may use it. What
            a stream needs is said by :class:`ipcpipes.blocking.abc.ByteStream`; ``send_all``,
            ``receive_some`` and ``close`` are enough.
        framing: how messages are told apart; both ends must have the same.
        max_descriptors: how many descriptors may come with one message, 0 to 253; with 0,
            :meth:`receive_descriptors` cannot be used, and what comes is dropped by the system.
            Over a Windows pipe it must not be 0 at one end, and 0 at the other one.

    Raises:
        TypeError: ``stream`` is no such stream, or ``framing`` no framing.
        TypeError, ValueError: ``max_descriptors`` is no int, or out of range.
        NotSupported: ``max_descriptors`` is not 0, and ``stream`` carries none: it is not one of
            ipcpipes, or goes one way only.
    """

    def __new__(
        cls, stream: abc.BareStream, framing: Framing | None = None, *, max_descriptors: int = 0
    ) -> MessageChannel:
        if cls is MessageChannel and hasattr(stream, "send_eof"):
            cls = _HalfCloseableFramed
        elif cls is MessageChannel and max_descriptors and isinstance(stream, PassesHandles):
            cls = _HandlePassingFramed
        return super().__new__(cls)

    def __init__(
        self, stream: abc.BareStream, framing: Framing | None = None, *, max_descriptors: int = 0
    ) -> None:
        framing = LengthPrefixed() if framing is None else framing
        if isinstance(framing, Native):
            raise TypeError(
                "native messages are not made over a stream; take connect_messages or "
                "listen_messages with framing=NATIVE at both ends"
            )
        if not isinstance(framing, Framing):
            raise TypeError(f"framing must be a Framing, not {framing!r}")
        self._carrier: StreamTransport = (
            stream if isinstance(stream, _os.Stream) else ForeignStream(stream)
        )
        super().__init__(self._carrier, framing.max_size, max_descriptors)
        self._stream = stream
        self._framing = framing
        self._quick_size = min(framing.max_size, LARGE - 1)
        # Of messages; or of pairs, where those are what arrives.
        self._splitter: Any = framing.splitter()
        # Looked up once: they are called for every message.
        self._join = framing.join
        self._put = self._carrier._put
        self._fetch = self._carrier._fetch
        self._only = self._splitter.only
        self._get_buffer = self._splitter.get_buffer

    @property
    def stream(self) -> abc.BareStream:
        """What the channel was made over."""
        return self._stream

    @property
    def framing(self) -> Framing:
        """How messages are told apart."""
        return self._framing

    def send(self, value: Buffer, *, timeout: float | None = None) -> None:
        # What the base class does, for the usual case in as few steps as there can be.
        if timeout is None and type(value) is bytes and len(value) <= self._quick_size:
            wire = self._join((value,))
            carrier = self._carrier
            while True:
                try:
                    del carrier._may_send["turn"]
                    break
                except KeyError:
                    carrier._queue(None)
            try:
                self._put(wire, None)
            finally:
                carrier._may_send["turn"] = None
                if carrier._waiting or carrier._number == -1:
                    carrier._leave()
        else:
            super().send(value, timeout=timeout)

    def _wire(self, messages: list[Buffer]) -> list[Buffer]:
        return pieces(self._framing, messages)

    def _transmit(self, wire: list[Buffer], deadline: Deadline | None) -> None:
        self._carrier._put_pieces(wire or [b""], deadline)

    def _transmit_with(
        self, wire: tuple[list[Buffer], Sequence[int | HasFileno]], deadline: Deadline | None
    ) -> None:
        pieces, descriptors = wire
        pieces = [piece for piece in pieces if len(piece)]
        self._carrying()._put_pieces_with(pieces, descriptors, deadline)

    def _fill(self, limit: int, deadline: Deadline | None) -> bytes | None:
        if self._receive_fault is not None:
            self._raise_fault()
        carrier = self._carrier
        try:
            if isinstance(self._enclosed, AttachedDescriptors):
                if self._fill_enclosed(self._enclosed, deadline):
                    return None
            else:
                # If there is data already, an earlier receive was interrupted.
                if (buffer := self._get_buffer()) is None:
                    if carrier._came is None:
                        self._fetch(_READ_SIZE, deadline)
                    # Mostly it is exactly one message, and then no step can lose data.
                    came: Any = carrier._came
                    if self._may_be_refused:
                        self._check_refusal(came)
                    if (message := self._only(came)) is not None:
                        carrier._came = None
                        return message
                elif carrier._came is None:
                    carrier._fetch_into(buffer, deadline)
                if carrier._came:
                    self._split_what_came()
                    return None
                carrier._came = None
            self._end()
            if self._arrived:
                return None
        except FramingError as error:
            self._receive_fault = explain(error)
            if not self._arrived:
                self._raise_fault()
            return None
        else:
            raise trio.EndOfChannel("the other end has closed")

    def _split_what_came(self) -> None:
        carrier = self._carrier
        # Set first, and cleared last: if a signal handler raises in between, the splitter is in the
        # middle of a step.
        self._receive_fault = RECEIVE_INTERRUPTED
        if isinstance(carrier._came, bytes):
            self._arrived.extend(self._splitter.split(carrier._came))
        else:
            self._arrived.extend(self._splitter.buffer_updated(carrier._came))
        carrier._came = None
        self._receive_fault = None

    def _end(self) -> None:
        """The stream has ended."""
        self._receive_fault = RECEIVE_INTERRUPTED  # as while splitting
        last = self._splitter.end() or ()
        if isinstance(self._enclosed, AttachedDescriptors):
            last = self._enclosed.last(last)
        self._arrived.extend(last)
        self._receive_fault = None

    def _fill_enclosed(self, enclosed: AttachedDescriptors, deadline: Deadline | None) -> bool:
        """Whether anything has come."""
        carrier = self._carrying()
        try:
            data: bytes = carrier._get_enclosed(enclosed, deadline)
        except DescriptorsLost as lost:
            self._receive_fault = RECEIVE_INTERRUPTED
            self._arrived.extend(enclosed.messages_before(self._splitter, lost.data))
            self._receive_fault = lost
            if not self._arrived:
                raise
            return True
        if self._may_be_refused:
            self._check_refusal(data)
        self._arrived.extend(enclosed.messages(self._splitter, data))
        carrier._receive_fault = None
        return bool(data)

    def __repr__(self) -> str:
        return (
            f"<ipcpipes blocking {MessageChannel.__name__} {self._framing!r} over {self._stream!r}>"
        )


class _HalfCloseableFramed(MessageChannel, HalfCloseable):
    pass


class _HandlePassingFramed(HandlePassingChannel, MessageChannel):
    def __init__(
        self, stream: abc.BareStream, framing: Framing | None = None, *, max_descriptors: int = 0
    ) -> None:
        super().__init__(stream, framing, max_descriptors=max_descriptors)
        self._splitter = HandleHeaderSplitter(self._splitter, self._labelled)
        self._only = self._splitter.only
        self._quick_size = -1

    def _wire_of_parts(self, parts: list[Buffer]) -> list[Buffer]:
        return MessageChannel._wire(self, parts)
