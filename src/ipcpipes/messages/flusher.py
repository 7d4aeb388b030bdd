"""Sends in each pass of trio's scheduler what channels have gathered in the pass before."""

from __future__ import annotations

from typing import Protocol

import trio


class Gathering(Protocol):
    """A channel that gathers messages."""

    def _end_pass(self) -> bool:
        """Sends what was gathered in the pass. Returns whether to call this after the next pass
        too.
        """


class Flusher:
    """One task for all channels of a run of trio. It waits while no channel gathers."""

    def __init__(self) -> None:
        self._channels: list[Gathering] = []
        self._parked = trio.lowlevel.ParkingLot()
        trio.lowlevel.spawn_system_task(self._run, name=f"<ipcpipes {Flusher.__name__}>")

    def add(self, channel: Gathering) -> None:
        """Flushes the channel in the next pass."""
        self._channels.append(channel)
        self._parked.unpark()

    async def _run(self) -> None:
        try:
            while True:
                if self._channels:
                    await trio.lowlevel.checkpoint()
                else:
                    await self._parked.park()
                self._flush()
        finally:
            self._flush()  # the run is over; what was gathered in its last pass is not lost

    def _flush(self) -> None:
        channels, self._channels = self._channels, []
        self._channels += [channel for channel in channels if channel._end_pass()]


_flusher: trio.lowlevel.RunVar[Flusher] = trio.lowlevel.RunVar("ipcpipes flusher")


def flusher() -> Flusher:
    """Returns the flusher of this run of trio."""
    try:
        return _flusher.get()
    except LookupError:
        _flusher.set(Flusher())
        return _flusher.get()
