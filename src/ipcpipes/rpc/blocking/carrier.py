"""What frames travel over, without an event loop: a stream of ours, or whatever else there is."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import trio

from ..._os import blocking as _os
from ..._os.deadline import Deadline
from ...abc import PeerIdentity
from ...blocking import MessageChannel
from ...blocking.abc import BareStream, MessageChannel as AnyChannel
from ...errors import FramingError
from ...framing import LengthPrefixed
from ..wire import Limits

__all__ = ["Carrier", "Transport", "carrier_of"]

Transport: TypeAlias = BareStream | AnyChannel
"""A blocking stream, which carries each frame after its length in four bytes, little-endian; or a
blocking channel, each of whose messages is a frame."""

_pack = struct.Struct("<I").pack


class Carrier(Protocol):
    """Sends and receives frames. One thread may send while another one receives.

    Lifetime: it owns the transport, and closes it.

    Attributes:
        limits: what this end accepts, with what the transport can carry.
        frames: what was received and not looked at.
        is_torn: an exception came in the middle of a step, and nobody knows how far that got.
    """

    limits: Limits
    frames: deque[bytes]

    @property
    def is_torn(self) -> bool: ...
    @property
    def peer(self) -> PeerIdentity: ...

    def receive(self, deadline: Deadline | None) -> None:
        """Waits for what comes next, and puts it into :attr:`frames`; perhaps no whole frame yet.

        Raises:
            TimeoutError: nothing has come in time.
            trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError: it has ended.
        """

    def load(self, frames: Sequence[bytes]) -> None:
        """Takes what is to be sent next; what was before is on its way."""

    def send_now(self) -> bool:
        """Sends what goes without waiting, if the transport can do that; whether that was all.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: it has ended.
        """

    def send_on(self, milliseconds: int) -> bool:
        """The same, once it has waited for room; for so long at the most."""

    def send_or_receive(self, milliseconds: int) -> bool:
        """The same, and what comes meanwhile is received, and ends the wait too."""

    def close(self) -> None:
        """From any thread; it wakes who is inside."""


class _OwnCarrier:
    """Over a stream of ours, which can send and receive at once."""

    def __init__(self, stream: _os.Stream, limits: Limits) -> None:
        self.limits = limits
        self.frames: deque[bytes] = deque()
        self._stream = stream
        self._duplex = _os.Duplex(stream)
        self._came = self._duplex.came
        self._splitter = LengthPrefixed(max_size=limits.max_frame).splitter()
        # Looked up once: they are called for every frame.
        self.send_now = self._duplex.send_now
        self.send_on = self._duplex.send_on
        self._receive = self._duplex.receive
        self._load = self._duplex.load
        self._get_buffer = self._splitter.get_buffer
        self._split = self._splitter.split
        self._splitting = False

    @property
    def is_torn(self) -> bool:
        return self._splitting or self._duplex.is_torn

    @property
    def peer(self) -> PeerIdentity:
        return self._stream.peer

    def receive(self, deadline: Deadline | None) -> None:
        came = self._came
        try:
            if not came:
                buffer = self._get_buffer()
                if buffer is not None:
                    self._receive_body(buffer, deadline)
                    return
                self._receive(deadline)
            self._splitting = True
            while came:
                if not came[0]:
                    self._end()
                self.frames.extend(self._split(came[0]))
                came.popleft()
            self._splitting = False
        except FramingError as error:
            raise trio.BrokenResourceError(str(error)) from error

    def _receive_body(self, buffer: memoryview, deadline: Deadline | None) -> None:
        """The rest of a large frame, straight to where it belongs."""
        count = self._duplex.receive_into(buffer, deadline)
        if count:
            self.frames.extend(self._splitter.buffer_updated(count))
        else:
            self._end()

    def _end(self) -> None:
        self._splitter.end()
        raise trio.EndOfChannel("the other end has closed")

    def load(self, frames: Sequence[bytes]) -> None:
        if len(frames) == 1:
            self._load(_pack(len(frames[0])) + frames[0])
        else:
            parts = [part for frame in frames for part in (_pack(len(frame)), frame)]
            self._load(b"".join(parts))

    def send_or_receive(self, milliseconds: int) -> bool:
        sent = self._duplex.send_or_receive(milliseconds)
        if self._came:
            self.receive(None)
        return sent

    def close(self) -> None:
        self._duplex.give_up()
        self._stream.close()

    def __repr__(self) -> str:
        return repr(self._stream)


class _ForeignCarrier:
    """Over anything else, where who sends cannot receive meanwhile."""

    def __init__(self, channel: Any, limits: Limits) -> None:
        self._channel = channel
        self.is_torn = False
        size = getattr(channel, "max_size", limits.max_frame)
        # Raises where the channel is too narrow.
        self.limits = replace(limits, max_frame=min(limits.max_frame, size))
        self.frames: deque[bytes] = deque()
        self._many = hasattr(channel, "receive_many") and hasattr(channel, "send_many")
        self._outgoing: Sequence[bytes] = ()

    @property
    def peer(self) -> PeerIdentity:
        peer: PeerIdentity = getattr(self._channel, "peer", PeerIdentity())
        return peer

    def receive(self, deadline: Deadline | None) -> None:
        timeout = {} if deadline is None else {"timeout": deadline.remaining}
        if self._many:
            self.frames.extend(self._channel.receive_many(**timeout))
        else:
            self.frames.append(self._channel.receive(**timeout))

    def load(self, frames: Sequence[bytes]) -> None:
        self._outgoing = frames

    def send_now(self) -> bool:
        self.is_torn = True
        if self._many:
            self._channel.send_many(self._outgoing)
        else:
            for frame in self._outgoing:
                self._channel.send(frame)
        self._outgoing = ()
        self.is_torn = False
        return True

    def send_on(self, milliseconds: int) -> bool:
        return True

    def send_or_receive(self, milliseconds: int) -> bool:
        return True

    def close(self) -> None:
        self._channel.close()

    def __repr__(self) -> str:
        return repr(self._channel)


def carrier_of(transport: Transport, limits: Limits) -> Carrier:
    """Raises:
    TypeError: it is neither a blocking stream nor a blocking channel.
    """
    if isinstance(transport, _os.Stream):
        return _OwnCarrier(transport, limits)
    if callable(getattr(transport, "send_all", None)):
        channel: Any = MessageChannel(transport, LengthPrefixed(max_size=limits.max_frame))  # type: ignore[arg-type]
        return _ForeignCarrier(channel, limits)
    for name in ("send", "receive", "close"):
        if not callable(getattr(transport, name, None)):
            raise TypeError(
                f"calls go over a blocking stream or a blocking message channel, not {transport!r}"
            )
    return _ForeignCarrier(transport, limits)
