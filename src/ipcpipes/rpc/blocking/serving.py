"""One client of a server without an event loop, and the threads that serve it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping
from contextvars import copy_context
from typing import Any

import trio

from ...abc import PeerIdentity
from ..core.call import Call
from ..core.current import answer_of, serving as current_call
from ..core.managers import GRACE, ServedOperation, ServerBase
from ..core.session import Session
from ..core.state import ConnectionState, Party
from ..errors import BadStubData, CommFailure, RpcError
from ..wire.format import BIND_TIMEOUT
from .current import ThreadCall
from .server_link import ServerLink
from .transport import Transport, transport_of

__all__ = ["Connection"]

logger = logging.getLogger("ipcpipes.rpc")


class Connection:
    """One client.

    All threads do the same work. One thread reads; when a call has arrived, this thread runs the
    manager, and another thread reads. A manager that waits for a pipe also reads. There is one
    thread more than the largest number of calls that ever ran at the same time.

    Lifetime: it owns the transport. The threads end with the connection, and when their managers
    have returned; :meth:`run` returns after all threads have ended.
    """

    def __init__(self, server: ServerBase, transport: Transport) -> None:
        self._server = server
        frame_transport = transport_of(transport, server.limits)
        self._session = Session(Party.SERVER, server.definitions, frame_transport.limits)
        self.link = ServerLink(frame_transport, self._session, self._start_another)
        self._served: Mapping[str, ServedOperation] = {}
        self.peer = PeerIdentity()
        self._threads: list[threading.Thread] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Serves the client until the connection ends, in this thread and others.

        Raises:
            BaseException: a manager has raised an exception that is not an ``Exception``.
        """
        link, session = self.link, self._session

        def is_bound() -> bool | None:
            return session.state is not ConnectionState.UNBOUND or None

        try:
            if link.wait(is_bound, until=time.monotonic() + BIND_TIMEOUT) is None:
                link.close(CommFailure("the client has not said what it wants"))
            elif session.definition is not None and self._knows_peer():
                self._served = self._server.served[str(session.definition.uuid)]
                # The work runs in a copy of the context, so that calls do not change the caller's
                # context.
                copy_context().run(self._work)
        finally:
            link.close(CommFailure("the connection was closed"))
            while self._threads:
                thread = self._threads.pop()
                if thread.ident is not None:  # otherwise it has not begun
                    thread.join()
        if self._error is not None:
            raise self._error

    def _knows_peer(self) -> bool:
        """Asks the system for the client's identity, after the first data has arrived: Windows may
        not know it earlier. Returns ``False`` if the connection has ended in the meantime: after
        its BIND, the client may have sent frames that violate the protocol.
        """
        try:
            self.peer = self.link.transport.peer
        except trio.ClosedResourceError:
            return False
        return True

    def close(self) -> None:
        """Ends the connection at once. Any thread may call this."""
        self.link.close(CommFailure("the server was stopped"))

    def _work(self) -> None:
        link = self.link
        call = link.next_call()
        while call is not None:
            answer = self._run(call)
            if answer is not None:
                call = link.answer_and_go_on(call, *answer)
                if call is not None:
                    continue
                link.end_when_done()
            call = link.next_call()
        link.end_when_done()  # also after a call that was given up

    def _run(self, call: Call) -> tuple[bytes | None, RpcError | None] | None:
        """Calls the manager. Returns the result or the failure; ``None`` if the manager answers
        later.
        """
        driver: Any = call.owner
        until = None if driver is None else driver.deadline
        current = ThreadCall(self, call, math.inf if until is None else until - GRACE)
        served = self._served[call.operation.name]
        try:
            arguments = served.arguments(call, driver)
        except BadStubData as error:
            return None, error
        current_call.set(current)
        try:
            result = served.method(*arguments)
        except Exception as error:
            fault = self._server.fault(error, call)
            return answer_of(call, None) if fault is None else (None, fault)
        if call.is_deferred:
            self.link.do_and_end_when_done(call.put_off)
            return None
        return answer_of(call, result)

    def _start_another(self) -> bool:
        thread = threading.Thread(target=self._work_along, name="ipcpipes rpc")
        self._threads.append(thread)
        try:
            thread.start()
        except RuntimeError as error:
            if thread.ident is not None:
                raise  # a signal handler has raised this after the thread had begun
            # The system has no more threads. This call continues, and other calls wait for its end.
            logger.warning("no thread could be started beside a call: %s", error)
            self._threads.remove(thread)
            return False
        return True

    def _work_along(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error
            self.close()
