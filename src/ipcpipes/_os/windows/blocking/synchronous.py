"""Windows: synchronous ends of anonymous pipes without an event loop; see
``windows/synchronous.py``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from ...common.deadline import Deadline
from ...common.inheritable import InheritableEnd
from ...common.opened import OpenNumbers
from ...common.receive_size import RECEIVE_INTERRUPTED
from .. import calls
from ..synchronous import LARGEST_WRITE, LONGEST_PAUSE, SEND_INTERRUPTED, pauses
from . import pipe as anonymous, stream as streams

assert sys.platform == "win32" or not TYPE_CHECKING


class _End(InheritableEnd, streams.Pipe):
    def _watched(self, opened: OpenNumbers) -> tuple[tuple[int, ...], streams.Pipe | None]:
        # No read can be begun on a synchronous handle: it would wait in the system.
        self._require_open()
        return (self._closing,), None

    def _wake_within(self) -> float | None:
        return LONGEST_PAUSE

    def _repeat(
        self, attempt: Callable[[], tuple[int, int]], what: str, deadline: Deadline | None
    ) -> tuple[int, int]:
        """Repeats ``attempt`` until it returns a result: (error code, bytes)."""
        self._used = True
        for pause in pauses():
            code, count = attempt()
            if code != calls.WAIT_TIMEOUT:
                break
            milliseconds = math.ceil(pause * 1000)
            if deadline is not None:
                milliseconds = min(milliseconds, deadline.milliseconds(what, first=False))
            # Closing sets the event, which ends the pause.
            calls.wait_event(self._closing, milliseconds)
        return code, count


class SendStream(_End, anonymous.SendStream):
    """The send end of an anonymous pipe that another program made; see
    :class:`ipcpipes.blocking.abc.AnonymousPipeEnd`.
    """

    def _write(self, memory: Any, size: int, deadline: Deadline | None) -> int:
        self._require_sendable()
        if not self._used:
            # This is not done earlier, because an end that is handed over unused must keep its
            # mode.
            calls.write_without_waiting(self._require_open())

        def attempt() -> tuple[int, int]:
            handle = self._require_open()
            # A signal handler can raise right after the call, and then the result is lost.
            self._send_fault = SEND_INTERRUPTED
            result = calls.write_now(handle, memory, min(size, LARGEST_WRITE))
            self._send_fault = None
            return result

        code, count = self._repeat(attempt, streams.NO_ROOM, deadline)
        if code != 0:
            self._break(calls.send_fault(code))
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
            # Each attempt checks this, because another thread may have closed this end during the
            # pause.
            handle = self._require_open()
            # The fault is set before the call and cleared last, as for a write, because received
            # data could be lost.
            self._receive_fault = RECEIVE_INTERRUPTED
            code, count = calls.read_now(handle, memory, size)
            if code != 0:
                self._receive_fault = None
            return code, count

        code, count = self._repeat(attempt, streams.NOTHING_CAME, deadline)
        self._unread = memory, code, count
        self._receive_fault = None
        return self._unread
