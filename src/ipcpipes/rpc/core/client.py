"""The client's side: the part that all drivers share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Protocol, TypeAlias, TypeVar

from ...abc.uncopied import Uncopied
from ...options import checked_seconds
from ..definition.operations import Definition, Flow, Operation, Pipe
from ..errors import BindTimeout, CallTimedOut, InvalidAsyncCall, InvalidAsyncHandle
from ..wire.format import BIND_TIMEOUT, DEFAULT_CREDIT, MAX_FRAME, Limits
from ..wire.metadata import NO_METADATA, Metadata, MetadataValue
from .arguments import bind_arguments
from .call import Call
from .events import Notify
from .feeding import check_given, is_asynchronous, require_all_flows
from .intercepting import ClientCall, TransportLike, checked_interceptors
from .metadata import merged
from .results import result_of
from .session import Session
from .state import ConnectionState, Party
from .stream_feeding import check_given_for_stream

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "LINGER",
    "CallHandleBase",
    "ClientBase",
    "ClientOperationBase",
    "ClientOptions",
    "Feeds",
    "definition_of",
    "milliseconds_of",
]

Feeds: TypeAlias = Mapping[Flow, tuple[Any, Any]]
"""The source and the sink of each pipe or stream that has an argument."""

# How long a client that closes waits for the server to read what was sent last.
LINGER = 10.0  # seconds

_SAME: Any = object()
_MOST_MILLISECONDS = 2**32 - 1


class ClientLinkLike(Protocol):
    """A connection on which calls begin."""

    session: Session

    @property
    def transport(self) -> TransportLike: ...


class ClientDriver(Protocol):
    """The object of a driver for one call of a client."""

    call: Call

    def leave(self) -> None:
        """Ends the call at this end. If no answer has come, the call is given up."""

    def abandon(self) -> None:
        """Cancels the call at once."""

    def cancel(self) -> None:
        """Asks the server to end the call."""


LinkT = TypeVar("LinkT", bound=ClientLinkLike)
DriverT = TypeVar("DriverT", bound=ClientDriver)
OperationT = TypeVar("OperationT", bound="ClientOperationBase[Any]")


def definition_of(interface: object) -> Definition:
    """Returns the definition of an interface.

    Raises:
        TypeError: ``interface`` is not an interface.
    """
    definition = getattr(interface, "_rpc_definition", None)
    if not isinstance(definition, Definition):
        raise TypeError(f"{interface!r} is no interface; derive it from rpc.Interface")
    return definition


def milliseconds_of(seconds: float) -> int:
    """Returns the remaining time of a call in milliseconds, as it is sent to the server.
    ``seconds`` may be infinite, or not positive.
    """
    return math.ceil(min(max(seconds * 1000, 1), _MOST_MILLISECONDS))


class ClientOptions:
    """The options of a client's connection, the same for every driver.

    Raises:
        TypeError, ValueError: an option is not of its type, or out of range.
    """

    def __init__(
        self,
        definition: Definition,
        max_frame: int = MAX_FRAME,
        credit: int = DEFAULT_CREDIT,
        bind_timeout: float = BIND_TIMEOUT,
        *,
        metadata: Mapping[str, MetadataValue] = NO_METADATA,
        interceptors: Iterable[Callable[..., Any]] = (),
    ) -> None:
        self.interceptors = checked_interceptors(interceptors)
        self.metadata = merged(Metadata(), metadata)
        self.definition = definition
        self.limits = Limits(max_frame=max_frame, credit=credit)
        self.bind_timeout = checked_seconds("bind_timeout", bind_timeout)

    def session(self, limits: Limits) -> Session:
        """Makes a session that asks for the interface."""
        session = Session(Party.CLIENT, {}, limits)
        session.bind(self.definition)
        return session

    def check_bound(self, session: Session) -> None:
        """Raises:
        BindTimeout: the server has not answered yet.
        RpcError: the server has refused the client, or the connection has ended.
        """
        if session.state is ConnectionState.BINDING:
            raise BindTimeout(f"the server has not answered within {self.bind_timeout:g} s")
        if session.failure is not None:
            raise session.failure.again()


class ClientBase(Uncopied, Generic[LinkT, OperationT]):
    """The part of a client that describes its server.

    If the interface has an operation called ``has`` or ``server_version``, the operation replaces
    the member of this class.

    Attributes:
        server_version: the server's version of the interface: major, minor. Both ends know
            everything up to the smaller of the two minor versions.
    """

    _instead = "connect in the other process: rpc.connect(interface, endpoint)"
    _operation_class: ClassVar[type[ClientOperationBase[Any]]]
    _iterated_operation_class: ClassVar[type[ClientOperationBase[Any]]]
    """The class of an operation that yields."""
    _intercepted_class: ClassVar[Callable[..., ClientOperationBase[Any]]]

    server_version: tuple[int, int]

    def __init__(self, link: LinkT, options: ClientOptions) -> None:
        self._link = link
        self._definition = options.definition
        make: Callable[..., Any] = self._operation_class
        if options.interceptors:
            make = partial(self._intercepted_class, _interceptors=options.interceptors)
        self._operations = {
            name: (self._iterated_operation_class if one.yields else make)(
                link, one, one.options.timeout, None, options.metadata
            )
            for name, one in options.definition.operations.items()
        }
        self.server_version = link.session.peer_version
        for name in ("has", "server_version"):
            if name in self._operations:
                setattr(self, name, self._operations[name])

    def has(self, operation: str) -> bool:
        """Whether the server has this operation. If it does not, a call fails with
        :class:`ProcnumOutOfRange` or :class:`WrongPipeVersion`. The server may lack an operation if
        its minor version of the interface differs from this client's. Nothing is sent: the server
        listed its operations when the connection began.

        Args:
            operation: the name of the operation; this client's interface need not have it.
        """
        return self._link.session.has(operation)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._operations]

    def __repr__(self) -> str:
        return f"<ipcpipes rpc client of {self._definition} over {self._link.transport!r}>"

    def __getattr__(self, name: str) -> OperationT:
        try:
            operation: Any = self._operations[name]
        except KeyError:
            raise AttributeError(f"{self._definition} has no operation {name!r}") from None
        setattr(self, name, operation)  # the next look-up does not call __getattr__
        return operation  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class ClientOperationBase(Uncopied, Generic[LinkT]):
    _instead = "connect in the other process: rpc.connect(interface, endpoint)"
    _has_loop: ClassVar[bool]

    _link: LinkT
    _operation: Operation
    _timeout: float | None
    _notify: Notify | None
    _metadata: Metadata
    _attempt_of: ClientCall | None = None  # the call that interceptors see
    _interceptors: Sequence[Callable[..., Any]] = ()
    _is_lean: bool = field(init=False)  # whether a call may take few steps

    def __post_init__(self) -> None:
        is_lean = (
            self._operation.is_plain
            and self._notify is None
            and not self._metadata
            and self._attempt_of is None
        )
        object.__setattr__(self, "_is_lean", is_lean)

    def with_options(
        self,
        *,
        timeout: float | None = _SAME,
        notify: Notify | None = _SAME,
        metadata: Mapping[str, MetadataValue] | None = _SAME,
    ) -> Self:
        """Returns the same operation with other options. An option that is not given keeps its
        value.

        Args:
            timeout: seconds after which a call fails with :class:`CallTimedOut`, more than 0;
                ``None`` for no limit.
            notify: called with each :class:`CallEvent` of a call that was begun; ``None`` for no
                function. It must not wait; exceptions that it raises are logged. A task of the
                connection calls it. Without an event loop, a thread that waits for something on
                this connection calls it.
            metadata: what is sent beside the arguments, for ``rpc.current_call().metadata`` at the
                server: ``{"token": "..."}``. It is added to what the operation has; the value of a
                key that is there is replaced. ``None`` removes all, also what was given to
                ``connect``. A key has 1 to 64 of the characters ``a-z``, ``0-9``, ``.``, ``_`` and
                ``-``, and begins with a letter or digit. A value is a ``str``, ``bytes``, ``int``,
                ``float`` or ``bool``. All together have at most 8,192 bytes, encoded. A server of
                an earlier version of ipcpipes does not get it.

        Raises:
            TypeError: a key or a value of ``metadata`` is not of its type.
            ValueError: ``timeout`` is not more than 0, or the metadata cannot be sent.
        """
        timeout = self._timeout if timeout is _SAME else _checked_timeout(timeout)
        if notify is _SAME:
            notify = self._notify
        added = NO_METADATA if metadata is _SAME else metadata
        return replace(
            self, _timeout=timeout, _notify=notify, _metadata=merged(self._metadata, added)
        )

    def _intercepted(self, arguments: Sequence[Any], named: Mapping[str, Any]) -> ClientCall:
        """Returns the call that the interceptors see.

        Raises:
            TypeError: an argument is missing, unknown, or given twice.
        """
        operation = self._operation
        values, given = bind_arguments(operation, arguments, named)
        require_all_flows(operation, given)
        found = dict(zip(operation.types, values, strict=True))
        found |= {flow.name: one for flow, one in given.items()}
        in_order = {name: found[name] for name in operation.parameters}
        transport = self._link.transport
        return ClientCall(operation, in_order, transport, self._metadata, self._timeout)

    def _attempt(self, call: ClientCall) -> Self:
        """Returns the operation that makes an attempt of a call.

        Raises:
            TypeError, ValueError: an interceptor has given the call something that is not valid.
        """
        return replace(
            self,
            _timeout=_checked_timeout(call.timeout),
            _metadata=merged(Metadata(), call.metadata),
            _attempt_of=call,
        )

    def _note_begun(self, call: Call) -> None:
        """Called when an attempt has begun."""
        if self._attempt_of is not None:
            self._attempt_of._call = call

    def _check(self, given: Mapping[Flow, Any]) -> Feeds:
        """Raises:
        TypeError: the argument for a pipe or a stream is neither a source nor a sink, or it needs
            an event loop that this driver does not have.
        """
        feeds: dict[Flow, tuple[Any, Any]] = {}
        for flow, one in given.items():
            if isinstance(flow, Pipe):
                feeds[flow] = check_given(flow, one)
            else:
                check_given_for_stream(flow, one)
                feeds[flow] = (one, one)
        if not self._has_loop:
            for flow, parts in feeds.items():
                for part in parts:
                    if is_asynchronous(part):
                        word = "pipe" if isinstance(flow, Pipe) else "stream"
                        raise TypeError(
                            f"the {word} {flow.name}: {part!r} is asynchronous, and there is no "
                            "loop"
                        )
        return feeds

    def _beginning(
        self, arguments: Sequence[Any], named: Mapping[str, Any]
    ) -> tuple[Self, list[Any], Feeds]:
        """Returns the arguments for a new call handle: the operation, the values, and the sources
        and sinks.
        """
        if self._operation.options.maybe:
            raise TypeError(
                f"{self._operation} is maybe=True and has no result; call it instead of begin()"
            )
        values, given = bind_arguments(self._operation, arguments, named)
        return self, values, self._check(given)

    def _too_long(self) -> CallTimedOut:
        """Returns the error for a call that took longer than its timeout."""
        return CallTimedOut(f"{self._operation} took longer than its {self._timeout:g} s")

    def __repr__(self) -> str:
        return f"<ipcpipes rpc operation {self._operation}>"


def _checked_timeout(timeout: float | None) -> float | None:
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout must be more than 0 seconds, not {timeout!r}")
    return timeout


class CallHandleBase(Uncopied, Generic[LinkT, DriverT]):
    _instead = "they belong to a call, and a call belongs to its connection"

    def __init__(
        self, operation: ClientOperationBase[LinkT], values: Sequence[Any], feeds: Feeds
    ) -> None:
        self._of = operation
        self._operation = operation._operation
        self._values = values
        self._feeds = feeds
        self._begun = False
        self._given_driver: DriverT | None = None
        self.pipes: Mapping[str, Any] = {}
        self.streams: Mapping[str, Any] = {}

    def _begin_once(self) -> None:
        if self._begun:
            driver = self._given_driver
            over = driver is not None and driver.call.over
            raise InvalidAsyncHandle if over else InvalidAsyncCall
        self._begun = True

    def _make_ends(self, end_of: Callable[..., Any]) -> None:
        """Makes the ends of the pipes and streams that are driven by hand."""
        driver, feeds, operation = self._driver, self._feeds, self._operation
        self.pipes, self.streams = (
            {one.name: end_of(driver, one, serving=False) for one in flows if one not in feeds}
            for flows in (operation.pipes, operation.streams)
        )

    @property
    def _driver(self) -> DriverT:
        if self._given_driver is None:
            raise InvalidAsyncHandle("the call has not begun; enter the block first")
        return self._given_driver

    def _require_live(self) -> None:
        if self._driver.call.over:
            raise InvalidAsyncHandle

    @property
    def answer_metadata(self) -> Mapping[str, MetadataValue]:
        """What the server has sent with the answer beside the result, also if the call has failed;
        empty before the answer has come, or if the server has sent nothing.
        """
        driver = self._given_driver
        return NO_METADATA if driver is None else driver.call.answer_metadata

    def _result(self) -> Any:
        """Returns the value of the answer, and ends the call at this end."""
        try:
            return result_of(self._driver.call)
        finally:
            self._driver.leave()

    def _fail_too_long(self) -> NoReturn:
        self._driver.leave()
        raise self._of._too_long()

    def cancel(self, *, abortive: bool = True) -> None:
        """Cancels the call. Any task of the connection's event loop may call this; without an event
        loop, any thread may. It has no effect after the call has ended.

        Args:
            abortive: if true, the call ends at once, and :meth:`complete` raises
                :class:`CallCancelled`; the server is told, and cancels its manager if it can. If
                false, the manager can ask (``current_call().test_cancel()``), and the client waits
                for the manager's answer.
        """
        driver = self._driver
        if driver.call.over or driver.call.has_ended:
            return
        if abortive:
            driver.abandon()
        else:
            driver.cancel()

    def __repr__(self) -> str:
        return f"<ipcpipes rpc call of {self._operation}>"
