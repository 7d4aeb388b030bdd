"""One call at one end, without I/O: its pipes, whose turn it is, and how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..definition.operations import Operation, Pipe
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
from ..wire.format import Kind, encode, pack_head
from ..wire.ndr import LARGEST_COUNT, ChunkReader, ChunkWriter
from .state import CallState, Cursor, Party, next_call

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Call"]

# Elements below this wait for company until the output is sent next, or there is so much of them.
SMALL = 4 * 1024
BATCH = 32 * 1024
# Looked up once; see session.py.
_RESPONSE, _FAULT = Kind.RESPONSE, Kind.FAULT
# A count, with the gaps around it.
_PREFIX = 16


class _Incoming:
    """A pipe that is received."""

    def __init__(self, pipe: Pipe, credit: int) -> None:
        self.pipe = pipe
        self.reader = ChunkReader(pipe.element, pipe.range, most=credit)
        self._window = credit
        self._credit = credit  # what the other end may still send

    def arrived(self, octets: memoryview) -> None:
        if len(octets) > self._credit:
            raise ProtocolError(
                f"{len(octets):,} octets came for the pipe {self.pipe.name}, where "
                f"{self._credit:,} were allowed"
            )
        self._credit -= len(octets)
        self.reader.feed(octets)

    def grant(self) -> int:
        """How many octets more may come now: 0, or so many that it pays to say so."""
        more = self._window - self._credit - self.reader.waiting
        if self.reader.ended or more < self._window // 2:
            return 0
        self._credit += more
        return more


class _Outgoing:
    """A pipe that is sent."""

    def __init__(self, pipe: Pipe, credit: int, turn: tuple[bool, int]) -> None:
        self.pipe = pipe
        self.turn = turn
        self.stride = pipe.element.stride
        self.writer = ChunkWriter(pipe.element)
        self.credit = credit
        self.small = bytearray()
        self.spoilt = False  # a chunk was begun, and will not be finished

    @property
    def is_special(self) -> bool:
        """Whether each push has to be looked at: its chunks are bounded."""
        return self.pipe.range is not None


class Push:
    """Elements on their way into a pipe: as much at a time as the credit allows.

    Without a range, each fragment is a chunk of its own, so that the pipe is whole after each. With
    one the chunk is what the user pushed, and has to be sent whole once it has begun.
    """

    def __init__(self, octets: memoryview, count: int) -> None:
        self.octets = octets
        self.count = count
        self.position = 0

    @property
    def done(self) -> bool:
        return self.position >= len(self.octets)


class Call:
    """One call at one end of a connection."""

    # How each begins: a short call ends with most of it as it was, and has not paid for it.
    state = CallState.NEW
    body: memoryview = memoryview(b"")  # the arguments, then the result
    milliseconds: int | None = None
    cancel_requested = False
    failure: RpcError | None = None  # what has ended it, from the other end
    latched: PipeError | BadStubData | None = None
    over = False  # at this end: it was answered, or the answer was taken
    is_answered = False
    owner: Any = None  # what waits for it, in the driver
    is_given_up = False  # at the client
    is_deferred = False  # at the server: its manager may return without an answer
    notify = False  # whether its user wants to hear of what was sent
    cursor = Cursor((), ())
    incoming: Mapping[int, _Incoming] = {}
    outgoing: Mapping[int, _Outgoing] = {}
    _arriving: tuple[int, ...] = ()

    def __init__(self, session: Session, number: int, operation: Operation) -> None:
        self.session = session
        self.id = number
        self.operation = operation
        self._serving = session.party is Party.SERVER
        if operation.pipes:
            self._open_pipes(operation)

    def _open_pipes(self, operation: Operation) -> None:
        receives, sends = operation.ins, operation.outs
        if not self._serving:
            receives, sends = sends, receives
        self.cursor = Cursor(operation.ins, operation.outs)
        credit = self.session.limits.credit
        self.incoming = {i: _Incoming(operation.pipes[i], credit) for i in receives}
        credit = self.session.peer_credit
        into = not self._serving
        self.outgoing = {i: _Outgoing(operation.pipes[i], credit, (into, i)) for i in sends}
        self._arriving = tuple(receives)

    def advance(self, sender: Party, kind: Kind) -> None:
        """Raises:
        ProtocolError: this frame may not come now.
        """
        self.state = next_call(self.state, sender, kind)

    # What comes from the other end.

    def arrived(self, index: int, octets: memoryview) -> None:
        """Octets of a pipe.

        Raises:
            ProtocolError: it is not that pipe's turn, or they are more than was allowed.
        """
        if self.state is CallState.ORPHANED or self.failure is not None:
            return  # nobody will pull it
        if not self._arriving or self._arriving[0] != index:
            raise ProtocolError(f"pipe {index} of {self.operation} came out of turn")
        if not self._serving and self._has_turn_into:
            raise ProtocolError(f"{self.operation} answered before it had all its in-pipes")
        pipe = self.incoming[index]
        try:
            pipe.arrived(octets)
        except (InvalidBound, BadStubData) as error:
            # The data's fault and not the connection's.
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

    def credited(self, index: int, amount: int) -> None:
        """Raises:
        ProtocolError: there is no such pipe.
        """
        if self.state is CallState.ORPHANED:
            return
        pipe = self.outgoing.get(index)
        if pipe is None:
            raise ProtocolError(f"{self.operation} sends no pipe {index} from here")
        pipe.credit += amount

    def orphaned(self) -> None:
        """The client has cancelled the call. Buffered data of its pipes is dropped, because no pull
        returns it any more. The place of a deferred call becomes free, because its manager may
        never answer.
        """
        self.cancel_requested = True
        self.lose(CallCancelled("the client has given the call up"))
        for pipe in self.incoming.values():
            pipe.reader.clear()
        if self.is_deferred:
            self.release()

    def put_off(self) -> None:
        """The manager deferred the call and returned. The client may have cancelled it before."""
        if self.state is CallState.ORPHANED:
            self.release()

    def lose(self, failure: RpcError) -> None:
        """Nothing more can come of it."""
        if self.failure is None:
            self.failure = failure

    def answered(self, body: memoryview) -> None:
        """The server's answer.

        Raises:
            ProtocolError: its pipes have not come to their ends.
        """
        if self.operation.pipes:
            if self._has_turn_into:
                raise ProtocolError(f"{self.operation} was answered before it had all its in-pipes")
            if self._arriving:
                raise ProtocolError(f"{self.operation} was answered before its pipes had ended")
        self.body = body
        self.is_answered = True

    # What goes to the other end.

    def orphan(self) -> None:
        """Gives it up, at the client: nothing that still comes is waited for."""
        for pipe in self.incoming.values():
            pipe.reader.clear()
        self._give_up()

    def _give_up(self) -> None:
        if self.state in (CallState.OPEN, CallState.CANCELLING) and self._is_open:
            self.advance(self.session.party, Kind.ORPHANED)
            self.is_given_up = True
            self.session.emit(Kind.ORPHANED, self.id)

    def cancel(self) -> None:
        """Asks the server to come to an end, at the client."""
        if self.state is CallState.OPEN and self._is_open:
            self.advance(self.session.party, Kind.CANCEL)
            self.session.emit(Kind.CANCEL, self.id)

    @property
    def _is_open(self) -> bool:
        session = self.session
        # A call that was prepared and not begun has the number of the next one.
        return session.calls.get(self.id) is self and not session.failure

    def finish(self, body: bytes | None, error: RpcError | None) -> RpcError | None:
        """Answers it, at the server; what the answer is a failure with, if it is one.

        Raises:
            InvalidAsyncHandle: it was answered before.
        """
        if self.over:
            raise InvalidAsyncHandle
        session = self.session
        if error is None:
            error = self.latched or self.failure
        if error is None and self.operation.pipes and not self.cursor.done:
            into, index = self.cursor.turn or (True, 0)
            name = self.operation.pipes[index].name
            error = PipeDisciplineError(
                f"{self.operation} returned before the pipe {name} was "
                + ("drained" if into else "closed")
            )
        if error is None and body is not None and not session.fits(body):
            error = BadStubData(session.too_large(f"the result of {self.operation} has", body))
        self.over = True
        if self._is_open:
            if self.outgoing:
                self.flush()
            self.advance(session.party, _RESPONSE if error is None else _FAULT)
            session.forget(self)
            if self.operation.options.maybe:
                return error  # nobody waits for it
            if error is not None:
                session.emit_fault(self.id, error)
            elif body is not None:
                session.emit_frame(pack_head(_RESPONSE, 0, 0, 0, self.id) + body)
        return error

    def release(self) -> None:
        """Answers a client that has cancelled the call; the manager continues. Idempotent."""
        if self._is_open:
            self.advance(self.session.party, Kind.FAULT)
            self.session.forget(self)
            if not self.operation.options.maybe:
                self.session.emit_fault(self.id, self.failure or CallCancelled())

    def _require_live(self) -> None:
        if self.over:
            raise InvalidAsyncHandle

    def raise_failure(self) -> None:
        """Raises:
        RpcError: what has ended it, if something has.
        """
        if self.failure is not None:
            raise self.failure.again()

    # Its pipes.

    def pull(self, index: int, max_elements: int = LARGEST_COUNT) -> memoryview | None:
        """Elements that have come, as octets, each with its padding; none at the end, once.

        Returns:
            ``None`` when there is nothing now.

        Raises:
            PipeError: what :meth:`ipcpipes.rpc.InPipe.pull` raises.
        """
        try:
            return self._pull(index, max_elements)
        except (PipeError, BadStubData) as error:
            self._latch(error)
            raise

    def _pull(self, index: int, max_elements: int) -> memoryview | None:
        self._require_live()
        if self._serving:
            self.raise_failure()
        self._check_turn(index, into=self._serving, pulling=True)
        pipe = self.incoming[index]
        if pipe.reader.has_elements:
            if max_elements < 1:
                raise PipeAppMemory("a pull of no elements, and there are some")
            octets = pipe.reader.take(max_elements)
            more = pipe.grant()
            if more and self._is_open:
                self.session.emit(Kind.CREDIT, self.id, number=index, amount=more)
            return octets
        if pipe.reader.ended:
            self.cursor.advance()
            return memoryview(b"")
        self.raise_failure()
        # What lies here is less than an element; the credit must allow the rest of it.
        more = pipe.grant()
        if more and self._is_open:
            self.session.emit(Kind.CREDIT, self.id, number=index, amount=more)
        return None

    def _check_turn(self, index: int, *, into: bool, pulling: bool) -> None:
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
        """Whether so many elements may be pushed now; ``None`` is the end.

        Raises:
            PipeError: what :meth:`ipcpipes.rpc.OutPipe.push` raises.
        """
        try:
            self._require_live()
            self.raise_failure()
            self._check_turn(index, into=not self._serving, pulling=False)
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
        """Takes elements along with others; ``False`` when there is no room for them now.

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
        if size + _PREFIX > pipe.credit:
            return False
        if not pipe.small:
            self.session.has_small(self)
        pipe.small += octets
        if pipe.is_special:
            self.flush()  # where counts are limited, they are kept
        return True

    def push_some(self, index: int, push: Push) -> bool:
        """Puts what can go now into the output, copied; whether anything could.

        Raises:
            RpcError: the call has ended.
        """
        parts = self.push_in_place(index, push)
        if parts is None:
            return False
        self.session.emit_frame(b"".join(parts))
        return True

    def push_in_place(self, index: int, push: Push) -> tuple[bytes, memoryview] | None:
        """The next frame for the pipe, to be sent after what is in the output: its head, and the
        user's memory as it is. ``None`` when nothing can go now.

        Raises:
            RpcError: the call has ended.
        """
        self._require_live()
        self.raise_failure()
        self.flush()
        pipe = self.outgoing[index]
        element = pipe.pipe.element
        stride = element.stride
        ranged = pipe.pipe.range is not None
        room = min(pipe.credit, self.session.fragment) - _PREFIX
        start = push.position
        count = min(room // stride, (len(push.octets) - start) // stride)
        if count < 1:
            return None
        end = start + count * stride
        push.position = end
        if ranged:
            prefix = pipe.writer.prefix(push.count) if start == 0 else b""
            last = push.done
        else:
            prefix = pipe.writer.prefix(count)
            last = True
        if last:
            end -= stride - element.size
        octets = push.octets[start:end]
        pipe.credit -= len(prefix) + len(octets)
        pipe.spoilt = ranged and not push.done
        self._count_notice()
        return encode(Kind.PIPE, self.id, prefix, number=index), octets

    def _count_notice(self) -> None:
        if self.notify:
            self.session.notified[self] = None

    def _emit_pipe(
        self, index: int, pipe: _Outgoing, prefix: bytes, octets: memoryview | bytes
    ) -> None:
        body = b"".join((prefix, octets))
        pipe.credit -= len(body)
        self.session.emit(Kind.PIPE, self.id, body, number=index)
        self._count_notice()

    def flush(self) -> None:
        """Sends the small elements that have waited for company."""
        for index, pipe in self.outgoing.items():
            if pipe.small:
                octets, pipe.small = pipe.small, bytearray()
                if self._is_open and self.state is not CallState.ORPHANED:
                    element = pipe.pipe.element
                    stride = element.stride
                    prefix = pipe.writer.prefix(len(octets) // stride)
                    end = len(octets) - (stride - element.size)
                    self._emit_pipe(index, pipe, prefix, memoryview(octets)[:end])

    def close_pipe(self, index: int) -> bool:
        """Ends the pipe; ``False`` when there is no credit for it now."""
        self.flush()
        pipe = self.outgoing[index]
        octets = pipe.writer.end()
        if len(octets) > pipe.credit:
            return False
        self._emit_pipe(index, pipe, b"", octets)
        self.cursor.advance()
        return True
