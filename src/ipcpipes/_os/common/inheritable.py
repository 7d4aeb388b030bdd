"""The ends of anonymous pipes, as far as every system and driver treats them alike."""

from __future__ import annotations

from abc import ABC, abstractmethod

import trio

from ...abc.uncopied import Uncopied

NO_SETTING = "the size of a pipe is set when it is made: open_anonymous_pipe(capacity=...)"
USED = "this end was used in this process; hand over an end that was not used"


class InheritableEnd(Uncopied, ABC):
    """An end that can be handed over to a child.

    Handing over takes the descriptor or handle out of the stream, so that this process can no
    longer use it, and keeps it open for the child to inherit, until :meth:`dispose_local_copy`.
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
        # One step, so that of two threads only one closes it.
        number = vars(self).pop("_handed_over", -1)
        if number != -1:
            self._close_number(number)

    def _closed_here(self) -> trio.ClosedResourceError:
        if self._is_gone:
            return trio.ClosedResourceError("this end was handed over to a child")
        return trio.ClosedResourceError(self._closed_text)

    @abstractmethod
    def _take_out(self) -> int:
        """Takes the number out of the stream, and returns it.

        Raises:
            trio.ClosedResourceError, trio.BusyResourceError, RuntimeError: as ``hand_over`` says.
        """

    @abstractmethod
    def _close_number(self, number: int) -> None:
        """Closes a descriptor or handle."""
