"""Message channels without an event loop over any blocking stream, with a framing.

Native messages, over packets of the system, are in :mod:`ipcpipes.blocking.messages.native`. Both
have the same contract.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import trio

from ..._os import blocking as _os
from ..._os.common.deadline import Deadline
from ..._os.common.receive_size import RECEIVE_INTERRUPTED
from ..._os.handles.attached import AttachedDescriptors
from ...abc import HasFileno
from ...authentication.challenge import explain
from ...errors import DescriptorsLost, FramingError
from ...framing import Buffer, Framing, LengthPrefixed, Native
from ...framing.outgoing import LARGE, READ_SIZE
from ...messages.core import ENDED, stream_framing
from .. import abc
from .base import Channel
from .foreign import ForeignStream
from .native import NativeMessageChannel

__all__ = ["MessageChannel", "NativeMessageChannel"]


class MessageChannel(Channel):
    """Messages over any blocking stream, cut out of its bytes by a framing.

    ``MessageChannel(stream, framing)`` is all you need;
    :func:`ipcpipes.blocking.connect_messages` and :func:`ipcpipes.blocking.listen_messages` make
    one for you. See :class:`ipcpipes.blocking.abc.MessageChannel` for what it does. Over a stream
    with ``send_eof`` it is an :class:`ipcpipes.blocking.abc.HalfCloseableMessageChannel` too, also
    in a subclass of yours that takes the stream as its first argument or as ``stream=``.

    Over a stream that is not one of ipcpipes, an interrupted send or receive always leaves the
    channel broken in that direction: only streams of ipcpipes report whether a part was sent or
    lost.

    Args:
        stream: the channel owns it from now on, and closes it; do not use it directly.
            :class:`ipcpipes.blocking.abc.ByteStream` describes the methods; ``send_all``,
            ``receive_some`` and ``close`` are enough.
        framing: how messages are told apart; both ends must have the same.
        max_descriptors: how many descriptors may come with one message, 0 to 253. With 0,
            :meth:`receive_descriptors` cannot be used, and the system drops the descriptors that
            arrive. Over a Windows pipe it must be 0 at both ends or at neither.

    Raises:
        TypeError: ``stream`` does not have these methods, or ``framing`` is not a framing.
        TypeError, ValueError: ``max_descriptors`` is not an int, or out of range.
        NotSupported: ``max_descriptors`` is not 0, and ``stream`` cannot carry descriptors: it is
            not one of ipcpipes, or goes only one way.
    """

    _framing: Framing

    def __init__(
        self, stream: abc.BareStream, framing: Framing | None = None, *, max_descriptors: int = 0
    ) -> None:
        framing = stream_framing(framing)
        carrier = stream if isinstance(stream, _os.Stream) else ForeignStream(stream)
        super().__init__(carrier, framing.max_size, framing, max_descriptors)
        self._quick_size = min(framing.max_size, LARGE - 1) if self._headers is None else -1
        # Looked up once, because it is called for every message. It is not a method of this object:
        # a channel without references is closed at once, and a cycle would delay that.
        self._put_message: Callable[[Any, bytes], None] = partial(_put_joined, carrier)
        self._how: Any = framing  # what _put_message needs to know about the framing
        if type(framing) is LengthPrefixed and hasattr(carrier, "_put_message"):
            self._put_message = carrier._put_message
            self._how = (framing.width, framing.byteorder == "big")
            self._quick_request = self._quick_size
        self._receives_quickly = (
            self._attached is None
            and hasattr(carrier, "_reads")
            and carrier._receive_fault is None  # later, only a receive of descriptors can set it
        )

    @property
    def _connection(self) -> Any:
        carrier = self._carrier
        return carrier._stream if isinstance(carrier, ForeignStream) else carrier

    @property
    def stream(self) -> abc.BareStream:
        """The stream below the channel."""
        stream: abc.BareStream = self._connection
        return stream

    @property
    def framing(self) -> Framing:
        """How messages are told apart."""
        return self._framing

    def send(self, value: Buffer, *, timeout: float | None = None) -> None:
        # Does what the base class does, with as few steps as possible in the usual case.
        if timeout is None and type(value) is bytes and len(value) <= self._quick_size:
            carrier = self._carrier
            while True:
                try:
                    del carrier._may_send["turn"]
                    break
                except KeyError:
                    carrier._queue(None)
            try:
                put = self._put_message  # to call it in one step with the attribute takes longer
                put(self._how, value)
            finally:
                carrier._may_send["turn"] = None
                if carrier._waiting or carrier._number == -1:
                    carrier._leave()
        else:
            super().send(value, timeout=timeout)

    def receive(self, *, timeout: float | None = None) -> bytes:
        # Does what the base class does, with as few steps as possible in the usual case.
        deadline = None if timeout is None else Deadline.after(timeout)
        carrier = self._carrier
        try:
            del carrier._may_receive["turn"]
        except KeyError:
            raise carrier._busy("receiving from") from None
        try:
            if (
                deadline is None
                and self._receives_quickly
                and carrier._number != -1
                and carrier._came is None
                and not self._arrived
                and not self._owed
                and not self._may_be_refused
                and self._receive_fault is None
                and self._splitter.get_buffer() is None
            ):
                try:
                    for came in carrier._reads:
                        carrier._came = came
                        break
                except OSError as error:
                    carrier._check_end(error)
                    carrier._came = b""
                message: bytes | None = self._splitter.only(carrier._came)
                if message is not None:
                    carrier._came = None
                    return message
            return self._receive_next(deadline)
        finally:
            carrier._may_receive["turn"] = None
            if carrier._number == -1:
                carrier._leave()

    def _transmit(
        self,
        deadline: Deadline | None,
        wire: Sequence[Buffer],
        descriptors: Sequence[int | HasFileno] | None = None,
    ) -> None:
        if descriptors is None:
            self._carrier._put_pieces(wire or [b""], deadline)
        else:
            wire = [piece for piece in wire if len(piece)]
            self._carrier._put_pieces_with(wire, descriptors, deadline)

    def _fill(self, limit: int, deadline: Deadline | None) -> bytes | None:
        if self._receive_fault is not None:
            self._raise_fault()
        carrier = self._carrier
        try:
            if self._attached is not None:
                if self._fill_attached(self._attached, deadline):
                    return None
            else:
                # If there is data already, an earlier receive was interrupted.
                if (buffer := self._splitter.get_buffer()) is None:
                    if carrier._came is None:
                        carrier._fetch(READ_SIZE, deadline)
                    # Usually it is exactly one message. Then no step can lose data.
                    data: Any = carrier._came
                    if self._may_be_refused:
                        self._check_refusal(data)
                    message: bytes | None = self._splitter.only(data)
                    if message is not None:
                        carrier._came = None
                        return message
                elif carrier._came is None:
                    carrier._fetch_into(buffer, deadline)
                if carrier._came:
                    self._split_received()
                    return None
                carrier._came = None
            carrier._require_open()  # a read from a stream that is closed meanwhile finds its end
            if self._end():
                return None
        except FramingError as error:
            self._break_receiving(explain(error))
            return None
        else:
            raise trio.EndOfChannel(ENDED)

    def _split_received(self) -> None:
        carrier = self._carrier
        # The fault is set first and cleared last, because the splitter is in the middle of a step
        # if a signal handler raises in between.
        self._receive_fault = RECEIVE_INTERRUPTED
        if isinstance(carrier._came, bytes):
            self._arrived.extend(self._splitter.split(carrier._came))
        else:
            self._arrived.extend(self._splitter.buffer_updated(carrier._came))
        carrier._came = None
        self._receive_fault = None

    def _fill_attached(self, attached: AttachedDescriptors, deadline: Deadline | None) -> bool:
        """Receives data and the descriptors attached to it. Returns false at the end."""
        carrier = self._carrier
        try:
            data: bytes = carrier._get_enclosed(attached, deadline)
        except DescriptorsLost as lost:
            self._keep_messages_before(lost)
            if not self._arrived:
                raise
            return True
        if self._may_be_refused:
            self._check_refusal(data)
        self._arrived.extend(attached.messages(self._splitter, data))
        carrier._receive_fault = None
        return bool(data)

    def __repr__(self) -> str:
        return f"<ipcpipes blocking MessageChannel {self._framing!r} over {self._connection!r}>"


def _put_joined(carrier: _os.Stream | ForeignStream, framing: Framing, message: bytes) -> None:
    carrier._put(framing.join((message,)), None)


def channel_over(connection: Any, framing: Framing | Native | None, max_descriptors: int) -> Any:
    """Makes a channel of the kind that the framing asks for. The channel owns the connection."""
    try:
        if isinstance(framing, Native):
            return NativeMessageChannel(connection, framing, max_descriptors)
        return MessageChannel(connection, framing, max_descriptors=max_descriptors)
    except BaseException:  # raised by a user's framing, for example
        connection.close()
        raise
