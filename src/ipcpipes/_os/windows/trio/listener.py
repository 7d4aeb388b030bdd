"""Windows: the instances of a named pipe as a trio listener."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import trio

from ...common.listening import AcceptStatus
from ...common.trio_listener import ConnectionT, TrioListener
from .. import calls, listening as instances
from . import connecting as connections

assert sys.platform == "win32" or not TYPE_CHECKING


class Listener(instances.ListeningPipe[ConnectionT], TrioListener[ConnectionT]):
    """Pipe instances for trio; see :class:`ipcpipes.abc.Listener`."""

    _connector = connections.connector

    _is_waiting = False

    async def _wait(self, status: AcceptStatus) -> None:
        self._is_waiting = True
        try:
            # This is no checkpoint if the event is already set.
            await trio.lowlevel.WaitForSingleObject(self._event.number)
        finally:
            self._is_waiting = False
            if self._closed:
                self._event.close()
        await trio.lowlevel.checkpoint()

    def released(self) -> None:
        """Called when a stream that was accepted here is about to close its handle."""
        self._make_room()

    def released_elsewhere(self, handle: int) -> None:
        """Does the same as :meth:`released`; called by a finalizer. Closes the handle after the
        next instance was made.
        """

        def release() -> None:
            try:
                self.released()
            finally:
                calls.close(handle)

        try:
            self._token.run_sync_soon(release)
        except trio.RunFinishedError:
            calls.close(handle)

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._close_instances()
        if self._is_waiting:
            calls.set_event(self._event.number, signalled=True)
        else:
            self._event.close()
