"""Message channels for trio over any stream, with a framing.

Native messages, over packets of the system, are in :mod:`ipcpipes.messages.native`. Both have the
same contract.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

import trio

from .. import abc
from .._os import Stream, close_connection
from ..abc import HasFileno
from ..authentication.challenge import explain
from ..errors import DescriptorsLost, FramingError
from ..framing import Buffer, Framing, Native
from ..framing.outgoing import LARGE, READ_SIZE
from .base import Channel
from .core import ENDED, stream_framing
from .native import NativeMessageChannel
from .sending import ki_protected

__all__ = ["MessageChannel", "NativeMessageChannel"]

# Errors that come before the first byte is sent: the send was cancelled, or the descriptors cannot
# be sent.
_NOTHING_SENT = (trio.Cancelled, OSError, TypeError, ValueError)


class MessageChannel(Channel):
    """Messages over any trio stream, cut out of its bytes by a framing.

    ``MessageChannel(stream, framing)`` is all you need; :func:`ipcpipes.connect_messages` and
    :func:`ipcpipes.listen_messages` make one for you. See :class:`ipcpipes.abc.MessageChannel` for
    what it does. Over a stream with ``send_eof`` it is a
    :class:`ipcpipes.abc.HalfCloseableMessageChannel` too, also in a subclass of yours that takes
    the stream as its first argument or as ``stream=``.

    Over a stream of another library, a send that was cancelled while it waited always leaves the
    channel broken: only streams of ipcpipes report whether a part was sent.

    Args:
        stream: the channel owns it from now on, and closes it; do not use it directly.
        framing: how messages are told apart; both ends must have the same.
        max_descriptors: how many descriptors may come with one message, 0 to 253. With 0,
            :meth:`receive_descriptors` cannot be used, and the system drops the descriptors that
            arrive. Over a Windows pipe it must be 0 at both ends or at neither.

    Raises:
        TypeError: ``stream`` is not a :class:`trio.abc.Stream`, or ``framing`` not a framing.
        TypeError, ValueError: ``max_descriptors`` is not an int, or out of range.
        NotSupported: ``max_descriptors`` is not 0, and ``stream`` cannot carry descriptors: it is
            not one of ipcpipes, or goes only one way.
    """

    _framing: Framing

    def __init__(
        self, stream: trio.abc.Stream, framing: Framing | None = None, *, max_descriptors: int = 0
    ) -> None:
        if not isinstance(stream, trio.abc.Stream):
            raise TypeError(f"a channel is made over a trio.abc.Stream, not {stream!r}")
        framing = stream_framing(framing)
        super().__init__(stream, framing.max_size, framing, max_descriptors)
        can_be_quick = isinstance(stream, abc.SendByteStream) and self._headers is None
        self._quick_size = min(self._max_size, LARGE - 1) if can_be_quick else -1
        # A connection of ipcpipes can also receive and, perhaps, send without waiting.
        self._is_own = isinstance(stream, Stream)
        self._sends_now = isinstance(stream, Stream) and stream._sends_now

    @property
    def stream(self) -> trio.abc.Stream:
        """The stream below the channel."""
        stream: trio.abc.Stream = self._carrier
        return stream

    @property
    def framing(self) -> Framing:
        """How messages are told apart."""
        return self._framing

    @ki_protected
    async def send(self, value: Buffer) -> None:
        # Does what the base class does, with as few steps as possible in the usual case.
        if (
            type(value) is bytes
            and len(value) <= self._quick_size
            and not self._sending
            and not self._has_begun_pass
            and self._send_fault is None
        ):
            self._sending = True
            try:
                await self._carrier.send_all(self._framing.join((value,)))
            finally:
                self._end_turn()
        else:
            await super().send(value)

    async def _transmit(
        self, wire: Sequence[Buffer], descriptors: Sequence[int | HasFileno] | None = None
    ) -> None:
        sent = 0
        reports_sent_bytes = self._is_own or isinstance(self._carrier, abc.SendByteStream)
        if not reports_sent_bytes:
            await trio.lowlevel.checkpoint_if_cancelled()
        try:
            if descriptors is not None:
                wire = [piece for piece in wire if len(piece)]
                await self._carrier.send_descriptors(wire[0], descriptors)
                sent = 1
            for piece in wire[sent:] if wire else (b"",):
                await self._carrier.send_all(piece)
                sent += 1
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except BaseException as error:
            # A KeyboardInterrupt may have come right after the first of several pieces was sent.
            in_doubt = len(wire) > 1 and not isinstance(error, _NOTHING_SENT)
            if sent or in_doubt or not reports_sent_bytes:
                self._send_fault = "an earlier send was cancelled half-way"
            raise

    def _take(self, value: Buffer) -> None:
        # Does what the base class does, with as few steps as possible if the message can be sent
        # at once.
        if (
            type(value) is bytes
            and len(value) <= self._quick_size
            and not self._has_begun_pass
            and not self._sending
            and self._sends_now
            and self._send_fault is None
            and not self._closed
        ):
            wire = self._framing.join((value,))
            sent = self._carrier._send_now(wire)
            self._has_begun_pass = True
            if sent < len(wire):
                self._start_sending([memoryview(wire)[sent:]], 1)
        else:
            super()._take(value)

    def _transmit_now(self, wire: Sequence[Buffer]) -> list[Buffer]:
        if not self._sends_now:
            return list(wire)
        for index, piece in enumerate(wire):
            sent = self._carrier._send_now(piece)
            if sent < len(piece):
                return [memoryview(piece)[sent:], *wire[index + 1 :]]
        return []

    def _begin_reading(self) -> Coroutine[Any, Any, bytes] | None:
        if (
            self._is_own
            and self._attached is None
            and not self._arrived
            and not self._is_flushed_later
            and not self._owed
            and not self._may_be_refused
            and self._receive_fault is None
            and self._splitter.get_buffer() is None
        ):
            self._has_begun_pass = False
            reading: Coroutine[Any, Any, bytes] = self._carrier._receive_up_to(READ_SIZE)
            return reading
        return None

    def _first_message(self, data: bytes) -> bytes | None:
        message: bytes | None = self._splitter.only(data)
        if message is None:
            self._process(data)
            if self._arrived:
                message = self._take_first()
        return message

    async def _fill(self, limit: int) -> None:
        self._require_open()
        if self._receive_fault is not None:
            self._raise_fault()
        if self._attached is not None:
            try:
                data, numbers = await self._carrier.receive_descriptors(None, self._attached.most)
            except DescriptorsLost as lost:
                self._process_lost(lost)
            else:
                self._process(data, numbers)
        elif not self._is_own and not isinstance(self._carrier, abc.ReceiveByteStream):
            self._process(bytes(await self._carrier.receive_some()))
        elif (buffer := self._splitter.get_buffer()) is not None:
            # Not with ``_attached``: descriptors would be lost.
            self._process(await self._carrier.receive_into(buffer))
        else:
            self._process(bytes(await self._carrier.receive_some(READ_SIZE)))

    def _fill_now(self) -> bool:
        if not self._is_own:
            return False
        if self._receive_fault is not None:
            self._raise_fault()
        if self._attached is None:
            came = self._carrier._receive_now(self._splitter.get_buffer(), READ_SIZE)
            if came is not None:
                self._process(came)
            return came is not None
        try:
            attached = self._carrier._receive_descriptors_now(self._attached.most)
        except DescriptorsLost as lost:
            self._process_lost(lost)
            return True
        if attached is not None:
            self._process(*attached)
        return attached is not None

    def _process(self, came: bytes | int, numbers: list[int] | None = None) -> None:
        """Appends the messages in received data to ``_arrived``.

        Args:
            came: the data, or how many bytes were put into the splitter's memory; no bytes at the
                end of the stream.
            numbers: the descriptors that came with the data.

        Raises:
            What :meth:`receive` raises.
        """
        try:
            if self._attached is not None and numbers is not None:
                self._attached.came(numbers)
            if self._may_be_refused:
                self._check_refusal(bytes(came))
            if not isinstance(came, bytes):
                messages = self._splitter.buffer_updated(came) if came else ()
            elif self._attached is not None:
                messages = self._attached.messages(self._splitter, came)
            else:
                messages = self._splitter.split(came) if came else ()
            self._arrived.extend(messages)
            if came or self._end():
                return
        except FramingError as error:
            self._break_receiving(explain(error))
            return
        raise trio.EndOfChannel(ENDED)

    def _process_lost(self, lost: DescriptorsLost) -> None:
        try:
            self._keep_messages_before(lost)
        except FramingError as error:
            self._break_receiving(explain(error))
        else:
            if not self._arrived:
                raise lost

    def __repr__(self) -> str:
        return f"<ipcpipes {MessageChannel.__name__} {self._framing!r} over {self._carrier!r}>"


def channel_over(connection: Any, framing: Framing | Native | None, max_descriptors: int) -> Any:
    """Makes a channel of the kind that the framing asks for. The channel owns the connection."""
    try:
        if isinstance(framing, Native):
            return NativeMessageChannel(connection, framing, max_descriptors)
        return MessageChannel(connection, framing, max_descriptors=max_descriptors)
    except BaseException:  # raised by a user's framing, for example
        close_connection(connection)
        raise
