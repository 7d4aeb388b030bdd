"""The sending half of a connection that several threads use, and what they share."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from itertools import starmap
from typing import TYPE_CHECKING, Protocol, TypeVar

import trio

from ..core.session import Session
from ..errors import CommFailure, ProtocolError, RpcError, TooLarge
from .transport import Torn

if TYPE_CHECKING:
    from ..core.call import Call
    from .transport import FrameTransport

__all__ = ["FULL", "GONE", "LINGER", "REFUSED", "SLICE", "Sending", "Waiting", "pause", "ring"]

T = TypeVar("T")

# With so much waiting to be sent, who pushes waits too, and a server reads no more.
FULL = 1024 * 1024
# What a thread in the middle of a system call can only see when that is over: that somebody has
# given its call up, or that the reading has become free while it sends.
SLICE = 0.05  # seconds
# How long a client that closes waits for the server to read what was sent last.
LINGER = 5.0  # seconds
# On Windows Ctrl-C does not wake who waits for a lock.
_LOCK_SLICE = 0.1  # seconds

_ONCE: tuple[tuple[()], ...] = ((),)  # for a call without arguments
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
# What a step itself may raise; the step is complete then. Any other exception comes from a signal
# handler, in the middle of the step.
REFUSED = (RpcError, TooLarge)

logger = logging.getLogger("ipcpipes.rpc")


class Waiting(Protocol):
    """What threads wait for.

    Attributes:
        bells: theirs, for whoever brings it about.
    """

    waiters: list[threading.Lock]


class Sending(ABC):
    """What is sent, by one thread at a time, in the order in which the session gave it out.

    ``lock`` guards the session and all that is here. It is held for steps that do not wait; the
    carrier is used without it, by the one thread that has the reading, and the one that has the
    sending. A thread is known here by its bell: a lock that it waits for, and that is released to
    wake it.

    Args:
        takes_turns: whether this end stops reading while there is much to send. A server does; its
            clients do not, for otherwise both could stand still.

    A signal handler can raise after any call, also in a handler of another exception. So a step
    that must not be left in the middle sets a note before it begins (:attr:`is_torn`), and clears
    the note last. An exact step needs no note: it prepares what it changes, and then changes all of
    it without a call, so that no handler can run in between. Each operation ends with
    :meth:`withdraw` in ``except BaseException``, even if it has nothing to give back at that point.

    Attributes:
        has_failed: the connection has ended, or was closed.
        is_torn: a step is under way. If another step, with the lock, sees it set, the first step
            was left in the middle, and the connection has to end.
        was_torn: the connection has ended for that reason. Buffered data of pipes may be
            incomplete.
    """

    def __init__(
        self, frame_transport: FrameTransport, session: Session, *, takes_turns: bool
    ) -> None:
        self.transport = frame_transport
        self.session = session
        self.lock = threading.Lock()
        self.has_failed = False
        self.is_torn = False
        self.was_torn = False
        self._takes_turns = takes_turns
        self._reader: threading.Lock | None = None
        self._sender: threading.Lock | None = None
        self._followers: dict[threading.Lock, None] = {}  # who waits to read, or for what is read
        self._room_waiters: list[threading.Lock] = []  # who waits for room
        self._unsent = False  # the carrier has something in its hands
        self._reads_paused = False  # nobody reads because there is too much to be sent
        self._peer_gone = False  # the other end takes nothing any more
        self._notices: deque[Callable[[], object]] = deque()

    @property
    def is_full(self) -> bool:
        """Whether who has more to send should wait."""
        return self.session.output_size > FULL

    @property
    def _may_read(self) -> bool:
        return not (self._takes_turns and self.is_full)

    # Steps

    def _fail_torn(self) -> None:
        """A step was left in the middle: the state of the session, and which frames it has given
        out, are not known. With the lock.
        """
        self.was_torn = True
        self._peer_gone = True  # nothing more is sent: data might be missing, or be sent twice
        self._fail(CommFailure(str(Torn())))

    def step(self, function: Callable[[], T], *, exact: bool = False) -> T:
        """Calls it with the lock.

        Args:
            exact: an exception may interrupt the function anywhere.
        """
        try:
            with self.lock:
                if self.is_torn:
                    self._fail_torn()
                self.is_torn = not exact
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

    def withdraw(self, waiter: threading.Lock | None = None, driver: Waiting | None = None) -> None:
        """Called when an exception has ended an operation. Gives back what the operation held,
        which is known by its bell, and ends the connection if the operation was in the middle of a
        step.

        It does not touch what other threads do on the connection. Idempotent.
        """
        with self.lock:
            if self.is_torn:  # a step of this thread: another one would have the lock
                self._fail_torn()
            if waiter is not None:
                self._unfollow(waiter, driver)
                if waiter in self._room_waiters:
                    self._room_waiters.remove(waiter)
                if self._sender is waiter:
                    self._end_sending()
                self._leave(waiter)
        if self.has_failed:
            self._after_step()

    def notice(self, function: Callable[[], object]) -> None:
        """Has a function of the user's called, once the lock is free. The caller has it."""
        self._notices.append(function)

    def _after_step(self) -> None:
        """What is not for the lock."""
        if self.has_failed:
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

    @abstractmethod
    def close(self, failure: RpcError) -> None:
        """Ends the connection; from any thread."""

    @abstractmethod
    def _fail(self, failure: RpcError) -> None:
        """The connection has ended, or has to. With the lock."""

    @abstractmethod
    def _finish(self) -> None:
        """The same without the lock, afterwards."""

    @abstractmethod
    def _unfollow(self, waiter: threading.Lock, driver: Waiting | None) -> None:
        """The thread with this bell waits for nothing any more. With the lock."""

    @abstractmethod
    def _leave(self, waiter: threading.Lock) -> None:
        """The thread stops reading; another thread may have to read. With the lock."""

    @abstractmethod
    def _reads(self, waiter: threading.Lock) -> bool:
        """Whether it has the reading now; looks at what it has read. With the lock."""

    @abstractmethod
    def _end_reading(self, waiter: threading.Lock) -> None:
        """It reads no more. With the lock."""

    @abstractmethod
    def hand_on(self) -> None:
        """Wakes one of those that wait, to read. With the lock."""

    # Sending

    def flush(
        self,
        waiter: threading.Lock | None = None,
        *,
        wait: bool = True,
        until: float | None = None,
        first: Callable[[], object] | None = None,
        call: Call | None = None,
    ) -> None:
        """Sends what there is to send, unless another thread is at it, who then sends this too.

        Args:
            bell: by which the caller may have the reading.
            wait: or else send what goes without; the rest is sent with what comes next.
            until: until when to wait, as :func:`time.monotonic` counts.
            first: a step to be taken before; it may raise.
            call: for which it waits, unless that has failed meanwhile.
        """
        if waiter is None:
            waiter = threading.Lock()
        try:
            try:
                while True:
                    with self.lock:
                        if self.is_torn:
                            self._fail_torn()
                        if first is not None:
                            self.is_torn = True
                            try:
                                first()
                            except REFUSED:
                                self.is_torn = False
                                raise
                            first = None
                            self.is_torn = False
                        is_mine = self._next_to_send(waiter)
                    if not is_mine:
                        break
                    if not (
                        self.transport.send_now() or (wait and self._send_on(waiter, until, call))
                    ):
                        break
                    if self._has_sent():
                        break
            except GONE:
                self._stop_sending()
            except Torn as error:
                self.close(CommFailure(str(error)))
            self.take_back(waiter)
        except BaseException:
            self.withdraw(waiter)
            raise
        if self._notices or self.has_failed:
            self._after_step()

    def _stop_sending(self) -> None:
        """The other end accepts no more data. The reader finds the end itself, after it has read
        what came before.
        """
        self._peer_gone = True
        self._unsent = False

    def _next_to_send(self, waiter: threading.Lock) -> bool:
        """Loads the carrier; whether there is something, and it is this thread's to send. Exact."""
        if self._sender is not waiter:
            if self._sender is not None:
                return False
        elif self._room_waiters and not self._unsent:
            return False  # it has done its part, and one of those that wait goes on
        if not self._unsent:
            session = self.session
            if session.dirty or session.notified:
                self._settle()
            if not session.output:
                return False
            if not self._peer_gone:
                # Until the next lines the carrier sends nothing, so it can be loaded again.
                self.transport.load(session.output)
            session.output = []
            session.output_size = 0
            if self._peer_gone:
                return False
            self._unsent = True
        self._sender = waiter
        return True

    def _settle(self) -> None:
        """Completes the session's output. It may be a part of another step."""
        is_part, self.is_torn = self.is_torn, True
        session = self.session
        if session.notified:
            for call in session.take_notified():
                if call.owner is not None:
                    call.owner.sent()
        if session.dirty:
            session.settle()
        self.is_torn = is_part

    @property
    def takes_memory(self) -> bool:
        """Whether :meth:`lend` can be used. With the lock."""
        return self._sender is None and not self._unsent and not self._peer_gone

    def lend(self, waiter: threading.Lock, head: bytes, octets: memoryview) -> None:
        """Loads the carrier with a frame whose body is a user's memory, for this thread to send:
        :meth:`flush` has to follow, and :meth:`take_back`. With the lock.
        """
        session = self.session
        self._settle()
        self.transport.lend([*session.output, head], octets)
        session.output = []
        session.output_size = 0
        self._unsent = True
        self._sender = waiter

    def take_back(self, waiter: threading.Lock) -> None:
        """Memory that was lent is its user's again; what has not gone was copied, and goes with
        what comes next.
        """
        if self._sender is waiter:
            with self.lock:
                self._end_sending()

    def _send_loaded(self, waiter: threading.Lock, until: float | None = None) -> None:
        """Sends what this thread has loaded, and what others leave to it meanwhile."""
        try:
            if self.transport.send_now() and self._has_sent():
                return
        except GONE:
            self._stop_sending()
        except Torn as error:
            self.close(CommFailure(str(error)))
        self.flush(waiter, until=until)

    def _has_sent(self) -> bool:
        """All that was loaded is sent; whether there is nothing more to do about it."""
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
        self._sender = None  # last: what is interrupted before is done again

    def _send_on(
        self, waiter: threading.Lock, until: float | None, call: Call | None = None
    ) -> bool:
        """Sends the rest, and reads meanwhile if nobody else does: the other end may not take
        more before it has sent what it has. Whether all was sent in time.
        """
        had_reading = self._reader is waiter
        try:
            while True:
                reading = self.step(lambda: self._may_read and self._reads(waiter))
                if self._notices or self.has_failed:
                    self._after_step()
                if self.has_failed or (until is not None and time.monotonic() >= until):
                    return False
                if call is not None and call.failure is not None:
                    return False
                send = self.transport.send_or_receive if reading else self.transport.send_on
                if send(int(SLICE * 1000)):
                    return True
        except ProtocolError as error:
            self.close(error)
            return False
        except trio.EndOfChannel as error:
            self.close(CommFailure(f"the connection ended ({error})"))
            return False
        finally:
            if not had_reading and self._reader is waiter:
                self.step(lambda: self._end_reading(waiter))
                if self._notices or self.has_failed:
                    self._after_step()

    def wait_room(self, until: float | None = None, call: Call | None = None) -> bool:
        """Waits while there is too much to be sent, or until the call that something is to be sent
        for has failed; whether there is room now.

        Who waits here does not read: whoever sends does that, as long as it has to wait.
        """
        return self._wait_until(lambda: not self.is_full, until, call)

    def wait_sent(self, until: float | None = None) -> bool:
        """Waits until all that is to be sent was sent; whether that could be in time."""

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
                    if self.has_failed or self._peer_gone or is_well():
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
                else:  # its failure rings no bell here
                    soon = time.monotonic() + SLICE
                    pause(waiter, soon if until is None else min(until, soon))
        except BaseException:
            self.withdraw(waiter)
            raise


def ring(waiter: threading.Lock) -> None:
    if waiter.locked():
        waiter.release()


def pause(waiter: threading.Lock, until: float | None) -> None:
    """Until the bell rings, or the time is over, or Ctrl-C may have to be looked for."""
    left = -1.0 if until is None else max(until - time.monotonic(), 0)
    if threading.current_thread() is threading.main_thread():
        left = _LOCK_SLICE if left < 0 else min(left, _LOCK_SLICE)
    waiter.acquire(timeout=left)
