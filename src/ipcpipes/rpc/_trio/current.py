"""The call that a manager serves under trio."""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from ..core.current import CurrentCall, answer_of
from ..errors import InvalidAsyncHandle, RpcError

if TYPE_CHECKING:
    from ..core.call import Call
    from .server import Connection

__all__ = ["TaskCall"]


class TaskCall(CurrentCall):
    """A call that a task serves."""

    def __init__(self, connection: Connection, call: Call) -> None:
        deadline = math.inf
        if call.milliseconds is not None:
            deadline = trio.current_time() + call.milliseconds / 1000
        super().__init__(connection, call, deadline)
        # Who removes the only item decides how the call ends: any thread may, and only one can. A
        # lock would do the same, but costs more to make.
        self._undecided = [True]

    def _require_live(self) -> None:
        if self._call.over or not self._undecided:
            raise InvalidAsyncHandle

    def _decide(self, body: bytes | None, error: RpcError | None) -> None:
        self._require_live()
        try:
            self._undecided.pop()
        except IndexError:
            raise InvalidAsyncHandle from None
        if threading.get_ident() == self._connection.thread:
            self._answer(body, error)
        else:
            self._connection.token.run_sync_soon(self._answer, body, error)

    def _answer(self, body: bytes | None, error: RpcError | None) -> None:
        call = self._call
        if not call.over:  # the connection may have ended before
            call.finish(body, error)
            self._connection.link.flush()
            self._connection.leave_if_draining()

    def returned(self, result: object) -> None:
        """Answers the call with the manager's result, unless it is deferred or was answered."""
        call = self._call
        if call.over or not self._undecided:
            return
        if call.is_deferred:
            call.put_off()
            self._connection.link.flush()
            self._connection.leave_if_draining()
            return
        body, error = answer_of(call, result)
        try:
            self._undecided.pop()
        except IndexError:
            return  # another thread has answered the call meanwhile
        self._answer(body, error)

    def failed(self, error: RpcError) -> None:
        """Answers the call with the manager's failure, unless the call was answered."""
        with suppress(InvalidAsyncHandle):  # it was answered before
            self._decide(None, error)
