"""Sends and receives frames over a stream, or over a channel whose messages are frames."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import TypeAlias

import trio

from ... import abc
from ..._os import Stream
from ...abc import PeerIdentity
from ..wire.format import MOST_FRAME, Frame, Limits
from ..wire.frames import READ_SIZE, FrameReader
from ..wire.joining import joined

__all__ = ["FrameTransport", "Transport", "joined"]

Transport: TypeAlias = trio.abc.Stream | trio.abc.Channel[bytes]
"""A stream, which carries each frame after its length in four bytes, little-endian; or a channel,
each of whose messages is a frame."""

# How many bytes of the waiting frames are sent at a time.
PIECE = 256 * 1024


class FrameTransport:
    """Sends and receives frames, many at a time if the channel can.

    Lifetime: it owns the transport, and closes it.

    Attributes:
        own_stream: the transport, if it is a stream of ipcpipes.
        reader: finds the frames in the data of a stream.
        taken_count: how often the transport has taken a part of the waiting frames.
    """

    def __init__(self, transport: Transport, limits: Limits) -> None:
        self._transport = transport
        self._stream: trio.abc.Stream | None = None
        self.own_stream: Stream | None = None
        self._channel: trio.abc.Channel[bytes] | None = None
        self._many: abc.MessageChannel | None = None
        if isinstance(transport, trio.abc.Stream):
            self._stream = transport
            self.own_stream = transport if isinstance(transport, Stream) else None
        elif isinstance(transport, trio.abc.Channel):
            self._channel = transport
            self._many = transport if isinstance(transport, abc.MessageChannel) else None
        else:
            raise TypeError(f"calls go over a stream or a message channel, not {transport!r}")
        size = MOST_FRAME if self._many is None else self._many.max_size
        # This raises ValueError if the messages of the channel are too small.
        self.limits = replace(limits, max_frame=min(limits.max_frame, size), carried=size)
        self.reader = FrameReader(self.limits.max_frame)
        self.taken_count = 0

    @property
    def peer(self) -> PeerIdentity:
        peer: PeerIdentity = getattr(self._transport, "peer", PeerIdentity())
        return peer

    @property
    def sends_memory(self) -> bool:
        """Whether :meth:`send_two_now` may send anything."""
        return self.own_stream is not None and self.own_stream._sends_now

    def send_two_now(self, head: bytes, octets: memoryview, start: int = 0) -> int:
        """Sends as much of ``head`` and then ``octets``, from ``start`` on, as the system takes
        without waiting.

        Returns:
            How many bytes the system has taken, perhaps 0.

        Raises:
            trio.BrokenResourceError, trio.ClosedResourceError: the connection has ended.
        """
        assert self.own_stream is not None
        self.taken_count += 1
        return self.own_stream._send_two_now(head, octets, start)

    def wait_sendable(self) -> Awaitable[None]:
        """Waits until the system takes more. Check :attr:`sends_memory` first."""
        assert self.own_stream is not None
        return self.own_stream._wait_sendable()

    async def send_rest(self, octets: bytes) -> None:
        assert self._stream is not None
        await self._send_all(self._stream, octets)

    async def _send_all(self, stream: trio.abc.Stream, octets: bytes) -> None:
        # The bytes are sent in pieces, so that keep_alive sees that the peer takes data. (A channel
        # takes a message as a whole.)
        rest: bytes | memoryview = octets
        if len(octets) > PIECE:
            rest = memoryview(octets)
            while len(rest) > PIECE:
                await stream.send_all(rest[:PIECE])
                self.taken_count += 1
                rest = rest[PIECE:]
        await stream.send_all(rest)
        self.taken_count += 1

    async def send(self, frames: Sequence[bytes]) -> None:
        """Sends complete frames."""
        if not frames:
            await trio.lowlevel.checkpoint()
        elif self._stream is not None:
            await self._send_all(self._stream, joined(frames))
        elif self._many is not None:
            await self._many.send_many(frames)
            self.taken_count += 1
        elif self._channel is not None:
            for frame in frames:
                await self._channel.send(frame)
                self.taken_count += 1

    async def receive(self) -> Sequence[bytes | Frame]:
        """Returns what has arrived: decoded frames, or messages that are frames.

        Raises:
            ProtocolError: the data is not a frame.
            CommFailure: the stream has ended inside a frame.
            trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError: the connection
                has ended.
        """
        own = self.own_stream
        self.reader.raise_failure()
        if own is not None:
            return self.frames_in(await own._receive_buffered(self.reader.get_buffer, READ_SIZE))
        if self._stream is not None:
            return self.frames_in(bytes(await self._stream.receive_some(READ_SIZE)))
        if self._many is not None:
            return await self._many.receive_many()
        assert self._channel is not None
        return [await self._channel.receive()]

    def frames_in(self, came: bytes | tuple[memoryview, int]) -> Sequence[Frame]:
        """Returns the frames in what a stream has received: bytes, or memory of the reader and the
        number of bytes in it.

        Raises:
            ProtocolError, CommFailure, trio.EndOfChannel: what :meth:`receive` raises.
        """
        reader = self.reader
        if isinstance(came, bytes):
            if came:
                return reader.feed(came)
        elif came[1]:
            return reader.buffer_updated(*came)
        reader.end()
        raise trio.EndOfChannel("the other end has closed")

    async def aclose(self) -> None:
        await self._transport.aclose()

    def __repr__(self) -> str:
        return repr(self._transport)
