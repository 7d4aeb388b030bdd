"""Anonymous pipes: the door to them."""

from __future__ import annotations

from .. import _os
from .._os import AnonymousReceiveStream, AnonymousSendStream
from ..options import check_count

__all__ = ["AnonymousReceiveStream", "AnonymousSendStream", "open_anonymous_pipe"]


def open_anonymous_pipe(
    *, capacity: int | None = None
) -> tuple[AnonymousReceiveStream, AnonymousSendStream]:
    """Makes a pipe without a name: what is sent into one end comes out of the other.

    Nobody inherits an end until it is handed over
    (:meth:`ipcpipes.abc.AnonymousPipeEnd.hand_over`). The easiest way is
    ``open_child(command, pipes={"numbers": end})``; :meth:`hand_over` gives the number as text,
    for any other way to start a child.

    Args:
        capacity: how many bytes it holds before a sender waits, 1 to 2**31 - 1; the system's
            default when ``None`` (Linux: 64 KiB). See
            :meth:`ipcpipes.abc.AnonymousPipeEnd.set_capacity`.

    Returns:
        (receive end, send end), each a trio stream of its direction
        (:class:`ipcpipes.abc.AnonymousPipeEnd`).

    Raises:
        OSError: the system has no descriptor or handle left.
        PermissionError: ``capacity`` is above what this user may have.
        ipcpipes.NotSupported: ``capacity`` was given on macOS.
        TypeError, ValueError: ``capacity`` is no int, or out of range.
    """
    check_count("capacity", capacity)
    return _os.open_anonymous_pipe(capacity)
