"""The server's side under trio: managers that implement interfaces, and their calls."""

from __future__ import annotations

import inspect
import math
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any

import trio

from ...abc import Listener, PeerIdentity
from ...authentication import authenticate_with
from ...connections.connect import Stream, listen
from ...connections.nursery import unseen_nursery
from ...connections.serving import serve_listener, server_finishing
from ...endpoint import EndpointLike
from ...framing import Buffer
from ...options import DEFAULT_BACKLOG, DEFAULT_GRACE, checked_seconds
from ...security import AccessPolicy
from ..core.call import Call
from ..core.current import serving
from ..core.events import Event
from ..core.managers import GRACE, Managers, ServedOperation, ServerBase
from ..core.session import Session
from ..core.state import ConnectionState, Party
from ..errors import BadStubData, CallTimedOut
from ..wire.format import BIND_TIMEOUT, DEFAULT_CALLS, DEFAULT_CREDIT, MAX_FRAME, Limits
from .call_driver import CallDriver
from .current import TaskCall
from .intercepting import ServerInterceptor, intercepted
from .link import check_keep_alive
from .pipes import end_of
from .running import Suspended, started
from .server_link import ServerLink
from .transport import FrameTransport, Transport
from .yielding import sending

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = ["Managers", "serve", "serve_connection"]

_REQUEST = Event.REQUEST  # looked up once; session.py says why


async def serve(
    managers: Managers,
    endpoint: EndpointLike,
    *,
    access: AccessPolicy | None = None,
    max_instances: int | None = None,
    backlog: int = DEFAULT_BACKLOG,
    buffer_size: int | None = None,
    authkey: Buffer | None = None,
    max_frame: int = MAX_FRAME,
    credit: int = DEFAULT_CREDIT,
    max_calls: int = DEFAULT_CALLS,
    keep_alive: float | None = None,
    tracebacks: bool = False,
    introspection: bool = False,
    interceptors: Iterable[ServerInterceptor] = (),
    grace: float = DEFAULT_GRACE,
    task_status: trio.TaskStatus[Listener[Stream]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listens on ``endpoint`` and serves the managers' operations to each client, until cancelled.

    Each call of an ``async def`` runs in a task of its own. The task is cancelled when the client
    cancels the call, when the client disconnects, and when the client's deadline for the call has
    passed. A plain ``def`` runs in the task that reads the connection: use it for work that takes
    microseconds. An exception of a manager is the failure of its call: the client gets it, it is
    logged (logger ``ipcpipes.rpc``), and the server continues. An exception that is not an
    ``Exception``, such as ``KeyboardInterrupt``, ends the server.

    Closing the listener shuts the server down: it tells its clients to begin no new calls. Open
    calls have ``grace`` seconds to end, and clients to read the answers. Calls that have not ended
    by then are cancelled, and ``serve`` returns. Cancelling ``serve`` cancels all calls at once.

    Args:
        managers: an instance of a class derived from an interface; or several, of different
            interfaces.
        endpoint: a plain name, an absolute path, or an :class:`ipcpipes.Endpoint`.
        access: the users that may connect; ``None`` for this user only.
        max_instances: how many connections may be open at a time, 1 or more; ``None`` for no limit.
        backlog: how many clients may be connected and not accepted yet, 1 to 4,096.
        buffer_size: asks the system to hold this many bytes (1 or more) of what each connection
            sends; a hint. ``None`` for 524,288 (Windows: 65,536).
        authkey: a secret of 16 bytes or more. Clients have to prove that they have the secret.
            ``None`` for no secret. See :func:`ipcpipes.listen`.
        max_frame: how large the arguments of a call, or a value of a stream, may be, in bytes,
            65,536 to 2**31 - 1.
        credit: how many bytes of a pipe or a stream a client may send before the manager has taken
            them, 131,072 to 2**32 - 1. Each begins with at most 2 MiB and 128 bytes, and gets more
            while the manager keeps up. Each pipe or stream to the server of an open call may need
            this much memory.
        max_calls: how many calls of one connection may be open at a time, 1 to 1,048,576. A client
            of ipcpipes waits before it begins more.
        keep_alive: seconds, 0.04 or more, after which a client that was silent is asked whether it
            is there. Without an answer, the connection ends two to three times this long after the
            last message of the client. ``None`` does not ask: the system reports when a process
            ends, but not when it hangs. A client of :mod:`ipcpipes.rpc.blocking` answers only while
            one of its threads waits, so an idle one would be disconnected: use ``None`` for such
            clients.
        tracebacks: whether clients get the traceback of an exception of a manager. It shows paths
            and code of the server: enable it only if all clients may see them.
        introspection: whether clients may ask which operations there are, as ``python -m ipcpipes
            call NAME`` does.
        interceptors: ``async`` functions ``(call, proceed)`` around each call of a manager, the
            first is the outermost. ``call`` is a :class:`ServerCall`, and ``await proceed(call)``
            returns what the manager returns.
        grace: seconds, 0 or more; ``math.inf`` waits for all calls.
        task_status: for ``await nursery.start(serve, ...)``, which returns the listener.

    Raises:
        TypeError: a manager implements no interface, or two managers implement the same interface;
            or an interceptor is not a function.
        TypeError, ValueError: ``authkey`` is not bytes-like, or shorter than 16 bytes; or ``grace``
            is not 0 or more seconds.
        And everything that :func:`ipcpipes.listen` raises.
    """
    try:
        greet = authenticate_with("server", authkey)
        grace = checked_seconds("grace", grace)
        limits = Limits(max_frame, credit, max_calls)
        server = _Server(
            managers,
            limits,
            keep_alive,
            interceptors,
            tracebacks=tracebacks,
            introspection=introspection,
        )
    except Exception:
        await trio.lowlevel.checkpoint()
        raise
    finally:
        del authkey  # as authenticate_as_client does
    listener = await listen(
        endpoint,
        access=access,
        max_instances=max_instances,
        backlog=backlog,
        buffer_size=buffer_size,
    )
    await serve_listener(
        server.handle, listener, task_status, greet, grace, shut_down=server.shut_down
    )


async def serve_connection(
    managers: Managers,
    transport: Transport,
    *,
    max_frame: int = MAX_FRAME,
    credit: int = DEFAULT_CREDIT,
    max_calls: int = DEFAULT_CALLS,
    keep_alive: float | None = None,
    tracebacks: bool = False,
    introspection: bool = False,
    interceptors: Iterable[ServerInterceptor] = (),
    finishing: trio.Event | None = None,
) -> None:
    """Serves the client at the other end of one connection, until the connection ends: for the
    stream of a child or a parent, a channel, or a socket with TLS. The client calls :func:`bind`.

    Args:
        managers: an instance of a class derived from an interface; or several, of different
            interfaces.
        transport: a trio stream, or a trio channel whose messages are ``bytes``. This function
            closes it, except when it raises TypeError or ValueError.
        max_frame: how large the arguments of a call, or a value of a stream, may be, in bytes,
            65,536 to 2**31 - 1.
        credit: how many bytes of a pipe or a stream a client may send before the manager has taken
            them, 131,072 to 2**32 - 1. Each begins with at most 2 MiB and 128 bytes, and gets more
            while the manager keeps up. Each pipe or stream to the server of an open call may need
            this much memory.
        max_calls: how many calls of one connection may be open at a time, 1 to 1,048,576. A client
            of ipcpipes waits before it begins more.
        keep_alive: seconds, 0.04 or more, after which a client that was silent is asked whether it
            is there, as for :func:`serve`; ``None`` does not ask.
        tracebacks: whether clients get the traceback of an exception of a manager. It shows paths
            and code of the server: enable it only if all clients may see them.
        introspection: whether clients may ask which operations there are, as ``python -m ipcpipes
            call NAME`` does.
        interceptors: ``async`` functions ``(call, proceed)`` around each call of a manager, the
            first is the outermost. ``call`` is a :class:`ServerCall`, and ``await proceed(call)``
            returns what the manager returns.
        finishing: an event. Once it is set, the client is told to begin no new calls (a new call
            raises :class:`ServerUnavailable`; the client can connect again), open calls run to
            their ends, and this returns. ``None``: in a handler of :meth:`ipcpipes.Worker.serve`,
            the ``finishing`` event of that worker, so that the workers of a group drain their
            connections; elsewhere, the connection lasts until the client ends it.

    Raises:
        TypeError: ``transport`` is neither a stream nor a channel; or a manager implements no
            interface, or two managers implement the same interface; or an interceptor is not a
            function.
        ValueError: a limit is out of range.
    """
    try:
        limits = Limits(max_frame, credit, max_calls)
        server = _Server(
            managers,
            limits,
            keep_alive,
            interceptors,
            tracebacks=tracebacks,
            introspection=introspection,
        )
    except Exception:
        # The checkpoint is shielded, because the error says that the caller keeps the transport,
        # and Cancelled would not.
        await trio.lowlevel.cancel_shielded_checkpoint()
        raise
    if finishing is None:
        finishing = server_finishing.get()
    if finishing is None:
        await server.handle(transport)
        return
    async with unseen_nursery() as nursery:
        nursery.start_soon(server.shut_down_when, finishing)
        await server.handle(transport)
        nursery.cancel_scope.cancel()


class _Server(ServerBase):
    """The managers, and the connections of their clients."""

    _end_of = staticmethod(end_of)
    _sending = staticmethod(sending)

    def __init__(
        self,
        managers: Managers,
        limits: Limits,
        keep_alive: float | None,
        interceptors: Iterable[ServerInterceptor],
        **options: bool,
    ) -> None:
        check_keep_alive(keep_alive)
        super().__init__(managers, limits, **options)
        self._intercept_with(interceptors, intercepted)
        self.keep_alive = keep_alive
        self.connections: set[Connection] = set()
        self.is_shut_down = False

    async def handle(self, transport: Transport) -> None:
        """Serves one client, unless the server has been shut down."""
        if self.is_shut_down:
            return
        try:
            connection = Connection(self, transport)
        except Exception:
            await trio.lowlevel.cancel_shielded_checkpoint()
            raise
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)

    async def shut_down_when(self, finishing: trio.Event) -> None:
        """Waits for the event, and then tells the clients to begin no new calls. A client that has
        not bound yet is told after that, so that it knows that it can connect again.
        """
        await finishing.wait()
        for connection in self.connections:
            connection.shut_down_once_bound()

    def shut_down(self) -> None:
        """Tells the clients to begin no new calls."""
        self.is_shut_down = True
        for connection in self.connections:
            connection.shut_down()


class Connection:
    """The connection of one client. Its calls run in the nursery of the link, and end with it."""

    def __init__(self, server: _Server, transport: Transport) -> None:
        self._server = server
        frame_transport = FrameTransport(transport, server.limits)
        self._session = Session(Party.SERVER, server.definitions, frame_transport.limits)
        self.link = ServerLink(
            frame_transport, self._session, self._on_event, keep_alive=server.keep_alive
        )
        self._served: Mapping[str, ServedOperation] = {}
        self.peer = PeerIdentity()
        self.token = trio.lowlevel.current_trio_token()
        self.thread = threading.get_ident()
        self._unbound = trio.CancelScope(deadline=trio.current_time() + BIND_TIMEOUT)
        self._leaving = False
        self._is_to_shut_down = False

    async def run(self) -> None:
        with self._unbound:
            await self.link.run()

    def shut_down_once_bound(self) -> None:
        self._is_to_shut_down = self._session.state is ConnectionState.UNBOUND
        if not self._is_to_shut_down:
            self.shut_down()

    def shut_down(self) -> None:
        self._session.shut_down()
        self.link.flush()
        self._leave_when_done()

    def _leave_when_done(self) -> None:
        if not (self._session.calls or self._leaving or self.link.has_ended):
            self._leaving = True
            self.link.start_soon(self._leave)

    async def _leave(self) -> None:
        await self.link.wait_sent()
        self._unbound.cancel()

    def _on_event(self, event: Event, call: Call | None) -> Suspended | None:
        if event is _REQUEST:
            assert call is not None
            return self._begin(call)
        if event is Event.BOUND:
            assert self._session.definition is not None
            # The peer is not read earlier, because Windows may not know it before the first data
            # has arrived.
            self.peer = self.link.transport.peer
            self._served = self._server.served[str(self._session.definition.uuid)]
            self._unbound.deadline = float("inf")
            if self._is_to_shut_down:
                self.shut_down()
        elif event is Event.REFUSED:
            self.link.start_soon(self._leave)
        return None

    def _begin(self, call: Call) -> Suspended | None:
        served = self._served[call.operation.name]
        driver = _ServerCallDriver(self.link, call)
        current = driver.current = TaskCall(self, call)
        try:
            arguments = served.arguments(call, driver)
        except BadStubData as error:
            current.failed(error)
            return None
        context = copy_context()
        context.run(serving.set, current)
        if served.is_async:
            return self._start(self._run(served.method, arguments, current), context, driver)
        try:
            result = context.run(served.method, *arguments)
        except Exception as error:
            self._fail(current, error)
        else:
            if inspect.isawaitable(result):  # a decorator has hidden that the method is async
                return self._start(self._run(lambda: result, [], current), context, driver)
            current.returned(result)
        return None

    def _start(
        self, running: Coroutine[Any, Any, None], context: Context, driver: _ServerCallDriver
    ) -> Suspended | None:
        scope = driver.scope = self.link.scope
        deadline = driver.current.deadline
        if deadline != math.inf:
            scope.deadline = deadline + GRACE
        waiting = started(running, context)
        if waiting is None:
            driver.scope = None  # the next call uses this scope
            if deadline != math.inf:
                scope.deadline = math.inf
        else:
            waiting.on_cancelled = partial(self._was_cancelled, driver.current)
        return waiting

    def _was_cancelled(self, current: TaskCall) -> None:
        if not current._call.is_deferred:  # a deferred call is answered elsewhere
            current.failed(CallTimedOut())
        self.leave_if_draining()

    async def _run(
        self, method: Callable[..., Awaitable[Any]], arguments: Sequence[Any], current: TaskCall
    ) -> None:
        """Runs a manager's method. Its errors are sent to the client."""
        try:
            result = await _interruptible(method, arguments)
        except Exception as error:
            self._fail(current, error)
        except BaseExceptionGroup as group:
            # A nursery of the manager was cancelled, and its tasks have raised other errors.
            cancelled, errors = group.split(trio.Cancelled)
            if cancelled is None or not isinstance(errors, Exception):
                raise
            self._fail(current, errors)
            raise cancelled from None
        else:
            current.returned(result)

    def _fail(self, current: TaskCall, error: Exception) -> None:
        """Answers a call whose manager has raised an exception."""
        fault = self._server.fault(error, current._call)
        if fault is None:
            current.returned(None)
        else:
            current.failed(fault)

    def leave_if_draining(self) -> None:
        if self._session.state is ConnectionState.DRAINING:
            self._leave_when_done()


class _ServerCallDriver(CallDriver):
    """A call at the server."""

    current: TaskCall
    _has_raised_failure = False  # whether the manager knows what has ended the call

    async def _cancellation_point(self) -> None:
        # Raise the error that ended the call before the cancellation that it causes. Raise it only
        # once, so that a manager that continues anyway can be cancelled.
        if self.call.failure is None or self._has_raised_failure:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._has_raised_failure = True

    def stop(self) -> None:
        # A manager that waits for a pipe has been woken already, and gets the error of the pipe. A
        # manager that waits for anything else is cancelled.
        super().stop()
        if self.call.is_deferred:
            self.current._connection.leave_if_draining()  # it may have been the last open call


@trio.lowlevel.disable_ki_protection
async def _interruptible(method: Callable[..., Awaitable[Any]], arguments: Sequence[Any]) -> Any:
    """Runs the code of a manager, which Ctrl-C may interrupt. The rest of the task is protected."""
    return await method(*arguments)
