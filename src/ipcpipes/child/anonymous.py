"""Opens anonymous pipes, under trio."""

from __future__ import annotations

from .. import _os
from .._os import AnonymousReceiveStream, AnonymousSendStream
from ..options import check_count

__all__ = ["AnonymousReceiveStream", "AnonymousSendStream", "open_anonymous_pipe"]


def open_anonymous_pipe(
    *, capacity: int | None = None
) -> tuple[AnonymousReceiveStream, AnonymousSendStream]:
    """Opens a pipe without a name: bytes that are sent into one end arrive at the other end.

    No child process inherits an end until the end is handed over
    (:meth:`ipcpipes.abc.AnonymousPipeEnd.hand_over`). ``open_child(command, pipes={"numbers":
    end})`` does that; for any other way to start a child,
    :meth:`~AnonymousSendStream.hand_over` returns the number as text.

    Args:
        capacity: how many bytes the pipe holds before a sender has to wait, 1 to 2**31 - 1;
            ``None`` for the system's default (Linux: 64 KiB). See
            :meth:`ipcpipes.abc.AnonymousPipeEnd.set_capacity`.

    Returns:
        (receive end, send end), each a trio stream of its direction
        (:class:`ipcpipes.abc.AnonymousPipeEnd`).

    Raises:
        OSError: this process or the system is out of descriptors or handles.
        PermissionError: ``capacity`` is above the limit for this user (Linux:
            ``/proc/sys/fs/pipe-max-size``).
        ipcpipes.NotSupported: ``capacity`` was given on macOS.
        TypeError, ValueError: ``capacity`` is not an int, or out of range.
    """
    check_count("capacity", capacity)
    return _os.open_anonymous_pipe(capacity)
