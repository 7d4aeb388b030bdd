"""The client's end of a connection under trio: a task with the only open call reads its answer.

If another task read the answer, each answer would cost two passes of the scheduler: one in which
that task reads, and one in which the waiting task continues. So the task with the only call reads,
and a task of the connection stands by: it reads when several calls are open, and when no task
reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import trio

from ..core.arguments import encode_arguments
from ..core.call import Call
from ..core.client import milliseconds_of
from ..core.plain import request_data, request_frame, result_in, take_answer
from ..core.session import Session
from ..core.state import ConnectionState
from ..errors import CommFailure
from ..wire.format import Frame
from ..wire.frames import READ_SIZE
from .link import GONE, Link
from .transport import FrameTransport

if TYPE_CHECKING:
    from ..._os import Stream
    from ..core.events import CallEvent
    from ..definition.operations import Operation

__all__ = ["ClientLink"]

_OPEN = ConnectionState.OPEN  # looked up once; session.py says why

# If no task has read for this long, the task that stands by reads, so that it answers a PING and
# sees the end of the connection.
NAP = 0.02  # seconds


class _Waiter:
    """The owner of a plain call: one task, which waits for the answer."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = trio.lowlevel.current_task()

    def wake(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def stop(self) -> None:
        pass  # the task is woken when the call fails

    def notify(self, event: CallEvent) -> None:
        pass  # a plain call notifies no one

    def abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


class ClientLink(Link):
    """See :class:`Link`.

    Attributes:
        callers: the tasks that wait until the client is bound, or until it may begin a call.
    """

    def __init__(
        self, frame_transport: FrameTransport, session: Session, *, keep_alive: float | None
    ) -> None:
        super().__init__(frame_transport, session, keep_alive=keep_alive)
        self.callers = trio.lowlevel.ParkingLot()
        self._is_read = False  # whether a task reads now
        self._turns = 0  # how often a task has read its own answer
        self._standing_by = trio.lowlevel.ParkingLot()
        self._awaits_turn = False  # the task that stands by waits for the reading task

    async def wait_place(self) -> None:
        """Waits, at least once, until the server accepts another call or the connection begins no
        more calls. Tasks are woken in the order in which they came. A task whose call has ended
        also waits behind the others: if it could begin the next one at once, they would be woken in
        vain.

        A task that returns from here and does not begin a call has to call :meth:`wake_caller`,
        unless the connection begins no more calls: then all tasks are woken.
        """
        session = self.session
        await self.callers.park()
        while session.state is _OPEN and len(session.calls) >= session.peer_calls:
            await self.callers.park()

    def have_read(self) -> None:
        """Makes the task that stands by read, unless another task reads. This is called when a call
        has begun whose user may do something else when frames arrive.
        """
        if not self._is_read:
            self._standing_by.unpark()

    @property
    def may_read(self) -> bool:
        """Whether a task may :meth:`read_answer`: it has the only call, and no task reads.

        Over a stream of another library it may not, because a cancelled receive may lose data
        there.
        """
        return not self._is_read and self._stream is not None and len(self.session.calls) == 1

    # KeyboardInterrupt is raised where a task waits, and not while it processes frames.
    @trio.lowlevel.enable_ki_protection
    async def ask(
        self, operation: Operation, values: Sequence[Any]
    ) -> Call | bytes | memoryview | None:
        """Makes a plain call and waits for its answer, in as few steps as possible.

        Returns:
            The result, encoded; or the call, if its result was not taken here: it may still be
            open. ``None`` if this call needs the general way; then it has not begun.
        """
        session, stream = self.session, self._stream
        number = session.plain_numbers.get(operation.name)
        if stream is None or number is None or session.state is not _OPEN or self.is_full:
            return None
        await trio.lowlevel.checkpoint_if_cancelled()
        was_woken = bool(self.callers) or len(session.calls) >= session.peer_calls
        if was_woken:
            await self.wait_place()
            if session.state is not _OPEN:
                return None
            if self.is_full:
                self.wake_caller()
                return None
        is_alone = (
            not session.calls
            and not self._is_read
            and not self._writing
            and not session.output
            and self.transport.reader.is_at_head
        )
        try:
            call = self._begin(operation, number, values, stream if is_alone else None)
        except BaseException as error:
            if was_woken:
                self.wake_caller()
            if isinstance(error, Exception):
                return None  # the general way raises this again, after a checkpoint
            raise
        if is_alone:
            return await self._read_plainly(call, stream)
        self.have_read()
        if call.has_ended:  # the connection has ended
            return call
        waiter = call.owner = _Waiter()
        try:
            await trio.lowlevel.wait_task_rescheduled(waiter.abort)
        except BaseException:
            call.leave()
            self.flush()
            raise
        call.owner = None
        return call.body if call.is_answered else call

    def _begin(
        self, operation: Operation, number: int, values: Sequence[Any], alone: Stream | None
    ) -> Call:
        """Begins a call and sends its request. Nothing that this method makes is referred to while
        the task waits for the answer.

        Args:
            alone: the stream, if nothing else is being sent; the request is then sent at once.

        Raises:
            Exception: the arguments cannot be sent; the call has not begun.
        """
        session = self.session
        arguments = encode_arguments(operation, values)
        if len(arguments) > session.largest_body:
            raise ValueError("the general way tells the limit")
        milliseconds = 0
        deadline = trio.current_effective_deadline()
        if deadline != math.inf:
            milliseconds = milliseconds_of(deadline - trio.current_time())
        identity = session.last_call + 1
        call = Call(session, identity, operation)
        make = request_frame if alone is None else request_data
        request = make(number, milliseconds, identity, arguments)
        session.last_call = identity
        session.calls[identity] = call
        if alone is None:
            session.output.append(request)
            session.output_size += len(request)
            self.flush()
        else:
            self._send_data(alone, request)
        return call

    async def _read_plainly(self, call: Call, stream: Stream) -> Call | bytes | memoryview:
        """Waits for the next data. If that is the result of the call and nothing else, ends the
        call and returns the result.
        """
        self._is_read = True
        try:
            came = await stream._receive_buffered(self.transport.reader.get_buffer, READ_SIZE)
            body = result_in(came, call.id) if type(came) is bytes else None
            if body is not None and call.failure is None:
                self._heard = True
                del self.session.calls[call.id]
                self.wake_caller()
                return body
            self._take_all(self._frames_in(came))
        except GONE as error:
            self._close_after(error)
        except BaseException:
            call.orphan()
            self.flush()
            raise
        finally:
            self._end_turn()
        return call

    # KeyboardInterrupt is raised where a task waits, and not while it processes frames.
    @trio.lowlevel.enable_ki_protection
    async def read_answer(self) -> None:
        """Reads the next frames in the task that waits for them. Check :attr:`may_read` first."""
        self._is_read = True
        try:
            self._take_all(await self._receive())
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        self._is_read = False
        self._turns += 1
        if self._awaits_turn or self.session.calls or self.session.failure is not None:
            self._standing_by.unpark()

    @trio.lowlevel.enable_ki_protection
    async def _read(self) -> None:
        session = self.session
        try:
            while session.failure is None:
                self._is_read = True
                try:
                    self._take_all(await self._receive())
                finally:
                    self._is_read = False
                if self._stream is not None and not session.calls:
                    await self._stand_by()
        except BaseException:
            self.close(CommFailure("the connection was closed"))
            raise
        finally:
            await self._end()

    async def _stand_by(self) -> None:
        """Waits until this task has to read for others, or until no task has read for a while."""
        session = self.session
        while session.failure is None:
            turns = self._turns
            with trio.move_on_after(NAP):
                await self._standing_by.park()
            if turns == self._turns and self._is_read:
                # A task waits long for its answer; waking up after each nap would be useless.
                self._awaits_turn = True
                await self._standing_by.park()
                self._awaits_turn = False
            elif not self._is_read and (session.calls or turns == self._turns):
                return

    def _take_all(self, frames: Sequence[bytes | Frame]) -> None:
        session = self.session
        answers = 0
        self._batching = True
        try:
            for frame in frames:
                if type(frame) is Frame and take_answer(session, frame):
                    answers += 1
                    continue
                self._take(frame)
                if session.failure is not None:
                    break
        finally:
            self._batching = False
        if answers and self.callers:
            self.callers.unpark(count=answers)
        self.flush(at_once=True)

    def wake_callers(self) -> None:
        if self.callers:
            self.callers.unpark_all()

    def wake_caller(self) -> None:
        # If all were woken, the time for N waiters would grow with the square of N.
        if self.callers:
            self.callers.unpark()

    def wake_senders(self) -> None:
        super().wake_senders()
        self._standing_by.unpark()
