"""The server of the blocking driver: managers run in threads."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from ...authentication.challenge import derive_key
from ...blocking import Listener, Stream, listen
from ...blocking.authentication.listener import AuthenticatingListener
from ...blocking.connections.threads import ClientThreads
from ...endpoint import EndpointLike
from ...framing import Buffer
from ...options import DEFAULT_BACKLOG, DEFAULT_GRACE, checked_seconds
from ...security import AccessPolicy
from ..core.managers import Managers, ServerBase
from ..wire.format import DEFAULT_CALLS, DEFAULT_CREDIT, MAX_FRAME, Limits
from .intercepting import ServerInterceptor, intercepted
from .pipes import end_of
from .serving import Connection
from .transport import Transport
from .yielding import sending

__all__ = ["Managers", "serve", "serve_connection"]

logger = logging.getLogger("ipcpipes.rpc")


def serve(
    managers: Managers,
    endpoint: EndpointLike | Listener[Stream],
    *,
    access: AccessPolicy | None = None,
    max_instances: int | None = None,
    backlog: int = DEFAULT_BACKLOG,
    buffer_size: int | None = None,
    authkey: Buffer | None = None,
    max_frame: int = MAX_FRAME,
    credit: int = DEFAULT_CREDIT,
    max_calls: int = DEFAULT_CALLS,
    tracebacks: bool = False,
    introspection: bool = False,
    interceptors: Iterable[ServerInterceptor] = (),
    grace: float = DEFAULT_GRACE,
) -> None:
    """Serves the managers' operations to each client, until the listener is closed.

    >>> with blocking.listen("accumulator") as listener:     # ipcpipes.blocking.listen
    ...     thread = threading.Thread(target=serve, args=(AccumulatorManager(), listener))
    ...     thread.start()
    ...     ...                                              # the rest of the program

    The methods of a manager are plain functions (``def``); each call runs in a thread. A connection
    has one thread for each call that runs, up to ``max_calls``, and one more. An exception of a
    manager is the failure of its call: the client gets it, it is logged (logger ``ipcpipes.rpc``),
    and the server continues. An exception that is not an ``Exception`` ends the server.

    A thread cannot be cancelled. When a client cancels a call or disconnects, or the deadline of
    the call has passed, the manager's pipes fail, and ``rpc.current_call().test_cancel()`` returns
    true. A manager that computes for a long time has to ask for that.

    Closing the listener, from any thread, shuts the server down: it tells its clients to begin no
    new calls. Open calls have ``grace`` seconds to end, and clients to read the answers; then the
    connections are closed. ``serve`` returns after all of its threads have ended, so it also waits
    for managers that are still running then. Ctrl-C closes the connections at once, waits for the
    managers that are still running, and raises KeyboardInterrupt.

    Args:
        managers: an instance of a class derived from an interface; or several, of different
            interfaces.
        endpoint: a plain name, an absolute path, or an :class:`ipcpipes.Endpoint`; or a listener of
            :func:`ipcpipes.blocking.listen`, which is closed when this returns. A listener has its
            own access, max_instances, backlog and buffer_size.
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
        tracebacks: whether clients get the traceback of an exception of a manager. It shows paths
            and code of the server: enable it only if all clients may see them.
        introspection: whether clients may ask which operations there are, as ``python -m ipcpipes
            call NAME`` does.
        interceptors: functions ``(call, proceed)`` around each call of a manager, the first is the
            outermost. ``call`` is a :class:`ServerCall`, and ``proceed(call)`` returns what the
            manager returns.
        grace: seconds, 0 or more; ``math.inf`` waits for all calls.

    Raises:
        TypeError: a manager implements no interface or has an ``async`` method, or two managers
            implement the same interface; or an interceptor is not a function, or an ``async`` one.
        TypeError, ValueError: ``authkey`` is not bytes-like, or shorter than 16 bytes; or ``grace``
            is not 0 or more seconds.
        And everything that :func:`ipcpipes.blocking.listen` raises.
    """
    limits = Limits(max_frame, credit, max_calls)
    server = _Server(
        managers, limits, interceptors, tracebacks=tracebacks, introspection=introspection
    )
    key = None if authkey is None else derive_key(authkey)
    del authkey  # as authenticate_as_client does
    grace = checked_seconds("grace", grace)
    listener: Any = endpoint
    if not isinstance(endpoint, Listener):
        listener = listen(
            endpoint,
            access=access,
            max_instances=max_instances,
            backlog=backlog,
            buffer_size=buffer_size,
        )
    elif (access, max_instances, backlog, buffer_size) != (None, None, DEFAULT_BACKLOG, None):
        raise TypeError(
            "a listener has its own access, max_instances, backlog and buffer_size: give them to "
            "listen()"
        )
    if key is not None:
        listener = AuthenticatingListener(listener, key)
    server.run(listener, grace)


def serve_connection(
    managers: Managers,
    transport: Transport,
    *,
    max_frame: int = MAX_FRAME,
    credit: int = DEFAULT_CREDIT,
    max_calls: int = DEFAULT_CALLS,
    tracebacks: bool = False,
    introspection: bool = False,
    interceptors: Iterable[ServerInterceptor] = (),
) -> None:
    """Serves the client at the other end of one connection, until the connection ends: for the
    stream of a child or a parent, or a channel. The client calls ``bind``, of either driver.

    Calls run in this thread; several calls at a time run in other threads too.

    Args:
        managers: an instance of a class derived from an interface; or several, of different
            interfaces.
        transport: a blocking stream, or a blocking channel whose messages are ``bytes``. This
            function closes it. Closing it in another thread ends this function.
        max_frame: how large the arguments of a call, or a value of a stream, may be, in bytes,
            65,536 to 2**31 - 1.
        credit: how many bytes of a pipe or a stream a client may send before the manager has taken
            them, 131,072 to 2**32 - 1. Each begins with at most 2 MiB and 128 bytes, and gets more
            while the manager keeps up. Each pipe or stream to the server of an open call may need
            this much memory.
        max_calls: how many calls of one connection may be open at a time, 1 to 1,048,576. A client
            of ipcpipes waits before it begins more.
        tracebacks: whether clients get the traceback of an exception of a manager. It shows paths
            and code of the server: enable it only if all clients may see them.
        introspection: whether clients may ask which operations there are, as ``python -m ipcpipes
            call NAME`` does.
        interceptors: functions ``(call, proceed)`` around each call of a manager, the first is the
            outermost. ``call`` is a :class:`ServerCall`, and ``proceed(call)`` returns what the
            manager returns.

    Raises:
        TypeError: ``transport`` is neither a stream nor a channel; or a manager implements no
            interface or has an ``async`` method, or two managers implement the same interface; or
            an interceptor is not a function, or an ``async`` one.
        ValueError: a limit is out of range.
        And every exception of a manager that is not an ``Exception``.
    """
    limits = Limits(max_frame, credit, max_calls)
    server = _Server(
        managers, limits, interceptors, tracebacks=tracebacks, introspection=introspection
    )
    Connection(server, transport).run()


class _Server(ServerBase):
    """The managers."""

    _end_of = staticmethod(end_of)
    _sending = staticmethod(sending)

    def __init__(
        self,
        managers: Managers,
        limits: Limits,
        interceptors: Iterable[ServerInterceptor],
        **options: bool,
    ) -> None:
        super().__init__(managers, limits, **options)
        for operations in self.served.values():
            for one in operations.values():
                if one.is_async:
                    raise TypeError(
                        f"{one.operation} is implemented by an async method, and there is no event "
                        "loop; make it with def, or serve it with ipcpipes.rpc.serve"
                    )
        self._intercept_with(interceptors, intercepted)

    def run(self, listener: Listener[Stream], grace: float) -> None:
        ClientThreads(partial(Connection, self), _shut_down, "ipcpipes rpc", logger).run(
            listener, grace
        )


def _shut_down(connections: Sequence[Connection], until: float | None) -> None:
    """Begins no new calls. Each connection ends when its open calls have ended and its client has
    read their answers; the client has time for that until ``until``.
    """
    # Tell all of them before waiting for any: a client may read nothing.
    for connection in connections:
        connection.link.shut_down(until)
    for connection in connections:
        connection.link.end_when_done()
