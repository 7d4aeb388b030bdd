"""Messages without an event loop: framed over any blocking stream, or native; one contract."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import trio

from .._os import blocking as _os
from .._os.deadline import Deadline
from .._os.enclosed import DescriptorsLost, Enclosed
from ..abc import HasFileno
from ..errors import FramingError, MessageTooLarge, NotSupported
from ..framing import Buffer, Framing, LengthPrefixed, Native
from ..framing.outgoing import LARGE, flat, flat_all, pieces
from ..options import check_max_descriptors
from . import abc
from .carrier import Carrier, ForeignStream, StreamCarrier

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..abc import PeerIdentity
    from ..endpoint import Endpoint

__all__ = ["MessageChannel", "NativeMessageChannel"]

ResultT = TypeVar("ResultT")

_READ_SIZE = 64 * 1024
# How many packets one receive_many takes at most.
_MANY = 1024


class _Channel(abc.MessageChannel):
    """What both kinds have in common.

    Lifetime: it owns the carrier, and closes it. Who sends and who receives has the carrier's turn
    meanwhile (:class:`Turns` says what that means), so that there is one to take for an operation.
    Messages that came with another one wait in ``_arrived``; while there are any, nothing more is
    received, so that a slow consumer holds back the sender and not the memory.
    """

    def __init__(self, carrier: Carrier, max_size: int, max_descriptors: int) -> None:
        check_max_descriptors(max_descriptors)
        self._carrier = carrier
        # Messages; with max_descriptors, pairs of a message and its descriptors.
        self._arrived: deque[Any] = deque()
        self._enclosed: Enclosed | None = None
        if max_descriptors:
            # Closed with the connection, when nobody is inside it.
            self._enclosed = Enclosed(max_descriptors, self._arrived)
            self._carrying()._enclosed = self._enclosed
        self._max_size = max_size
        self._receive_fault: FramingError | None = None

    @property
    def endpoint(self) -> Endpoint | None:
        return self._carrier.endpoint

    @property
    def peer(self) -> PeerIdentity:
        return self._carrier.peer

    @property
    def max_size(self) -> int:
        return self._max_size

    def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        return self._carrier.run_as_client(fn, *args)

    def send(self, value: Buffer, *, timeout: float | None = None) -> None:
        self._send([flat(value)], timeout)

    def send_many(self, values: Sequence[Buffer], *, timeout: float | None = None) -> None:
        self._send(flat_all(values), timeout)

    def _send(self, messages: list[Buffer], timeout: float | None) -> None:
        deadline = None if timeout is None else Deadline.after(timeout)
        if (largest := max(map(len, messages), default=0)) > self._max_size:
            raise self._too_large(largest)
        self._in_turn(self._transmit, self._wire(messages), deadline)

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
        self._carrying()
        self._in_turn(self._transmit_with, (self._wire([message]), descriptors), deadline)

    def _in_turn(
        self, action: Callable[..., None], wire: object, deadline: Deadline | None
    ) -> None:
        carrier = self._carrier
        while True:
            try:
                del carrier._may_send["turn"]
                break
            except KeyError:
                carrier._queue(deadline)
        try:
            action(wire, deadline)
        finally:
            carrier._may_send["turn"] = None
            if carrier._waiting or carrier._number == -1:
                carrier._leave()

    def receive(self, *, timeout: float | None = None) -> bytes:
        deadline = None if timeout is None else Deadline.after(timeout)
        carrier = self._carrier
        arrived = self._arrived
        try:
            del carrier._may_receive["turn"]
        except KeyError:
            raise carrier._busy("receiving from") from None
        try:
            if arrived:
                carrier._require_open()
            while not arrived:
                message = self._fill(1, deadline)
                if message is not None:
                    return message
            oldest: bytes
            if self._enclosed is None:
                oldest = arrived.popleft()
            else:
                self._enclosed.close_first(1)
                oldest, _ = arrived.popleft()
            return oldest
        finally:
            carrier._may_receive["turn"] = None
            if carrier._number == -1:
                carrier._leave()

    def receive_many(self, *, timeout: float | None = None) -> list[bytes]:
        deadline = None if timeout is None else Deadline.after(timeout)
        carrier = self._carrier
        try:
            del carrier._may_receive["turn"]
        except KeyError:
            raise carrier._busy("receiving from") from None
        try:
            if self._arrived:
                carrier._require_open()
            while not self._arrived:
                message = self._fill(_MANY, deadline)
                if message is not None:
                    return [message]
            if self._enclosed is None:
                messages = list(self._arrived)
            else:
                self._enclosed.close_first(len(self._arrived))
                messages = [message for message, _ in self._arrived]
            self._arrived.clear()
            return messages
        finally:
            carrier._may_receive["turn"] = None
            if carrier._number == -1:
                carrier._leave()

    def receive_descriptors(self, *, timeout: float | None = None) -> tuple[bytes, list[int]]:
        deadline = None if timeout is None else Deadline.after(timeout)
        if self._enclosed is None:
            raise RuntimeError(
                "this channel was made without max_descriptors=, and lets none come through"
            )
        carrier = self._carrier
        try:
            del carrier._may_receive["turn"]
        except KeyError:
            raise carrier._busy("receiving from") from None
        try:
            if self._arrived:
                carrier._require_open()
            while not self._arrived:
                self._fill(1, deadline)
            pair: tuple[bytes, list[int]] = self._arrived.popleft()
            return pair
        finally:
            carrier._may_receive["turn"] = None
            if carrier._number == -1:
                carrier._leave()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return self.receive()
        except trio.EndOfChannel:
            raise StopIteration from None

    def close(self) -> None:
        self._carrier.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _carrying(self) -> Any:
        """The carrier, which is one that has what descriptors need.

        Raises:
            NotSupported: it is not.
        """
        if not getattr(self._carrier, "carries_descriptors", False):
            raise NotSupported(
                "descriptors travel over the Unix domain sockets of ipcpipes only, not over "
                f"{self._carrier!r}"
            )
        return self._carrier

    def _raise_fault(self) -> NoReturn:
        self._carrier._require_open()
        raise trio.BrokenResourceError(str(self._receive_fault)) from self._receive_fault

    def _too_large(self, size: int) -> MessageTooLarge:
        return MessageTooLarge(size, self._max_size)

    @abstractmethod
    def _wire(self, messages: list[Buffer]) -> list[Buffer]:
        """What is handed to the system for them.

        Raises:
            FramingError: one of them cannot be framed.
        """

    @abstractmethod
    def _transmit(self, wire: list[Buffer], deadline: Deadline | None) -> None:
        """Sends it. The caller is inside the carrier, for sending."""

    @abstractmethod
    def _transmit_with(
        self, wire: tuple[list[Buffer], Sequence[int | HasFileno]], deadline: Deadline | None
    ) -> None:
        """The same for one message, with descriptors."""

    @abstractmethod
    def _fill(self, limit: int, deadline: Deadline | None) -> bytes | None:
        """Waits for data and gives the message in it; or ``None``, and the messages in it, which
        may be none yet, are in ``_arrived``. The caller is inside the carrier, for receiving.

        Raises:
            What :meth:`receive` raises.
        """


class _HalfCloseable(_Channel, abc.HalfCloseableMessageChannel):
    def send_eof(self) -> None:
        carrier: Any = self._carrier  # it is one of those that have it
        self._in_turn(lambda *_: carrier._put_eof(), None, None)


class MessageChannel(_Channel):
    """Messages over any blocking stream, cut out of its bytes by a framing.

    ``MessageChannel(stream, framing)`` is all it takes;
    :func:`ipcpipes.blocking.connect_messages` and :func:`ipcpipes.blocking.listen_messages` make
    one for you. See :class:`ipcpipes.blocking.abc.MessageChannel` for what it does. Over a stream
    with ``send_eof`` it is a :class:`ipcpipes.blocking.abc.HalfCloseableMessageChannel` too.

    Over a stream that is not one of ipcpipes, a send that was interrupted leaves the channel broken
    in any case: only streams of ipcpipes say whether a part went out.

    Args:
        stream: belongs to the channel from now on, which closes it; nobody else may use it. What
            a stream needs is said by :class:`ipcpipes.blocking.abc.ByteStream`; ``send_all``,
            ``receive_some`` and ``close`` are enough.
        framing: how messages are told apart; both ends must have the same.
        max_descriptors: how many descriptors may come with one message, 0 to 253; with 0,
            :meth:`receive_descriptors` cannot be used, and what comes is dropped by the system.

    Raises:
        TypeError: ``stream`` is no such stream, or ``framing`` no framing.
        TypeError, ValueError: ``max_descriptors`` is no int, or out of range.
        NotSupported: ``max_descriptors`` is not 0, and ``stream`` carries none: it is a Windows
            pipe, or not one of ipcpipes.
    """

    def __new__(
        cls, stream: abc.BareStream, framing: Framing | None = None, *, max_descriptors: int = 0
    ) -> MessageChannel:
        if cls is MessageChannel and hasattr(stream, "send_eof"):
            cls = _HalfCloseableFramed
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
        self._carrier: StreamCarrier = (
            stream if isinstance(stream, _os.Stream) else ForeignStream(stream)
        )
        super().__init__(self._carrier, framing.max_size, max_descriptors)
        self._stream = stream
        self._framing = framing
        self._quick_size = min(framing.max_size, LARGE - 1)
        self._splitter = framing.splitter()
        # Looked up once: they are called for every message.
        self._join = framing.join
        self._put = self._carrier._put
        self._get = self._carrier._get
        self._split = self._splitter.split
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
        try:
            if self._enclosed is not None:
                if self._fill_enclosed(self._enclosed, deadline):
                    return None
            elif (buffer := self._get_buffer()) is None:
                data = self._get(_READ_SIZE, deadline)
                if data:
                    messages = self._split(data)
                    # Mostly it is one.
                    if type(messages) is tuple and len(messages) == 1:
                        message: bytes = messages[0]
                        return message
                    self._arrived.extend(messages)
                    return None
            else:
                count = self._carrier._get_into(buffer, deadline)
                if count:
                    self._arrived.extend(self._splitter.buffer_updated(count))
                    return None
            self._splitter.end()
        except FramingError as error:
            self._receive_fault = error
            if not self._arrived:
                self._raise_fault()
            return None
        else:
            raise trio.EndOfChannel("the other end has closed")

    def _fill_enclosed(self, enclosed: Enclosed, deadline: Deadline | None) -> bool:
        """Whether anything has come."""
        try:
            data: bytes = self._carrying()._get_enclosed(enclosed, deadline)
        except DescriptorsLost as lost:
            self._arrived.extend(enclosed.messages_before(self._splitter, lost.data))
            if not self._arrived:
                raise
            return True  # the stream says it again
        self._arrived.extend(enclosed.messages(self._splitter, data))
        return bool(data)

    def __repr__(self) -> str:
        return (
            f"<ipcpipes blocking {MessageChannel.__name__} {self._framing!r} over {self._stream!r}>"
        )


class _HalfCloseableFramed(MessageChannel, _HalfCloseable):
    pass


class NativeMessageChannel(_Channel):
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
        return super().__new__(cls)

    def __init__(self, packets: _os.Packets, native: Native, max_descriptors: int = 0) -> None:
        super().__init__(packets, min(native.max_size, packets.largest), max_descriptors)
        self._native = native

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
            some = self._carrier._get_packets(self._arrived, self._native.max_size, limit, deadline)
        except FramingError as error:
            self._receive_fault = error
            if not self._arrived:
                self._raise_fault()
        else:
            if not some:
                raise trio.EndOfChannel("the other end has closed")
        return None

    def __repr__(self) -> str:
        return f"<ipcpipes blocking {NativeMessageChannel.__name__} over {self._carrier!r}>"


class _HalfCloseableNative(NativeMessageChannel, _HalfCloseable):
    pass
