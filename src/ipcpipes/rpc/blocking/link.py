"""One end of a connection, for threads: a waiting thread reads, also while it sends.

No thread is dedicated to reading. A thread that waits for something reads, unless another thread
does. It processes what it reads for other threads, and wakes them. When it has what it waited for,
it hands the reading to another waiting thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ..._os.common.deadline import Deadline
from .reading import Waiting
from .sending import ENDS, REFUSED, SLICE, Sending, pause

__all__ = ["Link"]

T = TypeVar("T")

# A timeout may come too early by at most this much.
_ROUNDING = 0.001  # seconds


class Link(Sending):
    """One end of a connection, with what its threads wait for."""

    def wait(
        self,
        attempt: Callable[[], T | None],
        driver: Waiting | None = None,
        until: float | None = None,
        *,
        sliced: bool = False,
        idle: bool = False,
    ) -> T | None:
        """Waits for frames of the peer, until ``attempt`` succeeds.

        Args:
            attempt: called with the lock, first and whenever frames have arrived. Its result is
                returned, unless that is ``None``. It may raise. An exception may interrupt it
                anywhere, and its result may be lost; it sets :attr:`is_torn` itself around steps
                that must not be interrupted.
            driver: the object that the thread waits for. Its :attr:`waiters` are woken when another
                attempt may succeed.
            until: the deadline, as :func:`time.monotonic` counts.
            sliced: the attempt may also succeed without a frame, so it is repeated regularly.
            idle: the thread is a server's that waits for a call; see :class:`Watch`.

        Returns:
            ``None`` at the deadline.
        """
        waiter = threading.Lock()
        session = self.session
        following = reading = tried = False
        watch = self._watch if idle else None
        try:
            while True:
                with self.lock:
                    if self.is_torn:
                        self._fail_torn()
                    try:
                        if following:
                            self._unfollow(waiter, driver)
                        if reading and self.transport.frames:
                            self.is_torn = True
                            self._take_frames()
                            self.is_torn = False
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
                    owing = self._unsent or session.output
                if self._notices or session.failure is not None:
                    self._after_step()
                sending = owing and self._sender is None
                if sending:
                    self.flush(waiter, until=until)
                if done:
                    return found
                tried = True
                if reading and sending:
                    continue  # the flush may have read what this thread waits for
                if following:
                    pause(waiter, until if watch is None else watch.until(waiter))
                elif not self.transport.frames:
                    self._receive(until, sliced=sliced)
        except BaseException:
            self.withdraw(waiter, driver)
            raise

    def _read_until(
        self,
        attempt: Callable[[], T | None],
        waiter: threading.Lock,
        until: float | None = None,
        *,
        has_sent: bool,
    ) -> T | None:
        """Does the same as :meth:`wait` for a thread that is the reader, in as few steps as
        possible. An exception that interrupts ``attempt`` ends the connection.

        Args:
            has_sent: whether the thread has just sent. Meanwhile it may have read what it waits
                for.
        """
        session, found = self.session, None
        while found is None:
            if not (has_sent or self.transport.frames or self._requests):
                if until is not None and time.monotonic() >= until:
                    break
                self._receive(until, sliced=False)
            has_sent = False
            with self.lock:
                if self.is_torn:
                    self._fail_torn()
                self.is_torn = True
                self._take_frames()
                found = attempt()
                if found is not None:
                    self._leave(waiter)
                self.is_torn = False
            if session.output or self._notices or session.failure is not None:
                self._after_step()
                self.flush(waiter, until=until)
        return found

    def _receive(self, until: float | None, *, sliced: bool) -> None:
        deadline: Deadline | None = None
        if until is not None or sliced:
            left = SLICE if until is None else max(until - time.monotonic(), 0)
            deadline = Deadline(min(left, SLICE) if sliced else left)
        try:
            self.transport.receive(deadline)
        except TimeoutError:
            if deadline is None or deadline.remaining > _ROUNDING:
                raise  # a signal handler has raised this
        except ENDS as error:
            self._close_after(error)

    def look(self) -> None:
        """Processes the frames that have arrived, without waiting."""
        self.wait(lambda: None, until=0.0)
