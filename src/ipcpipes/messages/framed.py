"""Messages for trio: framed over any stream. Native ones, over packets of the system, are
:mod:`ipcpipes.native_channel`'s; one contract.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import trio

from .. import abc
from .._os.handles.attached import AttachedDescriptors
from .._os.handles.labels import HandleHeaderSplitter
from ..abc import HasFileno, PeerIdentity
from ..authentication.challenge import explain
from ..errors import DescriptorsLost, FramingError
from ..framing import Buffer, Framing, LengthPrefixed, Native
from ..framing.outgoing import LARGE, pieces
from .base import Channel, HalfCloseable, PassesHandles, SendsEof, whole
from .handles import HandlePassingChannel
from .native import NativeMessageChannel

if TYPE_CHECKING:
    from ..endpoint import Endpoint

__all__ = ["MessageChannel", "NativeMessageChannel"]

# They come before the first byte: it was cancelled, or the descriptors cannot be sent.
_NOTHING_WENT = (trio.Cancelled, OSError, TypeError, ValueError)


class MessageChannel(Channel):
    """Messages over any trio stream, cut out of its bytes by a framing.

    ``MessageChannel(stream, framing)`` is all it takes; :func:`ipcpipes.connect_messages` and its
    relatives make one for you. See :class:`ipcpipes.abc.MessageChannel` for what it does. Over
    a stream with ``send_eof`` it is a
    :class:`ipcpipes.abc.HalfCloseableMessageChannel` too.

    Over a stream of another library, a send that was cancelled while it waited leaves the
    channel broken in any case: only streams of ipcpipes say whether a part went out.

    Args:
        stream: belongs to the channel from now on, which closes it; nobody else may use it.
        framing: how messages are told apart; both ends must have the same.
        max_descriptors: how many descriptors may come with one message, 0 to 253; with 0,
            :meth:`receive_descriptors` cannot be used, and what comes is dropped by the system.
            Over a Windows pipe it must not be 0 at one end, and 0 at the other one.

    Raises:
        TypeError: ``stream`` is no :class:`trio.abc.Stream`, or ``framing`` no framing.
        TypeError, ValueError: ``max_descriptors`` is no int, or out of range.
        NotSupported: ``max_descriptors`` is not 0, and ``stream`` carries none: it is not one of
            ipcpipes, or goes one way only.
    """

    def __new__(
        cls, stream: trio.abc.Stream, framing: Framing | None = None, *, max_descriptors: int = 0
    ) -> MessageChannel:
        if cls is MessageChannel and isinstance(stream, SendsEof):
            cls = _HalfCloseableFramed
        elif cls is MessageChannel and max_descriptors and isinstance(stream, PassesHandles):
            cls = _HandlePassingFramed
        return super().__new__(cls)

    def __init__(
        self, stream: trio.abc.Stream, framing: Framing | None = None, *, max_descriptors: int = 0
    ) -> None:
        framing = LengthPrefixed() if framing is None else framing
        if not isinstance(stream, trio.abc.Stream):
            raise TypeError(f"a channel is made over a trio.abc.Stream, not {stream!r}")
        if isinstance(framing, Native):
            raise TypeError(
                "native messages are not made over a stream; take connect_messages or "
                "listen_messages with framing=NATIVE"
            )
        if not isinstance(framing, Framing):
            raise TypeError(f"framing must be a Framing, not {framing!r}")
        super().__init__(stream, framing.max_size, max_descriptors)
        self._stream = stream
        self._framing = framing
        # Of messages; or of pairs, where those are what arrives.
        self._splitter: Any = framing.splitter()
        self._says_what_went_out = isinstance(stream, abc.SendByteStream)
        self._quick_size = min(self._max_size, LARGE - 1) if self._says_what_went_out else -1
        # What is received in place would come without its descriptors.
        self._receiver = (
            stream if isinstance(stream, abc.ReceiveByteStream) and not max_descriptors else None
        )
        # Looked up once: they are called for every message.
        self._join = framing.join
        self._send_all = stream.send_all

    @property
    def stream(self) -> trio.abc.Stream:
        """What the channel was made over."""
        return self._stream

    @property
    def framing(self) -> Framing:
        """How messages are told apart."""
        return self._framing

    @property
    def endpoint(self) -> Endpoint | None:
        return getattr(self._stream, "endpoint", None)

    @property
    def peer(self) -> PeerIdentity:
        peer: PeerIdentity = getattr(self._stream, "peer", PeerIdentity())
        return peer

    @whole
    async def send(self, value: Buffer) -> None:
        # What the base class does, for the usual case in as few steps as there can be.
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

    def _wire(self, messages: Sequence[Buffer]) -> Sequence[Buffer]:
        return pieces(self._framing, messages)

    async def _transmit(
        self, wire: Sequence[Buffer], descriptors: Sequence[int | HasFileno] | None = None
    ) -> None:
        sent = 0
        if not self._says_what_went_out:
            await trio.lowlevel.checkpoint_if_cancelled()
        try:
            if descriptors is not None:
                assert isinstance(self._stream, abc.ByteStream)
                wire = [piece for piece in wire if len(piece)]
                await self._stream.send_descriptors(wire[0], descriptors)
                sent = 1
            for piece in wire[sent:] if wire else (b"",):
                await self._send_all(piece)
                sent += 1
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except BaseException as error:
            # A KeyboardInterrupt may have come right after the first of several.
            in_doubt = len(wire) > 1 and not isinstance(error, _NOTHING_WENT)
            if sent or in_doubt or not self._says_what_went_out:
                self._send_fault = "an earlier send was cancelled half-way"
            raise

    async def _fill(self, limit: int) -> None:
        self._raise_fault()
        buffer = None if self._receiver is None else self._splitter.get_buffer()
        try:
            if self._receiver is not None and buffer is not None:
                count = await self._receiver.receive_into(buffer)
                if count:
                    self._arrived.extend(self._splitter.buffer_updated(count))
                    return
            elif isinstance(self._enclosed, AttachedDescriptors):
                assert isinstance(self._stream, abc.ByteStream)
                if await self._fill_enclosed(self._stream, self._enclosed):
                    return
            else:
                data = await self._stream.receive_some()
                if self._may_be_refused:
                    self._check_refusal(bytes(data))
                if data:
                    self._arrived.extend(self._splitter.split(bytes(data)))
                    return
            before = len(self._arrived)
            last = self._splitter.end() or ()
            if isinstance(self._enclosed, AttachedDescriptors):
                last = self._enclosed.last(last)
            self._arrived.extend(last)
            if len(self._arrived) > before:
                return
        except FramingError as error:
            self._receive_fault = explain(error)
            if not self._arrived:
                self._raise_fault()
        else:
            raise trio.EndOfChannel("the other end has closed")

    async def _fill_enclosed(self, stream: abc.ByteStream, enclosed: AttachedDescriptors) -> bool:
        """Whether anything has come."""
        try:
            data, numbers = await stream.receive_descriptors(None, enclosed.most)
        except DescriptorsLost as lost:
            self._arrived.extend(enclosed.messages_before(self._splitter, lost.data))
            self._receive_fault = lost
            if not self._arrived:
                raise
            return True
        if self._may_be_refused:
            self._check_refusal(data)
        enclosed.came(numbers)
        self._arrived.extend(enclosed.messages(self._splitter, data))
        return bool(data)

    def __repr__(self) -> str:
        return f"<ipcpipes {MessageChannel.__name__} {self._framing!r} over {self._stream!r}>"


class _HalfCloseableFramed(MessageChannel, HalfCloseable):
    pass


class _HandlePassingFramed(HandlePassingChannel, MessageChannel):
    def __init__(
        self, stream: trio.abc.Stream, framing: Framing | None = None, *, max_descriptors: int = 0
    ) -> None:
        super().__init__(stream, framing, max_descriptors=max_descriptors)
        assert isinstance(stream, abc.ReceiveByteStream)
        self._receiver = stream
        self._splitter = HandleHeaderSplitter(self._splitter, self._labelled)
        self._quick_size = -1

    def _wire_of_parts(self, parts: Sequence[Buffer]) -> Sequence[Buffer]:
        return MessageChannel._wire(self, parts)
