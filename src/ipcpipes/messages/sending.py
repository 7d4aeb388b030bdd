"""The sending half of message channels for trio: turns, and messages that are gathered."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence

import trio

from ..abc import HasFileno
from ..framing import Buffer, Framing, LengthPrefixed
from ..framing.outgoing import flat, flat_all
from .core import MESSAGE_OVERHEAD, ChannelCore
from .flusher import flusher

# How many bytes of messages can wait to be sent; see send_nowait.
_MOST_GATHERED = 32 * 1024

# How many seconds aclose gives the peer to read the messages of send_nowait.
_LINGER = 5

# A KeyboardInterrupt is raised only where an operation waits. Between two steps it could lose the
# turn to send.
ki_protected = trio.lowlevel.enable_ki_protection


class _SystemTask:
    """A system task that sends the messages of one channel.

    Attributes:
        batches: how many batches of gathered messages it has begun to send.
        ended: is set when it ends.
    """

    def __init__(self) -> None:
        self.batches = 0
        self.ended = trio.Event()


class Sending(ChannelCore):
    """Lets one task send at a time, and gathers the messages of ``send_nowait``.

    The first message of ``send_nowait`` is sent at once. Those that follow in the same pass of the
    scheduler are gathered. The flusher sends them in the next pass. A call that sends, or that
    waits for a message, sends them earlier. If the system has no room, a system task sends them,
    and has the turn to send meanwhile.

    CPython shares the names of the attributes between the objects of a class if there are fewer
    than 30. With more, each idle channel would take 1.5 KB more. So what few channels need is an
    attribute of the class until it changes.

    Attributes:
        _sending: whether a task has the turn to send.
        _senders: the tasks that wait for their turn; ``None`` until a task has to wait.
        _send_fault: why nothing can be sent any more.
        _has_begun_pass: whether the next message has to be gathered. It is set by the first
            ``send_nowait``, and cleared by the flusher or the next receive. While it is false and
            no system task sends, no message waits.
        _is_flushed_later: whether the flusher calls :meth:`_end_pass` after this pass.
        _gathered: the messages that wait.
        _gathers: whether ``send_nowait`` only has to put a message into ``_gathered``: the message
            needs no check, and the flusher or the system task will send it.
        _room: how many more bytes can be gathered.
        _in_transit: how many messages were taken out of ``_gathered`` and not accepted yet by the
            system.
        _task: the system task that sends the gathered messages; ``None`` if no such task runs.
        _waiters: the tasks in ``wait_sent``, which are woken after each batch and each turn;
            ``None`` until a task has to wait.
        _has_sent_eof: whether the sending half has ended.
        _loss: the error text for lost messages, until an error has told about them.
    """

    _has_sent_eof = False
    _loss: str | None = None

    def __init__(
        self,
        carrier: trio.abc.AsyncResource,
        max_size: int,
        framing: Framing | None,
        max_descriptors: int,
    ) -> None:
        super().__init__(carrier, max_size, framing, max_descriptors)
        self._send_fault: str | None = None
        self._forget_senders()

    def _forget_senders(self) -> None:
        """Begins with no task that sends, and no message that waits."""
        self._sending = self._has_begun_pass = self._is_flushed_later = self._gathers = False
        self._senders: trio.lowlevel.ParkingLot | None = None
        self._waiters: trio.lowlevel.ParkingLot | None = None
        self._room = _MOST_GATHERED
        self._gathered: list[bytes] = []
        self._in_transit = 0
        self._task: _SystemTask | None = None

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

    @ki_protected
    async def _send_eof(self) -> None:
        await self._in_turn(self._end_sending)

    async def _end_sending(self) -> None:
        await self._carrier.send_eof()
        self._has_sent_eof = True

    async def _in_turn(self, action: Callable[..., Awaitable[None]], *arguments: object) -> None:
        if self._has_begun_pass:
            self._flush()  # the messages of send_nowait come first
        self._gathers = False  # messages that send_nowait takes from now on come later
        if self._sending:
            if self._senders is None:
                self._senders = trio.lowlevel.ParkingLot()
            await self._senders.park()  # the task that unparks this one has passed its turn on
        self._sending = True
        try:
            self._require_sendable()
            await action(*arguments)
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        if self._senders:
            self._senders.unpark()
        else:
            self._sending = False
        if self._waiters:
            self._waiters.unpark_all()

    async def _wait_for_turn_or_batch(self) -> None:
        if self._waiters is None:
            self._waiters = trio.lowlevel.ParkingLot()
        await self._waiters.park()

    def _require_sendable(self) -> None:
        self._require_open()
        if self._send_fault is not None:
            self._loss = None
            raise trio.BrokenResourceError(self._send_fault)

    @ki_protected
    def send_nowait(self, value: Buffer) -> None:
        # Usually the message is gathered, with as few steps as possible.
        if (
            self._gathers
            and self._room > 0
            and type(value) is bytes
            and (size := len(value)) <= self._max_size
        ):
            self._room -= size + MESSAGE_OVERHEAD
            self._gathered.append(value)
        else:
            self._take(value)

    def _take(self, value: Buffer) -> None:
        message = flat(value)
        size = len(message)
        if size > self._max_size:
            raise self._too_large(size)
        self._require_sendable()
        if self._senders or (self._sending and self._task is None):
            raise trio.WouldBlock
        if self._room <= 0:
            self._flush()
            self._require_sendable()
            if self._room <= 0:
                raise trio.WouldBlock
        if self._has_sent_eof:
            raise trio.ClosedResourceError("nothing can be sent after send_eof")
        message = bytes(message)
        if not self._has_begun_pass and not self._sending:
            rest = self._transmit_now(self._wire((message,)))
            self._has_begun_pass = True
            if rest:
                self._start_sending(rest, 1)
            return
        takes_all = self._takes_all
        if not takes_all:
            self._wire((message,))  # raises if the framing refuses the message
        if not self._sending and not self._is_flushed_later:
            flusher().add(self)  # raises outside of a run of trio
            self._is_flushed_later = True
        self._gathered.append(message)
        self._room -= size + MESSAGE_OVERHEAD
        self._gathers = takes_all

    @property
    def _takes_all(self) -> bool:
        """Whether every message of up to ``max_size`` bytes can be sent. Other framings, and the
        headers of handles, can refuse a message.
        """
        framing = self._framing
        return self._headers is None and (framing is None or type(framing) is LengthPrefixed)

    def _gathered_wire(self) -> Sequence[Buffer]:
        """Returns the data of the gathered messages, which are in transit from now on."""
        gathered, self._gathered = self._gathered, []
        self._in_transit = len(gathered)
        self._room = _MOST_GATHERED
        return self._wire(gathered)

    def _flush(self) -> None:
        """Sends what the system accepts now of the gathered messages. A task sends the rest."""
        if not self._is_flushed_later:
            self._has_begun_pass = False
        if self._sending or not self._gathered:
            return
        try:
            rest = self._transmit_now(self._gathered_wire())
        except Exception as error:  # a framing of a user can raise anything
            self._lose(str(error))
            return
        if rest:
            self._start_sending(rest, self._in_transit)
        else:
            self._in_transit = 0

    def _end_pass(self) -> bool:
        if self._task is None and self._gathered:
            self._flush()
            return True
        self._is_flushed_later = self._has_begun_pass = False
        self._gathers = self._gathers and self._task is not None
        return False

    def _start_sending(self, wire: Sequence[Buffer], count: int) -> None:
        """Starts a task that sends data of ``count`` messages, and has the turn to send."""
        self._in_transit = count
        task = _SystemTask()
        try:
            trio.lowlevel.spawn_system_task(
                self._send_waiting, wire, task, name=f"<{self!r} sends>"
            )
        except RuntimeError as error:  # outside of a run of trio, or at its end
            self._lose(str(error))
            raise
        self._sending = True
        self._task = task

    async def _send_waiting(self, wire: Sequence[Buffer], task: _SystemTask) -> None:
        try:
            await self._transmit(wire)
            while self._gathered:
                task.batches += 1
                if self._waiters:
                    self._waiters.unpark_all()
                await self._transmit(self._gathered_wire())
            self._in_transit = 0
        except Exception as error:  # a stream of another library can raise anything
            self._lose(str(error))
        finally:
            if self._task is task:  # otherwise this is a forked child
                self._task = None
                self._gathers = self._gathers and self._is_flushed_later
                self._end_turn()
            task.ended.set()

    def _lose(self, fault: str) -> None:
        """Drops the waiting messages. The next call that sends, or ``aclose``, raises an error that
        says so.
        """
        lost = self._in_transit + len(self._gathered)
        if lost:
            number = (
                "1 message of send_nowait was"
                if lost == 1
                else f"up to {lost} messages of send_nowait were"
            )
            self._send_fault = self._loss = f"{fault}; {number} not sent"
        self._gathered = []
        self._in_transit = 0
        self._gathers = False

    @ki_protected
    async def wait_sent(self) -> None:
        self._require_sendable()
        self._flush()
        task = self._task
        if task is not None:
            # The messages are in the hands of the system task and, perhaps, in its next batch.
            last = task.batches + (2 if self._gathered else 1)
            while self._task is task and task.batches < last:
                await self._wait_for_turn_or_batch()
        elif self._sending:
            await self._wait_for_turn_or_batch()  # no message waits; another task has the turn
        else:
            await trio.lowlevel.checkpoint()
        self._require_sendable()

    async def _send_gathered(self) -> None:
        """Sends what waits, before the channel is closed. From now on it takes no more messages."""
        self._flush()
        self._closed = True
        self._gathers = False
        if self._task is not None:
            with trio.move_on_after(_LINGER):
                await self._task.ended.wait()
            if self._task is not None:
                self._lose(f"the other end has not read all within {_LINGER} seconds")

    @abstractmethod
    async def _transmit(
        self, wire: Sequence[Buffer], descriptors: Sequence[int | HasFileno] | None = None
    ) -> None:
        """Sends ``wire``, and the descriptors in the same step as the first byte. This is a
        checkpoint even if ``wire`` is empty. If this is cancelled when the peer may have received a
        part, it sets ``_send_fault``.
        """

    _sends_now = False  # whether _transmit_now can send anything

    @abstractmethod
    def _transmit_now(self, wire: Sequence[Buffer]) -> list[Buffer]:
        """Sends what the system accepts without waiting. Returns the rest.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: as :meth:`_transmit`.
        """
