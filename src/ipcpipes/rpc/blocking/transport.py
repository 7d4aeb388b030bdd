"""Sends and receives frames without an event loop, over a stream of ipcpipes or any other
transport.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, starmap
from typing import Any, TypeAlias

import trio

from ..._os import blocking as _os
from ..._os.common.deadline import Deadline
from ...abc import PeerIdentity
from ...blocking import MessageChannel
from ...blocking.abc import BareStream, MessageChannel as AnyChannel
from ...framing import LengthPrefixed, Splitter
from ..errors import CommFailure
from ..wire.format import MAX_FRAME, MOST_FRAME, Frame, Limits
from ..wire.frames import FrameReader
from ..wire.joining import joined

__all__ = ["FrameTransport", "StreamTransport", "Transport", "torn", "transport_of"]

Transport: TypeAlias = BareStream | AnyChannel
"""A blocking stream, which carries each frame after its length in four bytes, little-endian; or a
blocking channel, each of whose messages is a frame."""


# For a call without arguments.
_ONCE: tuple[tuple[()], ...] = ((),)


def torn() -> CommFailure:
    """Makes the error for an operation after a signal handler has raised an exception in the middle
    of a step. It is not known how far the step got, so no other step may follow it, not even the
    same step again.
    """
    return CommFailure("an operation was interrupted in the middle of a step")


class FrameTransport:
    """Sends and receives frames. One thread may send while another one receives.

    After an exception has interrupted an operation, the next operation continues exactly where it
    was, or raises :func:`torn`. So a step that cannot be continued is noted before it begins, and
    only the next thread with the same task reads the note.

    Lifetime: it owns the transport, and closes it.

    Attributes:
        limits: what this end accepts, reduced to what the transport can carry.
        frames: the frames that were received and not processed.
    """

    def __init__(self, transport: Any, limits: Limits) -> None:
        self._transport = transport
        self.limits = limits
        self.frames: deque[bytes | Frame] = deque()

    @property
    def peer(self) -> PeerIdentity:
        peer: PeerIdentity = getattr(self._transport, "peer", PeerIdentity())
        return peer

    def receive(self, deadline: Deadline | None) -> None:
        """Waits for the next data, and puts its frames into :attr:`frames`. The data may not
        complete a frame.

        Raises:
            TimeoutError: nothing has arrived in time.
            trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError: it has ended.
            ProtocolError: the data is not a frame.
            CommFailure: the stream has ended inside a frame; or an earlier receive was interrupted
                in the middle of a step.
        """
        raise NotImplementedError

    def load(self, frames: Sequence[bytes]) -> None:
        """Takes the frames to send next. The system has already taken all earlier frames."""
        raise NotImplementedError

    def lend(self, frames: Sequence[bytes], memory: memoryview) -> None:
        """Does the same as :meth:`load`, with the caller's memory as the rest of the last frame,
        until :meth:`keep`.
        """
        raise NotImplementedError

    def keep(self) -> None:
        """Copies the part of the lent memory that was not sent."""

    def send_now(self) -> bool:
        """Sends as much as possible without waiting, if the transport can do that. Returns whether
        all was sent.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: it has ended.
            CommFailure: an earlier send was interrupted in the middle of a step.
        """
        raise NotImplementedError

    def send_on(self, milliseconds: int) -> bool:
        """Waits for room, at most for this time, and then does the same as :meth:`send_now`. A
        transport that cannot wait for room has sent everything before.
        """
        return True

    def send_or_receive(self, milliseconds: int) -> bool:
        """Does the same as :meth:`send_on`. It also receives data that arrives in the meantime,
        which ends the wait too.
        """
        return True

    def close(self) -> None:
        """Closes the transport. Any thread may call this. Threads that wait for the transport are
        woken.
        """
        self._transport.close()

    def __repr__(self) -> str:
        return repr(self._transport)


class StreamTransport(FrameTransport):
    """Sends and receives at once, over a stream of ipcpipes. :meth:`send_now` never waits.

    Attributes:
        came: what was received and not split into frames yet, as :class:`Duplex` has it.
        reader: splits it.
        duplex: the stream. To load it in one step, in which no signal handler runs, assign what
            :meth:`Duplex.prepared` has returned to its ``outgoing``.
    """

    def __init__(self, stream: _os.Stream, limits: Limits) -> None:
        super().__init__(stream, limits)
        self.duplex = _os.Duplex(stream)
        self.came: deque[Any] = self.duplex.came
        self.reader = FrameReader(limits.max_frame)
        self._buffer: memoryview | None = None  # for the next data, if much is expected
        self._splitting = False
        # These methods are looked up once, because they are called for every frame.
        self.send_now = self.duplex.send_now  # type: ignore[method-assign]
        self.send_on = self.duplex.send_on  # type: ignore[method-assign]
        self.keep = self.duplex.keep  # type: ignore[method-assign]
        self._feed = self.reader.feed

    def receive(self, deadline: Deadline | None) -> None:
        if self._splitting:
            raise torn()
        if not self.came:
            self.duplex.receive(deadline, self._place if self.reader.expects_much else None)
        self._split()

    def _place(self) -> memoryview:
        self._buffer = self.reader.get_buffer()
        assert self._buffer is not None
        return self._buffer

    def _split(self) -> None:
        """Splits the received bytes into frames."""
        if self._splitting:
            raise torn()
        self._splitting = True
        came = self.came[0]
        if not came:
            self._splitting = False
            self._end()
        elif type(came) is bytes:
            self.frames.extend(self._feed(came))
        else:
            assert self._buffer is not None
            buffer, self._buffer = self._buffer, None
            self.frames.extend(self.reader.buffer_updated(buffer, came))
        self.came.popleft()
        self._splitting = False

    def _end(self) -> None:
        self.reader.end()
        raise trio.EndOfChannel("the other end has closed")

    def load(self, frames: Sequence[bytes]) -> None:
        self.duplex.load(joined(frames))

    def lend(self, frames: Sequence[bytes], memory: memoryview) -> None:
        self.duplex.lend(joined(frames, len(memory)), memory)

    def send_or_receive(self, milliseconds: int) -> bool:
        place = self._place if self.reader.expects_much else None
        sent = self.duplex.send_or_receive(milliseconds, place)
        if self.came:
            self._split()
        return sent

    def close(self) -> None:
        self.duplex.give_up()
        super().close()


class _ForeignTransport(FrameTransport):
    """Sends and receives over any other transport. A thread that sends cannot receive at the same
    time.
    """

    def __init__(self, channel: Any, limits: Limits) -> None:
        size = getattr(channel, "max_size", MOST_FRAME)
        # This raises ValueError if the messages of the channel are too small.
        limits = replace(limits, max_frame=min(limits.max_frame, size), carried=size)
        super().__init__(channel, limits)
        self._channel = channel
        self._sending = False
        self._many = hasattr(channel, "receive_many") and hasattr(channel, "send_many")
        self._outgoing: Sequence[bytes] = ()

    def receive(self, deadline: Deadline | None) -> None:
        timeout = {} if deadline is None else {"timeout": deadline.remaining}
        # The received data goes from the channel to ``frames`` in one step, in which no signal
        # handler can run, so that no handler can lose the data.
        if self._many:
            came = starmap(partial(self._channel.receive_many, **timeout), _ONCE)
            self.frames.extend(chain.from_iterable(came))
        else:
            self.frames.extend(starmap(partial(self._channel.receive, **timeout), _ONCE))

    def load(self, frames: Sequence[bytes]) -> None:
        self._outgoing = frames

    def lend(self, frames: Sequence[bytes], memory: memoryview) -> None:
        self._outgoing = [*frames[:-1], b"".join((frames[-1], memory))]

    def send_now(self) -> bool:
        if self._sending:
            raise torn()
        self._sending = True
        if self._many:
            self._channel.send_many(self._outgoing)
        else:
            for frame in self._outgoing:
                self._channel.send(frame)
        self._outgoing = ()
        self._sending = False
        return True


@dataclass(frozen=True)
class _ReceivesUpTo(LengthPrefixed):
    """Sends frames that the other end accepts; they may be larger than this end accepts."""

    most: int = MAX_FRAME

    def splitter(self) -> Splitter:
        return LengthPrefixed(max_size=self.most).splitter()


def transport_of(transport: Transport, limits: Limits) -> FrameTransport:
    """Raises:
    TypeError: ``transport`` is neither a blocking stream nor a blocking channel.
    """
    if isinstance(transport, _os.Stream):
        return StreamTransport(transport, limits)
    if callable(getattr(transport, "send_all", None)):
        framing = _ReceivesUpTo(max_size=MOST_FRAME, most=limits.max_frame)
        channel: Any = MessageChannel(transport, framing)  # type: ignore[arg-type]
        return _ForeignTransport(channel, limits)
    for name in ("send", "receive", "close"):
        if not callable(getattr(transport, name, None)):
            raise TypeError(
                f"calls go over a blocking stream or a blocking message channel, not {transport!r}"
            )
    return _ForeignTransport(transport, limits)
