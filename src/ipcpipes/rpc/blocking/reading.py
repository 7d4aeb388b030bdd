"""The reading half of a connection that several threads use, and the state that they share."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ..._os.common.forking import remember
from ..core.call import Call
from ..core.events import Event
from ..core.session import Session
from ..errors import CommFailure, ProtocolError
from .transport import StreamTransport, torn

if TYPE_CHECKING:
    from .transport import FrameTransport
    from .watch import Watch

__all__ = ["FULL", "Reading", "Waiting", "ring"]

# If there is more output than this, in bytes, pushes wait and a server stops reading.
FULL = 1024 * 1024

_REQUEST = Event.REQUEST


class Waiting(Protocol):
    """Something that threads wait for.

    Attributes:
        waiters: the locks of these threads. Each change of the state releases them.
    """

    waiters: list[threading.Lock]


class Reading:
    """The reading half. A thread that waits reads, unless another thread does.

    Lifetime: it owns the transport, which is closed when the connection fails, or is closed.

    ``lock`` guards the session and all attributes here. It is held for steps that do not wait, and
    all methods here are called with it. The transport is used without it, by one reading thread and
    one sending thread. A thread is identified by its waiter: a lock that it waits for, and that is
    released to wake it.

    Args:
        watch: only at a server. With it, this end also stops reading while there is much output.
            Only a server does that: if both ends did, they could deadlock.

    A signal handler can raise after any call, even in an ``except`` block. So a step
    that must not be interrupted sets :attr:`is_torn` before it begins, and clears it last. An exact
    step does not need that: it prepares what it changes, and then changes all of it without a call,
    so that no handler can run in between. Each operation ends with :meth:`Sending.withdraw` in
    ``except BaseException``, even if it has nothing to give back at that point.

    Attributes:
        is_torn: a step is running. If a step has the lock and finds this set, an earlier step was
            interrupted, and the connection has to end.
        was_torn: the connection has ended for that reason. Buffered data of pipes may be
            incomplete.
        reads_for: the object that the reading thread itself waits for.
        waiters: the locks of the threads that wait to begin a call, or at a server, for a call.
    """

    def __init__(
        self, frame_transport: FrameTransport, session: Session, *, watch: Watch | None = None
    ) -> None:
        self.transport = frame_transport
        # The same, if it is over a stream of ipcpipes: plain calls then take fewer steps.
        self._stream = frame_transport if isinstance(frame_transport, StreamTransport) else None
        self.session = session
        session.owner = self
        self.lock = threading.Lock()
        self.is_torn = False
        self.was_torn = False
        self.reads_for: object = None
        self.waiters: list[threading.Lock] = []
        self._requests: deque[Call] = deque()  # at a server: calls that no thread has taken yet
        self._watch = watch
        self._reader: threading.Lock | None = None
        self._sender: threading.Lock | None = None
        self._followers: dict[threading.Lock, None] = {}  # threads that wait for frames
        self._room_waiters: list[threading.Lock] = []  # wait until there is less output
        self._unsent = False  # the transport has unsent data
        self._reads_paused = False  # because there is too much output
        self._peer_gone = False  # the peer accepts nothing any more
        self._notices: deque[Callable[[], object]] = deque()
        self._finisher: int | None = None  # the thread that closes the transport
        self._finished = False
        remember(self)

    @property
    def is_full(self) -> bool:
        """Whether a thread with more to send should wait."""
        return self.session.output_size > FULL

    def _fail_torn(self) -> None:
        """Ends the connection because a step was interrupted: the state of the session is
        unknown.
        """
        self.was_torn = True
        self._peer_gone = True  # nothing more is sent: data might be missing, or be sent twice
        self.session.close(torn())
        self.is_torn = False  # last: if an exception comes earlier, the next thread does this again

    def notice(self, function: Callable[[], object]) -> None:
        """Calls a user's function later, without the lock."""
        self._notices.append(function)

    # Which thread reads

    def _gets_reading(self, waiter: threading.Lock, driver: object = None) -> bool:
        if self._watch is not None and self._watch.waits(waiter, self._reader is None):
            return False
        # This is the condition of ``is_full``, repeated here for speed, because every call comes
        # here.
        if self._watch is None or self.session.output_size <= FULL:
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
        """Records that the thread with this waiter no longer waits."""
        self._followers.pop(waiter, None)
        if driver is not None and waiter in driver.waiters:
            driver.waiters.remove(waiter)
        ring(waiter)

    def _leave(self, waiter: threading.Lock) -> None:
        """Ends the reading of this thread; another thread may have to read."""
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

    # What was received

    def _take_frames(self) -> None:
        """Processes received frames. The caller is the reader."""
        frames = self.transport.frames
        session = self.session
        while frames and session.failure is None:
            try:
                event, call = session.receive(frames.popleft())
            except ProtocolError as error:
                session.close(error)
                return
            if event is _REQUEST:
                assert call is not None
                self._take_request(call)

    def _take_request(self, call: Call) -> None:
        """Takes a call that begins; a server overrides this."""

    def _reads(self, waiter: threading.Lock) -> bool:
        """Returns whether this thread is the reader now; if so, processes what it has read."""
        if self._watch is not None and self.is_full:
            return False
        reading = self._gets_reading(waiter)
        if reading:
            self._take_frames()
        return reading

    def _end_reading(self, waiter: threading.Lock) -> None:
        self._take_frames()
        self._leave(waiter)

    # For the session

    def wake_callers(self) -> None:
        for waiter in self.waiters:
            ring(waiter)

    def wake_caller(self) -> None:
        # All of them: a thread that was interrupted could not wake the next one.
        self.wake_callers()

    def wake_senders(self) -> None:
        for waiter in (*self._followers, *self._room_waiters):
            ring(waiter)

    # In a forked child

    def _in_forked_child(self, text: str) -> None:
        """In the child, all calls fail and nothing more is sent. The lock, the reading and the
        sending may belong to a thread that does not exist in the child.
        """
        self.lock = threading.Lock()
        self.is_torn = self._unsent = False
        self._reader = self._sender = None
        self._peer_gone = self._finished = True
        self.session.close(CommFailure(f"this connection was {text}"), silently=True)
        self._notices.clear()


def ring(waiter: threading.Lock) -> None:
    if waiter.locked():
        waiter.release()
