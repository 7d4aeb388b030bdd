"""POSIX: the ends of a pipe(2) as trio streams."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from .... import abc
from .. import calls, pipe_size as pipe, socket_end
from . import stream as streams

assert sys.platform != "win32" or not TYPE_CHECKING


class _End(socket_end.AnonymousEnd, streams.Socket, abc.AnonymousPipeEnd):
    """Lifetime: as for any socket, until it is handed over; see :class:`.AnonymousEnd`."""

    def _prepare(self, fd: int) -> None:
        os.set_blocking(fd, False)

    @property
    def capacity(self) -> int:
        return pipe.capacity(super()._require_open())

    def set_capacity(self, size: int) -> None:
        pipe.set_capacity(super()._require_open(), size)

    def _require_open(self) -> int:
        fd = super()._require_open()
        self._used = True
        return fd


class SendStream(_End, streams.SendStream):
    """The end of an anonymous pipe that data goes into; see
    :class:`ipcpipes.abc.AnonymousPipeEnd`.
    """

    _put = staticmethod(calls.write)


class ReceiveStream(_End, streams.ReceiveStream):
    """The end of an anonymous pipe that data comes out of; see
    :class:`ipcpipes.abc.AnonymousPipeEnd`.
    """
