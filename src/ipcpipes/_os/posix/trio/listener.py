"""POSIX: a listening Unix domain socket as a trio listener."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import trio

from ...common.forking import remember
from ...common.listening import AcceptStatus
from ...common.trio_listener import ConnectionT, TrioListener
from .. import calls, listening
from ..opened import OpenDescriptors
from . import connecting as connections

assert sys.platform != "win32" or not TYPE_CHECKING


class Listener(listening.ListeningSocket[ConnectionT], TrioListener[ConnectionT]):
    """A listening socket for trio; see :class:`ipcpipes.abc.Listener`."""

    _connector = connections.connector

    def _prepare(self) -> None:
        super()._prepare()
        self._room = trio.lowlevel.ParkingLot()
        self._watch = OpenDescriptors()  # for waiting; see calls.open_watch
        remember(self)

    async def _wait(self, status: AcceptStatus) -> None:
        if status is AcceptStatus.FULL:
            await self._room.park()
        elif self._file is None:
            await trio.lowlevel.wait_readable(self._fd)
        else:
            await self._wait_and_check_file()

    async def _wait_and_check_file(self) -> None:
        watch, pause = self._watch, listening.FILE_CHECK_PAUSE
        if watch.number == -1:
            calls.open_watch(watch, self._fd, pause)
        if watch.number != -1:
            # A timer is used because a cancel scope takes as long as the rest of accept().
            await trio.lowlevel.wait_readable(watch.numbers[0])
            is_time = calls.has_expired(watch.number) == 1
        else:
            with trio.move_on_after(pause) as scope:
                await trio.lowlevel.wait_readable(self._fd)
            is_time = scope.cancelled_caught
        if is_time:
            self._check_file()
            if self._file is None:
                watch.close()

    def released(self) -> None:
        """Called when an accepted connection is closed."""
        if self._room:
            self._room.unpark()
        self._adjust_queue()

    def released_elsewhere(self) -> None:
        """Does the same as :meth:`released`; called by a finalizer."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self.released)

    def _in_forked_child(self, text: str) -> None:
        super()._in_forked_child(text)
        # Tasks that wait here, trio's epoll(7) and the watch are the parent's.
        self._accepting = False
        self._room = trio.lowlevel.ParkingLot()
        self._watch.close()

    def _close(self) -> None:
        if self._closed:
            return
        if self._claim is not None:
            self._claim.release()
        self._closed = True
        if self._accepting:
            trio.lowlevel.notify_closing(self._fd)
            if self._watch.number != -1:
                trio.lowlevel.notify_closing(self._watch.numbers[0])
        self._watch.close()
        self._close_sockets()
        self._room.unpark_all()
