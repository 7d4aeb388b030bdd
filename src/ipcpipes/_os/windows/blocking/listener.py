"""Windows: the instances of a named pipe without an event loop."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any

from ...common.accept_status import AcceptStatus
from ...common.threaded_listener import ConnectionT, ThreadedListener
from .. import calls, listening as instances
from . import connecting as connections, stream as streams

assert sys.platform == "win32" or not TYPE_CHECKING


class Listener(instances.ListeningPipe[ConnectionT], ThreadedListener[ConnectionT]):
    """Pipe instances; the event that clients set wakes for everything else too. See
    :class:`ipcpipes.blocking.abc.Listener`.
    """

    _connections = connections.BLOCKING

    def __init__(self, *arguments: Any, **options: Any) -> None:
        instances.ListeningPipe.__init__(self, *arguments, **options)
        # Last: from then on the finalizer expects all attributes.
        ThreadedListener.__init__(self)

    def _close(self) -> None:
        self.close()

    def _count_released(self, handle: int = -1) -> None:
        try:
            instances.ListeningPipe._count_released(self)
        finally:
            if handle != -1:
                calls.close(handle)

    def _wait(self, obstacle: AcceptStatus, milliseconds: int) -> None:
        longest = streams.longest_wait()
        wait = longest if milliseconds < 0 else min(longest, milliseconds)
        calls.wait_event(self._event.number, wait)

    def _wake(self) -> None:
        calls.set_event(self._event.number, signalled=True)

    def _give_clients_up(self) -> None:
        self._close_instances()  # and the name with the last one

    def _give_all_up(self) -> None:
        self._event.close()


listen = functools.partial(instances.listen, Listener)
