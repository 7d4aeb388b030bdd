"""Messages without an event loop: what channels over streams and over packets have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import trio

from ..._os.common.deadline import Deadline
from ..._os.handles.attached import AttachedDescriptors
from ..._os.handles.pending import PendingHandles
from ...abc import HasFileno
from ...abc.uncopied import Uncopied
from ...authentication.challenge import unless_refused
from ...errors import (
    AuthenticationFailed,
    DescriptorsLost,
    FramingError,
    MessageTooLarge,
    NotSupported,
)
from ...framing import Buffer
from ...framing.outgoing import flat, flat_all
from ...options import check_max_descriptors
from .. import abc
from .transport import MessageTransport, PassesHandles

if TYPE_CHECKING:
    from typing_extensions import Self

    from ...abc import PeerIdentity
    from ...endpoint import Endpoint

ResultT = TypeVar("ResultT")

# How many packets one receive_many takes at most.
_MANY = 1024


class Channel(Uncopied, abc.MessageChannel):
    """What both kinds have in common.

    Lifetime: it owns the carrier, and closes it. Who sends and who receives has the carrier's turn
    meanwhile (:class:`SendReceiveLocks` says what that means), so that there is one to take for an
    operation. Messages that came with another one wait in ``_arrived``; while there are any,
    nothing more is received, so that a slow consumer holds back the sender and not the memory.
    """

    # True until something is received, for a client without a key: the server may require one.
    _may_be_refused = False

    def __init__(self, carrier: MessageTransport, max_size: int, max_descriptors: int) -> None:
        check_max_descriptors(max_descriptors)
        self._carrier = carrier
        self._max_size = max_size
        # Messages; with max_descriptors, pairs of a message and its descriptors.
        self._arrived: deque[Any] = deque()
        # Closed with the connection, when nobody is inside it.
        self._enclosed = self._enclosing(max_descriptors) if max_descriptors else None
        # The peer's fault, or that a receive was interrupted in the middle of a step.
        self._receive_fault: FramingError | AuthenticationFailed | DescriptorsLost | str | None = (
            None
        )

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
                if self._enclosed is None:
                    message = self._fill(1, deadline)
                    if message is not None:
                        return message
                else:
                    self._fill_in_time(self._enclosed, 1, deadline)
            oldest: bytes
            if self._enclosed is None:
                oldest = arrived[0]
            else:
                self._enclosed.close_first(1)
                oldest, _ = arrived[0]
            # No popleft(): after a call the interpreter runs signal handlers, and an exception
            # would lose the message.
            del arrived[0]
            return oldest
        finally:
            carrier._may_receive["turn"] = None
            if carrier._number == -1:
                carrier._leave()

    def receive_many(self, *, timeout: float | None = None) -> list[bytes]:
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
                if self._enclosed is None:
                    message = self._fill(_MANY, deadline)
                    if message is not None:
                        return [message]
                else:
                    self._fill_in_time(self._enclosed, _MANY, deadline)
            if self._enclosed is None:
                messages = list(arrived)
            else:
                self._enclosed.close_first(len(arrived))
                messages = [message for message, _ in arrived]
            arrived *= 0  # clear() is a call, as popleft() is in receive()
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
                self._fill_in_time(self._enclosed, 1, deadline)
            pair: tuple[bytes, list[int]] = self._arrived[0]
            del self._arrived[0]  # as in receive()
            return pair
        finally:
            carrier._may_receive["turn"] = None
            if carrier._number == -1:
                carrier._leave()

    def _fill_in_time(
        self, enclosed: PendingHandles, limit: int, deadline: Deadline | None
    ) -> None:
        """As :meth:`_fill`, with the deadline of a message whose descriptors have come."""
        seconds = enclosed.patience
        if seconds is None or (deadline is not None and deadline.remaining < seconds):
            self._fill(limit, deadline)
            return
        patience = Deadline(seconds)
        try:
            self._fill(limit, patience)
        except TimeoutError:
            if not patience.has_raised:
                raise
            self._receive_fault = enclosed.give_part_up()
            self._raise_fault()

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

    def _enclosing(self, most: int) -> PendingHandles:
        carrying = self._carrying()
        carrying._enclosed = enclosed = AttachedDescriptors(most, self._arrived)
        return enclosed

    def _carrying(self) -> Any:
        """The carrier, which is one that has what descriptors need.

        Raises:
            NotSupported, RuntimeError: it is not.
        """
        if not getattr(self._carrier, "carries_descriptors", False):
            if isinstance(self._carrier, PassesHandles):
                raise RuntimeError(
                    "handles go over a Windows pipe when the channels at both ends were made with "
                    "max_descriptors=, and this one was not"
                )
            raise NotSupported(
                "descriptors travel over connections of ipcpipes only, which go both ways, not "
                f"over {self._carrier!r}"
            )
        return self._carrier

    def _raise_fault(self) -> NoReturn:
        self._carrier._require_open()
        fault = self._receive_fault
        if isinstance(fault, DescriptorsLost):
            raise fault.with_traceback(None)
        cause = None if isinstance(fault, str) else fault
        raise trio.BrokenResourceError(str(fault)) from cause

    def _check_refusal(self, first: bytes) -> None:
        """Raises if the first received bytes say that the server requires a key."""
        if (refusal := unless_refused(first)) is not None:
            self._receive_fault = refusal
            self._arrived.clear()
            self._raise_fault()
        self._may_be_refused = False

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


class HalfCloseable(Channel, abc.HalfCloseableMessageChannel):
    def send_eof(self) -> None:
        carrier: Any = self._carrier  # it is one of those that have it
        self._in_turn(lambda *_: carrier._put_eof(), None, None)
