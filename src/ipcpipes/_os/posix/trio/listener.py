"""POSIX: a listening Unix domain socket as a trio listener."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import warnings
from typing import TYPE_CHECKING

import trio

from .... import abc
from ...common.accept_status import EXHAUSTION_PAUSE, AcceptStatus
from ...common.forking import remember
from .. import listening
from . import connecting as connections

assert sys.platform != "win32" or not TYPE_CHECKING


class Listener(
    listening.ListeningSocket[connections.ConnectionT], abc.Listener[connections.ConnectionT]
):
    """A listening socket for trio; see :class:`ipcpipes.abc.Listener`."""

    _connector = connections.connector

    def _prepare(self) -> None:
        self._room = trio.lowlevel.ParkingLot()
        self._accepting = False
        self._token = trio.lowlevel.current_trio_token()
        remember(self)

    @property
    def connection_count(self) -> int:
        return len(self._taken)

    async def accept(self) -> connections.ConnectionT:
        if self._accepting:
            raise trio.BusyResourceError("another task is accepting from this listener")
        self._accepting = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            while True:
                self._require_open()
                found = self._try_accept()
                if found is AcceptStatus.FULL:
                    await self._room.park()
                elif found is AcceptStatus.NO_CLIENT:
                    await self._wait_for_client()
                elif found is AcceptStatus.EXHAUSTED:
                    await trio.sleep(EXHAUSTION_PAUSE)
                elif isinstance(found, AcceptStatus):
                    await trio.lowlevel.checkpoint()
                else:
                    break
            await trio.lowlevel.cancel_shielded_checkpoint()
            return found
        finally:
            self._accepting = False

    async def _wait_for_client(self) -> None:
        if self._file is None:
            await trio.lowlevel.wait_readable(self._fd)
            return
        with trio.move_on_after(listening.FILE_CHECK_PAUSE) as scope:
            await trio.lowlevel.wait_readable(self._fd)
        if scope.cancelled_caught:
            self._check_file()

    def released(self) -> None:
        """An accepted connection is closed."""
        self._room.unpark()
        self._count_released()

    def released_elsewhere(self) -> None:
        """The same, from a finalizer."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self.released)

    def _in_forked_child(self, text: str) -> None:
        super()._in_forked_child(text)
        # Tasks that wait here, and the epoll(7) that has the socket, are the parent's.
        self._accepting = False
        self._room = trio.lowlevel.ParkingLot()

    def _require_open(self) -> None:
        if self._fd == -1:
            raise trio.ClosedResourceError("this listener was closed here")

    def _close(self) -> None:
        if self._fd == -1:
            return
        if self._claim is not None:
            self._claim.release()
        if self._accepting:
            trio.lowlevel.notify_closing(self._fd)
        self._close_sockets()
        self._room.unpark_all()

    async def aclose(self) -> None:
        self._close()
        await trio.lowlevel.checkpoint()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) == -1:
            return
        text = f"unclosed {self!r}"
        if self._claim is not None:
            self._claim.release()
        os.close(self._fd)
        self._blocker.close()
        self._early.close()
        self._candidate.close()
        # Last: with warnings as errors it raises.
        warnings.warn(text, ResourceWarning, source=self, stacklevel=2)


listen = functools.partial(listening.listen, Listener)
