"""Message channels for trio: the part that is the same over streams and over packets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import trio

from .. import abc
from .._os import still_receives
from .._os.common.forking import remember
from ..abc import HasFileno
from ..framing import Buffer, Framing
from ..framing.outgoing import flat, flat_all
from .core import MOST_MESSAGES, NO_DESCRIPTORS, ChannelCore

ResultT = TypeVar("ResultT")

# How much wait_for_end reads ahead, and how much a message counts in addition to its bytes.
_READ_AHEAD = 65_536
_MESSAGE_OVERHEAD = 64

# The least time for receiving the rest of a message whose descriptors have arrived. With less, trio
# would cancel the receive before it looks at data that is already there.
_LEAST_SECONDS = 0.1

# Looked up once: it is called for every message.
_checkpoint = trio.lowlevel.checkpoint
# A KeyboardInterrupt is raised only where an operation waits. Between two steps it could lose the
# turn to send.
ki_protected = trio.lowlevel.enable_ki_protection


class _Watch:
    """The state of a task that receives only to notice the end of the stream."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.over = trio.Event()


class Channel(ChannelCore, abc.MessageChannel):
    """The base of channels over streams and over packets. One task at a time sends, and one
    receives.

    Lifetime: it owns its carrier, and closes it.
    """

    _half_closeable = abc.HalfCloseableMessageChannel

    def __init__(
        self,
        carrier: trio.abc.AsyncResource,
        max_size: int,
        framing: Framing | None,
        max_descriptors: int,
    ) -> None:
        super().__init__(carrier, max_size, framing, max_descriptors)
        self._receiving = False
        self._watch: _Watch | None = None
        # Whether ipcpipes, and not the handler, has closed the channel because of something that
        # the peer did.
        self._disconnected = False
        self._closed = False
        self._closed_text = "this channel was closed here"
        self._sending = False
        self._senders = trio.lowlevel.ParkingLot()
        self._send_fault: str | None = None
        if getattr(carrier, "ends_at_fork", False):
            remember(self)

    async def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        run = getattr(self._carrier, "run_as_client", super().run_as_client)
        result: ResultT = await run(fn, *args)
        return result

    @ki_protected
    async def send(self, value: Buffer) -> None:
        message = flat(value)
        if len(message) > self._max_size:
            raise self._too_large(len(message))
        await self._in_turn(self._transmit, self._wire((message,)))

    @ki_protected
    async def send_many(self, values: Sequence[Buffer]) -> None:
        await self._in_turn(self._transmit, self._wire(self._checked(flat_all(values))))

    @ki_protected
    async def send_descriptors(self, value: Buffer, descriptors: Sequence[int | HasFileno]) -> None:
        messages = self._checked([flat(value)])
        if self._handles is not None:
            await self._in_turn(self._transmit_with_handles, messages, descriptors)
        else:
            self._require_carrying()
            await self._in_turn(self._transmit, self._wire(messages), descriptors)

    async def _transmit_with_handles(
        self, messages: Sequence[Buffer], descriptors: Sequence[int | HasFileno]
    ) -> None:
        assert self._handles is not None
        with self._handles.giving(descriptors) as header:
            await self._transmit(self._wire(messages, header))

    async def _in_turn(self, action: Callable[..., Awaitable[None]], *arguments: object) -> None:
        if self._sending:
            await self._senders.park()  # the task that unparks this one has passed its turn on
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

    @ki_protected
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
            if self._pending is None:
                message = self._arrived.popleft()
            else:
                self._pending.close_first(1)
                message, _ = self._arrived.popleft()
            return message
        finally:
            self._receiving = False

    @ki_protected
    async def receive_many(self) -> list[bytes]:
        await self._wait_for_messages(MOST_MESSAGES)
        if self._pending is None:
            messages = list(self._arrived)
        else:
            self._pending.close_first(len(self._arrived))
            messages = [message for message, _ in self._arrived]
        self._arrived.clear()
        return messages

    @ki_protected
    async def receive_descriptors(self) -> tuple[bytes, list[int]]:
        if self._pending is None:
            raise RuntimeError(NO_DESCRIPTORS)
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
        """Calls :meth:`_fill`, with a deadline if descriptors have arrived whose message is
        incomplete.
        """
        if self._pending is None or (seconds := self._pending.time_left) is None:
            await self._fill(limit)
            return
        with trio.move_on_after(max(seconds, _LEAST_SECONDS)) as scope:
            await self._fill(limit)
        if scope.cancelled_caught:
            self._receive_fault = self._pending.give_part_up()
            self._raise_fault()

    @ki_protected
    async def wait_for_end(self) -> None:
        """Waits until nothing more can be received, for a task that only sends. Data that arrives
        meanwhile is kept for receivers: up to 65,536 bytes and one read more. Once that much is
        kept, the end is not noticed any more.

        A task that receives has priority: while a task receives, it notices the end, and this
        method only waits. This method also keeps waiting if the peer has ended its sending half and
        can still receive.

        Raises:
            What :meth:`receive` raises. This method never returns.
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
            while self._kept_bytes() < _READ_AHEAD:
                await self._fill_in_time(MOST_MESSAGES)
        except trio.EndOfChannel:
            if not still_receives(self._carrier):
                raise

    def _kept_bytes(self) -> int:
        return sum(
            len(one if self._pending is None else one[0]) + _MESSAGE_OVERHEAD
            for one in self._arrived
        )

    async def _take_over(self) -> None:
        """Ends the task that only watches for the end of the stream, if there is one.

        Raises:
            trio.BusyResourceError: another task receives messages.
        """
        if self._watch is not None:
            self._watch.scope.cancel()
            await self._watch.over.wait()
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this channel")

    @ki_protected
    async def _send_eof(self) -> None:
        await self._in_turn(self._carrier.send_eof)

    async def aclose(self) -> None:
        self._close_receiving()
        await self._carrier.aclose()

    def _close_receiving(self) -> None:
        self._closed = True
        if self._pending is not None:
            self._pending.close()
        self._arrived.clear()

    def _in_forked_child(self, text: str) -> None:
        """Drops the arrived messages, and clears the marks of tasks that send or receive: those
        tasks are the parent's. The carrier closes itself in the child.
        """
        self._closed_text = f"this channel was {text}"
        self._sending = self._receiving = False
        self._senders = trio.lowlevel.ParkingLot()
        self._close_receiving()

    def _require_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(self._closed_text)

    @abstractmethod
    async def _transmit(
        self, wire: Sequence[Buffer], descriptors: Sequence[int | HasFileno] | None = None
    ) -> None:
        """Sends ``wire``, and the descriptors in the same step as the first byte. This is a
        checkpoint even if ``wire`` is empty. If this is cancelled when the peer may have received a
        part, it sets ``_send_fault``.
        """

    @abstractmethod
    async def _fill(self, limit: int) -> None:
        """Waits for data and appends the messages in it, perhaps none yet, to ``_arrived``.

        Raises:
            What :meth:`receive` raises.
        """
