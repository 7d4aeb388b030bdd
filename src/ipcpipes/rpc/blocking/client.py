"""The client's side without an event loop: connect to a server, and call its operations."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, ParamSpec, TypeVar, cast

from ...blocking import connect as connect_stream
from ...endpoint import EndpointLike
from ...framing import Buffer
from ...options import Impersonation
from ...security import AccessPolicy
from ..core.arguments import bind_arguments, encode_arguments
from ..core.call import Call
from ..core.client import (
    LINGER,
    ClientBase,
    ClientOperationBase,
    ClientOptions,
    Feeds,
    definition_of,
)
from ..core.feeding import require_all_flows
from ..core.intercepting import ClientCall, chained
from ..core.results import decode_result, result_of
from ..core.state import ConnectionState
from ..definition.interface import Interface, InterfaceClass
from ..errors import CommFailure
from ..wire.format import BIND_TIMEOUT, DEFAULT_CREDIT, MAX_FRAME
from ..wire.metadata import NO_METADATA, MetadataValue
from .call_driver import time_of
from .calling import ClientCallDriver
from .client_link import ClientLink
from .handle import CallHandle
from .intercepting import ClientInterceptor, check_no_coroutines
from .iterating import IteratedOperation
from .transport import Transport, transport_of

__all__ = ["Client", "ClientOperation", "bind", "connect"]

InterfaceT = TypeVar("InterfaceT", bound=Interface)
P = ParamSpec("P")
R = TypeVar("R")

_NO_PIPES: Feeds = {}


class ClientOperation(ClientOperationBase[ClientLink], Generic[P, R]):
    """One operation of the server: call it, or :meth:`begin` a call and drive it by hand.

    For a type checker, an attribute of a client is the method of the interface;
    :func:`operation_of` returns it as what it is.
    """

    _has_loop = False

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        """Calls the operation, and waits for the result.

        Args:
            arguments, named: the arguments that the interface declares. A pipe towards the server
                takes memory (bytes, an array, a NumPy array), a binary file, an iterable of
                elements or of chunks, or a function ``pull(max_elements)`` that returns the next
                elements, and no elements at the end. A pipe towards the client takes a binary file,
                a list, a bytearray, or a function ``push(chunk)``, which is called once with an
                empty chunk at the end. A pipe in both directions takes a tuple of the two. A stream
                towards the server takes an iterable of values; a stream towards the client takes a
                list, or a function that is called with each value.

        Returns:
            What the manager returned.

        Raises:
            rpc.RpcError: the call failed at the server, or on the way to it; :class:`Fault` if
                the manager raised an exception of its own.
            rpc.CallTimedOut: the call took longer than its ``timeout``. The server is told that the
                call is cancelled.
            TypeError, ValueError, OverflowError: an argument is missing, unknown, cannot be sent,
                or is larger than the server accepts.
            And any exception of a file or function of yours; the call is then given up, as it is
            after Ctrl-C.
        """
        operation = self._operation
        values: Sequence[Any] = arguments
        feeds = _NO_PIPES
        result: R
        if named or operation.flows or len(arguments) != len(operation.parameters):
            values, given = bind_arguments(operation, arguments, named)
            if operation.flows:
                require_all_flows(operation, given)
                feeds = self._check(given)
        deadline = None if self._timeout is None else time_of(self._timeout)
        octets = encode_arguments(operation, values)
        if self._is_lean:
            answer = self._link.ask(operation, octets, deadline)
            if answer is not None:
                if not isinstance(answer, Call):
                    result = decode_result(self._link.session, operation, answer)
                    return result
                if not answer.has_ended:
                    raise self._too_long()
                answer.over = True
                result = result_of(answer)
                return result
        driver = ClientCallDriver(self._link, deadline, self._notify)
        try:
            if not driver.begin(operation, octets, self._metadata.encoded):
                raise self._too_long()
            self._note_begun(driver.call)
            if operation.options.maybe:
                return cast("R", None)
            driver.give(feeds)
            if not (driver.move(deadline) and driver.answered(deadline)):
                raise self._too_long()
            result = result_of(driver.call)
            driver.leave()
        except BaseException:
            try:
                driver.leave()
            except BaseException:  # a signal handler raised during leave()
                driver.leave()
                raise
            raise
        return result

    def begin(self, *arguments: Any, **named: Any) -> CallHandle[R]:
        """Makes a handle to drive a call by hand: ``with acc.total.begin(2) as call: ...``.

        Args:
            arguments, named: as for a call. Pipes that have an argument are filled and emptied
                while a thread waits for the others, or for the end; the others are
                ``call.pipes["name"]``.

        Returns:
            For ``with``: a :class:`CallHandle`.

        Raises:
            TypeError, ValueError, OverflowError: the same errors as for a call; nothing was sent.
        """
        return CallHandle(*self._beginning(arguments, named))


class InterceptedOperation(ClientOperation[P, R]):
    """An operation of a client that has interceptors."""

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        call = self._intercepted(arguments, named)
        result: R = chained(self._interceptors, self._proceed)(call)
        return result

    def _proceed(self, call: ClientCall) -> R:
        attempt: Any = ClientOperation.__call__
        with call._attempting():
            result: R = attempt(self._attempt(call), **call.arguments)
        return result


class Client(ClientBase[ClientLink, ClientOperation[..., Any]], Generic[InterfaceT]):
    """A client, which calls the server's implementation of an interface.

    Each operation is an attribute; see :class:`ClientOperation`. Any number of threads may call,
    and the calls are independent: a call whose pipe is blocked does not delay the others. In a
    forked child (POSIX) each call raises :class:`rpc.ServerUnavailable`; connect again in the
    child.
    """

    _operation_class = ClientOperation
    _iterated_operation_class = IteratedOperation
    _intercepted_class = InterceptedOperation


@contextmanager
def connect(
    interface: InterfaceClass[InterfaceT],
    endpoint: EndpointLike,
    *,
    wait: float = 0.0,
    buffer_size: int | None = None,
    server: AccessPolicy | None = None,
    impersonation: Impersonation = "identify",
    authkey: Buffer | None = None,
    max_frame: int = MAX_FRAME,
    credit: int = DEFAULT_CREDIT,
    bind_timeout: float = BIND_TIMEOUT,
    metadata: Mapping[str, MetadataValue] = NO_METADATA,
    interceptors: Iterable[ClientInterceptor] = (),
) -> Iterator[InterfaceT]:
    """Connects to the server of an interface: ``with blocking.connect(Accumulator, "svc") as acc``.

    A client reads only while one of its threads waits in a call. Between two calls it does not
    answer a server's ``keep_alive``: a server with ``keep_alive=30`` ends the connection of a
    client that makes no call for 60 to 90 seconds.

    Args:
        interface: the class that has the operations.
        endpoint: a plain name, an absolute path, or an :class:`ipcpipes.Endpoint`.
        wait: how many seconds to wait for a server that is not there yet or has no room, 0 or more;
            ``math.inf`` waits without limit.
        buffer_size: asks the system to hold this many bytes (1 or more) of what this end sends; a
            hint. ``None`` for 524,288. On Windows the server's value applies.
        server: the users that may serve, as a policy. It is checked before a byte is sent. ``None``
            means ``AccessPolicy.current_user()`` for a plain name, and any user for other
            endpoints. See :func:`ipcpipes.connect`.
        impersonation: what the server may do with your identity: ``"identify"``, ``"impersonate"``,
            ``"delegate"`` or ``"anonymous"``. See :func:`ipcpipes.connect`.
        authkey: a secret of 16 bytes or more. Each end has to prove that it has the secret.
            ``None`` for no secret.
        max_frame: how large a result, or a value of a stream, may be, in bytes, 65,536 to
            2**31 - 1.
        credit: how many bytes of a pipe or a stream the server may send before this end has taken
            them, 131,072 to 2**32 - 1. Each begins with at most 2 MiB and 128 bytes, and gets more
            while this end keeps up. Each pipe or stream to the client of an open call may need this
            much memory.
        bind_timeout: seconds, 0 or more, within which the server has to answer that it serves the
            interface; ``math.inf`` waits without limit.
        metadata: what is sent with each call beside its arguments, such as ``{"token": "..."}``;
            see ``with_options`` of :class:`ClientOperation`.
        interceptors: functions ``(call, proceed)`` around each call, the first is the outermost.
            ``call`` is a :class:`ClientCall`, and ``proceed(call)`` returns the result. They do not
            see calls that are begun by hand.

    Returns:
        For ``with``: a :class:`Client`, whose attributes are the operations. For a type checker it
        is an instance of the interface; see :func:`client_of` and :func:`operation_of`.

    Raises:
        rpc.BindTimeout: the server has not answered in time.
        rpc.UnknownInterface: the server does not serve the interface, or not this version.
        rpc.ProtocolError, rpc.CommFailure: the peer is not a server of ipcpipes, or it has gone.
        TypeError, ValueError: ``bind_timeout`` is not 0 or more seconds, or the metadata cannot be
            sent.
        And everything that :func:`ipcpipes.blocking.connect` raises.
    """
    options = ClientOptions(
        definition_of(interface),
        max_frame,
        credit,
        bind_timeout,
        metadata=metadata,
        interceptors=interceptors,
    )
    check_no_coroutines(options.interceptors)
    stream = connect_stream(
        endpoint,
        wait=wait,
        buffer_size=buffer_size,
        server=server,
        impersonation=impersonation,
        authkey=authkey,
    )
    with _client(options, stream) as client:
        yield cast("InterfaceT", client)


@contextmanager
def bind(
    interface: InterfaceClass[InterfaceT],
    transport: Transport,
    *,
    max_frame: int = MAX_FRAME,
    credit: int = DEFAULT_CREDIT,
    bind_timeout: float = BIND_TIMEOUT,
    metadata: Mapping[str, MetadataValue] = NO_METADATA,
    interceptors: Iterable[ClientInterceptor] = (),
) -> Iterator[InterfaceT]:
    """Becomes a client over an open connection: a child's ``stream``, a channel, a socket with TLS.

    Over a stream of ipcpipes, a thread that sends also receives when the peer accepts no more data.
    Over a channel, or a stream of another library, it cannot. There, one thread can deadlock with
    the server: if it leaves more than a megabyte of answers or pipe data unread, and then sends
    more than the system buffers. Let another thread pull, or pull first.

    Args:
        interface: the class that has the operations.
        transport: a blocking stream, or a blocking channel whose messages are ``bytes``
            (:mod:`ipcpipes.blocking.abc`); the other end runs ``serve_connection``, of either
            driver. The client closes it.
        max_frame: how large a result, or a value of a stream, may be, in bytes, 65,536 to
            2**31 - 1.
        credit: how many bytes of a pipe or a stream the server may send before this end has taken
            them, 131,072 to 2**32 - 1. Each begins with at most 2 MiB and 128 bytes, and gets more
            while this end keeps up. Each pipe or stream to the client of an open call may need this
            much memory.
        bind_timeout: seconds, 0 or more, within which the server has to answer that it serves the
            interface; ``math.inf`` waits without limit.
        metadata: what is sent with each call beside its arguments, such as ``{"token": "..."}``;
            see ``with_options`` of :class:`ClientOperation`.
        interceptors: functions ``(call, proceed)`` around each call, the first is the outermost.
            ``call`` is a :class:`ClientCall`, and ``proceed(call)`` returns the result. They do not
            see calls that are begun by hand.

    Returns:
        For ``with``: a :class:`Client`, whose attributes are the operations. For a type checker it
        is an instance of the interface; see :func:`client_of` and :func:`operation_of`.

    Raises:
        rpc.BindTimeout: the server has not answered in time.
        rpc.UnknownInterface: the server does not serve the interface, or not this version.
        rpc.ProtocolError, rpc.CommFailure: the peer is not a server of ipcpipes, or it has gone.
        TypeError: ``transport`` is neither a stream nor a channel, or the metadata cannot be sent.
        ValueError: a limit is out of range, or the metadata cannot be sent.
    """
    options = ClientOptions(
        definition_of(interface),
        max_frame,
        credit,
        bind_timeout,
        metadata=metadata,
        interceptors=interceptors,
    )
    check_no_coroutines(options.interceptors)
    with _client(options, transport) as client:
        yield cast("InterfaceT", client)


@contextmanager
def _client(options: ClientOptions, transport: Transport) -> Iterator[Client[Any]]:
    frame_transport = transport_of(transport, options.limits)
    session = options.session(frame_transport.limits)
    link = ClientLink(frame_transport, session)

    def has_answer() -> bool | None:
        return session.state is not ConnectionState.BINDING or None

    try:
        link.wait(has_answer, until=time_of(options.bind_timeout))
        options.check_bound(session)
        yield Client(link, options)
        link.wait_sent(time.monotonic() + LINGER)
        link.close(CommFailure("the connection was closed here"))
    except BaseException:
        link.close(CommFailure("the connection was closed here"))
        raise
