"""Windows: the instances of a named pipe without an event loop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ...common.listening import AcceptStatus
from ...common.opened import OpenNumbers
from ...common.threaded_listener import ConnectionT, ThreadedListener
from .. import calls, listening as instances
from . import connecting as connections, stream as streams

assert sys.platform == "win32" or not TYPE_CHECKING


class Listener(instances.ListeningPipe[ConnectionT], ThreadedListener[ConnectionT]):
    """Pipe instances for threads. The event that the instances set for a client also wakes the
    accepting thread for any other reason. See :class:`ipcpipes.blocking.abc.Listener`.
    """

    _connector = connections.connector

    def _close(self) -> None:
        self.close()

    def _make_room(self, handle: int = -1) -> None:
        try:
            instances.ListeningPipe._make_room(self)
        finally:
            if handle != -1:
                calls.close(handle)

    def _watched(self, opened: OpenNumbers) -> tuple[tuple[int, ...], streams.Pipe | None]:
        return (self._event.number,), None

    def _wait(self, obstacle: AcceptStatus, milliseconds: int) -> None:
        longest = streams.longest_wait()
        wait = longest if milliseconds < 0 else min(longest, milliseconds)
        calls.wait_event(self._event.number, wait)

    def _wake(self) -> None:
        calls.set_event(self._event.number, signalled=True)

    def _drop_clients(self) -> None:
        self._close_instances()  # the name goes with the last one

    def _close_rest(self) -> None:
        self._event.close()
