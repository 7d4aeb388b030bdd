"""The server's end of a connection under trio: short calls run in the task that reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from ..core.call import Call
from ..core.events import Event
from ..core.plain import request_in, take_request
from ..core.session import Session
from ..errors import CommFailure
from ..wire.format import Frame
from ..wire.frames import READ_SIZE
from .link import GONE, Link
from .running import Suspended
from .transport import FrameTransport

if TYPE_CHECKING:
    from ..._os import Stream

__all__ = ["ServerLink"]

# So many answers are sent together. With many more, the ends would work in turns, and not at the
# same time.
ANSWERS = 16

_REQUEST = Event.REQUEST  # looked up once; session.py says why
_OF_CONNECTION = frozenset({Event.BOUND, Event.REFUSED, Event.REQUEST})


class ServerLink(Link):
    """See :class:`Link`.

    Attributes:
        scope: the cancel scope of the task that reads, and so of a call that begins in that task
            and has to wait.
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
        # Frames that have arrived and were not processed. The next task that reads takes them; a
        # task that waits holds no frames in its variables.
        self._frames: deque[bytes | Frame] = deque()

    # KeyboardInterrupt is raised where a task waits. If the task of a call were interrupted after
    # its coroutine has told trio to wait, and before it does wait, it could be woken twice.
    @trio.lowlevel.enable_ki_protection
    async def _read(self) -> None:
        """Processes frames until the connection ends. If a call has to wait, this task becomes the
        task of that call, and a new task continues to read.
        """
        # The scope is entered here, because a call that has to wait can no longer enter a scope. It
        # is not entered for each call, because that would cost as much as the rest of a short call.
        waiting: Suspended | None = None
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
        """Processes frames until a call waits, and returns that call; ``None`` at the end of the
        connection.
        """
        while self.session.failure is None:
            waiting = None
            if self._frames or self._stream is None or not self.transport.reader.is_at_head:
                if not self._frames:
                    self._frames = deque(await self._receive())
                waiting = self._take_all()
            else:
                waiting = await self._take_next(self._stream)
            if waiting is not None:
                return waiting
            if self.is_full:
                # If a client does not read its answers, the server makes no more of them. A client
                # always continues to read: if both ends waited for each other, they would wait
                # forever.
                await self.wait_room()
        return None

    async def _take_next(self, stream: Stream) -> Suspended | None:
        """Receives data and processes it as :meth:`_take_all` does. If it only begins a plain call,
        this takes few steps.
        """
        try:
            came = await stream._receive_buffered(self.transport.reader.get_buffer, READ_SIZE)
        except GONE as error:
            self._close_after(error)
            return None
        call = request_in(self.session, came) if type(came) is bytes else None
        if call is None:
            self._frames = deque(self._frames_in(came))
            return self._take_all()
        self._heard = True
        self._batching = True
        try:
            return self._on_event(_REQUEST, call)
        finally:
            self._batching = False
            self.flush(at_once=True)

    def _take_all(self) -> Suspended | None:
        """Processes frames in this task, up to a call that waits, and returns that call."""
        frames, session = self._frames, self.session
        self._batching = True
        waiting = None
        try:
            while frames and waiting is None:
                frame = frames.popleft()
                call = take_request(session, frame) if type(frame) is Frame else None
                if call is not None:
                    del frame  # it may be large
                    waiting = self._on_event(_REQUEST, call)
                else:
                    event, call = self._take(frame)
                    del frame
                    if event in _OF_CONNECTION:
                        waiting = self._on_event(event, call)
                if len(session.output) >= ANSWERS:
                    self.flush(at_once=True)
                if session.failure is not None or self.is_full:
                    break
        finally:
            self._batching = False
        self.flush(at_once=True)
        return waiting
