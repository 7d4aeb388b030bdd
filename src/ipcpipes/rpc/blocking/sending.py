"""The sending half of a connection that several threads use, and the steps of its threads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import starmap
from typing import TYPE_CHECKING, TypeVar

import trio

from ..errors import CommFailure, ProtocolError, RpcError, TooLarge
from .reading import Reading, Waiting, ring

if TYPE_CHECKING:
    from ..core.call import Call
    from .transport import StreamTransport

__all__ = ["ENDS", "REFUSED", "SLICE", "Sending", "pause"]

T = TypeVar("T")

# How long one system call may last. During the call, a thread does not notice that its RPC call was
# given up, or that no thread reads.
SLICE = 0.05  # seconds
# On Windows, Ctrl-C does not wake a thread that waits for a lock.
_LOCK_SLICE = 0.1  # seconds

_ONCE: tuple[tuple[()], ...] = ((),)  # for a call without arguments
_GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
# The exceptions that a transport raises when it has ended; CommFailure if it was interrupted within
# a step.
ENDS = (*_GONE, trio.EndOfChannel, ProtocolError, CommFailure)
# The exceptions that a step itself may raise; the state is then complete. Any other exception was
# raised by a signal handler in the middle of the step.
REFUSED = (RpcError, TooLarge)

logger = logging.getLogger("ipcpipes.rpc")


class Sending(Reading):
    """The sending half. One thread at a time sends, in the order of the session's output."""

    # Steps

    def step(self, function: Callable[[], T]) -> T:
        """Calls a function with the lock. An exception that interrupts it ends the connection."""
        try:
            with self.lock:
                if self.is_torn:
                    self._fail_torn()
                self.is_torn = True
                try:
                    result = function()
                except REFUSED:
                    self.is_torn = False
                    raise
                self.is_torn = False
        except BaseException:
            self.withdraw()
            raise
        return result

    def do(self, function: Callable[[], object], *, wait: bool = True) -> None:
        """Runs a step, and sends the output as :meth:`flush` does."""
        self.step(function)
        self.flush(wait=wait)

    def withdraw(self, waiter: threading.Lock | None = None, driver: Waiting | None = None) -> None:
        """Called when an exception has ended an operation. Gives back what its waiter held, and
        ends the connection if a step was interrupted.

        It does not affect other threads of the connection. Idempotent.
        """
        with self.lock:
            if self.is_torn:  # it is a step of this thread: another thread would hold the lock
                self._fail_torn()
            if waiter is not None:
                self._unfollow(waiter, driver)
                if waiter in self._room_waiters:
                    self._room_waiters.remove(waiter)
                if self._sender is waiter:
                    self._end_sending()
                self._leave(waiter)
        if self.session.failure is not None:
            self._after_step()

    def _after_step(self) -> None:
        """Does what must not be done with the lock."""
        if self.session.failure is not None:
            self._finish()
        while self._notices:
            try:
                function = self._notices.popleft()
            except IndexError:
                return
            ran = starmap(function, _ONCE)
            try:
                (_,) = ran  # not a call, so that no signal handler runs after the function
            except Exception:
                logger.exception("%r failed", function)

    # The end

    def close(self, failure: RpcError) -> None:
        """Ends the connection: every call on it fails. Any thread may call this."""
        self.step(lambda: self.session.close(failure))
        self._after_step()

    def _close_after(self, error: BaseException) -> None:
        """Ends the connection after an error of the transport."""
        if not isinstance(error, RpcError):
            error = CommFailure(f"the connection ended ({error})")
        self.close(error)

    def _finish(self) -> None:
        thread = threading.get_ident()
        # Only one thread does this. If it is interrupted, the same thread does it again.
        if self._finished or self._finisher not in (None, thread):
            return
        self._finisher = thread
        waiter = threading.Lock()
        with self.lock:
            is_mine = self._next_to_send(waiter)
        if is_mine:  # sends the reason for the end
            with suppress(*ENDS):
                self.transport.send_now()
        self.transport.close()
        self._finished = True

    # Sending

    def flush(
        self,
        waiter: threading.Lock | None = None,
        *,
        wait: bool = True,
        until: float | None = None,
        call: Call | None = None,
    ) -> None:
        """Sends the output, unless another thread is sending; that thread then sends this output
        too.

        Args:
            waiter: the waiter of the calling thread, if that thread may be the reader.
            wait: ``False`` sends what the system takes now; the rest is sent with later output.
            until: the deadline, as :func:`time.monotonic` counts.
            call: if this call fails, flush stops waiting.
        """
        if waiter is None:
            waiter = threading.Lock()
        try:
            try:
                while True:
                    with self.lock:
                        if self.is_torn:
                            self._fail_torn()
                        is_mine = self._next_to_send(waiter)
                    if not is_mine:
                        break
                    if not (
                        self.transport.send_now() or (wait and self._send_on(waiter, until, call))
                    ):
                        break
                    if self._has_sent():
                        break
            except _GONE:
                # The peer accepts no more data. The reader sees the end itself, after earlier data.
                self._peer_gone = True
                self._unsent = False
            except ENDS as error:
                self._close_after(error)
            self.take_back(waiter)
        except BaseException:
            self.withdraw(waiter)
            raise
        if self._notices or self.session.failure is not None:
            self._after_step()

    def _next_to_send(self, waiter: threading.Lock) -> bool:
        """Loads the transport with the output. Returns whether this thread has to send. This is an
        exact step.
        """
        if self._sender is not waiter:
            if self._sender is not None:
                return False
        elif self._room_waiters and not self._unsent:
            return False  # another thread that waits for room sends next
        if not self._unsent:
            session = self.session
            if session.dirty or session.notified:
                self._complete_output()
            if not session.output:
                return False
            if not self._peer_gone:
                # Nothing is sent before the lines below have run; if an exception comes first, the
                # transport is loaded again.
                self.transport.load(session.output)
            session.output = []
            session.output_size = 0
            if self._peer_gone:
                return False
            self._unsent = True
        self._sender = waiter
        return True

    def _complete_output(self) -> None:
        """Adds the data that was held back to the output. This may run inside another step, and so
        keeps the value of ``is_torn``.
        """
        is_part, self.is_torn = self.is_torn, True
        session = self.session
        session.complete_output()
        if session.leaving:
            session.sent()
        self.is_torn = is_part

    @property
    def takes_memory(self) -> bool:
        """Whether :meth:`lend` can be used. This is read with the lock."""
        return self._sender is None and not self._unsent and not self._peer_gone

    def lend(self, waiter: threading.Lock, head: bytes, octets: memoryview) -> None:
        """Loads the transport with a frame whose body is the user's memory, which this thread then
        sends: the caller must call :meth:`flush`, and then :meth:`take_back`. It needs the lock.
        """
        session = self.session
        self._complete_output()
        self.transport.lend([*session.output, head], octets)
        session.output = []
        session.output_size = 0
        self._unsent = True
        self._sender = waiter

    def take_back(self, waiter: threading.Lock) -> None:
        """Takes back memory that was lent. If a part of it was not sent, that part is copied and
        sent with later output.
        """
        if self._sender is waiter:
            with self.lock:
                self._end_sending()

    def _send_loaded(self, transport: StreamTransport) -> None:
        """Sends what the transport is loaded with, as far as the system takes it at once. It needs
        the lock, and the calling thread is the sender, with ``_unsent`` set. If it is still the
        sender afterwards, it must call :meth:`flush`.
        """
        try:
            if transport.duplex.send_now() and not (
                self._room_waiters or self._reads_paused or self.session.dirty
            ):
                self._unsent = False
                self._sender = None
        except ENDS:
            pass  # the flush gets the same error

    def _has_sent(self) -> bool:
        """Called when all loaded data was sent. Returns whether there is nothing more to send."""
        with self.lock:
            self._unsent = False
            if self._room_waiters or self._reads_paused or self.session.has_output:
                return False
            self._sender = None
        return True

    def _end_sending(self) -> None:
        self.transport.keep()
        self._reads_paused = False
        for waiting in self._room_waiters:
            ring(waiting)
        if self._followers and self._reader is None:
            self.hand_on()
        self._sender = None  # last: after an earlier exception, all of this is done again

    def _send_on(
        self, waiter: threading.Lock, until: float | None, call: Call | None = None
    ) -> bool:
        """Sends the rest, and reads meanwhile unless another thread does: the peer may accept no
        more before it has sent its own data. Returns whether all was sent in time.
        """
        had_reading = self._reader is waiter
        try:
            while True:
                reading = self.step(lambda: self._reads(waiter))
                if self._notices or self.session.failure is not None:
                    self._after_step()
                if self.session.failure is not None:
                    return False
                if until is not None and time.monotonic() >= until:
                    return False
                if call is not None and call.failure is not None:
                    return False
                send = self.transport.send_or_receive if reading else self.transport.send_on
                if send(int(SLICE * 1000)):
                    return True
        finally:
            if not had_reading and self._reader is waiter:
                self.step(lambda: self._end_reading(waiter))
                if self._notices or self.session.failure is not None:
                    self._after_step()

    def wait_room(self, until: float | None = None, call: Call | None = None) -> bool:
        """Waits while there is too much output, or until the call has failed. Returns false only if
        the deadline has passed; true also if the connection or the call has failed.

        A thread that waits here does not read: the sending thread reads while it has to wait.
        """
        return self._wait_until(lambda: not self.is_full, until, call)

    def wait_sent(self, until: float | None = None) -> bool:
        """Waits until all output was sent. Returns whether that was possible in time."""

        def is_sent() -> bool:
            return not (self._unsent or self._sender is not None or self.session.has_output)

        return self._wait_until(is_sent, until)

    def _wait_until(
        self, is_well: Callable[[], bool], until: float | None, call: Call | None = None
    ) -> bool:
        waiter = threading.Lock()
        try:
            while True:
                with self.lock:
                    if waiter in self._room_waiters:
                        self._room_waiters.remove(waiter)
                    ring(waiter)
                    if self.session.failure is not None or self._peer_gone or is_well():
                        return True
                    if call is not None and call.failure is not None:
                        return True
                    if until is not None and time.monotonic() >= until:
                        return False
                    waiter.acquire(blocking=False)
                    self._room_waiters.append(waiter)
                    sending = self._sender is not None
                if not sending:
                    self.flush(waiter, until=until, call=call)
                elif call is None:
                    pause(waiter, until)
                else:  # the failure of the call does not wake this waiter
                    soon = time.monotonic() + SLICE
                    pause(waiter, soon if until is None else min(until, soon))
        except BaseException:
            self.withdraw(waiter)
            raise


def pause(waiter: threading.Lock, until: float | None) -> None:
    """Waits until the waiter is released, or until the deadline, or briefly in the main thread, so
    that Ctrl-C is seen.
    """
    left = -1.0 if until is None else max(until - time.monotonic(), 0)
    if threading.current_thread() is threading.main_thread():
        left = _LOCK_SLICE if left < 0 else min(left, _LOCK_SLICE)
    waiter.acquire(timeout=left)
