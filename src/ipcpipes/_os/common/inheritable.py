"""What the ends of anonymous pipes have in common, whatever the system and the driver."""

from __future__ import annotations

from abc import ABC, abstractmethod

import trio

from ...abc.uncopied import Uncopied

NO_SETTING = "the size of a pipe is settled when it is made: open_anonymous_pipe(capacity=...)"
USED = "this end was used here already; hand over one that was not"


class InheritableEnd(Uncopied, ABC):
    """An end that can go to a child.

    Handing over takes the number out of the stream, so that nothing here can use it any more,
    and keeps it for the child to inherit until :meth:`dispose_local_copy`.
    """

    _instead = "hand it over to a child: open_child(command, pipes={'name': end})"

    _used = False
    _handed_over = -1
    _is_gone = False
    _closed_text = "this stream was closed here"

    def hand_over(self) -> str:
        if self._handed_over == -1:
            self._handed_over = self._take_out()
            self._is_gone = True
        return str(self._handed_over)

    def dispose_local_copy(self) -> None:
        # In one step, so that two threads that close do not both close it.
        number = vars(self).pop("_handed_over", -1)
        if number != -1:
            self._close_number(number)

    def _closed_here(self) -> trio.ClosedResourceError:
        if self._is_gone:
            return trio.ClosedResourceError("this end was handed over; it is the child's now")
        return trio.ClosedResourceError(self._closed_text)

    @abstractmethod
    def _take_out(self) -> int:
        """The number, which the stream has no more.

        Raises:
            trio.ClosedResourceError, trio.BusyResourceError, RuntimeError: as ``hand_over`` says.
        """

    @abstractmethod
    def _close_number(self, number: int) -> None:
        """Gives it back to the system."""
