"""Message channels for trio over any stream, with a framing.

Native messages, over packets of the system, are in :mod:`ipcpipes.messages.native`. Both have the
same contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio

from .. import abc
from .._os import close_connection
from ..abc import HasFileno
from ..authentication.challenge import explain
from ..errors import DescriptorsLost, FramingError
from ..framing import Buffer, Framing, Native
from ..framing.outgoing import LARGE, READ_SIZE
from .base import Channel, ki_protected
from .core import ENDED, stream_framing
from .native import NativeMessageChannel

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
        self._reports_sent_bytes = isinstance(stream, abc.SendByteStream)
        can_be_quick = self._reports_sent_bytes and self._headers is None
        self._quick_size = min(self._max_size, LARGE - 1) if can_be_quick else -1
        # Data is not received directly into the splitter's memory if descriptors may be attached:
        # they would be lost.
        self._receiver = (
            stream if isinstance(stream, abc.ReceiveByteStream) and self._attached is None else None
        )
        self._read_size = READ_SIZE if isinstance(stream, abc.ReceiveByteStream) else None
        # Looked up once: they are called for every message.
        self._join = framing.join
        self._send_all = stream.send_all

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
            and self._send_fault is None
        ):
            self._sending = True
            try:
                await self._send_all(self._join((value,)))
            finally:
                self._end_turn()
        else:
            await super().send(value)

    async def _transmit(
        self, wire: Sequence[Buffer], descriptors: Sequence[int | HasFileno] | None = None
    ) -> None:
        sent = 0
        if not self._reports_sent_bytes:
            await trio.lowlevel.checkpoint_if_cancelled()
        try:
            if descriptors is not None:
                wire = [piece for piece in wire if len(piece)]
                await self._carrier.send_descriptors(wire[0], descriptors)
                sent = 1
            for piece in wire[sent:] if wire else (b"",):
                await self._send_all(piece)
                sent += 1
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except BaseException as error:
            # A KeyboardInterrupt may have come right after the first of several pieces was sent.
            in_doubt = len(wire) > 1 and not isinstance(error, _NOTHING_SENT)
            if sent or in_doubt or not self._reports_sent_bytes:
                self._send_fault = "an earlier send was cancelled half-way"
            raise

    async def _fill(self, limit: int) -> None:
        self._require_open()
        if self._receive_fault is not None:
            self._raise_fault()
        buffer = None if self._receiver is None else self._splitter.get_buffer()
        try:
            if self._receiver is not None and buffer is not None:
                count = await self._receiver.receive_into(buffer)
                if count:
                    self._arrived.extend(self._splitter.buffer_updated(count))
                    return
            elif self._attached is not None:
                if await self._fill_attached():
                    return
            else:
                data = await self._carrier.receive_some(self._read_size)
                if self._may_be_refused:
                    self._check_refusal(bytes(data))
                if data:
                    self._arrived.extend(self._splitter.split(bytes(data)))
                    return
            if self._end():
                return
        except FramingError as error:
            self._break_receiving(explain(error))
        else:
            raise trio.EndOfChannel(ENDED)

    async def _fill_attached(self) -> bool:
        """Receives data and the descriptors attached to it. Returns false at the end."""
        attached = self._attached
        assert attached is not None
        try:
            data, numbers = await self._carrier.receive_descriptors(None, attached.most)
        except DescriptorsLost as lost:
            self._keep_messages_before(lost)
            if not self._arrived:
                raise
            return True
        if self._may_be_refused:
            self._check_refusal(data)
        attached.came(numbers)
        self._arrived.extend(attached.messages(self._splitter, data))
        return bool(data)

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
