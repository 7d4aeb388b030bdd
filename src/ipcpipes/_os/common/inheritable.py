"""The part of the ends of anonymous pipes that is the same on every system and in every driver."""

from __future__ import annotations

from abc import abstractmethod

import trio

from .connection_end import ConnectionEnd

_USED = "this end was used in this process; hand over an end that was not used"


class InheritableEnd(ConnectionEnd):
    """An end that can be handed over to a child.

    Handing over takes the descriptor or handle out of the stream, so that this process can no
    longer use it, and keeps it open for the child to inherit, until :meth:`dispose_local_copy`.
    """

    _instead = "hand it over to a child: open_child(command, pipes={'name': end})"

    _used = False
    _handed_over = -1
    _is_gone = False

    @property
    @abstractmethod
    def capacity(self) -> int: ...

    @property
    def send_buffer_size(self) -> int:
        return self.capacity

    @property
    def receive_buffer_size(self) -> int:
        return self.capacity

    def hand_over(self) -> str:
        if self._handed_over == -1:
            self._take_number(self._require_unused)
            self._handed_over, self._taken = self._taken, -1
            self._is_gone = True
        # Each time, because an exception may have interrupted the first time.
        self._prepare_for_child(self._handed_over)
        return str(self._handed_over)

    def _require_unused(self) -> None:
        if self._used:
            raise RuntimeError(_USED)

    def dispose_local_copy(self) -> None:
        # This is one step, so that only one of two threads closes the number.
        number = vars(self).pop("_handed_over", -1)
        if number != -1:
            self._close_number(number)

    def _close(self) -> None:
        super()._close()
        self.dispose_local_copy()

    def _closed_here(self) -> trio.ClosedResourceError:
        if self._is_gone:
            return trio.ClosedResourceError("this end was handed over to a child")
        return super()._closed_here()

    def __del__(self) -> None:
        if self._handed_over != -1:
            self._number, self._handed_over = self._handed_over, -1
        super().__del__()

    @abstractmethod
    def _prepare_for_child(self, number: int) -> None:
        """Puts a descriptor or handle into the mode that a child expects."""

    @abstractmethod
    def _close_number(self, number: int) -> None:
        """Closes a descriptor or handle."""
