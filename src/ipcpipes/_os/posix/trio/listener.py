"""POSIX: a listening Unix domain socket as a trio listener."""

from __future__ import annotations

import contextlib
import sys
import weakref
from typing import TYPE_CHECKING, Any

import trio

from ...common.forking import remember
from ...common.listening import AcceptStatus
from ...common.trio_listener import ConnectionT, TrioListener
from .. import listening
from . import connecting as connections

assert sys.platform != "win32" or not TYPE_CHECKING


class Listener(listening.ListeningSocket[ConnectionT], TrioListener[ConnectionT]):
    """A listening socket for trio; see :class:`ipcpipes.abc.Listener`."""

    _connector = connections.connector

    def _prepare(self) -> None:
        super()._prepare()
        self._room = trio.lowlevel.ParkingLot()
        self._watch: trio.CancelScope | None = None
        self._watch_failure: Exception | None = None  # for the next accept()
        remember(self)

    async def _wait(self, status: AcceptStatus) -> None:
        if status is AcceptStatus.FULL:
            await self._room.park()
        else:
            if self._watch_failure is not None:
                failure, self._watch_failure = self._watch_failure, None
                raise failure
            if self._watch is None and self._file is not None:
                self._watch = trio.CancelScope()
                trio.lowlevel.spawn_system_task(_watch_file, weakref.ref(self), self._watch)
            await trio.lowlevel.wait_readable(self._fd)

    def released(self) -> None:
        """Called when an accepted connection is closed."""
        self._room.unpark()
        self._adjust_queue()

    def released_elsewhere(self) -> None:
        """Does the same as :meth:`released`; called by a finalizer."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self.released)

    def _in_forked_child(self, text: str) -> None:
        super()._in_forked_child(text)
        # Tasks that wait here, and the epoll(7) that has the socket, are the parent's.
        self._accepting = False
        self._room = trio.lowlevel.ParkingLot()

    def _close(self) -> None:
        if self._closed:
            return
        if self._claim is not None:
            self._claim.release()
        self._closed = True
        if self._accepting:
            trio.lowlevel.notify_closing(self._fd)
        self._close_sockets()
        self._room.unpark_all()

    async def aclose(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        await super().aclose()


async def _watch_file(listener: weakref.ref[Listener[Any]], scope: trio.CancelScope) -> None:
    """Checks regularly whether clients still find the listener. This is a task of its own, because
    a time limit for each wait in accept() costs a fifth of what accepting a client costs. It keeps
    no reference to the listener, so that one that is not closed is still found and reported.
    """
    with scope:
        while True:
            await trio.sleep(listening.FILE_CHECK_PAUSE)
            watched = listener()
            if watched is None or watched._closed or watched._file is None:
                return
            try:
                watched._check_file()
            except Exception as error:  # a system task must not raise: that would end trio.run()
                watched._watch_failure = error
                return
            del watched
