"""The server's end of a connection under trio: short calls run in the task that reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from ..core.call import Call
from ..core.events import Event
from ..core.session import Session
from ..errors import CommFailure
from ..wire.format import Frame
from .link import Link
from .running import Suspended
from .transport import FrameTransport

__all__ = ["ServerLink"]

_OF_CONNECTION = frozenset({Event.BOUND, Event.REFUSED, Event.REQUEST})


class ServerLink(Link):
    """See :class:`Link`.

    Attributes:
        scope: that of the task that reads, and so of a call that begins in it and has to wait.
    """

    def __init__(
        self,
        frame_transport: FrameTransport,
        session: Session,
        on_event: Callable[[Event, Call | None], Suspended | None],
        *,
        keep_alive: float | None,
    ) -> None:
        super().__init__(frame_transport, session, keep_alive=keep_alive)
        self._on_event = on_event
        self.scope = trio.CancelScope()
        # What has come and was not looked at, for whichever task reads next; no task holds it
        # otherwise, while it waits.
        self._frames: deque[bytes | Frame] = deque()

    # A KeyboardInterrupt comes where it waits: a call's task that was interrupted before it waits
    # for what it has said it would could be waked up twice.
    @trio.lowlevel.enable_ki_protection
    async def _read(self) -> None:
        """Takes what comes until the connection ends; or becomes the task of a call that has to
        wait, and another one reads on.
        """
        # Entered here, for a call that has to wait can enter none any more; and not for each call
        # that begins, which would cost as much as all the rest of a short one.
        with trio.CancelScope() as scope:
            self.scope = scope
            try:
                waiting = await self._take_until_one_waits()
            except BaseException:
                self.close(CommFailure("the connection was closed"))
                await self._end()
                raise
            if waiting is None:
                await self._end()
            else:
                self.start_soon(self._read)
                await waiting.finish()
        if scope.cancelled_caught and waiting is not None:
            waiting.on_cancelled()

    async def _take_until_one_waits(self) -> Suspended | None:
        """The call that waits, or ``None`` at the end."""
        while self.session.failure is None:
            if not self._frames:
                self._frames = deque(await self._receive())
            waiting = self._take_all()
            if waiting is not None:
                return waiting
            if self.is_full:
                # A client that does not read its answers cannot have more of them made. A client
                # reads on, whatever waits to be sent: were both ends to wait for the other, they
                # would for ever.
                await self.wait_room()
        return None

    def _take_all(self) -> Suspended | None:
        """Up to a call that waits, in this task."""
        frames = self._frames
        self._batching = True
        waiting = None
        try:
            while frames and waiting is None:
                event, call = self._take(frames.popleft())
                if event in _OF_CONNECTION:
                    waiting = self._on_event(event, call)
                if self.session.failure is not None or self.is_full:
                    break
        finally:
            self._batching = False
        self.flush(at_once=True)
        return waiting
