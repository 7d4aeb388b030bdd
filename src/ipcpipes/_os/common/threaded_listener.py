"""A listener without an event loop, the same on every system: who may do what, and when."""

from __future__ import annotations

import threading
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import trio

from ...abc.uncopied import Uncopied
from .accept_status import EXHAUSTION_PAUSE, AcceptStatus
from .deadline import Deadline
from .own_thread import put_off
from .place import Place

if TYPE_CHECKING:
    from typing_extensions import Self


class Connection(Protocol):
    """What a listener accepts."""

    def close(self) -> None: ...


ConnectionT = TypeVar("ConnectionT", bound=Connection)


class ThreadedListener(Uncopied, ABC, Generic[ConnectionT]):
    """Threads around a listener that cannot wait by itself.

    ``_accepting`` is held by the thread that accepts, also while it waits; what it waits on is
    given up only when nobody holds it. ``_counting`` is held for a moment by whoever changes
    anything. What a signal handler or a finalizer may do, closing a stream or this, must not wait
    for a lock that the interrupted thread may hold: it leaves a job, and whoever has the lock
    does it before he goes.
    """

    _instead = "to serve one endpoint from several processes, use a WorkerGroup"

    def __init__(self) -> None:
        self._begin_anew()
        self._closed = False
        self._ended = False

    def _begin_anew(self) -> None:
        """Resets the state, for a forked child, where the threads that were inside do
        not exist.
        """
        self._accepting = threading.Lock()
        self._counting = threading.Lock()
        self._shutting = threading.Lock()
        self._jobs: deque[Callable[[], None]] = deque()

    @property
    def connection_count(self) -> int:
        """How many accepted connections are open now."""
        try:
            with self._counting:
                self._do_jobs()
                return len(self._taken)
        finally:
            self._settle()

    def accept(self, *, timeout: float | None = None) -> ConnectionT:
        deadline = Deadline.after(timeout)
        if self._accepting.locked():
            raise trio.BusyResourceError("another thread is accepting from this listener")
        try:
            with self._accepting:
                return self._accept(deadline)
        finally:
            if self._closed:
                self._jobs.append(self._end)
            self._settle()

    def _accept(self, deadline: Deadline | None) -> ConnectionT:
        first = True
        while True:
            found: ConnectionT | AcceptStatus = AcceptStatus.NOBODY
            try:
                with self._counting:
                    self._require_open()
                    found = self._try_accept()
                if not isinstance(found, AcceptStatus):
                    return found  # accept settles
                self._settle()
            except BaseException:
                # A signal handler has raised, or the system reports an error. An interrupted step
                # may have left too little room for the next clients.
                if not isinstance(found, AcceptStatus):
                    found.close()
                self._jobs.append(self._count_released)
                raise
            milliseconds = -1
            if deadline is not None:
                milliseconds = deadline.milliseconds("no client came", first)
                first = False
            if found is AcceptStatus.EXHAUSTED:
                pause = int(EXHAUSTION_PAUSE * 1000)
                milliseconds = pause if milliseconds < 0 else min(pause, milliseconds)
            if found is not AcceptStatus.VANISHED:
                self._wait(found, milliseconds)

    def __iter__(self) -> Iterator[ConnectionT]:
        return self

    def __next__(self) -> ConnectionT:
        try:
            return self.accept()
        except trio.ClosedResourceError:
            raise StopIteration from None

    def released(self, handle: int = -1) -> None:
        """A stream that we accepted is closed, or (Windows) leaves its handle to us. From any
        thread, a signal handler or a finalizer.
        """
        self._jobs.append(partial(self._take_back, handle))
        self._settle()

    def _take_back(self, handle: int) -> None:
        self._count_released(handle)
        if self._accepting.locked():
            self._wake()

    def close(self) -> None:
        if not self._shutting.acquire(blocking=False):
            return  # for ever: it is closed once
        self._closed = True
        self._give_name_up()
        self._jobs.append(self._end)
        self._settle()

    def _end(self) -> None:
        if self._ended:
            return
        self._give_clients_up()
        if self._accepting.locked():
            self._wake()  # who leaves last comes here again
            return
        self._ended = True
        self._give_all_up()

    def _settle(self) -> None:
        """Does the jobs, unless somebody is at it.

        Not as a client (``run_as_client``, where a finalizer may run too): listen(2), which says
        anew how many may wait, also says anew who serves, and Windows would ask whether the client
        may make instances.
        """
        while self._jobs and not put_off(self._settle) and self._counting.acquire(blocking=False):
            try:
                self._do_jobs()
            finally:
                self._counting.release()

    def _do_jobs(self) -> None:
        while self._jobs:
            self._jobs.popleft()()

    def _require_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this listener was closed here")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_ended", True):
            return
        text = f"unclosed {self!r}"
        self._give_name_up()
        self._give_clients_up()
        self._give_all_up()
        # Last: with warnings as errors it raises.
        warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    # What the twins bring

    _taken: set[Place]

    @abstractmethod
    def _try_accept(self) -> ConnectionT | AcceptStatus:
        """A new connection, or what stands in its way."""

    @abstractmethod
    def _count_released(self, handle: int = -1) -> None:
        """Makes room for as many clients as are allowed now. Then closes ``handle``, that of a
        stream that was accepted; -1 for none.
        """

    @abstractmethod
    def _wait(self, obstacle: AcceptStatus, milliseconds: int) -> None:
        """Waits until it may be gone; -1 waits for ever."""

    @abstractmethod
    def _wake(self) -> None:
        """Ends the :meth:`_wait` that follows the last :meth:`_try_accept`, or is under way."""

    def _give_name_up(self) -> None:
        """Called once and first, without a lock."""

    def _give_clients_up(self) -> None:
        """Those that were not accepted, and what waits for more; perhaps again and again."""

    @abstractmethod
    def _give_all_up(self) -> None:
        """The rest, when nobody is inside."""
