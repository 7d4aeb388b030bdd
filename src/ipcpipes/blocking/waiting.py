"""Waits for the first of several objects, without an event loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from operator import methodcaller
from typing import Any, TypeVar

from .._os import blocking as _os
from .._os.common.deadline import Deadline

__all__ = ["wait"]

ObjectT = TypeVar("ObjectT")

_LONGEST = 1_000_000.0  # seconds; the systems count milliseconds in 32 bits
_call = methodcaller("__call__")  # operator.call of Python 3.11


def wait(objects: Iterable[ObjectT], *, timeout: float | None = None) -> list[ObjectT]:
    """Waits until at least one of several objects is ready, and returns all that are ready.

    >>> for ready in blocking.wait([listener, channel, child], timeout=5): ...

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
    and a listener accepts one client, which counts in ``connection_count`` from then on. An
    exception of a signal handler ends the wait, and no message and no byte is lost.

    While it waits, no other thread may receive from or accept from these objects; other threads may
    send. Several threads may wait for the same child.

    Args:
        objects: one object or more. An object that occurs twice is returned once. Windows: at most
            31 streams and channels, or 63 listeners and children (WaitForMultipleObjects).
        timeout: seconds, 0 or more; ``None`` waits for ever, and 0 only looks.

    Returns:
        The ready objects in the order of ``objects``; ``[]`` if the timeout has passed.

    Raises:
        trio.BusyResourceError: another thread is receiving or accepting from one of the objects.
        trio.ClosedResourceError: your program has closed one of the objects, before or meanwhile.
        ipcpipes.NotSupported: a listener with ``authkey=``: the handshakes of its clients run only
            in ``accept``. Or a channel over a stream that ipcpipes did not make: such a stream
            cannot be asked. Use a thread for it. Or too many objects, on Windows.
        TypeError: an object is of another kind: for example, a stream that only sends, or a stream
            of another library.
        ValueError: there is no object.
        TypeError, ValueError: ``timeout`` is not a number of seconds, or negative.
    """
    watched = list({id(one): one for one in objects}.values())
    deadline = Deadline.after(timeout)
    if not watched:
        raise ValueError("wait needs at least one object; it would never end without any")
    for one in watched:
        if not hasattr(type(one), "_is_ready"):
            raise TypeError(f"nothing can be received or accepted from {one!r}, and it is no Child")
    return _wait(watched, deadline)


def _wait(watched: Sequence[Any], deadline: Deadline | None) -> list[Any]:
    taken: list[Callable[[], object]] = []
    releasing = map(_call, taken)
    try:
        for one in watched:
            one._take_turn(taken)
        while True:
            seconds = None if deadline is None else deadline.remaining
            ready = [one for one in watched if one._is_ready()]
            if ready or seconds == 0:
                return ready
            limits = [seconds, *(one._wake_within() for one in watched)]
            shortest = min((limit for limit in limits if limit is not None), default=None)
            _os.wait_for_any(
                watched, None if shortest is None else math.ceil(min(shortest, _LONGEST) * 1000)
            )
    finally:
        # This is one step: a signal handler's exception cannot leave some of the turns taken.
        any(releasing)
        for one in watched:
            one._after_turn()
