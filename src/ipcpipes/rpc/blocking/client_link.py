"""A client's end of a connection, for threads."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ..core.call import Call
from .link import Link

if TYPE_CHECKING:
    from ..definition.operations import Operation

__all__ = ["ClientLink"]


class ClientLink(Link):
    """A client's end of a connection."""

    def ask(
        self, operation: Operation, arguments: bytes, milliseconds: int | None, until: float | None
    ) -> Call | None:
        """Begins a call without pipes and waits for its answer, in as few steps as there can be.

        Returns:
            The call, which is cancelled if it is not over by then; ``None`` if another thread is
            using the connection, or there is no room: then nothing was done.

        Raises:
            RpcError, ValueError: what :meth:`Session.require_open` and :meth:`Session.request` do.
        """
        waiter = threading.Lock()
        call: Call | None = None
        session, frame_transport = self.session, self.transport
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
            is_over = False
            while not is_over:
                if not frame_transport.frames:
                    if until is not None and time.monotonic() >= until:
                        break
                    self._receive(until, sliced=False)
                with self.lock:
                    if self.is_torn:
                        self._fail_torn()
                    self.is_torn = True
                    self._take_frames()
                    is_over = call.has_ended
                    if is_over:
                        self._leave(waiter)
                    self.is_torn = False
                if session.output or self._notices or session.failure is not None:
                    self._after_step()
                    self.flush(waiter, until=until)
            if not is_over:
                self.do(call.orphan, wait=False)
                with self.lock:
                    self._leave(waiter)
        except BaseException:
            self.withdraw(waiter)
            if call is not None:
                self.do(call.orphan, wait=False)
            raise
        return call
