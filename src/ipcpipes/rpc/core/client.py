"""The client's side: the part that all drivers share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Protocol, TypeAlias, TypeVar

from ...abc.uncopied import Uncopied
from ...options import checked_seconds
from ..definition.operations import Definition, Operation, Pipe
from ..errors import BindTimeout, CallTimedOut, InvalidAsyncCall, InvalidAsyncHandle
from ..wire.format import BIND_TIMEOUT, DEFAULT_CREDIT, MAX_FRAME, Limits
from .arguments import bind_arguments
from .call import Call
from .events import Notify
from .feeding import check_given, is_asynchronous
from .results import result_of
from .session import Session
from .state import ConnectionState, Party

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

Feeds: TypeAlias = Mapping[Pipe, tuple[Any, Any]]
"""The source and the sink of each pipe that has an argument."""

# How long a client that closes waits for the server to read what was sent last.
LINGER = 10.0  # seconds

_SAME: Any = object()
_MOST_MILLISECONDS = 2**32 - 1


class ClientLinkLike(Protocol):
    """A connection on which calls begin."""

    session: Session

    @property
    def transport(self) -> object: ...


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
    ) -> None:
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

    server_version: tuple[int, int]

    def __init__(self, link: LinkT, definition: Definition) -> None:
        self._link = link
        self._definition = definition
        self._operations = {
            name: self._operation_class(link, one, one.options.timeout, None)
            for name, one in definition.operations.items()
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

    def with_options(self, *, timeout: float | None = _SAME, notify: Notify | None = _SAME) -> Self:
        """Returns the same operation with other options. An option that is not given keeps its
        value.

        Args:
            timeout: seconds after which a call fails with :class:`CallTimedOut`, more than 0;
                ``None`` for no limit.
            notify: called with each :class:`CallEvent` of a call that was begun; ``None`` for no
                function. It must not wait; exceptions that it raises are logged. A task of the
                connection calls it. Without an event loop, a thread that waits for something on
                this connection calls it.
        """
        if timeout is _SAME:
            timeout = self._timeout
        elif timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, not {timeout!r}")
        return replace(self, _timeout=timeout, _notify=self._notify if notify is _SAME else notify)

    def _check(self, given: Mapping[Pipe, Any]) -> Feeds:
        """Raises:
        TypeError: the argument for a pipe is neither a source nor a sink, or it needs an event loop
            that this driver does not have.
        """
        feeds = {pipe: check_given(pipe, one) for pipe, one in given.items()}
        if not self._has_loop:
            for pipe, parts in feeds.items():
                for part in parts:
                    if is_asynchronous(part):
                        raise TypeError(
                            f"the pipe {pipe.name}: {part!r} is asynchronous, and there is no loop"
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

    def _begin_once(self) -> None:
        if self._begun:
            driver = self._given_driver
            over = driver is not None and driver.call.over
            raise InvalidAsyncHandle if over else InvalidAsyncCall
        self._begun = True

    @property
    def _by_hand(self) -> list[Pipe]:
        return [pipe for pipe in self._operation.pipes if pipe not in self._feeds]

    @property
    def _driver(self) -> DriverT:
        if self._given_driver is None:
            raise InvalidAsyncHandle("the call has not begun; enter the block first")
        return self._given_driver

    def _require_live(self) -> None:
        if self._driver.call.over:
            raise InvalidAsyncHandle

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
