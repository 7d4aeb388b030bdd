"""The operations that a server offers, with the methods of its managers that implement them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from types import NoneType
from typing import Any, ClassVar, TypeAlias

import msgspec

from ..definition.interface import Interface
from ..definition.introspection import IntrospectionManager
from ..definition.operations import Definition, Operation
from ..errors import BadStubData, RpcError, StreamStopped
from ..wire.format import Limits
from .call import Call
from .faults import fault_from_exception
from .intercepting import checked_interceptors
from .stream_call import StreamCall

__all__ = ["GRACE", "Managers", "ServedOperation", "ServerBase"]

Managers: TypeAlias = Interface | Iterable[Interface]
"""One manager, or several of different interfaces."""

# How long a server waits after a call's deadline before it ends the call. In this time the client's
# own timeout can expire, so that the call ends at the client with CallTimedOut and not with a fault
# of the server.
GRACE = 0.5  # seconds

_in_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_values_of = msgspec.structs.astuple


class ServedOperation:
    """An operation with the method that implements it.

    Attributes:
        end_of: makes the server's end of a pipe or a stream.
    """

    def __init__(
        self, operation: Operation, method: Callable[..., Any], end_of: Callable[..., Any]
    ) -> None:
        self.operation = operation
        self.method = method
        self.is_async = inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
        self.end_of = end_of

    def arguments(self, call: Call, driver: Any) -> Sequence[Any]:
        """Decodes the arguments for the method.

        Args:
            driver: the driver of the call, for the ends of its pipes and streams.

        Raises:
            BadStubData: an argument is not of its type, or exceeds a limit.
        """
        operation = self.operation
        try:
            decode = operation.decode_arguments
            values = decode(call.body)
        except Exception as error:  # text that is not UTF-8; an error of a user's class
            text = _wrong_count(call)
            if text is None:
                text = _named(str(error), operation) + call.session.versions_after("; ")
            raise BadStubData(f"{operation}: {text}") from None
        call.body = b""
        flows = operation.flows
        if not flows:
            return _values_of(values)
        return [
            self.end_of(driver, flows[name], serving=True)
            if name in flows
            else getattr(values, name)
            for name in operation.parameters
        ]


def _wrong_count(call: Call) -> str | None:
    """Returns the error text if the client sent more arguments than this server knows, or fewer
    than it needs; otherwise ``None``.
    """
    with suppress(Exception):
        count = len(_in_parts(call.body))
        known = len(call.operation.types)
        needed = known - len(call.operation.defaults)
        if not needed <= count <= known and call.session.definition is not None:
            major, minor = call.session.definition.version
            came = "1 argument" if count == 1 else f"{count:,} arguments"
            wanted = f"knows {known}" if count > known else f"needs {needed}"
            return f"the client sent {came}, and this server (version {major}.{minor}) {wanted}"
    return None


def _named(text: str, operation: Operation) -> str:
    """Returns the error text of msgspec with the parameter's name instead of its index."""
    for index, name in enumerate(operation.types):
        text = text.replace(f"`$[{index}]", f"`{name}")
    return text


class ServerBase:
    """The base of a server in every driver: the interfaces that it offers to its clients.

    Attributes:
        definitions: the interfaces by their uuid as text.
        served: for each interface, by its uuid, its operations by name.
    """

    _end_of: ClassVar[Callable[..., Any]]
    """Makes the server's end of a pipe or a stream."""
    _sending: ClassVar[Callable[..., Any]]
    """Makes a method that sends what the manager's method yields."""

    def __init__(
        self, managers: Managers, limits: Limits, *, tracebacks: bool, introspection: bool
    ) -> None:
        """Raises:
        TypeError: a manager implements no interface, two implement the same one, or there is no
            manager.
        """
        self.limits = limits
        self.tracebacks = tracebacks
        self.definitions: dict[str, Definition] = {}
        self.served: dict[str, dict[str, ServedOperation]] = {}
        if isinstance(managers, (Interface, type)) or not isinstance(managers, Iterable):
            managers = [managers]  # anything but an instance of an interface is refused below
        for manager in managers:
            self._add(manager)
        if not self.definitions:
            raise TypeError("there is no manager to serve; pass one or more")
        if introspection:
            self._add(IntrospectionManager(list(self.definitions.values())))

    def _intercept_with(
        self,
        interceptors: Iterable[Callable[..., Any]],
        wrapped: Callable[[Callable[..., Any], Operation, Sequence[Any]], Callable[..., Any]],
    ) -> None:
        """Lets the interceptors see all calls.

        Args:
            wrapped: returns a function that passes a call through the interceptors to a method.

        Raises:
            TypeError: an interceptor is not a function.
        """
        checked = checked_interceptors(interceptors)
        if checked:
            for operations in self.served.values():
                for one in operations.values():
                    one.method = wrapped(one.method, one.operation, checked)
                    one.is_async = inspect.iscoroutinefunction(one.method)

    def _add(self, manager: Interface) -> None:
        definition = getattr(manager, "_rpc_definition", None)
        if not isinstance(manager, Interface) or definition is None:
            raise TypeError(
                f"{manager!r} implements no interface; pass an instance of a class that is derived "
                "from one"
            )
        key = str(definition.uuid)
        if key in self.definitions:
            raise TypeError(
                f"{self.definitions[key]} and {definition} have the same uuid; serve one of them"
            )
        self.definitions[key] = definition
        self.served[key] = {
            name: ServedOperation(one, getattr(manager, name), self._end_of)
            for name, one in definition.operations.items()
        }
        for served in self.served[key].values():
            if served.operation.yields is not None:
                served.method = self._sending(served.method, served.operation.yields)

    def fault(self, error: BaseException, call: Call) -> RpcError | None:
        """Returns the fault that the client gets for an exception of a manager. Returns ``None`` if
        the exception only says that the client needs no more values, and there is no result: then
        the call ends as if the manager had returned.
        """
        if isinstance(call, StreamCall) and call.is_stopped_by(error):
            return None if call.operation.result is NoneType else StreamStopped()
        return fault_from_exception(error, call, with_traceback=self.tracebacks)
