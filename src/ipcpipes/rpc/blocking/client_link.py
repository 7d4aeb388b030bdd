"""A client's end of a connection, for threads."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ..core.call import Call
from ..core.client import milliseconds_of
from ..core.plain import request_data, result_in
from ..core.state import ConnectionState
from .link import Link
from .sending import ENDS

if TYPE_CHECKING:
    from ..definition.operations import Operation
    from .transport import StreamTransport

__all__ = ["ClientLink"]

_OPEN = ConnectionState.OPEN  # looked up once; session.py says why


class ClientLink(Link):
    """A client's end of a connection."""

    def ask(
        self, operation: Operation, arguments: bytes, until: float | None
    ) -> Call | bytes | memoryview | None:
        """Makes a plain call and waits for its answer, in as few steps as possible: while no other
        thread needs the connection, one system call sends and one receives. In the meantime the
        call is a call like any other, which other threads may see and end.

        Returns:
            The result, encoded; or the call, if it has ended otherwise, or was given up because it
            was not over by ``until``. ``None`` if this call needs the general way; then nothing was
            done.
        """
        transport = self._stream
        number = self.session.plain_numbers.get(operation.name)
        if transport is None or number is None:
            return None
        milliseconds = 0 if until is None else milliseconds_of(until - time.monotonic())
        waiter = threading.Lock()
        call = Call(self.session, 0, operation)  # it gets its number when it begins
        try:
            with self.lock:
                has_begun = self._begin(call, number, arguments, milliseconds, transport, waiter)
            if not has_begun:
                return None
            if self._sender is None and until is None:
                body = self._receive_answer(call, transport)
                if body is not None:
                    return body
            return self._go_on_asking(call, waiter, until)
        except BaseException:
            self.withdraw(waiter)
            self.do(call.orphan, wait=False)  # without effect if it has not begun, or has ended
            raise

    def _begin(
        self,
        call: Call,
        number: int,
        arguments: bytes,
        milliseconds: int,
        transport: StreamTransport,
        waiter: threading.Lock,
    ) -> bool:
        """Begins the call and sends its request, unless this call needs the general way. The
        calling thread becomes the reader, and perhaps stays the sender. It needs the lock.

        Nothing that this method makes is referred to while the thread waits for the answer.
        """
        session = self.session
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
            return False
        identity = session.last_call + 1
        duplex = transport.duplex
        outgoing = duplex.prepared(request_data(number, milliseconds, identity, arguments))
        # From here to the sending nothing is called, so that no signal handler can run.
        call.id = session.last_call = identity
        session.calls[identity] = call
        duplex.outgoing = outgoing
        self._reader = self._sender = waiter
        self._unsent = True
        self._send_loaded(transport)
        return True

    def _receive_answer(self, call: Call, transport: StreamTransport) -> bytes | memoryview | None:
        """Waits for the next data. If that is the result of the call and nothing else, ends the
        call and the reading. Otherwise returns ``None``, and the data is there for
        :meth:`_read_until`.
        """
        try:
            transport.duplex.receive(None)
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
            self._reader = None
        return body

    def _go_on_asking(self, call: Call, waiter: threading.Lock, until: float | None) -> Call:
        """Waits for the answer in the general way."""
        has_sent = self._sender is waiter
        if has_sent:
            self.flush(waiter, until=until)

        def has_ended() -> bool | None:
            return call.has_ended or None

        if self._read_until(has_ended, waiter, until, has_sent=has_sent) is None:
            self.do(call.orphan, wait=False)
            with self.lock:
                self._leave(waiter)
        return call
