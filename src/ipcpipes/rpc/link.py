"""One end of a connection under trio: a task that reads, and one that writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from .carrier import Carrier
from .errors import CommFailure, ProtocolError, RpcError
from .session import Event, Happened, Session

if TYPE_CHECKING:
    from typing_extensions import TypeVarTuple, Unpack

    ArgumentsT = TypeVarTuple("ArgumentsT")

__all__ = ["Link"]

# With so much waiting to be sent, who pushes waits too, and a server begins no new calls.
FULL = 1024 * 1024


class Link:
    """One end of a connection.

    Lifetime: it owns the carrier, which is closed when reading has come to its end. The writer
    takes all that has gathered since it last looked; who has something to send only says so, and so
    many small frames go in one system call.
    """

    def __init__(
        self,
        carrier: Carrier,
        session: Session,
        on_event: Callable[[Happened], None],
        *,
        keep_alive: float | None,
    ) -> None:
        self.carrier = carrier
        self.session = session
        self._on_event = on_event
        self._keep_alive = keep_alive
        self._heard = False
        self._to_write = trio.Event()
        self._writing = False
        self._room = trio.lowlevel.ParkingLot()
        self._idle = trio.lowlevel.ParkingLot()
        self._nursery: trio.Nursery | None = None

    @property
    def is_full(self) -> bool:
        """Whether who has more to send should wait."""
        return self.session.output_size > FULL

    async def wait_room(self) -> None:
        """Waits while there is too much to be sent."""
        while self.is_full and self.session.failure is None:
            await self._room.park()

    def flush(self) -> None:
        """Has the output sent, soon."""
        if self.session.has_output:
            self._to_write.set()

    async def run(self) -> None:
        """Reads and writes until the connection ends, which is no error here: each call on it says
        so, and ``session.failure`` does.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._write)
            if self._keep_alive is not None:
                nursery.start_soon(self._watch, self._keep_alive)
            try:
                await self._read()
            except trio.Cancelled:
                self.close(CommFailure("the connection was closed"))
                raise
            finally:
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await self._say_last_words()
                    await self.carrier.aclose()

    def start_soon(
        self,
        function: Callable[[Unpack[ArgumentsT]], Awaitable[object]],
        *arguments: Unpack[ArgumentsT],
    ) -> None:
        """Runs it as a task of the connection, which ends with it at the latest."""
        assert self._nursery is not None
        self._nursery.start_soon(function, *arguments)

    async def _read(self) -> None:
        session = self.session
        try:
            while session.failure is None:
                # Between these no task runs: what a batch brings is answered in one.
                for message in await self.carrier.receive():
                    self._heard = True
                    self._take(message)
                    if session.failure is not None:
                        return
                self.flush()
                # A client that does not read its answers cannot have more of them made.
                await self.wait_room()
        except (trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.close(CommFailure(f"the connection ended ({error})"))

    def _take(self, message: bytes) -> None:
        try:
            happened = self.session.receive(message)
        except ProtocolError as error:
            self.close(error)
            return
        if self.session.failure is not None:
            self.close(self.session.failure)
            return
        call = happened.call
        if call is not None and call.owner is not None:
            call.owner.wake(happened.event)
        if happened.event is not Event.PROGRESS:
            self._on_event(happened)

    def close(self, failure: RpcError) -> None:
        """The connection has ended, or has to: every call on it has failed."""
        calls = list(self.session.calls.values())
        self.session.close(failure)
        for call in calls:
            if call.owner is not None:
                call.owner.wake(Event.ORPHANED)
        self._room.unpark_all()
        self._on_event(Happened(Event.SHUTDOWN))

    async def _write(self) -> None:
        session = self.session
        try:
            while True:
                await self._to_write.wait()
                self._to_write = trio.Event()
                while session.has_output:
                    notified = session.take_notified()
                    await self._send()
                    for call in notified:
                        call.owner.sent()
                self._room.unpark_all()
                self._idle.unpark_all()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            # Reading finds the end itself, after what came before it; a peer that neither reads nor
            # closes its end has to be left.
            if session.failure is None:
                self.close(CommFailure(f"the connection ended ({error})"))
            await self.carrier.aclose()

    async def _send(self) -> None:
        frames = self.session.take_output()
        self._writing = True
        await self.carrier.send(frames)
        self._writing = False
        self._room.unpark_all()

    async def _say_last_words(self) -> None:
        """Sends what is left, such as the reason of an end; not for long, and not into a frame."""
        if not self._writing and self.session.has_output:
            with trio.move_on_after(0.5):
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._send()

    async def drain(self) -> None:
        """Waits until all that is to be sent was sent, or cannot be."""
        self.flush()
        while (self._writing or self.session.has_output) and self.session.failure is None:
            await self._idle.park()

    async def _watch(self, seconds: float) -> None:
        """Asks the other end whether it is there, when it has not been heard for a while."""
        while True:
            self._heard = False
            await trio.sleep(seconds)
            if self._heard:
                continue
            if self.session.pings:
                self.close(CommFailure(f"the other end was silent for {2 * seconds:g} s"))
                await self.carrier.aclose()
                return
            self.session.ping()
            self.flush()
