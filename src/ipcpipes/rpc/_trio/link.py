"""One end of a connection under trio: the parts of reading that both ends share, and the task that
writes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from ..._os.common.forking import remember
from ..core.events import Event, Happened
from ..core.session import Session
from ..errors import CommFailure, ProtocolError, RpcError
from ..wire.format import Frame
from .transport import FrameTransport, joined

if TYPE_CHECKING:
    from typing_extensions import TypeVarTuple, Unpack

    from ..._os import Stream

    ArgumentsT = TypeVarTuple("ArgumentsT")

__all__ = ["GONE", "Link", "check_keep_alive"]

# A client may answer later by the NAP of client_link, so a shorter time is refused.
LEAST_KEEP_ALIVE = 0.04  # seconds
# With so many bytes of output, pushes wait, and a server begins no new calls.
FULL = 1024 * 1024
# A period of keep_alive is divided into this many parts. A part in which this end did not run,
# because a step of its program took long or the process was stopped, is counted again.
PARTS = 4
# How many passes of the scheduler a reading task needs to read what has arrived, also through
# layers of streams.
PASSES = 5
# With at most this many open calls, each frame is sent at once. With more, the frames of one pass
# of the scheduler are sent together, which costs a pass and saves a system call for each frame.
FEW = 4

# KeyboardInterrupt is raised where a task waits, and not between its steps.
_ki_protected = trio.lowlevel.enable_ki_protection

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


def check_keep_alive(seconds: float | None) -> None:
    """Raises:
    TypeError, ValueError: ``seconds`` is not a number, or too short for a client that naps.
    """
    if seconds is not None and not seconds >= LEAST_KEEP_ALIVE:
        raise ValueError(f"keep_alive must be {LEAST_KEEP_ALIVE} seconds or more, not {seconds!r}")


class Link:
    """One end of a connection.

    Lifetime: it owns the transport, and closes it when reading has ended. A little output is sent
    at once if the system takes it; otherwise the writer task sends all accumulated output.

    Attributes:
        has_ended: reading has ended, and no new task begins here.
        is_of_parent: this process is a forked child of the process that made the link.
    """

    def __init__(
        self,
        frame_transport: FrameTransport,
        session: Session,
        *,
        keep_alive: float | None,
    ) -> None:
        self.transport = frame_transport
        self.session = session
        session.owner = self
        self._stream = frame_transport.own_stream
        self._keep_alive = keep_alive
        self._heard = False
        self._batching = False  # frames are processed, and their output is sent together
        self._writing = False  # the writer, or a push, is sending
        self._lent = False  # a push is sending its memory, and not the writer
        self._rest = b""
        self._writer = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        self._nursery: trio.Nursery | None = None
        self.has_ended = False
        self.is_of_parent = False
        remember(self)

    @property
    def is_full(self) -> bool:
        """Whether a task with more to send should wait."""
        return self.session.output_size + len(self._rest) > FULL

    @property
    def takes_memory(self) -> bool:
        """Whether :meth:`send_memory` may be used now."""
        return self._stream is not None and not self._writing

    async def wait_room(self) -> None:
        """Waits while there is too much output."""
        while self.is_full and self.session.failure is None:
            await self._room.park()

    async def wait_sent(self) -> None:
        """Waits until all output was sent, or the connection has failed."""
        self.flush()
        while (self._writing or self.session.has_output) and self.session.failure is None:
            await self._room.park()

    def flush(self, *, at_once: bool = False) -> None:
        """Sends the output soon. With ``at_once``, sends now as much as the system takes."""
        session = self.session
        if self._writing or not (session.output or session.dirty):
            return
        if self._stream is not None and (
            at_once or (len(session.calls) <= FEW and not self._batching)
        ):
            self._send_now(self._stream)
        elif not self._batching and self._writer:
            self._writer.unpark()

    def flush_soon(self) -> None:
        """Sends the output in the next pass of the scheduler, with what is added until then."""
        if not self._writing:
            self._writer.unpark()

    def _send_now(self, stream: Stream) -> None:
        """Sends the output as far as the system takes it now. The writer sends the rest."""
        session = self.session
        if session.dirty or session.notified:
            session.complete_output()
        output, session.output = session.output, []
        session.output_size = 0
        if output:  # otherwise it belonged to a call that is over
            self._send_data(stream, joined(output))
        if session.leaving and not self._rest:
            session.sent()

    def _send_data(self, stream: Stream, data: bytes) -> None:
        try:
            sent = stream._send_now(data)
        except GONE:
            sent = 0  # the writer gets the same error and handles it
        if sent < len(data):
            self._rest = data[sent:]
            self._writing = True
            self._writer.unpark()

    async def send_memory(self, head: bytes, octets: memoryview) -> bool:
        """Sends a frame whose body is the user's memory, without a copy. If it is cancelled, the
        rest is copied, and sent later. Check :attr:`takes_memory` first.

        Returns:
            Whether it has waited. If not, it was no checkpoint.
        """
        session, transport = self.session, self.transport
        if session.output or session.dirty:
            first = joined([*session.take_output(), head], len(octets))
        else:
            first = joined((head,), len(octets))
        sent, size = 0, len(first) + len(octets)
        waited = False
        self._writing = self._lent = True
        try:
            sent = transport.send_two_now(first, octets)
            while sent < size and transport.sends_memory:
                await transport.wait_sendable()
                waited = True
                sent += transport.send_two_now(first, octets, sent)
        except GONE:
            pass  # the writer gets the same error
        finally:
            self._lent = False
            if sent < size:
                self._rest = b"".join((first[sent:], octets[max(sent - len(first), 0) :]))
            octets.release()  # otherwise the traceback of a cancellation would hold it
            if self._rest or session.has_output:
                self._writer.unpark()
            else:
                self._writing = False
                if self._room:
                    self._room.unpark_all()
            if session.leaving and not self._rest:
                session.sent()
        return waited

    async def run(self) -> None:
        """Reads and writes until the connection ends. The end is not raised as an exception: each
        open call fails, and ``session.failure`` is set.
        """
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._write)
            if self._keep_alive is not None:
                nursery.start_soon(self._watch, self._keep_alive)
            await self._read()

    async def _read(self) -> None:
        """Processes frames until the connection ends, and calls :meth:`_end` then."""
        raise NotImplementedError

    async def _end(self) -> None:
        assert self._nursery is not None
        self.has_ended = True
        self._nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await self._say_last_words()
            await self.transport.aclose()

    def start_soon(
        self,
        function: Callable[[Unpack[ArgumentsT]], Awaitable[object]],
        *arguments: Unpack[ArgumentsT],
    ) -> None:
        """Runs the function as a task of the connection. The task ends at the latest with the
        connection.
        """
        assert self._nursery is not None
        self._nursery.start_soon(function, *arguments)

    async def _receive(self) -> Sequence[bytes | Frame]:
        """Returns the next frames; none if the connection has ended."""
        try:
            frames = await self.transport.receive()
        except (ProtocolError, CommFailure, trio.EndOfChannel, *GONE) as error:
            self._close_after(error)
            return ()
        self._heard = True
        return frames

    def _frames_in(self, came: bytes | tuple[memoryview, int]) -> Sequence[Frame]:
        """Returns the frames in what a stream has received; none if the connection has ended."""
        try:
            frames = self.transport.frames_in(came)
        except (ProtocolError, CommFailure, trio.EndOfChannel) as error:
            self._close_after(error)
            return ()
        self._heard = True
        return frames

    def _close_after(self, error: Exception) -> None:
        """Ends the connection after an error of the transport."""
        if not isinstance(error, RpcError):
            error = CommFailure(f"the connection ended ({error})")
        self.close(error)

    def _take(self, frame: bytes | Frame) -> Happened:
        """Processes a frame. A peer that violates the protocol ends the connection."""
        try:
            return self.session.receive(frame)
        except ProtocolError as error:
            self.close(error)
            return Event.NOTHING, None

    def close(self, failure: RpcError) -> None:
        """Ends the connection. Every call on it fails."""
        self.session.close(failure)

    def wake_callers(self) -> None:
        """Does nothing: a server begins no calls."""

    def wake_caller(self) -> None:
        """Does nothing: a server begins no calls."""

    def wake_senders(self) -> None:
        self._room.unpark_all()

    def _in_forked_child(self, text: str) -> None:
        """In the child, calls fail and nothing more is sent; the tasks belong to the parent."""
        self.is_of_parent = True
        self.session.close(CommFailure(f"this connection was {text}"), silently=True)
        self._writing = self._lent = True  # forever, so that nothing is sent

    @_ki_protected
    async def _write(self) -> None:
        session = self.session
        try:
            while True:
                while self._lent or not (self._rest or session.has_output):
                    if not self._lent:
                        self._writing = False
                        self._room.unpark_all()
                    await self._writer.park()
                self._writing = True
                if self._rest:
                    await self.transport.send_rest(self._rest)
                    self._rest = b""
                elif session.has_output:
                    # No variable refers to the frames: they may be large, and the next ones may
                    # come much later.
                    await self.transport.send(session.take_output())
                if session.leaving:
                    session.sent()
                self._room.unpark_all()
        except GONE as error:
            # The reading task sees the end itself, after the data before it. But a peer may neither
            # read nor close its end, so the connection is closed here.
            if session.failure is None:
                self.close(CommFailure(f"the connection ended ({error})"))
            await self.transport.aclose()

    async def _say_last_words(self) -> None:
        """Sends the last output, such as the reason for the end, unless a frame is only partly
        sent. It does not wait long.
        """
        if not self._writing and self.session.has_output:
            with trio.move_on_after(0.5), suppress(*GONE):
                await self.transport.send(self.session.take_output())

    @_ki_protected
    async def _watch(self, seconds: float) -> None:
        """Sends a PING when the peer was silent, and ends the connection if no answer comes."""
        session, frame_transport = self.session, self.transport
        while True:
            self._heard = False
            is_held_up, taken = self._writing or session.has_output, frame_transport.taken_count
            await self._let_pass(seconds)
            if self._heard:
                session.pings = 0
            elif not session.pings:
                session.ping()
                self.flush()
            # The PING may still wait behind data that the peer reads slowly.
            elif not is_held_up or taken == frame_transport.taken_count:
                self.close(CommFailure(f"the other end was silent for {2 * seconds:g} s"))
                await frame_transport.aclose()
                return

    async def _let_pass(self, seconds: float) -> None:
        """Waits until this end has run for this long and has read what has arrived.

        The clock alone would end healthy connections: after a long step of this program, the time
        is over before anything was read. And an event that stops this process (a debugger, a closed
        laptop) often stops the other end, too.
        """
        part, left = seconds / PARTS, PARTS
        while left:
            if left == 1 and not self._heard:
                self.have_read()
            due = trio.current_time() + part
            await trio.sleep_until(due)
            if trio.current_time() - due < part:
                left -= 1
        for _ in range(PASSES):
            await trio.lowlevel.checkpoint()

    def have_read(self) -> None:
        """Makes a task read, if no task reads. At a server this does nothing: a task always reads,
        unless there is too much output.
        """
