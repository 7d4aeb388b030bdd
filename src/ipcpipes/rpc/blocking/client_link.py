"""A client's end of a connection, for threads."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ..core.call import Call
from ..core.client import milliseconds_of
from .link import Link

if TYPE_CHECKING:
    from ..definition.operations import Operation

__all__ = ["ClientLink"]


class ClientLink(Link):
    """A client's end of a connection."""

    def ask(self, operation: Operation, arguments: bytes, until: float | None) -> Call | None:
        """Begins a call without pipes and waits for its answer, in as few steps as possible.

        Returns:
            The call, which is given up if it is not over by ``until``. ``None`` if another thread
            is using the connection, or the server accepts no more calls; in this case nothing was
            done.

        Raises:
            RpcError, ValueError: what :meth:`Session.require_open` and :meth:`Session.request`
                raise.
        """
        waiter = threading.Lock()
        call: Call | None = None
        session = self.session
        milliseconds = None if until is None else milliseconds_of(until - time.monotonic())
        try:
            with self.lock:
                if (
                    self._reader is not None
                    or self._sender is not None
                    or self._unsent
                    or self.is_torn
                    or session.has_output
                    or not session.has_room
                ):
                    return None
                call, frame = session.prepare(operation, arguments, milliseconds)
                session.begin(call, frame)
                self._next_to_send(waiter)
                self._reader = waiter
            self._send_loaded(waiter, until)

            def has_ended() -> bool | None:
                return call.is_answered or call.failure is not None or None

            if self._read_until(has_ended, waiter, until) is None:
                self.do(call.orphan, wait=False)
                with self.lock:
                    self._leave(waiter)
        except BaseException:
            self.withdraw(waiter)
            if call is not None:
                self.do(call.orphan, wait=False)
            raise
        return call
