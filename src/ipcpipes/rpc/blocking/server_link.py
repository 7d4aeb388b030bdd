"""A server's end of a connection: calls that have arrived, and the threads that take them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..core.call import Call
from ..core.managers import GRACE
from ..core.plain import answer_data, request_in
from ..core.session import Session
from ..core.state import CallState, ConnectionState
from ..errors import CommFailure, RpcError
from .call_driver import CallDriver
from .link import Link
from .reading import FULL
from .sending import ENDS, REFUSED
from .watch import Watch

if TYPE_CHECKING:
    from .transport import FrameTransport

__all__ = ["ServerLink"]

# Looked up once; session.py says why.
_OPEN, _DONE = ConnectionState.OPEN, CallState.DONE


class ServerLink(Link):
    """A server's end of a connection.

    Args:
        start_another: starts another thread when no idle thread is left to take the next call.
            Returns whether that was possible.
    """

    def __init__(
        self, frame_transport: FrameTransport, session: Session, start_another: Callable[[], bool]
    ) -> None:
        super().__init__(frame_transport, session, watch=Watch())
        self._start_another = start_another
        self._room = session.limits.calls  # how many more threads may start
        self._idle = 0  # threads that wait for a call, or are about to
        self._is_last = False  # the last idle thread has taken a call
        self._until: float | None = None

    def _take_request(self, call: Call) -> None:
        milliseconds = call.milliseconds
        if milliseconds is not None:
            CallDriver(self, time.monotonic() + milliseconds / 1000 + GRACE).adopt(call)
        elif not call.operation.is_plain:
            CallDriver(self).adopt(call)
        self._requests.append(call)
        if self.reads_for is self and len(self._requests) == 1:
            return  # the reading thread takes it
        for waiter in self.waiters:
            if waiter.locked():
                waiter.release()
                break

    def _take_call(self) -> tuple[Call | None] | None:
        """Takes a waiting call. Returns ``(call,)``; ``(None,)`` at the end of the connection; or
        ``None`` if no call is waiting. This is called with the lock.
        """
        if self._requests:
            self._idle -= 1
            if not self._idle and self._room > 0:
                self._room -= 1
                self._is_last = True
            return (self._requests.popleft(),)
        return (None,) if self.session.failure is not None or self._is_done else None

    @property
    def _is_done(self) -> bool:
        """Whether the server shuts down and no call is open."""
        return self.session.state is ConnectionState.DRAINING and not self.session.calls

    def next_call(self) -> Call | None:
        """Waits for a call. Returns ``None`` at the end of the connection."""
        with self.lock:
            self._idle += 1
        found = self.wait(self._take_call, self, idle=True)
        assert found is not None
        if self._is_last:
            self._replace()
        return found[0]

    def _replace(self) -> None:
        """Starts a thread that reads while this thread is at work."""
        with self.lock:
            is_last, self._is_last = self._is_last, False
        if is_last and not self._start_another():
            with self.lock:
                self._room += 1

    def do_and_end_when_done(self, function: Callable[[], object]) -> None:
        """Defers a call, or answers a deferred call. Any thread may call this.

        Raises:
            InvalidAsyncHandle: the call was answered before.
        """
        self.do(function)
        self.end_when_done()

    def answer_and_go_on(
        self, call: Call, body: bytes | None, error: RpcError | None
    ) -> Call | None:
        """Answers a call, and waits for the next one, in as few steps as possible.

        Returns:
            The next call. ``None`` if other threads use the connection, or if it ends; then call
            :meth:`end_when_done` and :meth:`next_call`.
        """
        waiter = threading.Lock()
        session = self.session
        try:
            with self.lock:
                if self.is_torn:
                    self._fail_torn()
                if body is None or not self._answer_at_once(call, body, waiter):
                    self._answer(call, body, error, waiter)
                if (
                    self._reader is None
                    and not self._requests
                    and session.output_size <= FULL
                    and session.state is _OPEN
                ):
                    # An exact step: nothing is called.
                    self._reader = waiter
                    self.reads_for = self
                    self._idle += 1
            has_sent = self._sender is waiter
            if has_sent:
                self.flush(waiter)
            elif self._reader is waiter:
                next_call = self._receive_call(waiter)
                if next_call is not None:
                    if self._is_last:
                        self._replace()
                    return next_call
            if self._reader is not waiter:
                return None
            found = self._read_until(self._take_call, waiter, has_sent=has_sent)
            assert found is not None
            if self._is_last:
                self._replace()
            return found[0]
        except BaseException:
            self.withdraw(waiter)
            raise

    def _answer_at_once(self, call: Call, body: bytes, waiter: threading.Lock) -> bool:
        """Answers a plain call and sends the answer, in as few steps as possible. It needs the
        lock. Returns ``False`` if :meth:`_answer` has to do it; then nothing was done.
        """
        session, transport = self.session, self._stream
        identity = call.id
        if (
            transport is None
            or self._sender is not None
            or self._unsent
            or session.output
            or call.over
            or call.failure is not None
            or call.owner is not None
            or not call.operation.is_plain
            or len(body) > session.largest_body
            or session.calls.get(identity) is not call
        ):
            return False
        outgoing = transport.duplex.prepared(answer_data(identity, body))
        # From here to the sending nothing is called, so that no signal handler can run.
        del session.calls[identity]
        call.over = True
        call.state = _DONE
        transport.duplex.outgoing = outgoing
        self._sender = waiter
        self._unsent = True
        self._send_loaded(transport)
        return True

    def _answer(
        self, call: Call, body: bytes | None, error: RpcError | None, waiter: threading.Lock
    ) -> None:
        """Answers a call. It needs the lock. If this thread is the sender afterwards, it has to
        call :meth:`flush`.
        """
        self.is_torn = True
        try:
            if not call.over:  # otherwise it was answered before
                call.finish(body, error)
            self._next_to_send(waiter)
        except REFUSED:
            self.is_torn = False
            raise
        self.is_torn = False

    def _receive_call(self, waiter: threading.Lock) -> Call | None:
        """Waits for the next data, if this thread reads. If it only begins a plain call, takes the
        call and ends the reading; otherwise the data is there for :meth:`_read_until`.
        """
        transport = self._stream
        if (
            transport is None
            or transport.frames
            or transport.came
            or not transport.reader.is_at_head
        ):
            return None
        try:
            transport.duplex.receive(None)
        except ENDS as error:
            self._close_after(error)
            return None
        with self.lock:
            if self.is_torn or self._requests:
                return None
            self.is_torn = True
            call = request_in(self.session, transport.came[0])
            if call is not None:
                del transport.came[0]
                self._idle -= 1
                if not self._idle and self._room > 0:
                    self._room -= 1
                    self._is_last = True
                self._leave(waiter)
            self.is_torn = False
        return call

    def shut_down(self, until: float | None) -> None:
        """Begins no new calls; :meth:`end_when_done` has to follow.

        Args:
            until: when the client must have read its answers, as :func:`time.monotonic` counts;
                ``None`` for no limit.
        """
        self._until = until
        self.do(self.session.shut_down, wait=False)

    def end_when_done(self) -> None:
        """Closes the connection if the server shuts down and no call is open. Waits first, because
        another thread may still be sending the last answer.
        """
        if self._is_done:
            self.wait_sent(self._until)
            self.close(CommFailure("the server is going away"))
