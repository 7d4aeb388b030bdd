"""Anonymous pipes without an event loop: the door to them."""

from __future__ import annotations

from ..._os import blocking as _os
from ..._os.blocking import AnonymousReceiveStream, AnonymousSendStream
from ...options import check_count

__all__ = ["AnonymousReceiveStream", "AnonymousSendStream", "open_anonymous_pipe"]


def open_anonymous_pipe(
    *, capacity: int | None = None
) -> tuple[AnonymousReceiveStream, AnonymousSendStream]:
    """Makes a pipe without a name: what is sent into one end comes out of the other.

    Args:
        capacity: as for :func:`ipcpipes.open_anonymous_pipe`.

    Returns:
        (receive end, send end), each a blocking stream of its direction
        (:class:`ipcpipes.blocking.abc.AnonymousPipeEnd`).

    Raises:
        Everything that :func:`ipcpipes.open_anonymous_pipe` raises.
    """
    check_count("capacity", capacity)
    return _os.open_anonymous_pipe(capacity)
