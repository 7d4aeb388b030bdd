"""The client's side under trio: connect to a server, and call its operations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import trio

from ...abc.uncopied import Uncopied
from ...connections.connect import connect as connect_stream
from ...connections.nursery import unseen_nursery
from ...endpoint import EndpointLike
from ...framing import Buffer
from ...options import Impersonation, checked_seconds
from ...security import AccessPolicy
from ..core.arguments import bind_arguments
from ..core.call import Call
from ..core.server_view import ServerView
from ..core.session import Event, Session
from ..core.state import Party
from ..definition.interface import Interface
from ..definition.operations import Definition, Operation, Pipe
from ..errors import BindTimeout, CallCancelled, CallTimedOut, CommFailure
from ..wire.format import BIND_TIMEOUT, DEFAULT_CREDIT, MAX_FRAME, Limits
from .calling import Caller, Notify, run_pipes
from .client_link import ClientLink
from .feeding import check_given
from .handle import CallHandle
from .link import check_keep_alive
from .transport import FrameTransport, Transport

__all__ = ["Client", "ClientOperation", "bind", "connect"]

InterfaceT = TypeVar("InterfaceT", bound=Interface)

_SAME: Any = object()
# For a server that reads nothing more at the end.
_LINGER = 10.0  # seconds

_NO_PIPES: Mapping[Pipe, tuple[Any, Any]] = {}
# A KeyboardInterrupt comes where an operation waits, and not between the steps of what both ends
# have to agree on.
_ki_protected = trio.lowlevel.enable_ki_protection


class Client(Uncopied, ServerView, Generic[InterfaceT]):
    """The server's implementation of an interface, as the client has it.

    Each operation is an attribute; see :class:`ClientOperation`. Any number of tasks may call, and
    the calls are independent: a call whose pipe is blocked does not delay the others. In a forked
    child (POSIX) each call raises :class:`rpc.ServerUnavailable`; connect again in the child.
    """

    _instead = "connect in the other process: rpc.connect(interface, endpoint)"

    def __init__(self, caller: Caller, definition: Definition) -> None:
        self._caller = caller
        self._definition = definition
        self._operations = {
            name: ClientOperation(caller, one, one.options.timeout, None)
            for name, one in definition.operations.items()
        }
        self._learn(caller.link.session, self._operations)

    def __getattr__(self, name: str) -> ClientOperation:
        try:
            operation = self._operations[name]
        except KeyError:
            raise AttributeError(f"{self._definition} has no operation {name!r}") from None
        setattr(self, name, operation)  # found without this the next time
        return operation

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._operations]

    def __repr__(self) -> str:
        return f"<ipcpipes rpc client of {self._definition} over {self._caller.link.transport!r}>"


@dataclass(frozen=True, eq=False)
class ClientOperation(Uncopied):
    """One operation of the server: call it, or :meth:`begin` a call and go on with it by hand."""

    _instead = "connect in the other process: rpc.connect(interface, endpoint)"

    _caller: Caller
    _operation: Operation
    _timeout: float | None
    _notify: Notify | None

    @_ki_protected
    async def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Calls it, and waits for the result.

        Args:
            arguments, named: as the interface has them. A pipe towards the server takes memory
                (bytes, an array, a NumPy array), a binary file, an iterable or async iterable of
                elements or of chunks, or a function ``pull(max_elements)`` that returns the next
                ones and none at the end. A pipe towards the client takes a binary file, a list, a
                bytearray, or a function ``push(chunk)``, which is called once with an empty chunk
                at the end. A pipe in both directions takes a tuple of the two. Functions may be
                async.

        Returns:
            What the manager returned.

        Raises:
            rpc.RpcError: what went wrong at the server, or on the way there; :class:`Fault` where
                the manager raised an exception of its own.
            TypeError, ValueError: an argument is missing, unknown, cannot be sent, or is larger
                than the server takes.
            And whatever a file or function of yours raises; the call is given up then.

        A call whose cancel scope is cancelled is given up, and the server's manager is cancelled
        too. The deadline of the scope goes along with the call.
        """
        operation = self._operation
        try:
            values, given = bind_arguments(operation, arguments, named)
            feeds = _feeds_of(operation, given) if operation.pipes else _NO_PIPES
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
                # The server measures the time, too: a busy client may get its answer first.
                if trio.current_time() < deadline:
                    raise
        raise CallTimedOut(f"{operation} took longer than its {self._timeout:g} s")

    async def _go_through(self, values: list[Any], feeds: Mapping[Pipe, tuple[Any, Any]]) -> Any:
        driver = await self._caller.begin(self._operation, values, self._notify)
        if self._operation.options.maybe:
            return None
        try:
            if feeds:
                driver.link.read_by_others()
                try:
                    await run_pipes(driver, feeds)
                except Exception:
                    # The error may come from a source that has not waited, so this is a checkpoint.
                    await trio.lowlevel.cancel_shielded_checkpoint()
                    raise
            await driver.answered()
            return driver.result()
        finally:
            driver.leave()

    def begin(self, *arguments: Any, **named: Any) -> CallHandle:
        """The same, to be gone on with by hand: ``async with acc.total.begin(2) as call: ...``.

        Args:
            arguments, named: as for a call. Pipes that are given something are filled and emptied
                by themselves; the others are ``call.pipes["name"]``.

        Returns:
            For ``async with``: a :class:`CallHandle`.

        Raises:
            TypeError, ValueError: as a call does; nothing was sent.
        """
        if self._operation.options.maybe:
            raise TypeError(f"nobody waits for {self._operation}; call it")
        values, given = bind_arguments(self._operation, arguments, named)
        feeds = {pipe: check_given(pipe, one) for pipe, one in given.items()}
        return CallHandle(self._caller, self._operation, values, feeds, self._timeout, self._notify)

    def with_options(
        self, *, timeout: float | None = _SAME, notify: Notify | None = _SAME
    ) -> ClientOperation:
        """The same operation with other options; what is not given stays as it is.

        Args:
            timeout: seconds after which a call fails with :class:`CallTimedOut`, more than 0;
                ``None`` for no limit.
            notify: called with each :class:`CallEvent` of a call that is begun; it must not wait,
                and what it raises is logged.
        """
        if timeout is _SAME:
            timeout = self._timeout
        elif timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, not {timeout!r}")
        if notify is _SAME:
            notify = self._notify
        return ClientOperation(self._caller, self._operation, timeout, notify)

    def __repr__(self) -> str:
        return f"<ipcpipes rpc operation {self._operation}>"


def _feeds_of(operation: Operation, given: Mapping[Pipe, Any]) -> Mapping[Pipe, tuple[Any, Any]]:
    """The source and the sink of each pipe.

    Raises:
        TypeError: a pipe has no argument, or one that is neither a source nor a sink.
    """
    missing = [pipe.name for pipe in operation.pipes if pipe not in given]
    if missing:
        raise TypeError(
            f"{operation}() is missing the required pipe argument {missing[0]!r}; give a source "
            "or a sink for it, or use begin() to drive the pipe yourself"
        )
    return {pipe: check_given(pipe, one) for pipe, one in given.items()}


@asynccontextmanager
async def connect(
    interface: type[InterfaceT],
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
) -> AsyncIterator[Client[InterfaceT]]:
    """Connects to the server of an interface: ``async with rpc.connect(Accumulator, "svc") as
    acc:``.

    Args:
        interface: the class that has the operations.
        endpoint, wait, buffer_size, server, impersonation, authkey: as for
            :func:`ipcpipes.connect`.
        max_frame: the largest result that is taken, in bytes, 65,536 to 2**31 - 1.
        credit: how many bytes of a pipe the server may be ahead of who reads it, 131,072 to
            2**32 - 1; what each pipe of a call can take of memory.
        keep_alive: seconds, 0.04 or more, after which a server that was silent is asked whether it
            is there; the connection ends when it does not answer for as long again. ``None`` does
            not ask: the system tells when a process ends, and not when it hangs.
        bind_timeout: seconds, 0 or more, after connecting, within which the server has to answer
            that it serves the interface; ``math.inf`` waits for ever.

    Returns:
        For ``async with``: a :class:`Client`, whose attributes are the operations.

    Raises:
        rpc.BindTimeout: the server has not answered in time.
        rpc.UnknownInterface: the server does not serve it, or not this version.
        rpc.ProtocolError, rpc.CommFailure: the peer is not a server of ipcpipes, or it has gone.
        TypeError, ValueError: ``bind_timeout`` is not 0 or more seconds.
        And everything that :func:`ipcpipes.connect` raises.
    """
    try:
        definition = definition_of(interface)
        limits = Limits(max_frame=max_frame, credit=credit)
        check_keep_alive(keep_alive)
        checked_seconds("bind_timeout", bind_timeout)
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
    stream = await connecting
    async with client_of(definition, stream, limits, keep_alive, bind_timeout) as client:
        yield client


@asynccontextmanager
async def bind(
    interface: type[InterfaceT],
    transport: Transport,
    *,
    max_frame: int = MAX_FRAME,
    credit: int = DEFAULT_CREDIT,
    keep_alive: float | None = None,
    bind_timeout: float = BIND_TIMEOUT,
) -> AsyncIterator[Client[InterfaceT]]:
    """The same over a connection that is there: a child's ``stream``, a channel, a socket with TLS.

    Args:
        transport: a trio stream, or a trio channel whose messages are ``bytes``; the other end runs
            :func:`serve_connection`. It belongs to the client from now on, which closes it, unless
            this raises TypeError or ValueError.
        interface, max_frame, credit, keep_alive, bind_timeout: as for :func:`connect`.

    Returns:
        For ``async with``: a :class:`Client`.

    Raises:
        TypeError: it is no such transport.
        And what :func:`connect` raises once it has connected.
    """
    try:
        definition = definition_of(interface)
        limits = Limits(max_frame=max_frame, credit=credit)
    except Exception:
        # Shielded: the transport is not ours, and Cancelled would not say that.
        await trio.lowlevel.cancel_shielded_checkpoint()
        raise
    async with client_of(definition, transport, limits, keep_alive, bind_timeout) as client:
        yield client


@asynccontextmanager
async def client_of(
    definition: Definition,
    transport: Transport,
    limits: Limits,
    keep_alive: float | None,
    bind_timeout: float = BIND_TIMEOUT,
) -> AsyncIterator[Client[Any]]:
    """What every way to become a client comes down to; see :func:`connect`."""
    try:
        check_keep_alive(keep_alive)
        bind_timeout = checked_seconds("bind_timeout", bind_timeout)
        frame_transport = FrameTransport(transport, limits)
    except Exception:
        await trio.lowlevel.cancel_shielded_checkpoint()
        raise
    session = Session(Party.CLIENT, {}, frame_transport.limits)
    answered = trio.Event()

    def on_event(event: Event, call: Call | None) -> None:
        caller.may_have_room()
        if session.failure is not None or event in (Event.BOUND, Event.REFUSED):
            answered.set()

    link = ClientLink(frame_transport, session, on_event, keep_alive=keep_alive)
    caller = Caller(link)
    session.bind(definition)
    # What cancels the block has it take leave of the connection, and not find it ended.
    lasting = trio.CancelScope(shield=True)

    async def run() -> None:
        with lasting:
            await link.run()

    async with unseen_nursery() as nursery:
        nursery.start_soon(run)
        try:
            link.flush()
            with trio.move_on_after(bind_timeout):
                await answered.wait()
            if not answered.is_set():
                raise BindTimeout(f"the server has not answered within {bind_timeout:g} s")
            if session.failure is not None:
                raise session.failure.again()
            yield Client(caller, definition)
            with trio.move_on_after(_LINGER):
                await link.wait_sent()
        finally:
            link.close(CommFailure("the connection was closed here"))
            lasting.cancel()


def definition_of(interface: type[Interface]) -> Definition:
    """What an interface says.

    Raises:
        TypeError: it is none.
    """
    definition = getattr(interface, "_rpc_definition", None)
    if not isinstance(definition, Definition):
        raise TypeError(f"{interface!r} is no interface; derive it from rpc.Interface")
    return definition
