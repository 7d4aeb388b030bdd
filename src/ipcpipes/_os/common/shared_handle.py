"""A descriptor or handle that some threads use while another one closes it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from ...abc.uncopied import Uncopied
from .locks import SendReceiveLocks


class SharedHandle(Uncopied, SendReceiveLocks, ABC):
    """A number of the system's with two sides, for sending and receiving.

    Who uses it has the side's turn meanwhile, reads ``_number`` while having it, and calls
    :meth:`_leave` after giving it back if ``_number`` is -1 by then. So the number is given up
    only when nobody is inside, by whoever is the last, and never used after it was given up.

    :meth:`_shut` and :meth:`_leave` wait for nobody: they may run in a signal handler or finalizer,
    between any two steps of a thread that is inside.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._doomed = -1
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Resets the state to that of an unused handle, for a forked child: the threads that were
        inside do not exist there, and the objects that they wait on are the parent's.
        """
        SendReceiveLocks.__init__(self)
        self._shutting = threading.Lock()
        self._dispose()

    def _shut(self) -> None:
        """Closes, from any thread; again and again does no harm."""
        if not self._shutting.acquire(blocking=False):
            return  # for ever: it is closed once
        number, self._number = self._number, -1
        self._hide()
        if not (self._may_send and self._may_receive):
            self._wake(number)
        self._doomed = number
        self._leave()

    @contextmanager
    def _held(self) -> Iterator[int]:
        """The number, which is not given up meanwhile, for something that does not wait: by the
        turn of a side that is free, best to send, because others wait for that one.

        Raises:
            What :meth:`_busy` makes, when both sides are in use or it is closed.
        """
        for turns in (self._may_send, self._may_receive):
            try:
                del turns["turn"]
            except KeyError:
                continue
            try:
                if self._number == -1:
                    break
                yield self._number
                return
            finally:
                turns["turn"] = None
                if self._number == -1 or self._waiting:
                    self._leave()
        raise self._busy("using")

    def _take_number(self, refusal: str | None) -> int:
        """The number, which is the caller's from now on: this is closed, and gives nothing up.

        Raises:
            RuntimeError: with this ``refusal``, when it is still open.
            What :meth:`_busy` makes, when somebody is inside or it is closed.
        """
        taken: list[dict[str, None]] = []
        try:
            for turns in (self._may_receive, self._may_send):
                try:
                    del turns["turn"]
                except KeyError:
                    raise self._busy("using") from None
                taken.append(turns)
            if refusal is not None and self._number != -1:
                raise RuntimeError(refusal)
            # For ever, as when it is closed.
            if not self._shutting.acquire(blocking=False):
                raise self._busy("closing")
            number, self._number = self._number, -1
            self._hide()
            return number
        finally:
            for turns in taken:
                turns["turn"] = None
            if self._number == -1:
                self._leave()

    def _leave(self) -> None:
        """To be called after a turn was given back, if ``_number`` is -1 or somebody waits."""
        if self._number == -1:
            self._finish()
        super()._leave()

    def _finish(self) -> None:
        """Gives the number up, when it is time and nobody else is inside.

        Who finds one side free and the other one taken need not try again: whoever has that one
        comes here too.
        """
        while True:
            try:
                del self._may_receive["turn"]
            except KeyError:
                return
            try:
                if self._dispose_unless_sending():
                    return
            finally:
                self._may_receive["turn"] = None
            if not self._may_send:
                return

    def _dispose_unless_sending(self) -> bool:
        try:
            del self._may_send["turn"]
        except KeyError:
            return False
        try:
            self._dispose()
        finally:
            self._may_send["turn"] = None
        return True

    def _dispose(self) -> None:
        number, self._doomed = self._doomed, -1
        if number != -1:
            self._give_up(number)

    @property
    def _is_held(self) -> bool:
        """Whether the number is still ours, closed or not."""
        return self._number != -1 or self._doomed != -1

    @abstractmethod
    def _busy(self, doing: str) -> Exception:
        """What is raised when another thread is ``doing`` something with it, or it is closed."""

    @abstractmethod
    def _hide(self) -> None:
        """Takes away what else leads to the number."""

    @abstractmethod
    def _wake(self, number: int) -> None:
        """Ends the waiting of the threads inside."""

    @abstractmethod
    def _give_up(self, number: int) -> None:
        """Gives the number back to the system, and says so to whom it concerns."""
