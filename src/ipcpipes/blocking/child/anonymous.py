"""Anonymous pipes without an event loop."""

from __future__ import annotations

from ..._os import blocking as _os
from ..._os.blocking import AnonymousReceiveStream, AnonymousSendStream
from ...options import check_count

__all__ = ["AnonymousReceiveStream", "AnonymousSendStream", "open_anonymous_pipe"]


def open_anonymous_pipe(
    *, capacity: int | None = None
) -> tuple[AnonymousReceiveStream, AnonymousSendStream]:
    """Makes a pipe without a name: bytes that are sent into one end come out of the other.

    No process inherits an end until it is handed over
    (:meth:`ipcpipes.blocking.abc.AnonymousPipeEnd.hand_over`). The easiest way is
    ``open_child(command, pipes={"numbers": end})``; ``hand_over`` returns the number as text, for
    any other way to start a child.

    Args:
        capacity: how many bytes the pipe holds before a sender waits, 1 to 2**31 - 1; the system's
            default when ``None`` (Linux: 64 KiB). See
            :meth:`ipcpipes.blocking.abc.AnonymousPipeEnd.set_capacity`.

    Returns:
        (receive end, send end), each a blocking stream of its direction
        (:class:`ipcpipes.blocking.abc.AnonymousPipeEnd`).

    Raises:
        OSError: the system has no descriptor or handle left.
        PermissionError: ``capacity`` is larger than this user may have.
        ipcpipes.NotSupported: ``capacity`` was given on macOS.
        TypeError, ValueError: ``capacity`` is not an int, or out of range.
    """
    check_count("capacity", capacity)
    return _os.open_anonymous_pipe(capacity)
