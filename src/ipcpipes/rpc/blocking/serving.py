"""One client of a server without an event loop, and the threads that serve it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from ..call import Call
from ..current import _current
from ..definition import Operation
from ..errors import BadStubData, CommFailure, RpcError
from ..faults import fault_of
from ..session import Event, Session
from ..state import ConnectionState
from .carrier import Carrier
from .current import ThreadCall
from .exchange import Exchange
from .link import Link
from .pipes import end_of
from .sending import LINGER
from .watch import Watch

__all__ = ["Connection", "Served"]

logger = logging.getLogger("ipcpipes.rpc")

# A client that has connected and says nothing.
PATIENCE = 10.0  # seconds


class Served:
    """An operation with the method that implements it."""

    def __init__(self, operation: Operation, method: Callable[..., Any]) -> None:
        self.operation = operation
        self.method = method

    def arguments(self, call: Call, exchange: Exchange) -> list[Any]:
        """What the method is called with.

        Raises:
            BadStubData: they are not of their types.
        """
        operation = self.operation
        try:
            values = operation.arguments_decoder.decode(call.body)
        except Exception as error:  # also of text that is none, and of a user's own types
            raise BadStubData(f"{operation}: {_named(str(error), operation)}") from None
        call.body = memoryview(b"")
        if not operation.pipes:
            return [getattr(values, name) for name in operation.types]
        pipes = operation.pipe_names
        return [
            end_of(exchange, pipes[name], serving=True) if name in pipes else getattr(values, name)
            for name in operation.parameters
        ]


def _named(text: str, operation: Operation) -> str:
    """What msgspec says, with the parameter's name instead of its place."""
    for place, name in enumerate(operation.types):
        text = text.replace(f"`$[{place}]", f"`{name}")
    return text


class Connection:
    """One client.

    Its threads are alike: one reads, and when a call has come it runs the manager, and leaves the
    reading to another one. A manager that waits for a pipe reads, too. There are as many threads
    as calls were ever at work at a time, and one more.

    Lifetime: it owns the carrier. The threads end with the connection, and when their managers
    have returned; :meth:`run` returns after them.

    Attributes:
        bells: of the threads that wait for a call.
    """

    def __init__(
        self,
        carrier: Carrier,
        session: Session,
        served: Mapping[str, Mapping[str, Served]],
        *,
        tracebacks: bool,
    ) -> None:
        self._session = session
        self._link = Link(carrier, session, self._on_event, watch=Watch())
        self._all_served = served
        self._served: Mapping[str, Served] = {}
        self._tracebacks = tracebacks
        self._peer = carrier.peer
        self._requests: deque[Call] = deque()
        self._threads: list[threading.Thread] = []
        self._room = session.limits.calls  # for so many more of them
        self._idle = 0  # threads that wait for a call, or are about to
        self.bells: list[threading.Lock] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Serves the client until the connection ends, in this thread and others.

        Raises:
            BaseException: what a manager has raised that is no ``Exception``.
        """
        link = self._link
        try:
            if link.wait(self._is_bound, until=time.monotonic() + PATIENCE) is None:
                link.close(CommFailure("the client has not said what it wants"))
            elif self._session.state is not ConnectionState.CLOSED:
                self._work()
        finally:
            link.close(CommFailure("the connection was closed"))
            while self._threads:
                self._threads.pop().join()
        if self._error is not None:
            raise self._error

    def shut_down(self) -> None:
        """Begins no new calls, and ends when those that are open have ended. From any thread."""
        self._link.flush(first=self._session.shut_down, wait=False)
        self._end_when_done()

    def close(self) -> None:
        """Ends it now. From any thread."""
        self._link.close(CommFailure("the server was stopped"))

    def _end_when_done(self) -> None:
        """To be called when a call was answered; another thread may still be sending that."""
        if self._session.state is ConnectionState.DRAINING and not self._session.calls:
            self._link.wait_sent(time.monotonic() + LINGER)
            self._link.close(CommFailure("the server is going away"))

    def _is_bound(self) -> bool | None:
        return self._session.state is not ConnectionState.UNBOUND or None

    def _on_event(self, event: Event, call: Call | None) -> None:
        """With the lock."""
        if event is Event.REQUEST:
            assert call is not None
            milliseconds = call.milliseconds
            deadline = None if milliseconds is None else time.monotonic() + milliseconds / 1000
            Exchange(self._link, call, deadline)
            self._requests.append(call)
            if self._link.reads_for is self and len(self._requests) == 1:
                return  # whoever has read it takes it
            for bell in self.bells:
                if bell.locked():
                    bell.release()
                    break
        elif event is Event.BOUND:
            assert self._session.definition is not None
            self._served = self._all_served[str(self._session.definition.uuid)]

    def _work(self) -> None:
        while (call := self._next_call()) is not None:
            self._serve(call)

    def _next_call(self) -> Call | None:
        """Waits for a call; ``None`` at the end of the connection."""
        with self._link.lock:
            self._idle += 1
        found = self._link.wait(self._take_call, self, idle=True)
        assert found is not None
        call, is_last = found
        if is_last:
            # Somebody has to read while this one is at work.
            self._start_another()
        return call

    def _start_another(self) -> None:
        thread = threading.Thread(target=self._work_along, name="ipcpipes rpc")
        try:
            thread.start()
        except RuntimeError as error:
            # The system has no more. This call goes on, and others wait for its end.
            logger.warning("no thread could be started beside a call: %s", error)
            with self._link.lock:
                self._room += 1
        else:
            self._threads.append(thread)

    def _take_call(self) -> tuple[Call | None, bool] | None:
        """(the call, or ``None`` at the end; whether no other thread is idle, and one may be)."""
        if self._requests:
            self._idle -= 1
            is_last = not self._idle and self._room > 0
            if is_last:
                self._room -= 1
            return self._requests.popleft(), is_last
        return (None, False) if self._link.has_failed else None

    def _work_along(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error
            self.close()

    def _serve(self, call: Call) -> None:
        exchange: Exchange = call.owner
        served = self._served[call.operation.name]
        current = ThreadCall(exchange, self._peer, self._end_when_done)
        try:
            arguments = served.arguments(call, exchange)
        except BadStubData as error:
            current.failed(error)
            return
        before = _current.set(current)
        try:
            result = served.method(*arguments)
        except Exception as error:
            current.failed(self._fault(error, call))
        else:
            current.returned(result)
        finally:
            _current.reset(before)

    def _fault(self, error: Exception, call: Call) -> RpcError:
        return fault_of(error, call, with_traceback=self._tracebacks)
