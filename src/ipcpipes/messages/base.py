"""Message channels for trio: the part that is the same over streams and over packets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

import trio

from .. import abc
from .._os import still_receives
from .._os.common.forking import remember
from .._os.common.receive_size import writable_bytes
from ..framing import Buffer, Framing
from .core import MESSAGE_OVERHEAD, MOST_MESSAGES, NO_DESCRIPTORS
from .sending import Sending, ki_protected

ResultT = TypeVar("ResultT")

# How much wait_for_end reads ahead.
_READ_AHEAD = 65_536

# The least time for receiving the rest of a message whose descriptors have arrived. With less, trio
# would cancel the receive before it looks at data that is already there.
_LEAST_SECONDS = 0.1

# Looked up once: it is called for every message.
_checkpoint = trio.lowlevel.checkpoint
_checkpoint_if_cancelled = trio.lowlevel.checkpoint_if_cancelled


class _Watch:
    """The state of a task that receives only to notice the end of the stream."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.over = trio.Event()


class Channel(Sending, abc.MessageChannel):
    """The base of channels over streams and over packets. One task at a time sends, and one
    receives.

    Lifetime: it owns its carrier, and closes it.

    Attributes:
        _receiving: whether a task has the turn to receive.
        _watch: the task in ``wait_for_end`` that has this turn, if there is one.
        _disconnected: whether ipcpipes, and not the handler, has closed the channel because of
            something that the peer did.
    """

    _half_closeable = abc.HalfCloseableMessageChannel
    _disconnected = False
    _closed_text = "this channel was closed here"

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
        self._closed = False
        if getattr(carrier, "ends_at_fork", False):
            remember(self)

    async def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        run = getattr(self._carrier, "run_as_client", super().run_as_client)
        result: ResultT = await run(fn, *args)
        return result

    @ki_protected
    async def receive(self) -> bytes:
        if self._receiving or self._closed:
            await self._require_turn()
        self._receiving = True
        try:
            if (reading := self._begin_reading()) is not None:
                message = self._first_message(await reading)
                if message is not None:
                    return message
            await self._wait_until_arrived(1)
            return self._take_first()
        finally:
            self._receiving = False

    def _begin_reading(self) -> Coroutine[Any, Any, bytes] | None:
        """In the usual case, in which no message waits and nothing has to be done first, returns a
        coroutine of the carrier that reads once; otherwise ``None``. A task that waits has to pass
        through every coroutine between it and trio when it continues, so the callers await this one
        themselves. They have the turn to receive.
        """
        return None

    def _first_message(self, data: bytes) -> bytes | None:
        """Takes the data that the coroutine of :meth:`_begin_reading` has read. Returns the first
        message, or ``None`` if it is not complete yet.
        """
        raise NotImplementedError

    def _take_first(self) -> bytes:
        message: bytes
        if self._pending is None:
            message = self._arrived.popleft()
        else:
            self._pending.close_first(1)
            message, _ = self._arrived.popleft()
        return message

    @ki_protected
    def receive_nowait(self) -> bytes:
        if self._receiving and self._watch is None:
            raise trio.BusyResourceError("another task is receiving from this channel")
        self._require_open()
        if self._owed:
            self._discard_owed()
        if not self._arrived and not self._arrives_now():
            raise trio.WouldBlock
        return self._take_first()

    def _arrives_now(self) -> bool:
        """Receives without waiting until a message has arrived. Returns whether one has arrived.

        Raises:
            What :meth:`receive` raises.
        """
        while not self._arrived:
            if self._receiving or not self._fill_now():
                if self._pending is not None and self._pending.time_left == 0:
                    self._receive_fault = self._pending.give_part_up()
                    self._raise_fault()
                return False
            if self._owed:
                self._discard_owed()
        return True

    @ki_protected
    def _is_ready(self) -> bool:
        """Returns whether :meth:`receive` would return or raise at once. What arrives stays in this
        channel.

        Raises:
            trio.BusyResourceError, trio.ClosedResourceError: as for :meth:`receive`.
        """
        if self._receiving and self._watch is None:
            raise trio.BusyResourceError("another task is receiving from this channel")
        self._require_open()
        if self._owed:
            self._discard_owed()
        try:
            return self._arrives_now()
        except (trio.EndOfChannel, trio.BrokenResourceError):
            return True  # receive raises it again

    @ki_protected
    async def _wait_ready(self) -> None:
        """Waits until :meth:`_is_ready` returns true."""
        with suppress(trio.EndOfChannel, trio.BrokenResourceError):
            await self._wait_for_messages(1)

    @ki_protected
    async def transact(self, value: Buffer) -> bytes:
        if self._receiving or self._closed:
            await self._require_turn()
        self._receiving = True
        try:
            if not self._sends_now or self._sending or self._room <= 0:
                await self.send(value)
            else:
                await _checkpoint_if_cancelled()
                self.send_nowait(value)
            try:
                if self._is_flushed_later or self._task is not None:
                    await self.wait_sent()
                if (reading := self._begin_reading()) is not None:
                    message = self._first_message(await reading)
                    if message is not None:
                        return message
                await self._wait_until_arrived(1)
                return self._take_first()
            except BaseException:
                self._owed += 1
                raise
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
    async def receive_into(self, buffer: bytearray | memoryview) -> int:
        with writable_bytes(buffer) as memory:
            await self._wait_for_messages(1)
            return self._copy_first(memory)

    @ki_protected
    async def receive_descriptors(self) -> tuple[bytes, list[int]]:
        if self._pending is None:
            raise RuntimeError(NO_DESCRIPTORS)
        await self._wait_for_messages(1)
        pair: tuple[bytes, list[int]] = self._arrived.popleft()
        return pair

    async def _wait_for_messages(self, limit: int) -> None:
        if self._receiving or self._closed:
            await self._require_turn()
        self._receiving = True
        try:
            await self._wait_until_arrived(limit)
        finally:
            self._receiving = False

    async def _wait_until_arrived(self, limit: int) -> None:
        if self._is_flushed_later:
            self._flush()  # a peer that waits for these messages would not send any
        else:
            self._has_begun_pass = False
        if self._owed:
            self._discard_owed()
        if self._arrived:
            await _checkpoint()
            self._require_open()
        while not self._arrived:
            await self._fill_in_time(limit)
            if self._owed:
                self._discard_owed()

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
            len(one if self._pending is None else one[0]) + MESSAGE_OVERHEAD
            for one in self._arrived
        )

    async def _require_turn(self) -> None:
        """Ends the task that only watches for the end of the stream, if there is one.

        Raises:
            trio.BusyResourceError: another task receives messages.
            trio.ClosedResourceError: this end has closed the channel.
        """
        if self._watch is not None:
            self._watch.scope.cancel()
            await self._watch.over.wait()
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this channel")
        self._require_open()

    async def aclose(self) -> None:
        try:
            if self._has_begun_pass or self._task is not None:
                await self._send_gathered()
        finally:
            self._close()
            await self._carrier.aclose()
        if self._loss is not None:
            loss, self._loss = self._loss, None
            raise trio.BrokenResourceError(loss)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.aclose()
        except trio.BrokenResourceError:
            if error is None:
                raise
            # The error of the block is the more important one.

    @ki_protected
    def detach(self) -> int:
        """Gives the connection up, and returns its number: a descriptor (POSIX). Afterwards this
        channel is closed, and the number belongs to you: the connection is still open, and
        ``connect_messages(Endpoint.from_socket(number), framing=...)`` makes a channel of it again,
        in this process or in another one that has got it (``send_descriptors``, ``pass_fds``). The
        framing must be the same.

        Nothing is lost: the channel is refused, and stays as it was, if it has something that the
        next owner would not get. A channel reads ahead, so this works if the peer waits for a reply
        after each of its messages. The next owner gets what ``detach`` of a stream says.

        Returns:
            The number. Close it, or pass it on.

        Raises:
            RuntimeError: messages or a part of a message have arrived in this channel; the late
                reply to a ``transact`` has not; or messages of ``send_nowait`` wait to be sent.
            trio.BrokenResourceError: the channel cannot send or receive any more.
            trio.BusyResourceError: a task is using the channel.
            trio.ClosedResourceError: the channel is closed.
            ipcpipes.NotSupported: the channel is over a stream that ipcpipes did not make; or the
                splitter of a framing of yours has no ``has_part``; or Windows, as for ``detach`` of
                a stream.
        """
        number = self._detach()
        self._close()
        self._closed_text = "this channel was detached"
        return number

    def _require_nothing_kept(self) -> None:
        if self._receiving or self._sending:
            raise trio.BusyResourceError("another task is using this channel")
        if self._send_fault is not None:
            raise trio.BrokenResourceError(self._send_fault)
        if self._gathered or self._in_transit or self._task is not None:
            raise RuntimeError(
                "messages of send_nowait wait to be sent; await wait_sent() before you detach the "
                "channel"
            )
        super()._require_nothing_kept()

    def _close(self) -> None:
        self._lose("the channel was closed here")
        self._closed = True
        if self._pending is not None:
            self._pending.close()
        self._arrived.clear()

    def _in_forked_child(self, text: str) -> None:
        """Drops the arrived messages, and clears the marks of tasks that send or receive: those
        tasks are the parent's, and so are the messages that they lose. The carrier closes itself in
        the child.
        """
        self._closed_text = f"this channel was {text}"
        self._receiving = False
        self._forget_senders()
        self._loss = None
        self._close()

    def _require_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(self._closed_text)

    @abstractmethod
    async def _fill(self, limit: int) -> None:
        """Waits for data and appends the messages in it, perhaps none yet, to ``_arrived``.

        Raises:
            What :meth:`receive` raises.
        """

    @abstractmethod
    def _fill_now(self) -> bool:
        """Appends the messages in the data that has arrived, perhaps none yet, to ``_arrived``.
        Returns false if no data has arrived, or if nothing can be received without waiting.

        Raises:
            What :meth:`receive` raises.
        """
