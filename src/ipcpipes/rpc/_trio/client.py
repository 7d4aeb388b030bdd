"""The client's side under trio: connect to a server, and call its operations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, ParamSpec, TypeVar, cast

import trio

from ...connections.connect import connect as connect_stream
from ...connections.nursery import unseen_nursery
from ...endpoint import EndpointLike
from ...framing import Buffer
from ...options import Impersonation
from ...security import AccessPolicy
from ..core.arguments import bind_arguments
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
from ..errors import CallCancelled, CommFailure
from ..wire.format import BIND_TIMEOUT, DEFAULT_CREDIT, MAX_FRAME
from ..wire.metadata import NO_METADATA, MetadataValue
from .calling import ClientCallDriver, begin_call
from .client_link import ClientLink
from .feeding import run_flows
from .handle import CallHandle
from .intercepting import ClientInterceptor
from .iterating import IteratedOperation
from .link import check_keep_alive
from .transport import FrameTransport, Transport

__all__ = ["Client", "ClientOperation", "bind", "connect"]

InterfaceT = TypeVar("InterfaceT", bound=Interface)
P = ParamSpec("P")
R = TypeVar("R")

_NO_PIPES: Feeds = {}
# KeyboardInterrupt is raised where an operation waits, and not between steps after which both ends
# must agree.
_ki_protected = trio.lowlevel.enable_ki_protection


class ClientOperation(ClientOperationBase[ClientLink], Generic[P, R]):
    """One operation of the server: call it, or :meth:`begin` a call and drive it by hand.

    For a type checker, an attribute of a client is the method of the interface;
    :func:`operation_of` returns it as what it is.
    """

    _has_loop = True

    @_ki_protected
    async def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        """Calls the operation, and waits for the result.

        Args:
            arguments, named: the arguments that the interface declares. A pipe towards the server
                takes memory (bytes, an array, a NumPy array), a binary file, an iterable or async
                iterable of elements or of chunks, or a function ``pull(max_elements)`` that returns
                the next elements, and no elements at the end. A pipe towards the client takes a
                binary file, a list, a bytearray, or a function ``push(chunk)``, which is called
                once with an empty chunk at the end. A pipe in both directions takes a tuple of the
                two. A stream towards the server takes an iterable or async iterable of values, such
                as a trio channel. A stream towards the client takes a list, a function that is
                called with each value, or a trio channel. Functions may be async.

        Returns:
            What the manager returned.

        Raises:
            rpc.RpcError: the call failed at the server, or on the way to it; :class:`Fault` if
                the manager raised an exception of its own.
            TypeError, ValueError, OverflowError: an argument is missing, unknown, cannot be sent,
                or is larger than the server accepts.
            And any exception of a file or function of yours; the call is then given up.

        If the cancel scope of a call is cancelled, the call is given up, and the server's manager
        is cancelled too. The deadline of the scope is sent with the call.
        """
        operation = self._operation
        try:
            values, given = bind_arguments(operation, arguments, named)
            feeds = _NO_PIPES
            if operation.flows:
                require_all_flows(operation, given)
                feeds = self._check(given)
        except Exception:
            await trio.lowlevel.checkpoint()
            raise
        if self._timeout is None:
            return await self._go_through(values, feeds)
        deadline = trio.current_time() + self._timeout
        with trio.CancelScope(deadline=deadline):
            try:
                return await self._go_through(values, feeds)
            except CallCancelled:
                # The server measures the time too, and a busy client may process the server's
                # answer first.
                if trio.current_time() < deadline:
                    raise
        raise self._too_long()

    async def _go_through(self, values: list[Any], feeds: Feeds) -> R:
        operation, link = self._operation, self._link
        driver = None
        result: R
        if self._is_lean:
            answer = await link.ask(operation, values)
            if isinstance(answer, Call):
                driver = ClientCallDriver(link, answer, None)
            elif answer is not None:
                result = decode_result(link.session, operation, answer)
                return result
        if driver is None:
            driver = await begin_call(link, operation, values, self._notify, self._metadata.encoded)
            self._note_begun(driver.call)
            if operation.options.maybe:
                return cast("R", None)
        try:
            if feeds:
                driver.link.have_read()
                try:
                    await run_flows(driver, feeds)
                except Exception:
                    # The error may come from a source that has not waited, so this is a checkpoint.
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    raise
            await driver.answered()
            result = result_of(driver.call)
            return result
        finally:
            driver.leave()

    def begin(self, *arguments: Any, **named: Any) -> CallHandle[R]:
        """Makes a handle to drive a call by hand: ``async with acc.total.begin(2) as call: ...``.

        Args:
            arguments, named: as for a call. Pipes that have an argument are filled and emptied
                automatically; the others are ``call.pipes["name"]``.

        Returns:
            For ``async with``: a :class:`CallHandle`.

        Raises:
            TypeError, ValueError, OverflowError: the same errors as for a call; nothing was sent.
        """
        return CallHandle(*self._beginning(arguments, named))


class InterceptedOperation(ClientOperation[P, R]):
    """An operation of a client that has interceptors."""

    async def __call__(self, *arguments: P.args, **named: P.kwargs) -> R:
        call: ClientCall | None = None
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            call = self._intercepted(arguments, named)
            result: R = await chained(self._interceptors, self._proceed)(call)
        finally:
            if call is None or not call.has_begun:
                # The interceptors may not have waited.
                await trio.lowlevel.cancel_shielded_checkpoint()
        return result

    async def _proceed(self, call: ClientCall) -> R:
        attempt: Any = ClientOperation.__call__
        with call._attempting():
            result: R = await attempt(self._attempt(call), **call.arguments)
        return result


class Client(ClientBase[ClientLink, ClientOperation[..., Any]], Generic[InterfaceT]):
    """A client, which calls the server's implementation of an interface.

    Each operation is an attribute; see :class:`ClientOperation`. Any number of tasks may call, and
    the calls are independent: a call whose pipe is blocked does not delay the others. In a forked
    child (POSIX) each call raises :class:`rpc.ServerUnavailable`; connect again in the child.
    """

    _operation_class = ClientOperation
    _iterated_operation_class = IteratedOperation
    _intercepted_class = InterceptedOperation


@asynccontextmanager
async def connect(
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
    keep_alive: float | None = None,
    bind_timeout: float = BIND_TIMEOUT,
    metadata: Mapping[str, MetadataValue] = NO_METADATA,
    interceptors: Iterable[ClientInterceptor] = (),
) -> AsyncIterator[InterfaceT]:
    """Connects to the server of an interface: ``async with rpc.connect(Accumulator, "svc") as
    acc:``.

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
        keep_alive: seconds, 0.04 or more, after which a server that was silent is asked whether it
            is there. Without an answer, the connection ends two to three times this long after the
            last message of the server. ``None`` does not ask: the system tells when a process ends,
            but not when it hangs.
        bind_timeout: seconds, 0 or more, within which the server has to answer that it serves the
            interface; ``math.inf`` waits without limit.
        metadata: what is sent with each call beside its arguments, such as ``{"token": "..."}``;
            see ``with_options`` of :class:`ClientOperation`.
        interceptors: ``async`` functions ``(call, proceed)`` around each call, the first is the
            outermost. ``call`` is a :class:`ClientCall`, and ``await proceed(call)`` returns the
            result. They do not see calls that are begun by hand.

    Returns:
        For ``async with``: a :class:`Client`, whose attributes are the operations. For a type
        checker it is an instance of the interface; see :func:`client_of` and :func:`operation_of`.

    Raises:
        rpc.BindTimeout: the server has not answered in time.
        rpc.UnknownInterface: the server does not serve the interface, or not this version.
        rpc.ProtocolError, rpc.CommFailure: the peer is not a server of ipcpipes, or it has gone.
        TypeError, ValueError: ``bind_timeout`` is not 0 or more seconds, or the metadata cannot be
            sent.
        And everything that :func:`ipcpipes.connect` raises.
    """
    try:
        options = ClientOptions(
            definition_of(interface),
            max_frame,
            credit,
            bind_timeout,
            metadata=metadata,
            interceptors=interceptors,
        )
        check_keep_alive(keep_alive)
    except Exception:
        del authkey
        await trio.lowlevel.checkpoint()
        raise
    connecting = connect_stream(
        endpoint,
        wait=wait,
        buffer_size=buffer_size,
        server=server,
        impersonation=impersonation,
        authkey=authkey,
    )
    del authkey  # as authenticate_as_client does
    frame_transport = FrameTransport(await connecting, options.limits)
    async with open_client(options, frame_transport, keep_alive) as client:
        yield cast("InterfaceT", client)


@asynccontextmanager
async def bind(
    interface: InterfaceClass[InterfaceT],
    transport: Transport,
    *,
    max_frame: int = MAX_FRAME,
    credit: int = DEFAULT_CREDIT,
    keep_alive: float | None = None,
    bind_timeout: float = BIND_TIMEOUT,
    metadata: Mapping[str, MetadataValue] = NO_METADATA,
    interceptors: Iterable[ClientInterceptor] = (),
) -> AsyncIterator[InterfaceT]:
    """Becomes a client over an open connection: a child's ``stream``, a channel, a socket with TLS.

    Args:
        interface: the class that has the operations.
        transport: a trio stream, or a trio channel whose messages are ``bytes``; the other end runs
            :func:`serve_connection`. The client closes it, except when this raises TypeError or
            ValueError.
        max_frame: how large a result, or a value of a stream, may be, in bytes, 65,536 to
            2**31 - 1.
        credit: how many bytes of a pipe or a stream the server may send before this end has taken
            them, 131,072 to 2**32 - 1. Each begins with at most 2 MiB and 128 bytes, and gets more
            while this end keeps up. Each pipe or stream to the client of an open call may need this
            much memory.
        keep_alive: seconds, 0.04 or more, after which a server that was silent is asked whether it
            is there. Without an answer, the connection ends two to three times this long after the
            last message of the server. ``None`` does not ask: the system tells when a process ends,
            but not when it hangs.
        bind_timeout: seconds, 0 or more, within which the server has to answer that it serves the
            interface; ``math.inf`` waits without limit.
        metadata: what is sent with each call beside its arguments, such as ``{"token": "..."}``;
            see ``with_options`` of :class:`ClientOperation`.
        interceptors: ``async`` functions ``(call, proceed)`` around each call, the first is the
            outermost. ``call`` is a :class:`ClientCall`, and ``await proceed(call)`` returns the
            result. They do not see calls that are begun by hand.

    Returns:
        For ``async with``: a :class:`Client`, whose attributes are the operations. For a type
        checker it is an instance of the interface; see :func:`client_of` and :func:`operation_of`.

    Raises:
        rpc.BindTimeout: the server has not answered in time.
        rpc.UnknownInterface: the server does not serve the interface, or not this version.
        rpc.ProtocolError, rpc.CommFailure: the peer is not a server of ipcpipes, or it has gone.
        TypeError: ``transport`` is neither a stream nor a channel, or the metadata cannot be sent.
        ValueError: a limit is out of range, or the metadata cannot be sent.
    """
    try:
        options = ClientOptions(
            definition_of(interface),
            max_frame,
            credit,
            bind_timeout,
            metadata=metadata,
            interceptors=interceptors,
        )
        check_keep_alive(keep_alive)
        frame_transport = FrameTransport(transport, options.limits)
    except Exception:
        # The checkpoint is shielded, because the error says that the caller keeps the transport,
        # and Cancelled would not.
        await trio.lowlevel.cancel_shielded_checkpoint()
        raise
    async with open_client(options, frame_transport, keep_alive) as client:
        yield cast("InterfaceT", client)


@asynccontextmanager
async def open_client(
    options: ClientOptions, frame_transport: FrameTransport, keep_alive: float | None
) -> AsyncIterator[Client[Any]]:
    """Runs a client over a transport until the block ends. All ways to become a client use this."""
    session = options.session(frame_transport.limits)
    link = ClientLink(frame_transport, session, keep_alive=keep_alive)
    # The scope is shielded: if the block is cancelled, the connection still works while the block
    # ends.
    lasting = trio.CancelScope(shield=True)

    async def run() -> None:
        with lasting:
            await link.run()

    async with unseen_nursery() as nursery:
        nursery.start_soon(run)
        try:
            link.flush()
            with trio.move_on_after(options.bind_timeout):
                while session.state is ConnectionState.BINDING:
                    await link.callers.park()
            options.check_bound(session)
            yield Client(link, options)
            with trio.move_on_after(LINGER):
                await link.wait_sent()
        finally:
            link.close(CommFailure("the connection was closed here"))
            lasting.cancel()
