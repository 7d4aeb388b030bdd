"""Windows: the ends of an anonymous pipe as trio streams."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .... import abc
from .. import pipe_end
from . import stream as streams

assert sys.platform == "win32" or not TYPE_CHECKING


class _End(pipe_end.AnonymousEnd, streams.Pipe, abc.AnonymousPipeEnd):
    """Lifetime: as for any pipe, until the handle is handed over."""

    def _prepare(self, handle: int) -> None:
        """Does nothing. The system allows one completion port in the whole life of a pipe's end,
        and a child may need it, so the first use registers the handle.
        """

    def _require_open(self) -> int:
        if self._number == -1:
            raise self._closed_here()
        if not self._used:
            self._begin_use(self._number)
            self._used = True
        return self._number

    def _begin_use(self, handle: int) -> None:
        super()._prepare(handle)


class SendStream(_End, streams.SendStream):
    """The send end of an anonymous pipe; see :class:`ipcpipes.abc.AnonymousPipeEnd`."""


class ReceiveStream(_End, streams.ReceiveStream):
    """The receive end of an anonymous pipe; see :class:`ipcpipes.abc.AnonymousPipeEnd`."""
