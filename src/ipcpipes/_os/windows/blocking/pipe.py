"""Windows: the ends of an anonymous pipe without an event loop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ...common.deadline import Deadline
from .. import pipe_end
from . import stream as streams

assert sys.platform == "win32" or not TYPE_CHECKING


class _End(pipe_end.AnonymousEnd, streams.Pipe):
    """Lifetime: as for any pipe, until the handle is handed over."""

    def _transfer(
        self, operation: Any, memory: Any, size: int, deadline: Deadline | None, *, sending: bool
    ) -> tuple[int, int]:
        self._used = True
        return super()._transfer(operation, memory, size, deadline, sending=sending)

    def _prepare_for_child(self, number: int) -> None:
        self._events.close()
        super()._prepare_for_child(number)


class SendStream(_End, streams.SendStream):
    """The send end of an anonymous pipe; see :class:`ipcpipes.blocking.abc.AnonymousPipeEnd`."""


class ReceiveStream(_End, streams.ReceiveStream):
    """The receive end of an anonymous pipe; see
    :class:`ipcpipes.blocking.abc.AnonymousPipeEnd`.
    """
