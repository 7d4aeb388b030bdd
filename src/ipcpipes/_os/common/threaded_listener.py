"""A listener without an event loop: how threads share it; the same on every system."""

from __future__ import annotations

import threading
import warnings
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, TypeVar

import trio

from .deadline import Deadline
from .listening import EXHAUSTION_PAUSE, AcceptStatus, ListenerCore
from .own_thread import defer_if_acting
from .shared_handle import SharedHandle

if TYPE_CHECKING:
    from typing_extensions import Self


ConnectionT = TypeVar("ConnectionT", bound=SharedHandle)


class ThreadedListener(ListenerCore[ConnectionT]):
    """Makes the system's part of a listener usable from several threads, and adds the waiting.

    The thread that accepts holds ``_accepting``, also while it waits; the objects that it waits on
    are closed only while no thread holds that lock. A thread that changes the state holds
    ``_counting`` for a moment. A signal handler or a finalizer can close a connection or this
    listener, and must not wait for a lock that the interrupted thread may hold. So the handler or
    finalizer adds a job, and the thread that holds the lock does the job before it leaves.
    """

    _ended = True

    def _prepare(self) -> None:
        self._begin_anew()
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
            self._do_free_jobs()

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
            self._do_free_jobs()

    def _accept(self, deadline: Deadline | None) -> ConnectionT:
        first = True
        while True:
            found: ConnectionT | AcceptStatus = AcceptStatus.NO_CLIENT
            try:
                with self._counting:
                    self._require_open()
                    found = self._next_client()
                if not isinstance(found, AcceptStatus):
                    return found  # accept() calls _do_free_jobs()
                self._do_free_jobs()
            except BaseException:
                # A signal handler has raised, or the system reports an error. An interrupted step
                # may have left too little room for the next clients, so this job makes the room
                # again.
                if not isinstance(found, AcceptStatus):
                    found.close()
                self._jobs.append(self._make_room)
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

    def _take_turn(self, taken: list[Callable[[], object]]) -> None:
        """Does the same as the method of a connection; see :class:`SendReceiveLocks`."""
        count = len(taken)
        lock = self._accepting
        # This is one step, so that no signal handler runs in between.
        taken.extend(compress((lock.release,), map(lock.acquire, (False,))))
        if len(taken) == count:
            raise trio.BusyResourceError("another thread is accepting from this listener")

    def _after_turn(self) -> None:
        if self._closed:
            self._jobs.append(self._end)
        self._do_free_jobs()

    def _is_ready(self) -> bool:
        """Returns whether a client waits that :meth:`accept` would return. Such a client is
        accepted here, and kept: otherwise it might be one that accept would turn away. The caller
        holds ``_accepting``.

        Raises:
            trio.ClosedResourceError: the listener is closed.
        """
        self._require_open()
        if self._kept is not None:
            return True
        deadline = Deadline(0)
        try:
            # No signal handler runs between the end of the function and the assignment.
            self._kept = self._accept(deadline)
        except TimeoutError:
            if not deadline.has_raised:
                raise
            return False
        return True

    def _wake_within(self) -> float | None:
        """After how many seconds a thread that waits for this object looks again at the latest."""
        return EXHAUSTION_PAUSE if self._exhausted else None

    def __iter__(self) -> Iterator[ConnectionT]:
        return self

    def __next__(self) -> ConnectionT:
        try:
            return self.accept()
        except trio.ClosedResourceError:
            raise StopIteration from None

    def released(self, handle: int = -1) -> None:
        """An accepted connection calls this when it is closed. On Windows, this listener then
        closes the handle. This can run in any thread, in a signal handler or in a finalizer.
        """
        self._jobs.append(partial(self._take_back, handle))
        self._do_free_jobs()

    def _take_back(self, handle: int) -> None:
        self._make_room(handle)
        if self._accepting.locked():
            self._wake()

    def close(self) -> None:
        if not self._shutting.acquire(blocking=False):
            return  # already closed; the lock is never released
        self._closed = True
        self._release_name()
        self._jobs.append(self._end)
        self._do_free_jobs()

    def _end(self) -> None:
        if self._ended:
            return
        self._drop_clients()
        if self._accepting.locked():
            self._wake()  # the accepting thread calls this again when it leaves
            return
        self._ended = True
        self._close_rest()

    def _do_free_jobs(self) -> None:
        """Does the jobs, unless another thread is doing them.

        A thread that acts as a client defers the jobs (a finalizer can run in ``run_as_client``
        too). The reasons: listen(2) sets not only the length of the queue, but also the credentials
        that clients see; and Windows would check whether the client may make instances.
        """
        while (
            self._jobs
            and not defer_if_acting(self._do_free_jobs)
            and self._counting.acquire(blocking=False)
        ):
            try:
                self._do_jobs()
            finally:
                self._counting.release()

    def _do_jobs(self) -> None:
        while self._jobs:
            self._jobs.popleft()()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._ended:
            return
        text = f"unclosed {self!r}"
        self._release_name()
        self._drop_clients()
        self._close_rest()
        # This is the last step, because it raises if warnings are errors.
        warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    # The system's part

    @abstractmethod
    def _make_room(self, handle: int = -1) -> None:
        """Makes room for as many clients as are allowed now. Then closes ``handle``, of an accepted
        connection, unless it is -1.
        """

    @abstractmethod
    def _wait(self, status: AcceptStatus, milliseconds: int) -> None:
        """Waits until another accept may succeed; -1 waits without a limit."""

    @abstractmethod
    def _wake(self) -> None:
        """Ends the :meth:`_wait` that is running; if none is running, the next one ends at once."""

    def _release_name(self) -> None:
        """Releases the name. Called once and first, without a lock."""

    def _drop_clients(self) -> None:
        """Closes the clients that were not accepted. May be called several times."""

    @abstractmethod
    def _close_rest(self) -> None:
        """Closes the rest, when no thread is inside."""
