"""A client's end of a connection, for threads."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ..core.call import Call
from ..core.client import milliseconds_of
from ..core.plain import result_in
from ..core.state import ConnectionState
from ..wire.format import TIMED, Kind, pack_head, pack_length
from .link import Link
from .sending import ENDS

if TYPE_CHECKING:
    from ..core.session import Session
    from ..definition.operations import Operation
    from .transport import FrameTransport, StreamTransport

__all__ = ["ClientLink"]

# Looked up once; session.py says why.
_REQUEST = Kind.REQUEST
_OPEN = ConnectionState.OPEN


class ClientLink(Link):
    """A client's end of a connection."""

    def __init__(self, frame_transport: FrameTransport, session: Session) -> None:
        super().__init__(frame_transport, session)
        self._spare: Call | None = None  # a call that has ended, and that only ``ask`` has seen

    def ask(
        self, operation: Operation, arguments: bytes, until: float | None
    ) -> Call | memoryview | None:
        """Makes a plain call and waits for its answer, in as few steps as possible: while no other
        thread needs the connection, one system call sends and one receives. In the meantime the
        call is a call like any other, which other threads may see and end.

        Returns:
            The result, encoded; or the call, if it has ended otherwise, or was given up because it
            was not over by ``until``. ``None`` if this call needs the general way; in this case
            nothing was done.
        """
        session, transport = self.session, self._stream
        number = session.plain_numbers.get(operation.name)
        if transport is None or number is None:
            return None
        flags = milliseconds = 0
        if until is not None:
            flags, milliseconds = TIMED, milliseconds_of(until - time.monotonic())
        waiter = threading.Lock()
        call: Call | None = None
        try:
            with self.lock:
                if (
                    self._reader is not None
                    or self._sender is not None
                    or self._unsent
                    or self.is_torn
                    or session.output
                    or transport.frames
                    or transport.came
                    or not transport.reader.is_at_head
                    or session.state is not _OPEN
                    or len(session.calls) >= session.peer_calls
                    or len(arguments) > session.largest_body
                ):
                    return None
                call, self._spare = self._spare or Call(session, 0, operation), None
                call.id = identity = session.last_call + 1
                call.operation = operation
                frame = pack_head(_REQUEST, flags, number, milliseconds, identity) + arguments
                data = pack_length(len(frame)) + frame
                # From here to the sending nothing is called, so that no signal handler can run.
                session.calls[identity] = call
                session.last_call = identity
                session.output = output = [frame]
                self._reader = self._sender = waiter
                self._unsent = True
                self._send_only(transport, data, output)
            if self._sender is None and until is None:
                body = self._receive_answer(call, transport)
                if body is not None:
                    return body
            return self._go_on_asking(call, waiter, until)
        except BaseException:
            self.withdraw(waiter)
            if call is not None:
                self.do(call.orphan, wait=False)
            raise

    def _receive_answer(self, call: Call, transport: StreamTransport) -> memoryview | None:
        """Waits for the next data. If that is the result of the call and nothing else, ends the
        call and the reading. Otherwise returns ``None``, and the data is there for
        :meth:`_read_until`.
        """
        try:
            transport.receive_data(None)
        except ENDS as error:
            self._close_after(error)
            return None
        with self.lock:
            body = result_in(transport.came[0], call.id)
            if body is None or call.failure is not None or self.is_torn:
                return None
            if self.waiters:
                self.wake_callers()
            if self._followers:
                self.hand_on()
            # From here to the end of the step nothing is called, so that no signal handler can run.
            del transport.came[0]
            del self.session.calls[call.id]
            self._spare = call
            self._reader = None
        return body

    def _go_on_asking(self, call: Call, waiter: threading.Lock, until: float | None) -> Call:
        """Waits for the answer in the general way."""
        if self._sender is waiter:
            self.flush(waiter, until=until)

        def has_ended() -> bool | None:
            return call.has_ended or None

        if self._read_until(has_ended, waiter, until) is None:
            self.do(call.orphan, wait=False)
            with self.lock:
                self._leave(waiter)
        return call
