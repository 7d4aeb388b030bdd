"""Windows: the instances of a named pipe as a trio listener."""

from __future__ import annotations

import functools
import sys
import warnings
from typing import TYPE_CHECKING

import trio

from .... import abc
from ...common.accept_status import EXHAUSTION_PAUSE, AcceptStatus
from .. import calls, listening as instances
from . import connecting as connections

assert sys.platform == "win32" or not TYPE_CHECKING


class Listener(
    instances.ListeningPipe[connections.ConnectionT], abc.Listener[connections.ConnectionT]
):
    """Pipe instances for trio; see :class:`ipcpipes.abc.Listener`."""

    _connector = connections.connector

    def _prepare(self) -> None:
        self._accepting = False
        self._token = trio.lowlevel.current_trio_token()

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
                if not isinstance(found, AcceptStatus):
                    break
                if found is AcceptStatus.EXHAUSTED:
                    await trio.sleep(EXHAUSTION_PAUSE)
                else:
                    # This is no checkpoint if the event is already set.
                    await trio.lowlevel.WaitForSingleObject(self._event.number)
                    await trio.lowlevel.checkpoint()
            await trio.lowlevel.cancel_shielded_checkpoint()
            return found
        finally:
            self._accepting = False
            if self._closed:
                self._event.close()

    def released(self) -> None:
        """Called when a stream that was accepted here is about to close its handle."""
        self._count_released()

    def released_elsewhere(self, handle: int) -> None:
        """The same, called by a finalizer. Closes the handle once the next instance was made."""

        def release() -> None:
            try:
                self.released()
            finally:
                calls.close(handle)

        try:
            self._token.run_sync_soon(release)
        except trio.RunFinishedError:
            calls.close(handle)

    def _require_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this listener was closed here")

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._close_instances()
        if self._accepting:
            calls.set_event(self._event.number, signalled=True)
        else:
            self._event.close()

    async def aclose(self) -> None:
        self._close()
        await trio.lowlevel.checkpoint()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            text = f"unclosed {self!r}"
            self._close()
            # Last: with warnings as errors it raises.
            warnings.warn(text, ResourceWarning, source=self, stacklevel=2)


listen = functools.partial(instances.listen, Listener)
