"""What a child calls to talk to its parent."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from .. import _os, abc
from .._os import Stream
from ..connections.nursery import unseen_nursery
from ..errors import NoParent
from ..framing import Framing, Native
from ..messages.framed import MessageChannel, NativeMessageChannel
from .adopting import Adopted, adopt

__all__ = ["parent_channel", "parent_pipes", "parent_stream"]


@asynccontextmanager
async def parent_stream(*, cancel_on_end: bool = False) -> AsyncIterator[Stream]:
    """The byte stream to the parent, which has started this process by ``open_child``.

    >>> async with ipcpipes.parent_stream() as stream:
    ...     async for data in stream: ...

    The stream ends when the parent closes its end, leaves its block, or dies, however it dies.
    It can be had once; children of this process do not inherit it.

    Args:
        cancel_on_end: cancels the block as soon as the parent has left its block or died, also
            while something else than the stream is waited for, and also when there is
            something left to read. The program goes on after the block.

    Returns:
        For ``async with``: a :class:`ipcpipes.Stream`.

    Raises:
        NoParent: this process was not started by ``open_child``, has asked before, or was given
            a channel or pipes.
    """
    async with adopted_ends("stream", cancel_on_end) as adopted, adopted.ends["stream"] as stream:
        yield stream


@asynccontextmanager
async def parent_channel(
    framing: Framing | Native | None = None,
    *,
    max_descriptors: int | None = None,
    cancel_on_end: bool = False,
) -> AsyncIterator[abc.MessageChannel]:
    """The message channel to the parent, which has started this process by
    ``open_child(framing=...)``.

    Args:
        framing: the parent's, which is known when it is one of ipcpipes'; for a framing of
            your own it has to be given.
        max_descriptors: how many descriptors may come with one message: 1 to 253, or 0 if the
            parent's ``max_descriptors`` is 0; ``None``: the parent's value.
        cancel_on_end: as for :func:`parent_stream`.

    Returns:
        For ``async with``: a :class:`ipcpipes.MessageChannel` or
        :class:`ipcpipes.NativeMessageChannel`.

    Raises:
        NoParent: this process was not started by ``open_child``, has asked before, or was not
            given a channel.
        TypeError: ``framing`` is not a framing, or has to be given; or ``max_descriptors`` is 0 at
            one end only.
        TypeError, ValueError: ``max_descriptors`` is not an int, or out of range.
    """
    async with (
        adopted_ends("channel", cancel_on_end, framing, max_descriptors) as adopted,
        channel_over(adopted) as channel,
    ):
        if adopted.handover.group is not None:
            raise NoParent("this process is a worker of a WorkerGroup; call group_worker()")
        yield channel


@asynccontextmanager
async def parent_pipes(*, cancel_on_end: bool = False) -> AsyncIterator[Mapping[str, Any]]:
    """The pipes to the parent, which has started this process by ``open_child(pipes=...)``.

    Args:
        cancel_on_end: as for :func:`parent_stream`.

    Returns:
        For ``async with``: by name, a :class:`ipcpipes.Stream`, :class:`ipcpipes.SendStream` or
        :class:`ipcpipes.ReceiveStream`; what the parent called ``"send"`` is to receive from here.

    Raises:
        NoParent: this process was not started by ``open_child``, has asked before, or was not
            given pipes.
    """
    async with adopted_ends("pipe.", cancel_on_end) as adopted, AsyncExitStack() as stack:
        pipes = {}
        for name, end in adopted.ends.items():
            pipes[name[5:]] = await stack.enter_async_context(end)
        yield pipes


def channel_over(adopted: Adopted) -> abc.MessageChannel:
    carrier = adopted.ends["channel"]
    most = adopted.max_descriptors
    if isinstance(adopted.framing, Native):
        return NativeMessageChannel(carrier, adopted.framing, most)
    return MessageChannel(carrier, adopted.framing, max_descriptors=most)


@asynccontextmanager
async def adopted_ends(
    wanted: str,
    cancel_on_end: bool,
    framing: Framing | Native | None = None,
    max_descriptors: int | None = None,
) -> AsyncIterator[Adopted]:
    await trio.lowlevel.checkpoint()
    adopted = adopt(os.environ, wanted, _os.connect, _os.close_connection, framing, max_descriptors)
    async with adopted.lifeline:
        if not cancel_on_end:
            yield adopted
            return
        async with unseen_nursery() as nursery:
            nursery.start_soon(_cancel_at_end, adopted.lifeline, nursery.cancel_scope)
            yield adopted
            nursery.cancel_scope.cancel()


async def _cancel_at_end(lifeline: trio.abc.ReceiveStream, scope: trio.CancelScope) -> None:
    while await lifeline.receive_some():
        pass
    scope.cancel()
