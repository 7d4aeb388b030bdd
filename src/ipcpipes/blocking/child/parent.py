"""The functions that a child calls to talk to its parent, without an event loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from ..._os import blocking as _os
from ..._os.blocking import Stream
from ...child.adopting import Adopted, adopt
from ...errors import NoParent
from ...framing import Framing, Native
from .. import abc
from ..messages.framed import channel_over

__all__ = ["parent_channel", "parent_pipes", "parent_stream"]


def parent_stream() -> Stream:
    """Opens the byte stream to the parent. The parent has started this process with ``open_child``,
    with or without an event loop.

    >>> with blocking.parent_stream() as stream:
    ...     for data in stream: ...

    The stream ends when the parent closes its end, leaves its block, or ends in any way. This can
    be called once. Children of this process do not inherit the stream.

    Returns:
        A stream, for ``with``.

    Raises:
        NoParent: this process was not started by ``open_child``, has called this before, or has a
            channel or pipes instead.
    """
    stream: Stream = _adopted("stream").ends["stream"]
    return stream


def parent_channel(
    framing: Framing | Native | None = None, *, max_descriptors: int | None = None
) -> abc.MessageChannel:
    """Opens the message channel to the parent, in a process that ``open_child(framing=...)`` has
    started.

    Args:
        framing: the parent's framing. It can be left out if it is one of ipcpipes; a framing of
            your own has to be given.
        max_descriptors: how many descriptors may come with one message: 1 to 253, or 0 if the
            parent's ``max_descriptors`` is 0; ``None``: the parent's value.

    Returns:
        A channel (:class:`ipcpipes.blocking.abc.MessageChannel`), for ``with``.

    Raises:
        NoParent: this process was not started by ``open_child``, has called this before, or has no
            channel.
        TypeError: ``framing`` is not a framing, or has to be given; or ``max_descriptors`` is 0 at
            one end only.
        TypeError, ValueError: ``max_descriptors`` is not an int, or out of range.
    """
    adopted = _adopted("channel", framing, max_descriptors)
    if adopted.handover.group is not None:
        adopted.ends["channel"].close()
        raise NoParent("a worker of a WorkerGroup has an event loop: ipcpipes.group_worker()")
    channel: abc.MessageChannel = adopted.channel(channel_over)
    return channel


@contextmanager
def parent_pipes() -> Iterator[Mapping[str, Any]]:
    """Opens the pipes to the parent, in a process that ``open_child(pipes=...)`` has started.

    Returns:
        For ``with``: by name, a ``Stream``, ``SendStream`` or ``ReceiveStream``. A pipe that the
        parent opened for ``"send"`` is a ``ReceiveStream`` here.

    Raises:
        NoParent: this process was not started by ``open_child``, has called this before, or has no
            pipes.
    """
    with ExitStack() as stack:
        ends = _adopted("pipe.").ends
        yield {name[5:]: stack.enter_context(end) for name, end in ends.items()}


def _adopted(
    wanted: str, framing: Framing | Native | None = None, max_descriptors: int | None = None
) -> Adopted:
    adopted = adopt(wanted, _os.connect, lambda end: end.close(), framing, max_descriptors)
    # Without an event loop, no code can wait for the lifeline while it waits for the stream.
    adopted.lifeline.close()
    return adopted
