"""What makes an echo server one: it sends back what it receives."""

from __future__ import annotations

import contextlib

import trio

from ...abc import ByteStream
from ..source import CHUNK

__all__ = ["echo"]


async def echo(stream: ByteStream) -> None:
    """Sends everything back, until the other end closes or dies."""
    # A client that leaves while it is being answered is no news.
    with contextlib.suppress(trio.BrokenResourceError):
        while data := await stream.receive_some(CHUNK):
            await stream.send_all(data)
