"""What a child calls to talk to its parent, without an event loop."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from ..._os import blocking as _os
from ..._os.blocking import Stream
from ...child.adopting import Adopted, adopt
from ...errors import NoParent
from ...framing import Framing, Native
from .. import abc
from ..messages.framed import MessageChannel, NativeMessageChannel

__all__ = ["parent_channel", "parent_pipes", "parent_stream"]


def parent_stream() -> Stream:
    """The byte stream to the parent, which has started this process by ``open_child``.

    >>> with blocking.parent_stream() as stream:
    ...     for data in stream: ...

    The stream ends when the parent closes its end, leaves its block, or dies, however it dies.
    It can be had once; children of this process do not inherit it. The parent may be of either
    kind.

    Returns:
        A stream, for ``with``.

    Raises:
        NoParent: as for :func:`ipcpipes.parent_stream`.
    """
    stream: Stream = _adopted("stream").ends["stream"]
    return stream


def parent_channel(
    framing: Framing | Native | None = None, *, max_descriptors: int | None = None
) -> abc.MessageChannel:
    """The message channel to the parent, which has started this process by
    ``open_child(framing=...)``.

    Args:
        framing, max_descriptors: as for :func:`ipcpipes.parent_channel`.

    Returns:
        A channel, for ``with``.

    Raises:
        NoParent, TypeError, ValueError: as for :func:`ipcpipes.parent_channel`.
    """
    adopted = _adopted("channel", framing, max_descriptors)
    if adopted.handover.group is not None:
        adopted.ends["channel"].close()
        raise NoParent("a worker of a WorkerGroup has an event loop: ipcpipes.group_worker()")
    carrier = adopted.ends["channel"]
    most = adopted.max_descriptors
    if isinstance(adopted.framing, Native):
        return NativeMessageChannel(carrier, adopted.framing, most)
    return MessageChannel(carrier, adopted.framing, max_descriptors=most)


@contextmanager
def parent_pipes() -> Iterator[Mapping[str, Any]]:
    """The pipes to the parent, which has started this process by ``open_child(pipes=...)``.

    Returns:
        For ``with``: by name, a ``Stream``, ``SendStream`` or ``ReceiveStream``; what the parent
        called ``"send"`` is to receive from here.

    Raises:
        NoParent: as for :func:`ipcpipes.parent_pipes`.
    """
    with ExitStack() as stack:
        ends = _adopted("pipe.").ends
        yield {name[5:]: stack.enter_context(end) for name, end in ends.items()}


def _adopted(
    wanted: str, framing: Framing | Native | None = None, max_descriptors: int | None = None
) -> Adopted:
    adopted = adopt(
        os.environ, wanted, _os.connect, lambda end: end.close(), framing, max_descriptors
    )
    # Here nobody can wait for it beside the stream.
    adopted.lifeline.close()
    return adopted
