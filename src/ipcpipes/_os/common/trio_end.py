"""One end of a connection under trio; the same on every system."""

from __future__ import annotations

from collections.abc import Callable

import trio

from ... import abc
from .connection_end import ConnectionEnd
from .own_thread import ResultT, run_as


class TrioEnd(ConnectionEnd, abc.Connection):
    """Lets one task send and one receive at a time.

    Attributes:
        _sending, _receiving: whether a task is sending, or receiving.
    """

    _sending = False
    _receiving = False

    async def run_as_client(self, fn: Callable[..., ResultT], *args: object) -> ResultT:
        return await run_as(self._accepted_client(), fn, args)

    def _begin_anew(self) -> None:
        self._sending = self._receiving = False

    async def aclose(self) -> None:
        self._close()
        await trio.lowlevel.checkpoint()

    def _take_number(self, check: Callable[[], object]) -> None:
        if self._number == -1:
            raise self._closed_here()
        if self._sending or self._receiving:
            raise trio.BusyResourceError("another task is using this end")
        check()
        self._taken, self._number = self._number, -1
