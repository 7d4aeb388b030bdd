"""A trio listener; the same on every system."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import TypeVar

import trio

from ... import abc
from .listening import EXHAUSTION_PAUSE, AcceptStatus, ListenerCore
from .trio_end import TrioEnd

ConnectionT = TypeVar("ConnectionT", bound=TrioEnd)


class TrioListener(ListenerCore[ConnectionT], abc.Listener[ConnectionT]):
    """Adds waiting to the system's part of a listener; see :class:`ipcpipes.abc.Listener`."""

    def _prepare(self) -> None:
        self._accepting = False
        self._token = trio.lowlevel.current_trio_token()

    @property
    def connection_count(self) -> int:
        return len(self._taken)

    async def accept(self) -> ConnectionT:
        if self._accepting:
            raise trio.BusyResourceError("another task is accepting from this listener")
        self._accepting = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            has_waited = False
            while True:
                self._require_open()
                found = self._next_client()
                if not isinstance(found, AcceptStatus):
                    break
                if found is AcceptStatus.EXHAUSTED:
                    await trio.sleep(EXHAUSTION_PAUSE)
                elif found is AcceptStatus.VANISHED:
                    await trio.lowlevel.checkpoint()
                else:
                    await self._wait(found)
                has_waited = True
            if not has_waited:
                await trio.lowlevel.cancel_shielded_checkpoint()
            return found
        finally:
            self._accepting = False

    @trio.lowlevel.enable_ki_protection
    def _is_ready(self) -> bool:
        """Returns whether a client waits that :meth:`accept` would return. Such a client is
        accepted here, and kept: otherwise it might be one that accept would turn away.

        Raises:
            trio.BusyResourceError, trio.ClosedResourceError: as for :meth:`accept`.
        """
        if self._accepting:
            raise trio.BusyResourceError("another task is accepting from this listener")
        self._require_open()
        found = self._next_client()
        if not isinstance(found, AcceptStatus):
            self._kept = found
        return self._kept is not None

    @trio.lowlevel.enable_ki_protection
    async def _wait_ready(self) -> None:
        """Waits until :meth:`_is_ready` returns true."""
        self._kept = await self.accept()

    async def aclose(self) -> None:
        self._close()
        await trio.lowlevel.checkpoint()

    def __del__(self) -> None:
        if self._closed:
            return
        text = f"unclosed {self!r}"
        self._accepting = False  # a task that was inside has ended with its event loop
        self._close()
        # This is the last step, because it raises if warnings are errors.
        warnings.warn(text, ResourceWarning, source=self, stacklevel=2)

    @abstractmethod
    async def _wait(self, status: AcceptStatus) -> None:
        """Waits until another accept may succeed."""

    @abstractmethod
    def _close(self) -> None:
        """Closes, without a checkpoint. Idempotent."""


def accept_waiting(listener: TrioListener[ConnectionT], limit: int) -> list[ConnectionT]:
    """Accepts the clients that are waiting, ``limit`` at most. No task may be accepting."""
    found: list[ConnectionT] = []
    while len(found) < limit:
        connection = listener._next_client()
        if not isinstance(connection, AcceptStatus):
            found.append(connection)
        elif connection is not AcceptStatus.VANISHED:
            break
    return found
