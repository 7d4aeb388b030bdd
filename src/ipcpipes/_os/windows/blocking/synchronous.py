"""Windows: the same ends without an event loop; see ``windows_synchronous.py``."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from ...common.deadline import Deadline
from ...common.inheritable import InheritableEnd
from ...common.receive_size import RECEIVE_INTERRUPTED
from .. import calls
from ..trio import synchronous
from . import pipe as anonymous, stream as streams

assert sys.platform == "win32" or not TYPE_CHECKING

_NOTHING_CAME = "nothing was received"
_NO_ROOM = "not all could be sent"


class _End(InheritableEnd, streams.Pipe):
    def _repeat(
        self, attempt: Callable[[], tuple[int, int]], what: str, deadline: Deadline | None
    ) -> tuple[int, int]:
        """(error code, bytes) of the first attempt that comes to something."""
        self._used = True
        for pause in synchronous.pauses():
            code, count = attempt()
            if code != calls.WAIT_TIMEOUT:
                break
            milliseconds = math.ceil(pause * 1000)
            if deadline is not None:
                milliseconds = min(milliseconds, deadline.milliseconds(what, first=False))
            # Who closes ends the pause.
            calls.wait_event(self._closing, milliseconds)
        return code, count


class SendStream(_End, anonymous.SendStream):
    """The send end of an anonymous pipe that another program made; see
    :class:`ipcpipes.blocking.abc.AnonymousPipeEnd`.
    """

    def _write(self, memory: Any, size: int, deadline: Deadline | None) -> int:
        self._require_sendable()
        if not self._used:
            # Not before: who hands this end over gives it away as it came.
            calls.write_without_waiting(self._require_open())

        def attempt() -> tuple[int, int]:
            handle = self._require_open()
            # What a signal handler raises can come right after the call and take its result away.
            self._send_fault = synchronous.INTERRUPTED
            result = calls.write_now(handle, memory, min(size, synchronous.LARGEST_WRITE))
            self._send_fault = None
            return result

        code, count = self._repeat(attempt, _NO_ROOM, deadline)
        if code != 0:
            self._break(synchronous.fault_of(code))
            self._require_sendable()
        return count


class ReceiveStream(_End, anonymous.ReceiveStream):
    """The receive end of an anonymous pipe that another program made; see
    :class:`ipcpipes.blocking.abc.AnonymousPipeEnd`.
    """

    def _read(self, memory: Any, size: int, deadline: Deadline | None) -> tuple[Any, int, int]:
        self._require_open()
        if self._receive_fault is not None:
            raise trio.BrokenResourceError(self._receive_fault)
        if self._unread is not None:
            return self._unread

        def attempt() -> tuple[int, int]:
            # Each time: another thread may have closed this end during the pause.
            handle = self._require_open()
            # As for a write: what had come would be lost.
            self._receive_fault = RECEIVE_INTERRUPTED
            code, count = calls.read_now(handle, memory, size)
            if code != 0:
                self._receive_fault = None
            return code, count

        code, count = self._repeat(attempt, _NOTHING_CAME, deadline)
        self._unread = memory, code, count
        self._receive_fault = None
        return self._unread
