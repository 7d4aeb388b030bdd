"""The client's end of a connection under trio: the only one who waits for an answer reads it.

A task that reads for others costs one pass of the scheduler more for each answer: one in which it
reads, and one in which who has waited goes on. So a task with the only call of the connection reads
by itself, and another task stands by: it reads where several wait, and when nobody does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import trio

from ..core.call import Call
from ..core.session import Event, Session
from ..errors import CommFailure, RpcError
from ..wire.format import Frame
from .link import OF_PIPES, Link
from .transport import FrameTransport

__all__ = ["ClientLink"]

# When nobody has read for so long, the task that stands by does: it answers whether this end is
# there, and learns when the other one has gone.
NAP = 0.02  # seconds


class ClientLink(Link):
    """See :class:`Link`."""

    def __init__(
        self,
        frame_transport: FrameTransport,
        session: Session,
        on_event: Callable[[Event, Call | None], object],
        *,
        keep_alive: float | None,
    ) -> None:
        super().__init__(frame_transport, session, on_event, keep_alive=keep_alive)
        self._is_read = False  # by some task
        self._turns = 0  # how often one has read for itself
        self._standing_by = trio.lowlevel.ParkingLot()
        self._awaits_turn = False  # who stands by wants to hear when nobody reads any more

    def read_by_others(self) -> None:
        """Has the task that stands by read, if nobody does: a call has begun whose user may be
        elsewhere when something comes for it.
        """
        if not self._is_read:
            self._standing_by.unpark()

    def _have_read(self) -> None:
        self.read_by_others()

    @property
    def may_read(self) -> bool:
        """Whether a task may :meth:`read_answer`: it has the only call, and nobody reads.

        Over streams of others it may not: whether they lose anything where a receive is cancelled
        is not known.
        """
        return not self._is_read and self._sends_now and len(self.session.calls) == 1

    # A KeyboardInterrupt comes where it waits, and not while it looks at what has come.
    @trio.lowlevel.enable_ki_protection
    async def read_answer(self) -> None:
        """Reads what comes next, in the task that waits for it; :attr:`may_read` was asked."""
        self._is_read = True
        try:
            self._take_all(await self._receive())
        finally:
            self._is_read = False
            self._turns += 1
            if self._awaits_turn or self.session.calls or self.session.failure is not None:
                self._standing_by.unpark()

    @trio.lowlevel.enable_ki_protection
    async def _read(self) -> None:
        session = self.session
        try:
            while session.failure is None:
                self._is_read = True
                try:
                    self._take_all(await self._receive())
                finally:
                    self._is_read = False
                if self._sends_now and not session.calls:
                    await self._stand_by()
        except BaseException:
            self.close(CommFailure("the connection was closed"))
            raise
        finally:
            await self._end()

    async def _stand_by(self) -> None:
        """Until somebody has to read for others, or nobody has read for a while."""
        session = self.session
        while session.failure is None:
            turns = self._turns
            with trio.move_on_after(NAP):
                await self._standing_by.park()
            if turns == self._turns and self._is_read:
                # One that takes long. To wake up for each nap would be for nothing.
                self._awaits_turn = True
                await self._standing_by.park()
                self._awaits_turn = False
            elif not self._is_read and (session.calls or turns == self._turns):
                return

    def _take_all(self, frames: Sequence[bytes | Frame]) -> None:
        self._batching = True
        try:
            for frame in frames:
                event, call = self._take(frame)
                if event not in OF_PIPES:
                    self._on_event(event, call)
                if self.session.failure is not None:
                    break
        finally:
            self._batching = False
        self.flush(at_once=True)

    def close(self, failure: RpcError) -> None:
        super().close(failure)
        self._standing_by.unpark()
