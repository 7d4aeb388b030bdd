"""One call at one end, without I/O: its pipes, their turns, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..definition.operations import Operation
from ..errors import (
    BadStubData,
    CallCancelled,
    InvalidAsyncHandle,
    InvalidBound,
    PipeAppMemory,
    PipeDisciplineError,
    PipeError,
    ProtocolError,
    RpcError,
)
from ..wire.bodies import decode_fault
from ..wire.format import Frame, Kind, pack_head
from ..wire.ndr import LARGEST_COUNT
from .call_pipes import PREFIX, Incoming, Outgoing, Push
from .events import CallEvent, CallOwner, Event
from .metadata import Described
from .state import CallState, Cursor, Party, next_call

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Call"]

# Small pushes are collected until there are this many bytes, or until the next output is sent.
BATCH = 32 * 1024
# These members are looked up once; session.py says why.
_RESPONSE, _PIPE = Kind.RESPONSE, Kind.PIPE
_CALL_OPEN, _DONE, _SERVER = CallState.OPEN, CallState.DONE, Party.SERVER
_ORPHANED, _PROGRESS = Event.ORPHANED, Event.PROGRESS


class Call(Described):
    """One call at one end of a connection."""

    # Class attributes, because a short call never sets most of them.
    body: bytes | memoryview = b""  # the arguments, then the result
    milliseconds: int | None = None
    cancel_requested = False
    is_answered = False
    is_given_up = False  # at the client
    is_deferred = False  # at the server: its manager may return without an answer
    cursor = Cursor((), ())
    incoming: Mapping[int, Incoming] = {}
    outgoing: Mapping[int, Outgoing] = {}
    _arriving: tuple[int, ...] = ()

    def __init__(self, session: Session, number: int, operation: Operation) -> None:
        self.session = session
        self.id = number
        self.operation = operation
        self._serving = session.party is _SERVER
        # Every call reads these, and CPython reads an attribute of the class more slowly.
        self.state = _CALL_OPEN  # a call is made together with its REQUEST
        self.failure: RpcError | None = None
        self.latched: PipeError | BadStubData | None = None
        self.notify = False  # whether its user is notified of events
        self.owner: CallOwner | None = None
        self.over = False  # a server has answered it, or a client's user has finished with it
        if operation.pipes:
            self._open_pipes(operation)

    def _open_pipes(self, operation: Operation) -> None:
        receives, sends = operation.ins, operation.outs
        if not self._serving:
            receives, sends = sends, receives
        self.cursor = Cursor(operation.ins, operation.outs)
        limits = self.session.limits
        first, most = limits.first_credit, limits.credit
        self.incoming = {i: Incoming(operation.pipes[i], first, most) for i in receives}
        credit = self.session.peer_credit
        into = not self._serving
        self.outgoing = {i: Outgoing(operation.pipes[i], credit, (into, i)) for i in sends}
        self._arriving = tuple(receives)

    # What arrives from the peer.

    def arrived(self, frame: Frame) -> None:
        """Takes bytes of a pipe that have arrived.

        Raises:
            ProtocolError: another pipe has its turn, or the bytes exceed the credit.
        """
        if self.state is CallState.ORPHANED or self.failure is not None:
            return  # the bytes will not be pulled
        index = frame.number
        if not self._arriving or self._arriving[0] != index:
            raise ProtocolError(f"pipe {index} of {self.operation} came out of turn")
        if not self._serving and self._has_turn_into:
            raise ProtocolError(f"{self.operation} answered before it had all its in-pipes")
        pipe = self.incoming[index]
        try:
            pipe.arrived(frame.body)
        except (InvalidBound, BadStubData) as error:
            # Invalid data ends the call and not the connection.
            self.lose(error)
            if not self._serving:
                self._give_up()
            return
        if pipe.reader.ended:
            self._arriving = self._arriving[1:]

    @property
    def _has_turn_into(self) -> bool:
        turn = self.cursor.turn
        return turn is not None and turn[0]

    def credited(self, frame: Frame) -> None:
        """Raises:
        ProtocolError: there is no such pipe, or this is too much credit.
        """
        if self.state is CallState.ORPHANED:
            return
        pipe = self.outgoing.get(frame.number)
        if pipe is None:
            raise ProtocolError(f"{self.operation} sends no pipe {frame.number} from here")
        pipe.credited(frame.amount)

    def cancelled(self, _: Frame) -> None:
        """Records that the client asks for the end of the call."""
        self.cancel_requested = True

    def orphaned(self, _: Frame) -> None:
        """Records that the client has abandoned the call, and drops the buffered data of its pipes,
        because no later pull returns it. A deferred call is released, because its manager may never
        answer.
        """
        self.cancel_requested = True
        self.lose(CallCancelled("the client has given the call up"))
        for pipe in self.incoming.values():
            pipe.clear()
        if self.is_deferred:
            self.release()

    def put_off(self) -> None:
        """Releases the call if the client has abandoned it in the meantime. This is called when the
        manager has deferred the call and returned.
        """
        if self.state is CallState.ORPHANED:
            self.release()

    def lose(self, failure: RpcError) -> None:
        """Records that the call has failed; only the first failure counts."""
        if self.failure is None:
            self.failure = failure

    def answered(self, frame: Frame) -> None:
        """Records the server's answer.

        Raises:
            ProtocolError: a pipe of the call has not ended.
        """
        if self.is_given_up:
            return
        if self.operation.pipes:
            if self._has_turn_into:
                raise ProtocolError(f"{self.operation} was answered before it had all its in-pipes")
            if self._arriving:
                raise ProtocolError(f"{self.operation} was answered before its pipes had ended")
        self.body = frame.body
        self.is_answered = True

    def failed(self, frame: Frame) -> None:
        """Records the server's failure."""
        self.lose(decode_fault(frame, self.operation.raises))

    @property
    def has_ended(self) -> bool:
        """Whether the call was answered or has failed."""
        return self.is_answered or self.failure is not None

    def inform(self, event: Event) -> None:
        """Tells the owner what has happened: wakes the waiters, stops the work for a failed call,
        and notifies the user.
        """
        owner = self.owner
        if owner is None:
            return
        owner.wake()
        # A manager is not stopped by invalid data of a pipe: its next pull raises the error.
        if self.failure is not None and (event is _ORPHANED or not self._serving):
            owner.stop()
        if self.notify and not self.over:
            if self.is_answered or self.failure is not None:
                owner.notify(CallEvent.CALL_COMPLETE)
                self.notify = False  # nothing follows the end
            elif event is _PROGRESS:
                owner.notify(CallEvent.RECEIVE_COMPLETE)

    def was_sent(self) -> None:
        """Notifies the user that the system has taken pushed elements."""
        if self.notify and not self.over and self.owner is not None:
            self.owner.notify(CallEvent.SEND_COMPLETE)

    # What is sent to the peer.

    def abandon(self) -> None:
        """At the client: marks the call as failed at once, and tells the server."""
        self.orphan()
        self.lose(CallCancelled())
        self.inform(Event.ANSWER)

    def leave(self) -> None:
        """Called at the client when the user no longer needs the call. If no answer has come, tells
        the server that the call was given up.
        """
        if not self.is_answered:
            self.orphan()
        self.over = True
        if self.owner is not None:
            self.owner.wake()  # what still waits for it sees that it is over
            # Breaks a reference cycle, which would keep a large result in memory for a while.
            self.owner = None

    def orphan(self) -> None:
        """At the client: gives the call up. Later data of the call is dropped."""
        for pipe in self.incoming.values():
            pipe.clear()
        self._give_up()

    def _give_up(self) -> None:
        if self.state in (CallState.OPEN, CallState.CANCELLING) and self._is_open:
            self.state = next_call(self.state, self.session.party, Kind.ORPHANED)
            self.is_given_up = True
            self.session.emit(Kind.ORPHANED, self.id)

    def cancel(self) -> None:
        """At the client: asks the server to end the call."""
        if self.state is CallState.OPEN and self._is_open:
            self.state = next_call(self.state, self.session.party, Kind.CANCEL)
            self.session.emit(Kind.CANCEL, self.id)

    @property
    def _is_open(self) -> bool:
        session = self.session
        # A call that was prepared but not begun has the same number as the next call.
        return session.calls.get(self.id) is self and not session.failure

    def finish(self, body: bytes | None, error: RpcError | None) -> RpcError | None:
        """At the server: answers the call. Returns the failure that is sent to the client, or
        ``None``.

        Raises:
            InvalidAsyncHandle: the call was answered before.
        """
        if self.over:
            raise InvalidAsyncHandle
        session, operation = self.session, self.operation
        if error is None:
            error = self.latched or self.failure
        if error is None:
            if operation.pipes and not self.cursor.done:
                into, index = self.cursor.turn or (True, 0)
                name = operation.pipes[index].name
                error = PipeDisciplineError(
                    f"{operation} returned before the pipe {name} was "
                    + ("drained" if into else "closed")
                )
            elif body is not None and len(body) > session.largest_body:
                error = BadStubData(session.too_large(f"the result of {operation} has", body))
        self.over = True
        if session.calls.get(self.id) is self and not session.failure:
            if self.outgoing:
                self.flush()
            self.state = _DONE  # whatever the state of an open call was
            session.forget(self)
            if operation.options.maybe:
                pass  # the client expects no answer
            elif error is not None:
                session.emit_fault(self.id, error)
            elif body is not None:
                session.emit_frame(pack_head(_RESPONSE, 0, 0, 0, self.id) + body)
        if self.owner is not None:
            self.owner.wake()  # what still waits for it sees that it is over
            # Breaks a reference cycle, which would keep large arguments in memory for a while.
            self.owner = None
        return error

    def release(self) -> None:
        """Answers a client that has cancelled the call; the manager continues. Idempotent."""
        if self._is_open:
            self.state = next_call(self.state, self.session.party, Kind.FAULT)
            self.session.forget(self)
            if not self.operation.options.maybe:
                self.session.emit_fault(self.id, self.failure or CallCancelled())

    def _require_live(self) -> None:
        if self.over:
            raise InvalidAsyncHandle

    def raise_failure(self) -> None:
        """Raises:
        RpcError: the failure of the call, if it has one.
        """
        if self.failure is not None:
            raise self.failure.again()

    # The pipes of the call.

    def pull(self, index: int, max_elements: int = LARGEST_COUNT) -> memoryview | None:
        """Returns the elements that have arrived, as bytes with padding. At the end of the pipe,
        returns an empty view once.

        Returns:
            ``None`` if nothing has arrived.

        Raises:
            PipeError: what :meth:`ipcpipes.rpc.InPipe.pull` raises.
        """
        octets = None
        try:
            if self.over:
                raise InvalidAsyncHandle
            if self._serving and self.failure is not None:
                self.raise_failure()
            if self.cursor.turn != (self._serving, index):
                self._check_turn(index, pulling=True)
            pipe = self.incoming[index]
            reader = pipe.reader
            if reader.has_elements:
                if max_elements < 1:
                    raise PipeAppMemory(
                        f"max_elements is {max_elements}, and elements are waiting; give 1 or more"
                    )
                octets = reader.take(max_elements)
            elif reader.ended:
                self._end_turn()
                return memoryview(b"")
            else:
                self.raise_failure()
        except (PipeError, BadStubData) as error:
            self._latch(error)
            raise
        # Credit is granted even if the buffer holds only a part of an element: the credit must be
        # enough for the rest of it.
        more = pipe.grant()
        if more and self._is_open:
            self.session.emit(Kind.CREDIT, self.id, number=index, amount=more)
        return octets

    def _check_turn(self, index: int, *, pulling: bool) -> None:
        into = self._serving is pulling
        try:
            self.cursor.check(index, into=into, pulling=pulling)
        except PipeError as error:
            name = self.operation.pipes[index].name
            turn = self.cursor.turn
            text = f"pipe {name} of {self.operation}: {error.message}"
            if turn is not None and turn != (into, index):
                text += f"; it is {self.operation.pipes[turn[1]].name}'s turn"
                text += " to be drained" if turn[0] is self._serving else " to be written"
            raise type(error)(text) from None

    def _latch(self, error: PipeError | BadStubData) -> None:
        if self.latched is None and self._serving:
            self.latched = error

    def check_push(self, index: int, count: int | None) -> None:
        """Checks that ``count`` elements may be pushed now. If ``count`` is ``None``, checks that
        the pipe may end now.

        Raises:
            PipeError: what :meth:`ipcpipes.rpc.OutPipe.push` raises.
        """
        try:
            self._require_live()
            self.raise_failure()
            self._check_turn(index, pulling=False)
            pipe = self.outgoing[index]
            if pipe.spoilt:
                raise BadStubData("an earlier push was cancelled in the middle of its chunk")
            limits = pipe.pipe.range
            if count is not None and limits is not None and not limits.low <= count <= limits.high:
                raise InvalidBound(
                    f"{count:,} elements in a chunk of {pipe.pipe.name}, where {limits.low:,} to "
                    f"{limits.high:,} are allowed"
                )
        except (PipeError, BadStubData) as error:
            self._latch(error)
            raise

    def push_small(self, index: int, octets: memoryview | bytes) -> bool:
        """Collects elements, to send them with others. Returns ``False`` if the credit is used up.

        Raises:
            PipeError: what :meth:`check_push` raises.
        """
        pipe = self.outgoing[index]
        if (
            self.cursor.turn != pipe.turn
            or self.failure is not None
            or self.over
            or pipe.is_special
        ):
            self.check_push(index, len(octets) // pipe.stride)
        size = len(pipe.small) + len(octets)
        if size > BATCH and pipe.small:
            self.flush()
            size = len(octets)
        if size + PREFIX > pipe.credit:
            return False
        if not pipe.small:
            self.session.dirty[self] = None
        pipe.small += octets
        if pipe.is_special:
            self.flush()  # a chunk of a pipe with a range is not merged with others
        return True

    def push_some(self, index: int, push: Push) -> bool:
        """Copies as many elements as the credit allows into the output. Returns whether it has
        copied any.

        Raises:
            RpcError: the call has ended.
        """
        parts = self.push_in_place(index, push)
        if parts is None:
            return False
        self.session.emit_frame(b"".join(parts))
        return True

    def push_at_once(self, index: int, octets: memoryview) -> tuple[bytes, memoryview] | None:
        """Does what :meth:`check_push` and :meth:`push_in_place` do, in one step, for a common
        push: one frame carries all of it, and it needs no special check. Returns ``None``, and
        changes nothing, for any other push.
        """
        pipe = self.outgoing.get(index)
        if (
            pipe is None
            or self.cursor.turn != pipe.turn
            or self.failure is not None
            or self.over
            or self.notify
        ):
            return None
        parts = pipe.chunk_of(octets, self.session.fragment)
        if parts is None:
            return None
        return pack_head(_PIPE, 0, index, 0, self.id) + parts[0], parts[1]

    def push_in_place(self, index: int, push: Push) -> tuple[bytes, memoryview] | None:
        """Returns the next frame for the pipe as its head and a view of the user's memory. The
        frame must be sent after the output. Returns ``None`` if the credit allows nothing now.

        Raises:
            RpcError: the call has ended.
        """
        self._require_live()
        self.raise_failure()
        self.flush()
        pipe = self.outgoing[index]
        room = min(pipe.credit, self.session.fragment) - PREFIX
        room = min(room, len(push.octets) - push.position)
        return self._next_frame(pipe, push, room) if room >= pipe.stride else None

    def _next_frame(self, pipe: Outgoing, push: Push, room: int) -> tuple[bytes, memoryview]:
        """Makes the next frame of a push: its head, and as many elements as fit into ``room``
        bytes.
        """
        prefix, octets = pipe.part_of(push, room)
        if self.notify:
            self.session.notified[self] = None
        return pack_head(_PIPE, 0, pipe.pipe.index, 0, self.id) + prefix, octets

    def flush(self) -> None:
        """Makes frames from the elements that :meth:`push_small` has collected."""
        for pipe in self.outgoing.values():
            if pipe.small:
                octets, pipe.small = pipe.small, bytearray()
                if self._is_open and self.state is not CallState.ORPHANED:
                    push = Push(memoryview(octets), len(octets) // pipe.stride)
                    parts = self._next_frame(pipe, push, len(octets))
                    self.session.emit_frame(b"".join(parts))

    def close_pipe(self, index: int) -> bool:
        """Ends the pipe. Returns ``False`` if the credit is not enough for that now."""
        self.flush()
        pipe = self.outgoing[index]
        octets = pipe.writer.end()
        if len(octets) > pipe.credit:
            return False
        pipe.credit -= len(octets)
        self.session.emit(Kind.PIPE, self.id, octets, number=index)
        if self.notify:
            self.session.notified[self] = None
        self._end_turn()
        return True

    def _end_turn(self) -> None:
        self.cursor.advance()
        if self.owner is not None:
            self.owner.wake()  # another task or thread may wait for the next pipe's turn
