"""Messages for trio: what channels over streams and over packets have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import trio

from .. import abc
from .._os import still_receives
from .._os.common.forking import remember
from .._os.handles.attached import AttachedDescriptors
from .._os.handles.labels import Handles
from .._os.handles.pending import PendingHandles
from ..abc import HasFileno
from ..authentication.challenge import unless_refused
from ..errors import (
    AuthenticationFailed,
    DescriptorsLost,
    FramingError,
    MessageTooLarge,
    NotSupported,
)
from ..framing import Buffer
from ..framing.outgoing import flat, flat_all
from ..options import check_max_descriptors

ResultT = TypeVar("ResultT")

# How many packets one receive_many takes at most.
_MANY = 1024

# How much is read ahead to notice the end, and how much a message counts in addition to its bytes.
_AHEAD = 65_536
_BESIDE = 64

# How long one look may take: a deadline that has already passed would cancel it before it looks.
_A_LOOK = 0.1  # seconds

# Looked up once: it is called for every message.
_checkpoint = trio.lowlevel.checkpoint
# A KeyboardInterrupt comes where an operation waits, and not between its steps, where it would
# take the turn to send along.
whole = trio.lowlevel.enable_ki_protection


@runtime_checkable
class SendsEof(Protocol):
    async def send_eof(self) -> None: ...


@runtime_checkable
class PassesHandles(Protocol):
    """A Windows pipe: over it, channels label their messages with handles."""

    def handles(self) -> Handles: ...


class _Watch:
    """A task that receives only to notice the end of the stream."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.over = trio.Event()


class Channel(abc.MessageChannel):
    """What both kinds have in common: who may send now, who receives, and what has gone wrong.

    Lifetime: it owns what it was made over, and closes it. Messages that were received with
    another one wait in ``_arrived``; while there are any, nothing more is received, so that a
    slow consumer holds back the sender and not the memory.
    """

    # True until something is received, for a client without a key: the server may require one.
    _may_be_refused = False

    def __init__(
        self, carrier: trio.abc.AsyncResource, max_size: int, max_descriptors: int
    ) -> None:
        check_max_descriptors(max_descriptors)
        self._carries_descriptors: bool = getattr(carrier, "carries_descriptors", False)
        self._carrier = carrier
        self._max_size = max_size
        # Messages; with max_descriptors, pairs of a message and its descriptors.
        self._arrived: deque[Any] = deque()
        self._enclosed = self._enclosing(max_descriptors) if max_descriptors else None
        self._receiving = False
        self._watch: _Watch | None = None
        # Whether it was closed because of its peer, while the handler was running.
        self.disconnected = False
        self._receive_fault: FramingError | AuthenticationFailed | DescriptorsLost | None = None
        self._closed = False
        self._closed_text = "this channel was closed here"
        self._sending = False
        self._senders = trio.lowlevel.ParkingLot()
        self._send_fault: str | None = None
        if getattr(carrier, "ends_at_fork", False):
            remember(self)

    @property
    def max_size(self) -> int:
        return self._max_size

    async def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        run = getattr(self._carrier, "run_as_client", super().run_as_client)
        result: ResultT = await run(fn, *args)
        return result

    @whole
    async def send(self, value: Buffer) -> None:
        message = flat(value)
        if len(message) > self._max_size:
            raise self._too_large(len(message))
        await self._in_turn(self._transmit, self._wire((message,)))

    @whole
    async def send_many(self, values: Sequence[Buffer]) -> None:
        messages = flat_all(values)
        if (largest := max(map(len, messages), default=0)) > self._max_size:
            raise self._too_large(largest)
        await self._in_turn(self._transmit, self._wire(messages))

    @whole
    async def send_descriptors(self, value: Buffer, descriptors: Sequence[int | HasFileno]) -> None:
        message = flat(value)
        if len(message) > self._max_size:
            raise self._too_large(len(message))
        self._require_carrying()
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

    @whole
    async def receive(self) -> bytes:
        if self._receiving:
            await self._take_over()
        self._require_open()
        self._receiving = True
        try:
            if self._arrived:
                await _checkpoint()
                self._require_open()
            while not self._arrived:
                await self._fill_in_time(1)
            message: bytes
            if self._enclosed is None:
                message = self._arrived.popleft()
            else:
                self._enclosed.close_first(1)
                message, _ = self._arrived.popleft()
            return message
        finally:
            self._receiving = False

    @whole
    async def receive_many(self) -> list[bytes]:
        await self._wait_for_messages(_MANY)
        if self._enclosed is None:
            messages = list(self._arrived)
        else:
            self._enclosed.close_first(len(self._arrived))
            messages = [message for message, _ in self._arrived]
        self._arrived.clear()
        return messages

    @whole
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
            await self._take_over()
        self._require_open()
        self._receiving = True
        try:
            if self._arrived:
                await _checkpoint()
                self._require_open()
            while not self._arrived:
                await self._fill_in_time(limit)
        finally:
            self._receiving = False

    async def _fill_in_time(self, limit: int) -> None:
        """As :meth:`_fill`, with the deadline of a message whose descriptors have come."""
        if self._enclosed is None or (seconds := self._enclosed.patience) is None:
            await self._fill(limit)
            return
        with trio.move_on_after(max(seconds, _A_LOOK)) as scope:
            await self._fill(limit)
        if scope.cancelled_caught:
            self._receive_fault = self._enclosed.give_part_up()
            self._raise_fault()

    @whole
    async def wait_for_end(self) -> None:
        """Waits until nothing more can be received, for a task that only sends. Data that arrives
        meanwhile is kept for receivers: up to 65,536 bytes and one read more. Once that much is
        kept, the end is not noticed any more.

        A task that receives has priority: then that task notices the end, and this only waits.
        This also keeps waiting if the peer has ended its sending half and can still receive.

        Raises:
            What :meth:`receive` raises. It does not return.
        """
        self._require_open()
        if not self._receiving:
            self._receiving = True
            self._watch = _Watch()
            with self._watch.scope:
                try:
                    await self._read_ahead()
                finally:
                    self._receiving = False
                    self._watch.over.set()
                    self._watch = None
        await trio.sleep_forever()

    async def _read_ahead(self) -> None:
        try:
            while self._kept() < _AHEAD:
                await self._fill_in_time(_MANY)
        except trio.EndOfChannel:
            if not still_receives(self._carrier):
                raise

    def _kept(self) -> int:
        return sum(
            len(one if self._enclosed is None else one[0]) + _BESIDE for one in self._arrived
        )

    async def _take_over(self) -> None:
        """Waits for the turn to receive.

        Raises:
            trio.BusyResourceError: another task receives, and not only to notice the end.
        """
        if self._watch is not None:
            self._watch.scope.cancel()
            await self._watch.over.wait()
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this channel")

    async def aclose(self) -> None:
        self._closed = True
        if self._enclosed is not None:
            self._enclosed.close()
        self._arrived.clear()
        await self._carrier.aclose()

    def _in_forked_child(self, text: str) -> None:
        """Drops the arrived messages, and clears the marks of tasks that send or receive: those
        tasks are the parent's. The carrier ends in the child by itself.
        """
        self._closed = True
        self._closed_text = f"this channel was {text}"
        self._sending = self._receiving = False
        if self._enclosed is not None:
            self._enclosed.close()
        self._arrived.clear()

    def _require_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(self._closed_text)

    def _enclosing(self, most: int) -> PendingHandles:
        self._require_carrying()
        return AttachedDescriptors(most, self._arrived)

    def _require_carrying(self) -> None:
        if not self._carries_descriptors:
            if isinstance(self._carrier, PassesHandles):
                raise RuntimeError(
                    "handles go over a Windows pipe when the channels at both ends were made with "
                    "max_descriptors=, and this one was not"
                )
            raise NotSupported(
                "descriptors travel over connections of ipcpipes only, which go both ways, not "
                f"over {self._carrier!r}"
            )

    def _raise_fault(self) -> None:
        self._require_open()
        if isinstance(self._receive_fault, DescriptorsLost):
            raise self._receive_fault.with_traceback(None)
        if self._receive_fault is not None:
            raise trio.BrokenResourceError(str(self._receive_fault)) from self._receive_fault

    def _check_refusal(self, first: bytes) -> None:
        """Raises if the first received bytes say that the server requires a key."""
        self._may_be_refused = False
        if (refusal := unless_refused(first)) is not None:
            self._arrived.clear()
            self._receive_fault = refusal
            self._raise_fault()

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


class HalfCloseable(Channel, abc.HalfCloseableMessageChannel):
    @whole
    async def send_eof(self) -> None:
        assert isinstance(self._carrier, SendsEof)
        await self._in_turn(self._carrier.send_eof)
