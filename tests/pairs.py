"""Connected streams for the tests."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Literal

import ipcpipes
from ipcpipes.testing import unique_endpoint

OPPOSITE: dict[str, Any] = {"duplex": "duplex", "send": "receive", "receive": "send"}


async def stream_pair(
    direction: Literal["duplex", "send", "receive"] = "duplex", **options: Any
) -> tuple[Any, Any]:
    """Returns (client, server); the client has ``direction``."""
    async with await ipcpipes.listen(
        unique_endpoint(), direction=OPPOSITE[direction], backlog=1, **options
    ) as listener:
        client = await ipcpipes.connect(listener.endpoint, direction=direction)
        return client, await listener.accept()


def clog(stream: Any) -> None:
    """Fills the send buffer of ``stream`` (POSIX).

    It does not use send_all, which marks the stream broken when it is cancelled half-way.
    """
    for size in (65536, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(stream._number, bytes(size))


async def clogged_pair(direction: Literal["duplex", "send"] = "duplex") -> tuple[Any, Any]:
    """Returns a stream_pair in which the client cannot send until the server has received.

    There is no such pair on Windows, which does not tell when a pipe has room, and accepts a write
    larger than the buffer as a pending operation.
    """
    client, server = await stream_pair(direction)
    clog(client)
    return client, server


async def clogged_both_ways() -> tuple[Any, Any]:
    client, server = await clogged_pair()
    clog(server)
    return client, server


async def receive_all(stream: Any) -> bytes:
    got = bytearray()
    while chunk := await stream.receive_some():
        got += chunk
    return bytes(got)


async def receive_exactly(stream: Any, count: int) -> bytes:
    got = bytearray()
    while len(got) < count:
        chunk = await stream.receive_some(count - len(got))
        assert chunk, f"the stream ended after {len(got)} of {count} bytes"
        got += chunk
    return bytes(got)
