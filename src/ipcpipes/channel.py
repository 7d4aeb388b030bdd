"""Messages for trio: framed over any stream, or native over packets of the system; one contract."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import trio

from . import abc
from ._os.enclosed import DescriptorsLost, Enclosed
from .abc import HasFileno, PeerIdentity
from .errors import FramingError, MessageTooLarge, NotSupported
from .framing import Buffer, Framing, LengthPrefixed, Native
from .framing.outgoing import LARGE, flat, flat_all, pieces
from .options import check_max_descriptors

if TYPE_CHECKING:
    from ._os import Packets
    from .endpoint import Endpoint

__all__ = ["MessageChannel", "NativeMessageChannel"]

ResultT = TypeVar("ResultT")

# How many packets one receive_many takes at most.
_MANY = 1024

# Looked up once: it is called for every message.
_checkpoint = trio.lowlevel.checkpoint
# A KeyboardInterrupt comes where an operation waits, and not between its steps, where it would
# take the turn to send along.
_whole = trio.lowlevel.enable_ki_protection

# They come before the first byte: it was cancelled, or the descriptors cannot be sent.
_NOTHING_WENT = (trio.Cancelled, OSError, TypeError, ValueError)


@runtime_checkable
class _SendsEof(Protocol):
    async def send_eof(self) -> None: ...


class _Channel(abc.MessageChannel):
    """What both kinds have in common: who may send now, who receives, and what has gone wrong.

    Lifetime: it owns what it was made over, and closes it. Messages that were received with
    another one wait in ``_arrived``; while there are any, nothing more is received, so that a
    slow consumer holds back the sender and not the memory.
    """

    def __init__(
        self, carrier: trio.abc.AsyncResource, max_size: int, max_descriptors: int
    ) -> None:
        check_max_descriptors(max_descriptors)
        self._carries_descriptors: bool = getattr(carrier, "carries_descriptors", False)
        if max_descriptors:
            self._require_carrying(carrier)
        self._carrier = carrier
        self._max_size = max_size
        # Messages; with max_descriptors, pairs of a message and its descriptors.
        self._arrived: deque[Any] = deque()
        self._enclosed = Enclosed(max_descriptors, self._arrived) if max_descriptors else None
        self._receiving = False
        self._receive_fault: FramingError | None = None
        self._closed = False
        self._sending = False
        self._senders = trio.lowlevel.ParkingLot()
        self._send_fault: str | None = None

    @property
    def max_size(self) -> int:
        return self._max_size

    async def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        run = getattr(self._carrier, "run_as_client", super().run_as_client)
        result: ResultT = await run(fn, *args)
        return result

    @_whole
    async def send(self, value: Buffer) -> None:
        message = flat(value)
        if len(message) > self._max_size:
            raise self._too_large(len(message))
        await self._in_turn(self._transmit, self._wire((message,)))

    @_whole
    async def send_many(self, values: Sequence[Buffer]) -> None:
        messages = flat_all(values)
        if (largest := max(map(len, messages), default=0)) > self._max_size:
            raise self._too_large(largest)
        await self._in_turn(self._transmit, self._wire(messages))

    @_whole
    async def send_descriptors(self, value: Buffer, descriptors: Sequence[int | HasFileno]) -> None:
        message = flat(value)
        if len(message) > self._max_size:
            raise self._too_large(len(message))
        self._require_carrying(self._carrier)
        await self._in_turn(self._transmit, self._wire((message,)), descriptors)

    async def _in_turn(self, action: Callable[..., Awaitable[None]], *arguments: object) -> None:
        if self._sending:
            await self._senders.park()  # and has the turn when it wakes
        self._sending = True
        try:
            self._require_open()
            if self._send_fault is not None:
                raise trio.BrokenResourceError(self._send_fault)
            await action(*arguments)
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        if self._senders:
            self._senders.unpark()
        else:
            self._sending = False

    @_whole
    async def receive(self) -> bytes:
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this channel")
        self._require_open()
        self._receiving = True
        try:
            if self._arrived:
                await _checkpoint()
                self._require_open()
            while not self._arrived:
                await self._fill(1)
            message: bytes
            if self._enclosed is None:
                message = self._arrived.popleft()
            else:
                self._enclosed.close_first(1)
                message, _ = self._arrived.popleft()
            return message
        finally:
            self._receiving = False

    @_whole
    async def receive_many(self) -> list[bytes]:
        await self._wait_for_messages(_MANY)
        if self._enclosed is None:
            messages = list(self._arrived)
        else:
            self._enclosed.close_first(len(self._arrived))
            messages = [message for message, _ in self._arrived]
        self._arrived.clear()
        return messages

    @_whole
    async def receive_descriptors(self) -> tuple[bytes, list[int]]:
        if self._enclosed is None:
            raise RuntimeError(
                "this channel was made without max_descriptors=, and lets none come through"
            )
        await self._wait_for_messages(1)
        pair: tuple[bytes, list[int]] = self._arrived.popleft()
        return pair

    async def _wait_for_messages(self, limit: int) -> None:
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this channel")
        self._require_open()
        self._receiving = True
        try:
            if self._arrived:
                await _checkpoint()
                self._require_open()
            while not self._arrived:
                await self._fill(limit)
        finally:
            self._receiving = False

    async def aclose(self) -> None:
        self._closed = True
        if self._enclosed is not None:
            self._enclosed.close()
        self._arrived.clear()
        await self._carrier.aclose()

    def _require_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this channel was closed here")

    def _require_carrying(self, carrier: object) -> None:
        if not self._carries_descriptors:
            raise NotSupported(
                "descriptors travel over the Unix domain sockets of ipcpipes only, not over "
                f"{carrier!r}"
            )

    def _raise_fault(self) -> None:
        self._require_open()
        if self._receive_fault is not None:
            raise trio.BrokenResourceError(str(self._receive_fault)) from self._receive_fault

    def _too_large(self, size: int) -> MessageTooLarge:
        return MessageTooLarge(size, self._max_size)

    @abstractmethod
    def _wire(self, messages: Sequence[Buffer]) -> Sequence[Buffer]:
        """What is handed to the system for them.

        Raises:
            FramingError: one of them cannot be framed.
        """

    @abstractmethod
    async def _transmit(
        self, wire: Sequence[Buffer], descriptors: Sequence[int | HasFileno] | None = None
    ) -> None:
        """Sends it, and the descriptors with its first byte; a checkpoint also when it is empty.
        Sets ``_send_fault`` when it is cancelled
        after the peer may have got a part.
        """

    @abstractmethod
    async def _fill(self, limit: int) -> None:
        """Waits for data and adds the messages in it, which may be none yet, to ``_arrived``.

        Raises:
            What :meth:`receive` raises.
        """


class _HalfCloseable(_Channel, abc.HalfCloseableMessageChannel):
    @_whole
    async def send_eof(self) -> None:
        assert isinstance(self._carrier, _SendsEof)
        await self._in_turn(self._carrier.send_eof)


class MessageChannel(_Channel):
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

    Raises:
        TypeError: ``stream`` is no :class:`trio.abc.Stream`, or ``framing`` no framing.
        TypeError, ValueError: ``max_descriptors`` is no int, or out of range.
        NotSupported: ``max_descriptors`` is not 0, and ``stream`` carries none: it is a Windows
            pipe, or not one of ipcpipes.
    """

    def __new__(
        cls, stream: trio.abc.Stream, framing: Framing | None = None, *, max_descriptors: int = 0
    ) -> MessageChannel:
        if cls is MessageChannel and isinstance(stream, _SendsEof):
            cls = _HalfCloseableFramed
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
        self._splitter = framing.splitter()
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

    @_whole
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
            elif self._enclosed is not None:
                assert isinstance(self._stream, abc.ByteStream)
                if await self._fill_enclosed(self._stream, self._enclosed):
                    return
            else:
                data = await self._stream.receive_some()
                if data:
                    self._arrived.extend(self._splitter.split(bytes(data)))
                    return
            self._splitter.end()
        except FramingError as error:
            self._receive_fault = error
            if not self._arrived:
                self._raise_fault()
        else:
            raise trio.EndOfChannel("the other end has closed")

    async def _fill_enclosed(self, stream: abc.ByteStream, enclosed: Enclosed) -> bool:
        """Whether anything has come."""
        try:
            data, numbers = await stream.receive_descriptors(None, enclosed.most)
        except DescriptorsLost as lost:
            self._arrived.extend(enclosed.messages_before(self._splitter, lost.data))
            if not self._arrived:
                raise
            return True  # the stream says it again
        enclosed.came(numbers)
        self._arrived.extend(enclosed.messages(self._splitter, data))
        return bool(data)

    def __repr__(self) -> str:
        return f"<ipcpipes {MessageChannel.__name__} {self._framing!r} over {self._stream!r}>"


class _HalfCloseableFramed(MessageChannel, _HalfCloseable):
    pass


class NativeMessageChannel(_Channel):
    """Messages that the system itself keeps apart, made by ``framing=NATIVE``.

    See :class:`ipcpipes.abc.MessageChannel` for what it does. On Linux it is a
    :class:`ipcpipes.abc.HalfCloseableMessageChannel` too.
    """

    def __new__(
        cls, packets: Packets, native: Native, max_descriptors: int = 0
    ) -> NativeMessageChannel:
        if cls is NativeMessageChannel and isinstance(packets, _SendsEof):
            cls = _HalfCloseableNative
        return super().__new__(cls)

    def __init__(self, packets: Packets, native: Native, max_descriptors: int = 0) -> None:
        super().__init__(packets, min(native.max_size, packets.largest), max_descriptors)
        self._packets = packets
        self._native = native
        if self._enclosed is not None:
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
            some = await self._packets.receive_packets(self._arrived, self._native.max_size, limit)
        except FramingError as error:
            self._receive_fault = error
            if not self._arrived:
                self._raise_fault()
        else:
            if not some:
                raise trio.EndOfChannel("the other end has closed")

    def __repr__(self) -> str:
        return f"<ipcpipes {NativeMessageChannel.__name__} over {self._packets!r}>"


class _HalfCloseableNative(NativeMessageChannel, _HalfCloseable):
    pass
