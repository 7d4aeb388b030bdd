"""Windows: the handle of an object that is made over a connection or a listener."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ...errors import NotSupported

assert sys.platform == "win32" or not TYPE_CHECKING


class ChannelNumber:
    """The handle of the connection below a channel."""

    _connection: Any

    @property
    def handle(self) -> int:
        """The handle of the connection below the channel (Windows; elsewhere there is
        ``fileno()`` instead).

        It belongs to the channel, and is valid until the channel is closed. You may ask the system
        about it (GetNamedPipeInfo, PeekNamedPipe) and give a copy to another process. Do not read,
        write, disconnect or close it, and do not change its mode. Do not wait for it: Windows
        signals the handle of a pipe at the end of any operation, and not when data arrives; and a
        channel reads ahead.

        Raises:
            trio.ClosedResourceError: the channel is closed.
            ipcpipes.NotSupported: the channel is over a stream that ipcpipes did not make and that
                has no ``handle``.
        """
        self._require_open()
        try:
            handle: int = self._connection.handle
        except AttributeError:
            raise NotSupported(
                f"{self._connection!r} below this channel has no handle; only the code that made "
                "this stream knows it"
            ) from None
        return handle

    def _require_open(self) -> object: ...


class WrapperNumber:
    """The handle of the listener below another listener."""

    _below: Any

    @property
    def handle(self) -> int:
        """The handle of the event of the listener below."""
        handle: int = self._below.handle
        return handle
