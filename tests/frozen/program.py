"""A program that starts itself as a child; ``nox -s frozen`` freezes it first."""

from __future__ import annotations

import sys

import trio

import ipcpipes
from ipcpipes import blocking


async def parent() -> None:
    async with ipcpipes.open_child([sys.executable, "child"]) as child:
        await child.stream.send_all(b"hello")
        assert await child.stream.receive_some() == b"HELLO"
    assert (child.status, child.reason) == (0, "exited")
    framing = ipcpipes.LengthPrefixed()
    with blocking.open_child([sys.executable, "blocking"], framing=framing) as other:
        other.channel.send(b"hello")
        assert other.channel.receive(timeout=60) == b"HELLO"
    assert (other.status, other.reason) == (0, "exited")
    print("frozen" if getattr(sys, "frozen", False) else "not frozen")


async def as_child() -> None:
    async with ipcpipes.parent_stream() as stream:
        async for data in stream:
            await stream.send_all(data.upper())


def as_blocking_child() -> None:
    with blocking.parent_channel() as channel:
        for message in channel:
            channel.send(message.upper())


if __name__ == "__main__":
    if sys.argv[1:] == ["blocking"]:
        as_blocking_child()
    else:
        trio.run(as_child if sys.argv[1:] == ["child"] else parent)
