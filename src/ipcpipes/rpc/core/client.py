"""The client's side: what all drivers have of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Protocol, TypeVar

from ...abc.uncopied import Uncopied
from ..definition.interface import Interface
from ..definition.operations import Definition, Operation, Pipe
from ..errors import CallTimedOut, InvalidAsyncCall, InvalidAsyncHandle
from .arguments import bind_arguments
from .call import Call
from .events import Notify
from .feeding import check_given, is_asynchronous
from .results import result_of
from .server_view import ServerView
from .session import Session

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "CallHandleBase",
    "CallerBase",
    "ClientBase",
    "ClientOperationBase",
    "Feeds",
    "definition_of",
    "milliseconds_of",
    "too_long",
]

InterfaceT = TypeVar("InterfaceT", bound=Interface)

Feeds = Mapping[Pipe, tuple[Any, Any]]
"""The source and the sink of the pipes that something was given for."""

_SAME: Any = object()
_MOST_MILLISECONDS = 2**32 - 1


class _Link(Protocol):
    session: Session

    @property
    def transport(self) -> object: ...


class CallerBase(Protocol):
    """What begins calls on a connection."""

    @property
    def link(self) -> _Link: ...


class ClientDriver(Protocol):
    """What a driver has for a call of a client."""

    call: Call

    def leave(self) -> None:
        """Ends the call at this end; it is given up if no answer has come."""

    def abandon(self) -> None:
        """Cancels the call at once."""

    def cancel(self) -> None:
        """Asks the server to end the call."""


CallerT = TypeVar("CallerT", bound=CallerBase)
DriverT = TypeVar("DriverT", bound=ClientDriver)


def definition_of(interface: type[Interface]) -> Definition:
    """The definition of an interface.

    Raises:
        TypeError: it is not an interface.
    """
    definition = getattr(interface, "_rpc_definition", None)
    if not isinstance(definition, Definition):
        raise TypeError(f"{interface!r} is no interface; derive it from rpc.Interface")
    return definition


def milliseconds_of(seconds: float) -> int:
    """The time that a call has left, as it is sent to the server. It may be infinite, or over."""
    return math.ceil(min(max(seconds * 1000, 1), _MOST_MILLISECONDS))


def too_long(operation: Operation, timeout: float | None) -> CallTimedOut:
    """The error of a call that took longer than its timeout."""
    return CallTimedOut(f"{operation} took longer than its {timeout:g} s")


class ClientBase(Uncopied, ServerView, Generic[InterfaceT]):
    _instead = "connect in the other process: rpc.connect(interface, endpoint)"
    _operation_class: ClassVar[type[ClientOperationBase[Any]]]

    def __init__(self, caller: CallerBase, definition: Definition) -> None:
        self._caller = caller
        self._definition = definition
        self._operations = {
            name: self._operation_class(caller, one, one.options.timeout, None)
            for name, one in definition.operations.items()
        }
        self._learn(caller.link.session, self._operations)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._operations]

    def __repr__(self) -> str:
        return f"<ipcpipes rpc client of {self._definition} over {self._caller.link.transport!r}>"

    def _find(self, name: str) -> Any:
        try:
            operation = self._operations[name]
        except KeyError:
            raise AttributeError(f"{self._definition} has no operation {name!r}") from None
        setattr(self, name, operation)  # found without this the next time
        return operation


@dataclass(frozen=True, eq=False)
class ClientOperationBase(Uncopied, Generic[CallerT]):
    _instead = "connect in the other process: rpc.connect(interface, endpoint)"
    _has_loop: ClassVar[bool]

    _caller: CallerT
    _operation: Operation
    _timeout: float | None
    _notify: Notify | None

    def with_options(self, *, timeout: float | None = _SAME, notify: Notify | None = _SAME) -> Self:
        """The same operation with other options; an option that is not given stays as it is.

        Args:
            timeout: seconds after which a call fails with :class:`CallTimedOut`, more than 0;
                ``None`` for no limit.
            notify: called with each :class:`CallEvent` of a call that was begun; ``None`` for no
                function. It must not wait, and what it raises is logged. A task of the connection
                calls it, or without an event loop, a thread that waits for something on this
                connection.
        """
        if timeout is _SAME:
            timeout = self._timeout
        elif timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, not {timeout!r}")
        return replace(self, _timeout=timeout, _notify=self._notify if notify is _SAME else notify)

    def _check(self, given: Mapping[Pipe, Any]) -> Feeds:
        """Raises:
        TypeError: what was given for a pipe is neither a source nor a sink; or needs an event loop
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
    ) -> tuple[CallerT, Operation, list[Any], Feeds, float | None, Notify | None]:
        """What a handle of a call is made of."""
        if self._operation.options.maybe:
            raise TypeError(
                f"{self._operation} is maybe=True and has no result; call it instead of begin()"
            )
        values, given = bind_arguments(self._operation, arguments, named)
        feeds = self._check(given)
        return self._caller, self._operation, values, feeds, self._timeout, self._notify

    def __repr__(self) -> str:
        return f"<ipcpipes rpc operation {self._operation}>"


class CallHandleBase(Uncopied, Generic[CallerT, DriverT]):
    _instead = "they belong to a call, and a call belongs to its connection"

    def __init__(
        self,
        caller: CallerT,
        operation: Operation,
        values: Sequence[Any],
        feeds: Feeds,
        timeout: float | None,
        notify: Notify | None,
    ) -> None:
        self._caller = caller
        self._operation = operation
        self._values = values
        self._feeds = feeds
        self._timeout = timeout
        self._notify = notify
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
        """The value of the answer, once."""
        try:
            return result_of(self._driver.call)
        finally:
            self._driver.leave()

    def _fail_too_long(self) -> NoReturn:
        self._driver.leave()
        raise too_long(self._operation, self._timeout)

    def cancel(self, *, abortive: bool = True) -> None:
        """Cancels the call, from any task of the connection's loop, or without an event loop, from
        any thread; no effect once the call has ended.

        Args:
            abortive: it ends at once, and :meth:`complete` raises :class:`CallCancelled`; the
                server is told, which cancels its manager where it can. Otherwise the manager can
                ask (``current_call().test_cancel()``), and the client waits for its answer.
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
