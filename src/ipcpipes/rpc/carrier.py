"""What frames travel over: a stream, or a channel of messages that somebody else has framed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import trio

from .. import abc
from ..abc import PeerIdentity
from ..channel import MessageChannel
from ..framing import LengthPrefixed
from .wire import Limits

__all__ = ["Carrier", "Transport"]

Transport: TypeAlias = trio.abc.Stream | trio.abc.Channel[bytes]
"""A stream, which carries each frame after its length in four bytes, little-endian; or a channel,
each of whose messages is a frame."""


class Carrier:
    """Sends and receives messages, many at a time where the channel can.

    Lifetime: it owns the transport, and closes it.
    """

    def __init__(self, transport: Transport, limits: Limits) -> None:
        if isinstance(transport, trio.abc.Stream):
            transport = MessageChannel(transport, LengthPrefixed(max_size=limits.max_frame))
        elif not isinstance(transport, trio.abc.Channel):
            raise TypeError(f"calls go over a stream or a message channel, not {transport!r}")
        self._channel: trio.abc.Channel[bytes] = transport
        self._many = transport if isinstance(transport, abc.MessageChannel) else None
        size = limits.max_frame if self._many is None else self._many.max_size
        # Raises where the channel is too narrow.
        self.limits = replace(limits, max_frame=min(limits.max_frame, size))

    @property
    def peer(self) -> PeerIdentity:
        peer: PeerIdentity = getattr(self._channel, "peer", PeerIdentity())
        return peer

    async def send(self, messages: Sequence[bytes]) -> None:
        if self._many is None:
            for message in messages:
                await self._channel.send(message)
        elif len(messages) == 1:
            await self._many.send(messages[0])
        else:
            await self._many.send_many(messages)

    async def receive(self) -> list[bytes]:
        if self._many is None:
            return [await self._channel.receive()]
        return await self._many.receive_many()

    async def aclose(self) -> None:
        await self._channel.aclose()

    def __repr__(self) -> str:
        channel: Any = self._channel
        return repr(channel)
