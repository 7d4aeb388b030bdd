"""A call whose parameters include streams of values, at one end, without I/O."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..definition.operations import Operation
from ..errors import BadStubData, InvalidAsyncHandle, ProtocolError, StreamStopped, TooLarge
from ..wire.batches import LARGEST_HEAD
from ..wire.format import END, Frame, Kind, pack_head
from .call import Call
from .call_streams import BATCH, IncomingStream, OutgoingStream
from .events import Event
from .state import CallState

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from .session import Session

__all__ = ["StreamCall", "stopped", "streamed"]

_STREAM = Kind.STREAM  # looked up once; session.py says why


class StreamCall(Call):
    """A call with streams. They have no turns: each may be used at any time, from the beginning of
    the call to its end.
    """

    incoming: dict[int, IncomingStream]  # type: ignore[assignment]
    outgoing: dict[int, OutgoingStream]  # type: ignore[assignment]

    def __init__(self, session: Session, number: int, operation: Operation) -> None:
        super().__init__(session, number, operation)
        limits = session.limits
        first, most = limits.first_credit, limits.credit
        self.incoming, self.outgoing = {}, {}
        for stream in operation.streams:
            if stream.into is self._serving:
                self.incoming[stream.index] = IncomingStream(stream, first, most)
            else:
                self.outgoing[stream.index] = OutgoingStream(stream, session.peer_credit)

    # Receiving

    def require_receiving(self) -> None:
        """Checks that values may be taken. A manager does not get the last values of a call that
        has failed: it is told that first.

        Raises:
            RpcError: the call is over, or has failed.
        """
        if self.over:
            raise InvalidAsyncHandle
        if self.failure is not None and self._serving:
            self.raise_failure()

    def values_of(self, index: int) -> memoryview | bytes | None:
        """Returns the next batch of values, encoded, which is empty at the end of the stream;
        ``None`` if nothing has arrived. Give its decoded values to :meth:`took`.

        Raises:
            RpcError: the call has failed, or a value is not of its type.
        """
        incoming = self.incoming[index]
        batch = incoming.first()
        if batch is not None:
            return batch
        if incoming.error is not None:
            raise incoming.error.again()
        if incoming.ended or self.is_answered:
            return b""
        self.raise_failure()
        return None

    def took(
        self,
        index: int,
        batch: bytes | memoryview,
        values: list[Any],
        error: BadStubData | None,
    ) -> None:
        """Takes the decoded values of the batch that :meth:`values_of` has returned.

        Args:
            error: what is wrong with the value after them. The call fails.
        """
        incoming = self.incoming[index]
        more = incoming.took(batch, values, error)
        if incoming.error is not None:
            # The call ends when the values before this one were received.
            if self._serving:
                self._latch(incoming.error)
            else:
                self.lose(incoming.error)
                self._give_up()
                self.inform(Event.ANSWER)
        elif more and self._is_open:
            self.session.emit(Kind.CREDIT, self.id, number=index, amount=more)

    def leave_stream(self, index: int) -> None:
        """Asks the peer for no more values of a stream. Idempotent."""
        incoming = self.incoming[index]
        if incoming.closed:
            return
        incoming.closed = True
        incoming.clear()
        if not incoming.ended and self._is_open and self.state is not CallState.ORPHANED:
            self.session.emit(Kind.STOP, self.id, number=index)
        if self.owner is not None:
            self.owner.wake()  # another task or thread may be receiving

    # Sending

    def require_sending(self, index: int) -> OutgoingStream:
        """Returns the stream if values may be sent.

        Raises:
            StreamStopped: the peer needs no more values.
            RpcError: the call has failed, or is over.
        """
        outgoing = self.outgoing[index]
        if self.over:
            raise InvalidAsyncHandle
        self.raise_failure()
        if outgoing.stopped or self.is_answered:
            if outgoing.stop_error is None:
                outgoing.stop_error = StreamStopped(
                    f"the {self.session.peer.name.lower()} needs no more values of the stream "
                    f"{outgoing.stream.name}"
                )
            raise outgoing.stop_error.again()
        return outgoing

    def send(self, index: int, octets: bytes) -> bool:
        """Collects an encoded value, to send it with others. Returns ``False`` if the credit is
        used up.

        Raises:
            TooLarge: the value is larger than the peer accepts.
            And what :meth:`require_sending` raises.
        """
        outgoing, session = self.require_sending(index), self.session
        size = len(octets)
        if size > session.largest_body - LARGEST_HEAD:
            what = f"a value of the stream {outgoing.stream.name} has"
            raise TooLarge(session.too_large(what, octets, "send it in parts"))
        if not outgoing.admits(size):
            return False
        if outgoing.count and len(outgoing.values) + size > BATCH:
            self._emit(outgoing)
        if not outgoing.count:
            session.dirty[self] = None
        outgoing.add(octets)
        return True

    def has_batch(self, index: int) -> bool:
        """Whether enough values were collected, so that they should be sent."""
        return len(self.outgoing[index].values) >= BATCH

    def flush(self) -> None:
        """Makes frames of the collected values."""
        for outgoing in self.outgoing.values():
            if outgoing.count:
                self._emit(outgoing)

    def _emit(self, outgoing: OutgoingStream, flags: int = 0) -> None:
        batch = outgoing.take()
        if self._is_open and self.state is not CallState.ORPHANED:
            head = pack_head(_STREAM, flags, outgoing.stream.index, 0, self.id)
            self.session.emit_frame(head + batch)
            if self.notify:
                self.session.notified[self] = None

    def end_stream(self, index: int) -> None:
        """Ends a stream. Idempotent."""
        outgoing = self.outgoing[index]
        if not outgoing.closed:
            outgoing.closed = True
            if not (outgoing.stopped or self.over or self.is_answered):
                self._emit(outgoing, END)
            if self.owner is not None:
                self.owner.wake()  # another task or thread may be sending

    # What arrives from the peer

    def streamed(self, frame: Frame) -> None:
        if self.state is CallState.ORPHANED or self.failure is not None:
            return  # the values will not be received
        incoming = self.incoming.get(frame.number)
        if incoming is None:
            raise ProtocolError(f"{self.operation} receives no stream {frame.number} here")
        incoming.arrived(frame)

    def stopped(self, frame: Frame) -> None:
        if self.state is CallState.ORPHANED:
            return
        outgoing = self.outgoing.get(frame.number)
        if outgoing is None:
            raise ProtocolError(f"{self.operation} sends no stream {frame.number} from here")
        outgoing.stop()

    def is_stopped_by(self, error: BaseException) -> bool:
        """Whether the exception says only that the peer needs no more values of this call."""
        if isinstance(error, BaseExceptionGroup):
            return all(map(self.is_stopped_by, error.exceptions))
        if not isinstance(error, StreamStopped):
            return False
        # A manager that is a client too may get this error from another call.
        return any(error.first is one.stop_error for one in self.outgoing.values())


def streamed(call: Call, frame: Frame) -> None:
    """Takes values of a stream that have arrived.

    Raises:
        ProtocolError: there is no such stream, or the values exceed the credit.
    """
    _with_streams(call).streamed(frame)


def stopped(call: Call, frame: Frame) -> None:
    """Records that the peer needs no more values of a stream.

    Raises:
        ProtocolError: there is no such stream.
    """
    _with_streams(call).stopped(frame)


def _with_streams(call: Call) -> StreamCall:
    if not isinstance(call, StreamCall):
        raise ProtocolError(f"{call.operation} has no streams")
    return call
