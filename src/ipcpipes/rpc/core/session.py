"""One end of a connection: its calls, pipes and credits. Frames in, events and frames out.

There is no I/O here, and no waiting: an operation reports that it cannot continue now, and the
driver tries the operation again after the session has woken the driver. So all drivers share this
code.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from ..definition.operations import Definition, Operation
from ..errors import (
    CommFailure,
    ProcnumOutOfRange,
    ProtocolError,
    RpcError,
    ServerTooBusy,
    ServerUnavailable,
    TooLarge,
    UnknownInterface,
    WrongPipeVersion,
    failure_code,
)
from ..wire.bodies import decode_body, encode_body, encode_fault
from ..wire.format import (
    LEAST_CREDIT,
    LEAST_FRAME,
    MAYBE,
    TIMED,
    VERSION,
    Bind,
    BindAck,
    Frame,
    Kind,
    Limits,
    Reason,
    decode,
    encode,
    pack_head,
)
from .binding import refusal_of
from .call import Call
from .events import Event, Happened, SessionOwner
from .metadata import SessionMetadata, take_metadata
from .outbox import Outbox
from .state import CallState, ConnectionState, Party, kinds_within, next_call, next_connection
from .stream_call import StreamCall, stopped, streamed

__all__ = ["Event", "Happened", "Session"]

logger = logging.getLogger("ipcpipes.rpc")

_NOTHING: Happened = (Event.NOTHING, None)
# Looking up a member of an enumeration costs as much as a call (Python 3.10, 3.11).
_ANSWER, _BEGUN = Event.ANSWER, Event.REQUEST
_REQUEST, _SHUTDOWN = Kind.REQUEST, Kind.SHUTDOWN
_DONE = CallState.DONE
_OPEN = ConnectionState.OPEN


class Session(Outbox):
    """One end of one connection.

    Args:
        party: which end.
        definitions: the interfaces that a server serves, by their uuid as text; empty for a client.
        limits: what this end accepts.

    Attributes:
        last_call: the number of the last call that has begun.
        maybes: how many of the open calls are maybe calls, which get no answer.
        peer_version: the version of the interface that the other end has.
        plain_numbers: at a client, the numbers of the plain operations, by name.
        plain_operations: at a server, the plain operations by number.
    """

    _has_warned = False  # of the class: CPython 3.11 is slow with objects of 30 attributes and more

    def __init__(self, party: Party, definitions: Mapping[str, Definition], limits: Limits) -> None:
        super().__init__(party, limits)
        self._enter(ConnectionState.UNBOUND)
        self.calls: dict[int, Call] = {}
        self.failure: RpcError | None = None
        self.pings = 0
        self.definition: Definition | None = None
        self.peer_credit = 0
        self.peer_version = (0, 0)
        self.peer_calls = 0
        self.metadata = SessionMetadata()
        self.owner: SessionOwner | None = None
        self._definitions = definitions
        self.plain_operations: dict[int, Operation] = {}
        self.plain_numbers: dict[str, int] = {}
        self._by_number: list[Operation] = []
        self._numbers: dict[str, tuple[int, str]] = {}
        self.last_call = 0
        self.maybes = 0

    # The client.

    def bind(self, definition: Definition) -> None:
        """Asks the server for this interface."""
        self.definition = definition
        body = Bind(
            VERSION,
            str(definition.uuid),
            definition.version,
            self.limits.max_frame,
            self.limits.first_credit,
            definition.name,
            self.metadata.announce(),
        )
        self._advance(self.party, Kind.BIND)
        self.emit(Kind.BIND, 0, encode_body(body))

    def require_open(self) -> None:
        """Raises:
        ServerUnavailable: the server begins no new calls, or the connection has ended.
        ProtocolError, UnknownInterface: the connection has ended for this reason.
        """
        if self.state is ConnectionState.OPEN:
            return
        if isinstance(self.failure, CommFailure):
            raise ServerUnavailable(f"{self.failure.message}; this call was not begun")
        if self.failure is not None:
            raise self.failure.again()
        raise ServerUnavailable(
            "the server is going away; connect again"
            if self.state is ConnectionState.DRAINING
            else None
        )

    def number_of(self, operation: Operation) -> int:
        """Returns the number of the operation at the server.

        Raises:
            ProcnumOutOfRange: the server does not have it.
            WrongPipeVersion: the operation has other pipes at the server.
        """
        number, pipes = self._numbers.get(operation.name, (-1, ""))
        if number < 0:
            raise ProcnumOutOfRange(
                f"the server's {operation.interface} has no {operation.name}"
                + self.versions_after(": ")
            )
        if pipes != operation.signature_of_pipes:
            raise WrongPipeVersion(
                f"{operation} has the pipes ({operation.signature_of_pipes}) here and ({pipes}) at "
                f"the server{self.versions_after('; ')}"
            )
        return number

    def has(self, name: str) -> bool:
        """Whether the server has an operation of this name. If this end knows the operation too,
        the pipes must also be the same.
        """
        if name not in self._numbers:
            return False
        known = None if self.definition is None else self.definition.operations.get(name)
        return known is None or self._numbers[name][1] == known.signature_of_pipes

    @property
    def has_room(self) -> bool:
        """Whether the server accepts another call now.

        Raises:
            RpcError: the server begins no new calls; see :meth:`require_open`.
        """
        if self.state is not _OPEN:
            self.require_open()
        return len(self.calls) < self.peer_calls

    def request(
        self,
        operation: Operation,
        arguments: bytes,
        milliseconds: int | None,
        metadata: bytes = b"",
    ) -> Call:
        """Prepares a call and begins it."""
        call, frame = self.prepare(operation, arguments, milliseconds)
        self.begin(call, frame, metadata)
        return call

    def prepare(
        self, operation: Operation, arguments: bytes, milliseconds: int | None
    ) -> tuple[Call, bytes]:
        """Makes the next call and its REQUEST frame. The session is not changed, so a call that was
        prepared need not begin. Call :meth:`require_open` first.

        Raises:
            ProcnumOutOfRange, WrongPipeVersion: what :meth:`number_of` raises.
            TooLarge: the arguments are larger than the server accepts.
        """
        number = self.plain_numbers.get(operation.name)
        if number is None:
            number = self.number_of(operation)
        if len(arguments) > self.largest_body:
            raise TooLarge(self.too_large(f"the arguments of {operation} have", arguments))
        call = (StreamCall if operation.streams else Call)(self, self.last_call + 1, operation)
        flags = TIMED if milliseconds else 0
        if operation.options.maybe:
            call.state = CallState.DONE
            flags |= MAYBE
        return call, pack_head(_REQUEST, flags, number, milliseconds or 0, call.id) + arguments

    def begin(self, call: Call, frame: bytes, metadata: bytes = b"") -> None:
        """Begins the call that was prepared last. A signal handler can raise before or after the
        changes, but not between them.

        Args:
            metadata: of the call, encoded.

        Raises:
            TooLarge: the server takes less metadata.
        """
        frames = self.metadata.frames(self, call.id, metadata, frame)
        size = self.output_size + sum(map(len, frames))
        # From here on nothing is called, so no signal handler can run.
        if call.state is not _DONE:
            self.calls[call.id] = call
        self.last_call = call.id
        self.output += frames
        self.output_size = size

    # The server.

    def shut_down(self, message: str = "the server is going away") -> None:
        """Tells the client to begin no new calls. Open calls continue."""
        if self.state is ConnectionState.OPEN:
            self._enter(ConnectionState.DRAINING)
            self.emit(Kind.SHUTDOWN, 0, encode_body(Reason(0, message, self.last_call)))

    # Both.

    def versions_after(self, mark: str) -> str:
        """Returns the end of an error text: both versions of the interface after the mark, or
        ``""`` if the ends have the same version.
        """
        if self.definition is None or self.peer_version == self.definition.version:
            return ""
        here, there = (
            f"{major}.{minor}" for major, minor in (self.definition.version, self.peer_version)
        )
        if self.party is Party.SERVER:
            return f"{mark}this server has version {here}, and the client has version {there}"
        return f"{mark}the server has version {there}, and this client has version {here}"

    def close(self, failure: RpcError, *, silently: bool = False) -> None:
        """Ends the connection: every open call fails with ``failure``.

        If an exception interrupts this method, the caller calls it again, so each step must be safe
        to repeat.

        Args:
            silently: if true, wakes no waiters. In a forked child, the tasks and threads belong to
                the parent.
        """
        if self.state is ConnectionState.CLOSED and self.failure is not None:
            return
        if isinstance(failure, ProtocolError) and self.state is not ConnectionState.UNBOUND:
            self.emit(Kind.SHUTDOWN, 0, encode_body(Reason(failure.code, failure.message)))
        calls = list(self.calls.values())
        for call in calls:
            call.cancel_requested = True
            call.lose(CommFailure(f"{CommFailure.default_message}: {failure.message}"))
        self._enter(ConnectionState.CLOSED)
        if not silently:
            if self.owner is not None:
                self.owner.wake_senders()
                self.owner.wake_callers()
            for call in calls:
                call.inform(Event.ORPHANED)
        # The failure is set last: after an earlier exception, the next call of this method repeats
        # everything.
        self.failure = failure
        if isinstance(failure, ProtocolError) and self.party is Party.SERVER:
            hint = "; it may not be a client of ipcpipes.rpc" if self.definition is None else ""
            logger.warning("a client was disconnected: %s%s", failure, hint)

    def ping(self) -> None:
        """Asks the peer for a PONG."""
        self.pings += 1
        if self.state in (ConnectionState.OPEN, ConnectionState.DRAINING):
            self.emit(Kind.PING)

    def receive(self, message: bytes | Frame) -> Happened:
        """Processes a frame of the peer, decoded or not.

        Raises:
            ProtocolError: the peer violates the protocol. Call :meth:`close` then.
        """
        frame = message if isinstance(message, Frame) else decode(message)
        kind = frame.kind
        if kind not in self._stays and kind is not _SHUTDOWN:
            self._advance(self.peer, kind)
        receive = _OF_CONNECTIONS.get(kind)
        if receive is not None:
            return receive(self, frame)
        call = self.call_of(frame)
        if call is None:
            return _NOTHING
        event, take = _OF_CALLS[kind]
        take(call, frame)
        is_over = event is _ANSWER
        if is_over:
            # The call is removed only after its answer was checked: an invalid answer ends the
            # connection, and the call must then be among the connection's calls.
            del self.calls[call.id]
        owner = call.owner
        if owner is not None:
            if call.failure is None and not call.notify:
                owner.wake()  # the common case of Call.inform, repeated here for speed
            else:
                call.inform(event)
        if is_over and self.owner is not None:
            self.owner.wake_caller()
        return event, call

    def _advance(self, sender: Party, kind: Kind) -> None:
        self._enter(next_connection(self.state, sender, kind))

    def _enter(self, state: ConnectionState) -> None:
        self.state = state
        self._stays = kinds_within(state, self.peer)

    def _ping(self, _: Frame) -> Happened:
        if not self.output or self.output[-1] != _PONG:  # one PONG answers any number of PINGs
            self.emit_frame(_PONG)
        return _NOTHING

    def _pong(self, _: Frame) -> Happened:
        self.pings = 0
        return _NOTHING

    def _bind(self, frame: Frame) -> Happened:
        wanted = decode_body(frame, Bind)
        refusal = refusal_of(wanted, self._definitions)
        if refusal is not None:
            self._advance(self.party, Kind.BIND_NAK)
            self.emit(Kind.BIND_NAK, 0, encode_body(Reason(refusal.code, refusal.message)))
            return Event.REFUSED, None
        self.definition = self._definitions[wanted.uuid]
        self.peer_version = wanted.version
        self._by_number = list(self.definition.operations.values())
        self.plain_operations = {i: one for i, one in enumerate(self._by_number) if one.is_plain}
        self.peer_credit = wanted.credit
        self._set_max_frame(wanted.max_frame)
        self._advance(self.party, Kind.BIND_ACK)
        self.emit(
            Kind.BIND_ACK,
            0,
            encode_body(
                BindAck(
                    VERSION,
                    self.definition.version,
                    self.limits.max_frame,
                    self.limits.first_credit,
                    self.limits.calls,
                    [(one.name, one.signature_of_pipes) for one in self._by_number],
                    self.metadata.answer(wanted.metadata),
                )
            ),
        )
        return Event.BOUND, None

    def _bind_ack(self, frame: Frame) -> Happened:
        given = decode_body(frame, BindAck)
        if given.credit < LEAST_CREDIT or given.max_frame < LEAST_FRAME or given.calls < 1:
            raise ProtocolError("the server's limits are too low")
        self.peer_version = given.version
        self.peer_credit = given.credit
        self._set_max_frame(given.max_frame)
        self.peer_calls = given.calls
        self.metadata.agree(given.metadata)
        self._numbers = {
            name: (number, pipes) for number, (name, pipes) in enumerate(given.operations)
        }
        known = {} if self.definition is None else self.definition.operations
        self.plain_numbers = {
            name: number
            for name, (number, pipes) in self._numbers.items()
            if name in known and known[name].is_plain and not pipes
        }
        self._wake_callers()
        return Event.BOUND, None

    def _bind_nak(self, frame: Frame) -> Happened:
        reason = decode_body(frame, Reason)
        kind = UnknownInterface if reason.code == UnknownInterface.default_code else ProtocolError
        self.failure = kind(reason.message, code=failure_code(reason.code))
        self._wake_callers()
        return Event.REFUSED, None

    def _shutdown(self, frame: Frame) -> Happened:
        reason = decode_body(frame, Reason)
        if reason.code:
            self.close(CommFailure(f"the other end has closed the connection: {reason.message}"))
            return Event.SHUTDOWN, None
        self._advance(self.peer, Kind.SHUTDOWN)
        for call in list(self.calls.values()):
            if call.id > reason.last_call:
                call.lose(ServerUnavailable(f"{reason.message}; this call was not begun"))
                del self.calls[call.id]
                call.inform(Event.SHUTDOWN)
        self._wake_callers()
        return Event.SHUTDOWN, None

    def _wake_callers(self) -> None:
        if self.owner is not None:
            self.owner.wake_callers()

    def _request(self, frame: Frame) -> Happened:
        if frame.call != self.last_call + 1:
            raise ProtocolError(f"call {frame.call} follows call {self.last_call}")
        self.last_call = frame.call
        metadata, error = self.metadata.release(self)
        if self.state is ConnectionState.DRAINING:
            return _NOTHING  # the SHUTDOWN tells the client that the call was not begun
        maybe = bool(frame.flags & MAYBE)
        if frame.number >= len(self._by_number):
            error = ProcnumOutOfRange(f"the server has no operation of number {frame.number}")
        elif maybe and self.maybes >= self.limits.calls:
            return _NOTHING  # a maybe call may be dropped
        elif not maybe and len(self.calls) - self.maybes >= self.limits.calls:
            error = ServerTooBusy(f"{self.limits.calls:,} calls are open, and that is the limit")
        elif maybe != self._by_number[frame.number].options.maybe:
            error = ProtocolError(
                "the client and the server differ about maybe=True for "
                f"{self._by_number[frame.number]}{self.versions_after('; ')}"
            )
        if error is not None:
            if not maybe:
                self.emit_fault(frame.call, error)
            elif not self._has_warned:
                # The client learns nothing. One warning is enough, because it may call often.
                self._has_warned = True
                logger.warning("a call of a client was dropped: %s", error)
            return _NOTHING
        operation = self._by_number[frame.number]
        call = (StreamCall if operation.streams else Call)(self, frame.call, operation)
        call.body = frame.body
        if metadata:
            call.metadata = metadata
        if frame.flags & TIMED:
            call.milliseconds = frame.amount
        self.calls[call.id] = call
        self.maybes += maybe
        return _BEGUN, call

    def call_of(self, frame: Frame) -> Call | None:
        """Returns the open call to which the frame belongs, or ``None`` if the call is over. Checks
        that the frame is allowed now.
        """
        call = self.calls.get(frame.call)
        if call is not None:
            call.state = next_call(call.state, self.peer, frame.kind)
        elif 0 < frame.call <= self.last_call:
            next_call(CallState.DONE, self.peer, frame.kind)
        else:
            raise ProtocolError(f"{frame.kind.name} for call {frame.call}, which never was")
        return call

    def forget(self, call: Call) -> None:
        """Removes a call whose answer comes next, or that needs no answer. Sends the metadata of
        the answer.
        """
        del self.calls[call.id]
        self.maybes -= call.operation.options.maybe
        if call.answer_metadata:
            self.metadata.send_answer(self, call)

    def emit_fault(self, call: int, error: RpcError) -> None:
        """Answers a call with a failure."""
        self.emit(Kind.FAULT, call, encode_fault(error, self.fits))


_PONG = encode(Kind.PONG)
_OF_CONNECTIONS: dict[Kind, Callable[[Session, Frame], Happened]] = {
    Kind.BIND: Session._bind,
    Kind.BIND_ACK: Session._bind_ack,
    Kind.BIND_NAK: Session._bind_nak,
    Kind.REQUEST: Session._request,
    Kind.PING: Session._ping,
    Kind.PONG: Session._pong,
    Kind.SHUTDOWN: Session._shutdown,
    Kind.METADATA: take_metadata,
}
_OF_CALLS: dict[Kind, tuple[Event, Callable[[Call, Frame], None]]] = {
    Kind.RESPONSE: (_ANSWER, Call.answered),
    Kind.FAULT: (_ANSWER, Call.failed),
    Kind.PIPE: (Event.PROGRESS, Call.arrived),
    Kind.CREDIT: (Event.CREDIT, Call.credited),
    Kind.CANCEL: (Event.CANCEL, Call.cancelled),
    Kind.ORPHANED: (Event.ORPHANED, Call.orphaned),
    Kind.STREAM: (Event.PROGRESS, streamed),
    Kind.STOP: (Event.CREDIT, stopped),
}
