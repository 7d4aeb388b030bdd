"""POSIX: the descriptor of an object that is made over a connection or a listener."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ...errors import NotSupported

assert sys.platform != "win32" or not TYPE_CHECKING


class ChannelNumber:
    """The descriptor of the connection below a channel."""

    _connection: Any

    def fileno(self) -> int:
        """Returns the descriptor of the connection below the channel (POSIX; on Windows there is
        ``handle`` instead).

        It belongs to the channel, and is valid until the channel is closed. You may ask the system
        about it (:func:`os.fstat`, getsockopt(2)) and give a copy to another process. Do not read,
        write or close it, do not shut it down, and do not change its blocking mode.

        Do not watch it in a selector to learn whether a message has arrived: a channel reads ahead,
        so messages may be in the channel already while the descriptor is not readable; and if it is
        readable, a whole message need not have arrived. ``ipcpipes.wait`` and
        ``ipcpipes.blocking.wait`` know both.

        Raises:
            trio.ClosedResourceError: the channel is closed.
            ipcpipes.NotSupported: the channel is over a stream that ipcpipes did not make and that
                has no ``fileno()``.
        """
        self._require_open()
        try:
            find = self._connection.fileno
        except AttributeError:
            raise NotSupported(
                f"{self._connection!r} below this channel has no fileno(); only the code that made "
                "this stream knows its descriptor"
            ) from None
        number: int = find()
        return number

    def _require_open(self) -> object: ...


class WrapperNumber:
    """The descriptor of the listener below another listener."""

    _below: Any

    def fileno(self) -> int:
        """Returns the descriptor of the listening socket below."""
        number: int = self._below.fileno()
        return number
