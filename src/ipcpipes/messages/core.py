"""The decisions that message channels of all drivers share: sizes, error texts, and what breaks a
channel. This module does no I/O.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import trio

from .._os import ChannelNumber
from .._os.common.connection_end import ConnectionEnd
from .._os.common.receive_size import RECEIVE_INTERRUPTED
from .._os.handles.attached import AttachedDescriptors
from .._os.handles.headers import (
    NO_HANDLES,
    HandleHeaderReader,
    HandleHeaderSplitter,
    Handles,
    header_too_large,
)
from .._os.handles.pending import PendingHandles
from ..abc import PeerIdentity
from ..authentication.challenge import refusal_in
from ..errors import (
    AuthenticationFailed,
    DescriptorsLost,
    FramingError,
    MessageTooLarge,
    NotSupported,
)
from ..framing import Buffer, Framing, LengthPrefixed, Native
from ..framing.outgoing import pieces
from ..opening import ListenerWrapper
from ..options import check_max_descriptors

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..endpoint import Endpoint

ChannelT = TypeVar("ChannelT", bound="ChannelCore")

# How many packets one receive_many returns at most.
MOST_MESSAGES = 1024

# How much a message that is kept in memory counts in addition to its bytes.
MESSAGE_OVERHEAD = 64

ENDED = "the other end has closed"
NO_DESCRIPTORS = "this channel was made without max_descriptors=, and does not receive descriptors"


class ChannelCore(ChannelNumber, ABC):
    """The state that the channels of both drivers have in common.

    Messages that were received together with an earlier one wait in ``_arrived``. While it is not
    empty, nothing more is received, so that a slow consumer blocks the sender and does not fill the
    memory.

    Args:
        carrier: the object that sends and receives the messages.
        max_size: the largest message in bytes.
        framing: how messages are told apart; ``None`` if the carrier keeps them apart itself.

    Attributes:
        _may_be_refused: at a client without a key: true until the first bytes arrive, because these
            may say that the server requires a key.
        _arrived: messages; with ``max_descriptors``, pairs of a message and its descriptors.
        _pending: the descriptors that were received with messages; ``None`` without
            ``max_descriptors``.
        _attached: the same object as ``_pending`` if the system passes descriptors with data
            (POSIX); otherwise ``None``.
        _headers: the reader of headers, if the channel sends a header before each message (over a
            Windows pipe); otherwise ``None``.
        _handles: gives handles to the peer's process, if there are headers; otherwise ``None``.
        _owed: how many replies the peer owes to calls of ``transact`` that have ended without one.
        _receive_fault: why nothing can be received any more: an exception if the peer or lost
            descriptors caused it; a text if a receive was interrupted in the middle of a step.
    """

    _handles: Handles | None = None
    _headers: HandleHeaderReader | None = None
    _half_closeable: type  # the driver's contract for channels that can end their sending half

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Chooses the class: over a carrier that can end its sending half, the channel has
        ``send_eof`` too.

        The carrier is the first argument, or ``stream``, in subclasses too.
        """
        carrier = args[0] if args else options.get("stream")
        if hasattr(carrier, "send_eof") or hasattr(carrier, "_put_eof"):
            cls = _with_send_eof(cls)
        return super().__new__(cls)

    def __init__(
        self, carrier: Any, max_size: int, framing: Framing | None, max_descriptors: int
    ) -> None:
        check_max_descriptors(max_descriptors)
        self._carrier = carrier
        self._max_size = max_size
        self._framing = framing
        self._may_be_refused = False
        self._arrived: deque[Any] = deque()
        self._owed = 0
        self._receive_fault: FramingError | AuthenticationFailed | DescriptorsLost | str | None = (
            None
        )
        self._attached: AttachedDescriptors | None = None
        self._pending: PendingHandles | None = None
        if max_descriptors and hasattr(carrier, "handles"):  # a Windows pipe
            self._handles = carrier.handles()
            self._headers = HandleHeaderReader(max_descriptors, self._arrived, self._handles)
            self._pending = self._headers
        elif max_descriptors:
            self._require_carrying()
            self._pending = self._attached = AttachedDescriptors(max_descriptors, self._arrived)
        if framing is not None:
            # With ``_headers``, the splitter yields pairs of a message and its descriptors.
            self._splitter: Any = framing.splitter()
            if self._headers is not None:
                self._splitter = HandleHeaderSplitter(self._splitter, self._headers)

    @property
    def _connection(self) -> Any:
        """The object that the channel was made over. It differs from the carrier if the carrier is
        an adapter.
        """
        return self._carrier

    @property
    def endpoint(self) -> Endpoint | None:
        return getattr(self._connection, "endpoint", None)

    @property
    def peer(self) -> PeerIdentity:
        return getattr(self._connection, "peer", PeerIdentity())

    @property
    def max_size(self) -> int:
        return self._max_size

    def _require_carrying(self) -> None:
        """Raises:
        NotSupported, RuntimeError: the carrier cannot carry descriptors.
        """
        if getattr(self._carrier, "carries_descriptors", False):
            return
        if hasattr(self._carrier, "handles"):
            raise RuntimeError(
                "handles go over a Windows pipe when the channels at both ends were made with "
                "max_descriptors=, and this one was not"
            )
        raise NotSupported(
            "descriptors travel only over connections of ipcpipes that go both ways, not over "
            f"{self._carrier!r}"
        )

    def _too_large(self, size: int) -> MessageTooLarge:
        return MessageTooLarge(size, self._max_size)

    def _checked(self, messages: list[Buffer]) -> list[Buffer]:
        """Raises:
        MessageTooLarge: a message is larger than ``max_size``.
        """
        if (largest := max(map(len, messages), default=0)) > self._max_size:
            raise self._too_large(largest)
        return messages

    def _wire(self, messages: Sequence[Buffer], header: bytes = NO_HANDLES) -> Sequence[Buffer]:
        """Returns the data that the carrier sends for these messages.

        Raises:
            FramingError: one of the messages cannot be framed.
        """
        if self._headers is not None:
            messages = self._with_headers(messages, header)
        return messages if self._framing is None else pieces(self._framing, messages)

    def _with_headers(self, messages: Sequence[Buffer], header: bytes) -> list[Buffer]:
        """Returns the messages, each of them after the header.

        Raises:
            MessageTooLarge: the header is too large for the framing.
        """
        if len(header) > self._max_size:
            raise header_too_large(header, self._max_size)
        return [part for message in messages for part in (header, message)]

    def _detach(self) -> int:
        """Gives the connection up, and returns its number.

        Raises:
            NotSupported: ipcpipes did not make it.
            And what :meth:`_require_nothing_kept` and the connection's ``detach`` raise.
        """
        self._require_open()
        if not isinstance(self._carrier, ConnectionEnd):
            raise NotSupported(
                f"{self._connection!r} below this channel is not a connection of ipcpipes; only "
                "the code that made this stream can give it up"
            )
        return self._carrier._detach(self._require_nothing_kept)

    def _require_nothing_kept(self) -> None:
        """Raises unless another owner of the connection could continue from here."""
        if self._receive_fault is not None:
            self._raise_fault()
        kept = None
        if self._arrived:
            kept = f"{len(self._arrived)} messages have arrived in this channel; receive them"
        elif self._owed:
            kept = "the reply to a transact that has ended has not come yet; receive a message"
        elif self._has_part():
            kept = "a part of a message has arrived in this channel; receive the message"
        if kept is not None:
            raise RuntimeError(f"{kept} before you detach the channel")

    def _has_part(self) -> bool:
        """Returns whether this channel has a part of a message.

        Raises:
            NotSupported: the splitter of a user does not tell it.
        """
        if self._framing is None:
            return self._headers is not None and self._headers.has_header
        try:
            has_part: bool = self._splitter.has_part()
        except NotImplementedError:
            raise NotSupported(
                f"the splitter of {self._framing!r} does not tell whether it has a part of a "
                "message, which would be lost; define has_part"
            ) from None
        return has_part

    def _copy_first(self, memory: memoryview) -> int:
        """Copies the first message in ``_arrived`` into ``memory``, and takes it out. Returns its
        size.

        Raises:
            MessageTooLarge: it does not fit. It stays in ``_arrived``.
        """
        first = self._arrived[0]
        message = first if self._pending is None else first[0]
        size = len(message)
        if size > len(memory):
            raise MessageTooLarge(size, len(memory), "the limit is the memory of receive_into")
        memory[:size] = message
        if self._pending is not None:
            self._pending.close_first(1)
        # popleft() is not used: after a call the interpreter runs signal handlers, and an
        # exception would lose the message.
        del self._arrived[0]
        return size

    def _discard_owed(self) -> None:
        """Discards the messages that are replies to ended calls of ``transact``."""
        while self._owed and self._arrived:
            if self._pending is not None:
                self._pending.close_first(1)
            # Neither step is a call, so no signal handler runs between them.
            self._owed -= 1
            del self._arrived[0]

    def _end(self) -> bool:
        """Processes the end of the stream. Returns whether the end has completed a message.

        Raises:
            FramingError: the stream has ended inside a message.
        """
        count = len(self._arrived)
        # While this is set, the splitter is in the middle of a step: a signal handler can raise
        # between any two steps of a blocking channel.
        self._receive_fault = RECEIVE_INTERRUPTED
        last = self._splitter.end() or ()
        if self._attached is not None:
            last = self._attached.last(last)
        self._arrived.extend(last)
        self._receive_fault = None
        return len(self._arrived) > count

    def _keep_messages_before(self, lost: DescriptorsLost) -> None:
        """Marks receiving as broken, because this process could not take descriptors. Messages that
        were already complete are still delivered.
        """
        assert self._attached is not None
        self._receive_fault = RECEIVE_INTERRUPTED
        self._arrived.extend(self._attached.messages_before(self._splitter, lost.data))
        self._receive_fault = lost

    def _break_receiving(self, fault: FramingError) -> None:
        """Marks receiving as broken, because the peer has sent bytes that are not a message. The
        messages before them are still delivered.
        """
        self._receive_fault = fault
        if not self._arrived:
            self._raise_fault()

    def _raise_fault(self) -> NoReturn:
        self._require_open()
        fault = self._receive_fault
        if isinstance(fault, DescriptorsLost):
            raise fault.with_traceback(None)
        cause = None if isinstance(fault, str) else fault
        raise trio.BrokenResourceError(str(fault)) from cause

    def _check_refusal(self, first: bytes) -> None:
        """Raises if the first received bytes say that the server requires a key."""
        if (refusal := refusal_in(first)) is not None:
            self._receive_fault = refusal
            self._arrived.clear()
            self._raise_fault()
        self._may_be_refused = False

    def _check_first_packet(self) -> None:
        first = self._arrived[0]
        self._check_refusal(first if self._pending is None else first[0])

    @abstractmethod
    def _send_eof(self) -> Any:
        """Ends the sending direction: the ``send_eof`` of channels that have this method."""

    @abstractmethod
    def _require_open(self) -> object:
        """Raises:
        trio.ClosedResourceError: this end has closed the channel.
        """


class NativeCore(ChannelCore):
    """Overrides for channels over packets, which the system keeps apart."""

    def __init__(self, packets: Any, native: Native, max_descriptors: int = 0) -> None:
        super().__init__(packets, min(native.max_size, packets.largest), None, max_descriptors)
        self._native = native
        # Where received packets are appended.
        self._into: Any = self._arrived if self._headers is None else self._headers

    @property
    def address(self) -> str:
        """The real address of the endpoint; an abstract name is written with ``@`` in front."""
        address: str = self._carrier.address
        return address

    def _too_large(self, size: int) -> MessageTooLarge:
        if self._max_size < self._native.max_size:
            return MessageTooLarge(size, self._max_size, "the system's limit for one packet is")
        return MessageTooLarge(size, self._max_size)


class MessageListenerCore(ListenerWrapper):
    """A listener that makes channels of the connections that the listener below accepts."""

    def __init__(self, below: Any, framing: Framing | Native, max_descriptors: int) -> None:
        super().__init__(below)
        self._framing = framing
        self._max_descriptors = max_descriptors

    def __repr__(self) -> str:
        return f"<{self._below!r} for messages, {self._framing!r}>"


@functools.cache
def _with_send_eof(cls: type[ChannelT]) -> type[ChannelT]:
    """Returns a subclass of ``cls`` that has ``send_eof``, for carriers that have it. The subclass
    is made once for each class, also for a user's.
    """
    if hasattr(cls, "send_eof"):
        return cls
    members = {"send_eof": cls._send_eof, "__module__": cls.__module__, "__doc__": cls.__doc__}
    metaclass: Any = type(cls)
    made: type[ChannelT] = metaclass(cls.__name__, (cls, cls._half_closeable), members)
    made.__qualname__ = cls.__qualname__
    return made


def stream_framing(framing: object) -> Framing:
    """Returns the framing of a channel over a stream: the default framing for ``None``.

    Raises:
        TypeError: ``framing`` is not a Framing.
    """
    if framing is None:
        return LengthPrefixed()
    if isinstance(framing, Native):
        raise TypeError(
            "native messages do not go over a stream; use connect_messages or listen_messages "
            "with framing=NATIVE at both ends"
        )
    if not isinstance(framing, Framing):
        raise TypeError(f"framing must be a Framing, not {framing!r}")
    return framing
