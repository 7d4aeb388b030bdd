"""One end of a connection, for threads: a waiting thread reads, also while it sends.

No thread is dedicated to reading. A thread that waits for something reads, unless another thread
does. It processes what it reads for other threads, and wakes them. When it has what it waited for,
it hands the reading to another waiting thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import trio

from ..._os.common.deadline import Deadline
from ..._os.common.forking import remember
from ..core.call import Call
from ..core.events import Event
from ..core.session import Session
from ..errors import CommFailure, ProtocolError, RpcError
from .sending import FULL, GONE, REFUSED, SLICE, Sending, Waiting, pause, ring
from .transport import Torn

if TYPE_CHECKING:
    from .transport import FrameTransport
    from .watch import Watch

__all__ = ["Link"]

T = TypeVar("T")

_REQUEST = Event.REQUEST
# A timeout may come too early by at most this much.
_ROUNDING = 0.001  # seconds


class Link(Sending):
    """One end of a connection.

    Lifetime: it owns the transport, which is closed when the connection fails, or is closed.

    Args:
        watch: only at a server.

    Attributes:
        reads_for: what the reading thread waits for itself.
        waiters: the locks of the threads that wait to begin a call, or at a server, for a call.
    """

    def __init__(
        self,
        frame_transport: FrameTransport,
        session: Session,
        *,
        watch: Watch | None = None,
    ) -> None:
        super().__init__(frame_transport, session, takes_turns=watch is not None)
        session.owner = self
        self.reads_for: object = None
        self.waiters: list[threading.Lock] = []
        self._watch = watch
        self._has_fallen = False
        self._finisher: int | None = None
        self._finished = False
        remember(self)

    # Waiting

    def wait(
        self,
        attempt: Callable[[], T | None],
        driver: Waiting | None = None,
        until: float | None = None,
        *,
        sliced: bool = False,
        idle: bool = False,
        exact: bool = False,
    ) -> T | None:
        """Waits for frames of the peer, until ``attempt`` succeeds.

        Args:
            attempt: called with the lock, first and whenever frames have arrived. Its result is
                returned, unless that is ``None``. It may raise.
            driver: its :attr:`waiters` are woken when it is worth another attempt.
            until: the deadline, as :func:`time.monotonic` counts.
            sliced: the attempt may also succeed without a frame, so it is repeated regularly.
            idle: the thread is a server's that waits for a call; see :class:`Watch`.
            exact: an exception may interrupt ``attempt`` anywhere, and its result may be lost. It
                sets :attr:`is_torn` itself around steps that must not be interrupted.

        Returns:
            ``None`` at the deadline.
        """
        waiter = threading.Lock()
        following = reading = tried = False
        watch = self._watch if idle else None
        try:
            while True:
                with self.lock:
                    if self.is_torn:
                        self._fail_torn()
                    self.is_torn = not exact
                    try:
                        if following:
                            self._unfollow(waiter, driver)
                        if reading and self.transport.frames:
                            self.is_torn = True
                            self._take_frames()
                            self.is_torn = not exact
                        found = attempt()
                        done = found is not None or (
                            tried and until is not None and time.monotonic() >= until
                        )
                        reading = not done and self._gets_reading(waiter, driver)
                        following = not done and not reading
                        if following:
                            self._follow(waiter, driver)
                            if watch is not None:
                                watch.begin(waiter)
                        elif done:
                            self._leave(waiter)
                    except REFUSED:
                        self._leave(waiter)
                        self.is_torn = False
                        raise
                    self.is_torn = False
                    owing = self._unsent or self.session.output
                if self._notices or self.has_failed:
                    self._after_step()
                sending = owing and self._sender is None
                if sending:
                    self.flush(waiter, until=until)
                if done:
                    return found
                tried = True
                if reading and sending:
                    continue  # it may have read meanwhile what it waits for
                if following:
                    pause(waiter, until if watch is None else watch.until(waiter))
                elif not self.transport.frames:
                    self._receive(until, sliced=sliced)
        except BaseException:
            self.withdraw(waiter, driver)
            raise

    def _gets_reading(self, waiter: threading.Lock, driver: object = None) -> bool:
        if self._watch is not None and self._watch.waits(waiter, self._reader is None):
            return False
        # Written out: it is asked for every call.
        if not self._takes_turns or self.session.output_size <= FULL:
            if self._reader is None:
                self._reader = waiter
                self.reads_for = driver
        else:
            self._reads_paused = True
            if self._reader is waiter:
                self._reader = None
        return self._reader is waiter

    def _follow(self, waiter: threading.Lock, driver: Waiting | None) -> None:
        waiter.acquire(blocking=False)
        self._followers[waiter] = None
        if driver is not None:
            driver.waiters.append(waiter)

    def _unfollow(self, waiter: threading.Lock, driver: Waiting | None) -> None:
        self._followers.pop(waiter, None)
        if driver is not None and waiter in driver.waiters:
            driver.waiters.remove(waiter)
        if waiter.locked():
            waiter.release()

    def _leave(self, waiter: threading.Lock) -> None:
        """This thread stops reading; another thread may have to read."""
        if self._reader is waiter:
            self._reader = self.reads_for = None
        if self._watch is not None and self._watch.left(waiter):
            return
        if self._followers and self._reader is None:
            self.hand_on()

    def hand_on(self) -> None:
        """Wakes a waiting thread, so that it reads."""
        for waiter in self._followers:
            if waiter.locked():
                waiter.release()
                return

    # Receiving

    def _receive(self, until: float | None, *, sliced: bool) -> None:
        deadline: Deadline | None = None
        if until is not None or sliced:
            left = SLICE if until is None else max(until - time.monotonic(), 0)
            deadline = Deadline(min(left, SLICE) if sliced else left)
        try:
            self.transport.receive(deadline)
        except TimeoutError:
            if deadline is None or deadline.remaining > _ROUNDING:
                raise  # a signal handler's
        except ProtocolError as error:
            self.close(error)
        except Torn as error:
            self.close(CommFailure(str(error)))
        except (trio.EndOfChannel, *GONE) as error:
            self.close(CommFailure(f"the connection ended ({error})"))

    def look(self) -> None:
        """Processes the frames that have arrived, without waiting."""
        self.wait(lambda: None, until=0.0, exact=True)

    def _take_frames(self) -> None:
        """Processes received frames. The caller has the lock, and is the reader."""
        frames = self.transport.frames
        session = self.session
        while frames and not self.has_failed:
            try:
                event, call = session.receive(frames.popleft())
            except ProtocolError as error:
                self._fail(error)
                return
            if event is _REQUEST:
                assert call is not None
                self._take_request(call)
        if session.failure is not None:
            self._fail(session.failure)

    def _reads(self, waiter: threading.Lock) -> bool:
        """Whether this thread is the reader now; processes what it has read."""
        reading = self._gets_reading(waiter)
        if reading:
            self._take_frames()
        return reading

    def _end_reading(self, waiter: threading.Lock) -> None:
        self._take_frames()
        self._leave(waiter)

    def _take_request(self, call: Call) -> None:
        """A call begins. With the lock."""

    # For the session, with the lock:

    def wake_callers(self) -> None:
        for waiter in self.waiters:
            ring(waiter)

    def wake_senders(self) -> None:
        for waiter in (*self._followers, *self._room_waiters):
            ring(waiter)

    # The end

    def _fail(self, failure: RpcError) -> None:
        """Ends the connection: every call on it fails. With the lock; :meth:`_finish` follows
        without it.

        If it is interrupted, it is called again: each of its steps may be taken twice.
        """
        if self._has_fallen:
            return
        self.has_failed = True
        self.session.close(failure)
        self._has_fallen = True

    def _finish(self) -> None:
        thread = threading.get_ident()
        # Only one thread does this. If it is interrupted, the same thread does it again.
        if self._finished or self._finisher not in (None, thread):
            return
        self._finisher = thread
        waiter = threading.Lock()
        with self.lock:
            is_mine = self._next_to_send(waiter)
        if is_mine:  # why it ends
            with suppress(Torn, *GONE):
                self.transport.send_now()
        self.transport.close()
        self._finished = True

    def close(self, failure: RpcError) -> None:
        """Ends the connection; from any thread."""
        with self.lock:
            if self.is_torn:
                self._fail_torn()
            self.is_torn = True
            self._fail(failure)
            self.is_torn = False
        self._after_step()

    def _in_forked_child(self, text: str) -> None:
        """In the child, all calls fail and nothing more is sent. The lock, the reading and the
        sending may belong to a thread that does not exist in the child.
        """
        self.lock = threading.Lock()
        self.is_torn = self._unsent = False
        self._reader = self._sender = None
        self._peer_gone = self._finished = True
        self.session.close(CommFailure(f"this connection was {text}"), silently=True)
        self.has_failed = self._has_fallen = True
        self._notices.clear()
