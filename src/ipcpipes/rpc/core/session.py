"""One end of a connection: its calls, pipes and credits. Messages in, events and messages out.

There is no I/O here, and no waiting: what cannot go on now says so, and whoever drives it asks
again when something has come. So it is the same with an event loop and without.
"""

from __future__ import annotations

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
    error_from_fault,
    failure_code,
)
from ..wire.bodies import (
    decode_bind,
    decode_bind_ack,
    decode_fault,
    decode_reason,
    encode_body,
    encode_fault,
)
from ..wire.format import (
    FRAGMENT,
    HEAD,
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
from .events import Event, Happened
from .state import CallState, ConnectionState, Party, kinds_within, next_call, next_connection

__all__ = ["Event", "Happened", "Session"]

_NOTHING: Happened = (Event.NOTHING, None)
# Members of an enumeration cost as much as a call where they are looked up by name (Python 3.10,
# 3.11).
_ANSWER, _BEGUN = Event.ANSWER, Event.REQUEST
_REQUEST, _SHUTDOWN = Kind.REQUEST, Kind.SHUTDOWN
_DONE = CallState.DONE


class Session:
    """One end of one connection.

    Args:
        party: which end.
        definitions: what a server serves, what a client wants, by the text of their uuid.
        limits: what this end accepts.
    """

    def __init__(self, party: Party, definitions: Mapping[str, Definition], limits: Limits) -> None:
        self.party = party
        self.peer = Party.SERVER if party is Party.CLIENT else Party.CLIENT
        self._enter(ConnectionState.UNBOUND)
        self.limits = limits
        self.calls: dict[int, Call] = {}
        self.output: list[bytes] = []
        self.output_size = 0
        self.failure: RpcError | None = None
        self.pings = 0
        self.definition: Definition | None = None
        self.peer_credit = 0
        self.peer_max_frame = 0
        self._largest = 0  # of the frames that can be sent
        self.server_version = (0, 0)
        self.fragment = 0
        self.peer_calls = 0
        self._definitions = definitions
        self._by_number: list[Operation] = []
        self._numbers: dict[str, tuple[int, str]] = {}
        self._last_call = 0
        self.dirty: dict[Call, None] = {}
        self.notified: dict[Call, None] = {}
        self._lost: list[Call] = []
        self._maybes = 0  # of the calls, those that nobody waits for

    # What goes out.

    def emit(
        self,
        kind: Kind,
        call: int = 0,
        body: bytes = b"",
        *,
        flags: int = 0,
        number: int = 0,
        amount: int = 0,
    ) -> None:
        """Puts a frame into the output."""
        self.emit_frame(encode(kind, call, body, flags=flags, number=number, amount=amount))

    def emit_frame(self, frame: bytes) -> None:
        """The same for one that is made."""
        self.output.append(frame)
        self.output_size += len(frame)

    def has_small(self, call: Call) -> None:
        """A pipe of this call has elements that wait for company."""
        self.dirty[call] = None

    @property
    def has_output(self) -> bool:
        return bool(self.output or self.dirty)

    def take_notified(self) -> list[Call]:
        """The calls whose user wants to hear that what they have pushed was sent."""
        notified = list(self.notified)
        self.notified.clear()
        return notified

    def take_lost(self) -> list[Call]:
        """The calls that a shutdown of the server has ended before they were begun."""
        lost, self._lost = self._lost, []
        return lost

    def settle(self) -> None:
        """Makes frames of the elements that have waited for company."""
        for call in self.dirty:
            call.flush()
        self.dirty.clear()

    def take_output(self) -> list[bytes]:
        """The frames to send now, in order."""
        self.settle()
        output, self.output = self.output, []
        self.output_size = 0
        return output

    def fits(self, body: bytes) -> bool:
        """Whether a frame with this body can be sent: the other end takes it, and this end's
        channel carries it.
        """
        return len(body) + HEAD.size <= self._largest

    def too_large(self, what: str, body: bytes) -> str:
        """The error text for a body that does not fit."""
        limit = f"the {self.peer.name.lower()} takes frames of at most {self.peer_max_frame:,}"
        if self.limits.carried < self.peer_max_frame:
            limit = f"this end's channel carries messages of at most {self.limits.carried:,}"
        return f"{what} {len(body):,} bytes, and {limit}; send large values through a pipe"

    # The client.

    def bind(self, definition: Definition) -> None:
        """Asks the server for this interface."""
        self.definition = definition
        body = Bind(
            VERSION,
            str(definition.uuid),
            definition.version,
            self.limits.max_frame,
            self.limits.credit,
            definition.name,
        )
        self._advance(self.party, Kind.BIND)
        self.emit(Kind.BIND, 0, encode_body(body))

    def require_open(self) -> None:
        """Raises:
        ServerUnavailable: the server begins no new calls, or the connection has ended.
        ProtocolError, UnknownInterface: that is why it has ended.
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
        """By which number the server knows the operation.

        Raises:
            ProcnumOutOfRange: it does not.
            WrongPipeVersion: it has other pipes there.
        """
        number, pipes = self._numbers.get(operation.name, (-1, ""))
        if number < 0:
            raise ProcnumOutOfRange(
                f"the server's {operation.interface} has no {operation.name}{self._because_older()}"
            )
        if pipes != operation.signature_of_pipes:
            raise WrongPipeVersion(
                f"{operation} has the pipes ({operation.signature_of_pipes}) here and ({pipes}) at "
                "the server"
            )
        return number

    def _because_older(self) -> str:
        """The part of an error text that says that the server is older; "" if it is not."""
        assert self.definition is not None
        if self.server_version >= self.definition.version:
            return ""
        there, here = (
            f"{major}.{minor}" for major, minor in (self.server_version, self.definition.version)
        )
        return f": the server has version {there}, and this client has version {here}"

    def has(self, name: str) -> bool:
        """Whether the server has an operation of this name, and, if this end knows it too, with
        the same pipes.
        """
        if name not in self._numbers:
            return False
        known = None if self.definition is None else self.definition.operations.get(name)
        return known is None or self._numbers[name][1] == known.signature_of_pipes

    @property
    def has_room(self) -> bool:
        """Whether the server takes one more call now."""
        return len(self.calls) < self.peer_calls

    def request(self, operation: Operation, arguments: bytes, milliseconds: int | None) -> Call:
        """Begins a call, as :meth:`prepare` and :meth:`begin` do."""
        call, frame = self.prepare(operation, arguments, milliseconds)
        self.begin(call, frame)
        return call

    def prepare(
        self, operation: Operation, arguments: bytes, milliseconds: int | None
    ) -> tuple[Call, bytes]:
        """The next call, and the frame that asks for it. The session is not changed, so a call that
        was prepared need not begin. :meth:`require_open` was asked.

        Raises:
            ProcnumOutOfRange, WrongPipeVersion: what :meth:`number_of` raises.
            TooLarge: the arguments are larger than the server takes.
        """
        number = self.number_of(operation)
        if not self.fits(arguments):
            raise TooLarge(self.too_large(f"the arguments of {operation} have", arguments))
        call = Call(self, self._last_call + 1, operation)
        call.advance(self.party, _REQUEST)
        flags = TIMED if milliseconds else 0
        if operation.options.maybe:
            call.state = CallState.DONE
            flags |= MAYBE
        return call, pack_head(_REQUEST, flags, number, milliseconds or 0, call.id) + arguments

    def begin(self, call: Call, frame: bytes) -> None:
        """Begins the call that was prepared last. A signal handler's exception comes before all of
        it, or after.
        """
        size = self.output_size + len(frame)
        # From here on nothing is called, so that no signal handler can run in between.
        if call.state is not _DONE:
            self.calls[call.id] = call
        self._last_call = call.id
        self.output += (frame,)
        self.output_size = size

    # The server.

    def shut_down(self, message: str = "the server is going away") -> None:
        """Begins no new calls; those that are open go on."""
        if self.state is ConnectionState.OPEN:
            self._enter(ConnectionState.DRAINING)
            self.emit(Kind.SHUTDOWN, 0, encode_body(Reason(0, message, self._last_call)))

    # Both.

    def close(self, failure: RpcError) -> None:
        """The connection is gone, or has to go: every call on it has failed with this."""
        if self.state is ConnectionState.CLOSED and self.failure is not None:
            return
        if isinstance(failure, ProtocolError) and self.state is not ConnectionState.UNBOUND:
            self.emit(Kind.SHUTDOWN, 0, encode_body(Reason(failure.code, failure.message)))
        for call in self.calls.values():
            call.cancel_requested = True
            call.lose(CommFailure(f"{CommFailure.default_message}: {failure.message}"))
        self._enter(ConnectionState.CLOSED)
        self.failure = failure  # last: what an exception interrupts before is done again

    def ping(self) -> None:
        """Asks the other end whether it is there."""
        self.pings += 1
        if self.state in (ConnectionState.OPEN, ConnectionState.DRAINING):
            self.emit(Kind.PING)

    def receive(self, message: bytes | Frame) -> Happened:
        """Takes a message of the other end; or a frame, where it was taken apart already.

        Raises:
            ProtocolError: the other end does not keep to the protocol. :meth:`close` has to follow.
        """
        frame = message if isinstance(message, Frame) else decode(message)
        kind = frame.kind
        if kind not in self._stays and kind is not _SHUTDOWN:
            self._advance(self.peer, kind)
        receive = _OF_CONNECTIONS.get(kind)
        if receive is not None:
            return receive(self, frame)
        call = self._call_of(frame)
        return _NOTHING if call is None else _OF_CALLS[kind](self, call, frame)

    def _advance(self, sender: Party, kind: Kind) -> None:
        self._enter(next_connection(self.state, sender, kind))

    def _enter(self, state: ConnectionState) -> None:
        self.state = state
        self._stays = kinds_within(state, self.peer)

    def _ping(self, _: Frame) -> Happened:
        if not self.output or self.output[-1] != _PONG:  # so that they do not pile up
            self.emit_frame(_PONG)
        return _NOTHING

    def _pong(self, _: Frame) -> Happened:
        self.pings = 0
        return _NOTHING

    def _bind(self, frame: Frame) -> Happened:
        wanted = decode_bind(frame)
        refusal = refusal_of(wanted, self._definitions)
        if refusal is not None:
            self._advance(self.party, Kind.BIND_NAK)
            self.emit(Kind.BIND_NAK, 0, encode_body(refusal))
            return Event.REFUSED, None
        self.definition = self._definitions[wanted.uuid]
        self._by_number = list(self.definition.operations.values())
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
                    self.limits.credit,
                    self.limits.calls,
                    [(one.name, one.signature_of_pipes) for one in self._by_number],
                )
            ),
        )
        return Event.BOUND, None

    def _set_max_frame(self, theirs: int) -> None:
        self.peer_max_frame = theirs
        self._largest = min(theirs, self.limits.carried)
        self.fragment = min(FRAGMENT, self._largest - HEAD.size)

    def _bind_ack(self, frame: Frame) -> Happened:
        given = decode_bind_ack(frame)
        if given.credit < LEAST_CREDIT or given.max_frame < LEAST_FRAME or given.calls < 1:
            raise ProtocolError("the server's limits are too low")
        self.server_version = given.version
        self.peer_credit = given.credit
        self._set_max_frame(given.max_frame)
        self.peer_calls = given.calls
        self._numbers = {
            name: (number, pipes) for number, (name, pipes) in enumerate(given.operations)
        }
        return Event.BOUND, None

    def _bind_nak(self, frame: Frame) -> Happened:
        reason = decode_reason(frame)
        kind = UnknownInterface if reason.code == UnknownInterface.default_code else ProtocolError
        self.failure = kind(reason.message, code=failure_code(reason.code))
        return Event.REFUSED, None

    def _shutdown(self, frame: Frame) -> Happened:
        reason = decode_reason(frame)
        if reason.code:
            self.close(CommFailure(f"the other end has closed the connection: {reason.message}"))
            return Event.SHUTDOWN, None
        self._advance(self.peer, Kind.SHUTDOWN)
        for call in list(self.calls.values()):
            if call.id > reason.last_call:
                del self.calls[call.id]
                call.lose(ServerUnavailable(f"{reason.message}; this call was not begun"))
                self._lost.append(call)
        return Event.SHUTDOWN, None

    def _request(self, frame: Frame) -> Happened:
        if frame.call != self._last_call + 1:
            raise ProtocolError(f"call {frame.call} follows call {self._last_call}")
        self._last_call = frame.call
        if self.state is ConnectionState.DRAINING:
            return _NOTHING  # the client learns that it was not begun, if it has not yet
        maybe = bool(frame.flags & MAYBE)
        error: RpcError | None = None
        if frame.number >= len(self._by_number):
            error = ProcnumOutOfRange(f"the server has no operation of number {frame.number}")
        elif maybe and self._maybes >= self.limits.calls:
            return _NOTHING  # which is what "maybe" means
        elif not maybe and len(self.calls) - self._maybes >= self.limits.calls:
            error = ServerTooBusy(f"{self.limits.calls:,} calls are open, and that is the limit")
        elif maybe != self._by_number[frame.number].options.maybe:
            error = ProtocolError("the ends differ about whether somebody waits for the answer")
        if error is not None:
            if not maybe:
                self.emit_fault(frame.call, error)
            return _NOTHING
        call = Call(self, frame.call, self._by_number[frame.number])
        call.advance(self.peer, _REQUEST)
        call.body = frame.body
        if frame.flags & TIMED:
            call.milliseconds = frame.amount
        self.calls[call.id] = call
        self._maybes += maybe
        return _BEGUN, call

    def _call_of(self, frame: Frame) -> Call | None:
        """The call that it is about, which it may come for now; ``None`` for one that is over."""
        call = self.calls.get(frame.call)
        if call is not None:
            call.advance(self.peer, frame.kind)
        elif 0 < frame.call <= self._last_call:
            next_call(CallState.DONE, self.peer, frame.kind)
        else:
            raise ProtocolError(f"{frame.kind.name} for call {frame.call}, which never was")
        return call

    def _pipe(self, call: Call, frame: Frame) -> Happened:
        call.arrived(frame.number, frame.body)
        return Event.PROGRESS, call

    def _credit(self, call: Call, frame: Frame) -> Happened:
        call.credited(frame.number, frame.amount)
        return Event.CREDIT, call

    def _cancel(self, call: Call, _: Frame) -> Happened:
        call.cancel_requested = True
        return Event.CANCEL, call

    def _orphaned(self, call: Call, _: Frame) -> Happened:
        call.orphaned()
        return Event.ORPHANED, call

    def _response(self, call: Call, frame: Frame) -> Happened:
        if not call.is_given_up:
            call.answered(frame.body)
        # Not before: an answer that is none ends the connection, and this call with it.
        del self.calls[call.id]
        return _ANSWER, call

    def _fault(self, call: Call, frame: Frame) -> Happened:
        body = decode_fault(frame)
        call.lose(error_from_fault(body.code, body.message, body.type, body.traceback))
        del self.calls[call.id]
        return _ANSWER, call

    def forget(self, call: Call) -> None:
        """This call was answered, or needs no answer."""
        del self.calls[call.id]
        self._maybes -= call.operation.options.maybe

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
}
_OF_CALLS: dict[Kind, Callable[[Session, Call, Frame], Happened]] = {
    Kind.RESPONSE: Session._response,
    Kind.FAULT: Session._fault,
    Kind.PIPE: Session._pipe,
    Kind.CREDIT: Session._credit,
    Kind.CANCEL: Session._cancel,
    Kind.ORPHANED: Session._orphaned,
}
