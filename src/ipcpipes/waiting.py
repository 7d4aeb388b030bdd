"""Waits for the first of several objects, under trio."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import trio

from .connections.nursery import unseen_nursery

__all__ = ["wait"]

ObjectT = TypeVar("ObjectT")


async def wait(objects: Iterable[ObjectT]) -> list[ObjectT]:
    """Waits until at least one of several objects is ready, and returns all that are ready.

    >>> for ready in await ipcpipes.wait([listener, channel, child]): ...

    This does what ``multiprocessing.connection.wait`` does. An object is ready if its next
    operation does not have to wait:

    - a message channel: a whole message has arrived, or ``receive`` raises its end or its error. It
      does not matter whether the channel has read the bytes before; if only a part of a message has
      arrived, the channel is not ready;
    - a stream that receives, also the end of an anonymous pipe: bytes have arrived, or the end;
    - a listener: a client waits that ``accept`` returns. Clients that have left, and those that the
      access policy refuses, do not count;
    - a :class:`Child`: the process has ended.

    Nothing is taken away: the next ``receive`` returns the message, the next ``accept`` the client,
    and another ``wait`` returns the object again. To get there, a channel may read messages ahead,
    and a listener accepts one client, which counts in ``connection_count`` from then on.

    This is always a checkpoint. For a time limit, use :func:`trio.move_on_after`; a cancelled call
    loses nothing. While it waits, no other task may receive from or accept from these objects. A
    task in ``wait_for_end`` may, as beside ``receive``. A program that serves each object in a task
    of its own does not need this function.

    Args:
        objects: one object or more. An object that occurs twice is returned once.

    Returns:
        The ready objects, at least one, in the order of ``objects``.

    Raises:
        trio.BusyResourceError: another task is receiving or accepting from one of the objects.
        trio.ClosedResourceError: your program has closed one of the objects, before or meanwhile.
        ipcpipes.NotSupported: a listener with ``authkey=``: the handshakes of its clients run only
            in ``accept``, so it needs a task of its own.
        TypeError: an object is of another kind: for example, a stream that only sends, or a stream
            of another library. A channel over a stream of another library is allowed. But such a
            stream cannot be asked without waiting, so ``wait`` notices what arrives there only
            while no other object is ready.
        ValueError: there is no object, so the wait would never end.
    """
    watched = {id(one): one for one in objects}
    if not watched:
        raise ValueError("wait needs at least one object; it would never end without any")
    for one in watched.values():
        if not hasattr(type(one), "_is_ready"):
            raise TypeError(f"nothing can be received or accepted from {one!r}, and it is no Child")
    await trio.lowlevel.checkpoint()
    ready = [one for one in watched.values() if _is_ready(one)]
    if ready:
        return ready
    found: set[int] = set()
    failures: list[Exception] = []
    async with unseen_nursery() as nursery:
        for one in watched.values():
            nursery.start_soon(_watch, one, found, failures, nursery.cancel_scope)
    if failures:
        raise failures[0]
    # Others may have become ready in the same moment.
    return [one for one in watched.values() if id(one) in found or _is_ready(one)]


def _is_ready(one: Any) -> bool:
    return bool(one._is_ready())


@trio.lowlevel.enable_ki_protection
async def _watch(
    one: Any, found: set[int], failures: list[Exception], first: trio.CancelScope
) -> None:
    try:
        await one._wait_ready()
        found.add(id(one))
    except Exception as error:
        failures.append(error)  # raised outside the nursery, so that it is not in a group
    first.cancel()
