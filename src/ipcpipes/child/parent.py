"""The functions that a child calls to talk to its parent, under trio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import trio

from .. import _os, abc
from .._os import Stream
from ..connections.nursery import unseen_nursery
from ..errors import NoParent
from ..framing import Framing, Native
from ..messages.framed import channel_over
from .adopting import Adopted, adopt

__all__ = ["parent_channel", "parent_pipes", "parent_stream"]


@asynccontextmanager
async def parent_stream(*, cancel_on_end: bool = False) -> AsyncIterator[Stream]:
    """Opens the byte stream to the parent, in a process that ``open_child`` has started.

    >>> async with ipcpipes.parent_stream() as stream:
    ...     async for data in stream: ...

    The stream ends when the parent closes its end, leaves its block, or ends in any way. A process
    can get its stream once, and children of this process do not inherit it.

    Args:
        cancel_on_end: cancels the block as soon as the parent has left its block or ended, even if
            there is data left to read. The program continues after the block.

    Returns:
        For ``async with``: an :class:`ipcpipes.Stream`.

    Raises:
        NoParent: this process was not started by ``open_child``, has got its stream before, or
            has a channel or pipes instead.
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
    """Opens the message channel to the parent, in a process that ``open_child(framing=...)`` has
    started.

    Args:
        framing: the framing of the parent. A framing of ipcpipes is known already; a framing of
            your own has to be given.
        max_descriptors: how many descriptors may come with one message: 1 to 253, or 0 if the
            parent's ``max_descriptors`` is 0; ``None``: the parent's value.
        cancel_on_end: cancels the block as soon as the parent has left its block or ended, even if
            there are messages left to receive. The program continues after the block.

    Returns:
        For ``async with``: an :class:`ipcpipes.MessageChannel` or
        :class:`ipcpipes.NativeMessageChannel`.

    Raises:
        NoParent: this process was not started by ``open_child``, has got its channel before, or
            has none.
        TypeError: ``framing`` is not a framing, or has to be given; or ``max_descriptors`` is 0 at
            one end only.
        TypeError, ValueError: ``max_descriptors`` is not an int, or out of range.
    """
    async with (
        adopted_ends("channel", cancel_on_end, framing, max_descriptors) as adopted,
        adopted.channel(channel_over) as channel,
    ):
        if adopted.handover.group is not None:
            raise NoParent("this process is a worker of a WorkerGroup; call group_worker()")
        yield channel


@asynccontextmanager
async def parent_pipes(*, cancel_on_end: bool = False) -> AsyncIterator[Mapping[str, Any]]:
    """Opens the pipes to the parent, in a process that ``open_child(pipes=...)`` has started.

    Args:
        cancel_on_end: cancels the block as soon as the parent has left its block or ended, even if
            there is data left to read. The program continues after the block.

    Returns:
        For ``async with``: by name, an :class:`ipcpipes.Stream`, :class:`ipcpipes.SendStream` or
        :class:`ipcpipes.ReceiveStream`. A pipe that the parent called ``"send"`` is a
        ``ReceiveStream`` here.

    Raises:
        NoParent: this process was not started by ``open_child``, has got its pipes before, or has
            none.
    """
    async with adopted_ends("pipe.", cancel_on_end) as adopted, AsyncExitStack() as stack:
        pipes = {}
        for name, end in adopted.ends.items():
            pipes[name[5:]] = await stack.enter_async_context(end)
        yield pipes


@asynccontextmanager
async def adopted_ends(
    wanted: str,
    cancel_on_end: bool,
    framing: Framing | Native | None = None,
    max_descriptors: int | None = None,
) -> AsyncIterator[Adopted]:
    await trio.lowlevel.checkpoint()
    adopted = adopt(wanted, _os.connect, _os.close_connection, framing, max_descriptors)
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
