"""Interceptors: functions around each call, at the client or at the server. The part that all
drivers share: what an interceptor sees of a call, and the order of the interceptors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ...abc.uncopied import Uncopied
from ..definition.operations import Operation
from ..errors import ServerTooBusy, ServerUnavailable
from ..wire.metadata import NO_METADATA, Metadata, MetadataValue

if TYPE_CHECKING:
    from ...abc import PeerIdentity
    from .call import Call
    from .current import CurrentCall

__all__ = ["ClientCall", "ServerCall", "TransportLike", "chained", "checked_interceptors"]

CallT = TypeVar("CallT")
# An attempt that ended so was not begun by the server.
_NOT_BEGUN = (ServerUnavailable, ServerTooBusy)


class TransportLike(Protocol):
    """The transport of a link."""

    @property
    def peer(self) -> PeerIdentity: ...


class _InterceptedCall(Uncopied):
    _instead = "they belong to a call, and a call belongs to its connection"

    def __init__(self, operation: Operation, arguments: dict[str, Any]) -> None:
        self._operation = operation
        self.arguments = arguments

    @property
    def interface(self) -> str:
        """The name of the interface."""
        return self._operation.interface

    @property
    def operation(self) -> str:
        """The name of the operation."""
        return self._operation.name

    @property
    def idempotent(self) -> bool:
        """Whether the operation is declared with ``idempotent=True``."""
        return self._operation.options.idempotent

    def __repr__(self) -> str:
        return f"<ipcpipes rpc intercepted call of {self._operation}>"


class ClientCall(_InterceptedCall):
    """A call of a client, as its interceptors see it.

    Attributes:
        arguments: the arguments by the names of their parameters, with defaults, and with what was
            given for pipes. An interceptor may change them before it proceeds.
        metadata: what is sent beside the arguments. An interceptor may change it before it
            proceeds; see ``with_options`` of :class:`ClientOperation` for keys and values.
        timeout: seconds after which an attempt fails with :class:`CallTimedOut`; ``None`` for no
            limit. An interceptor may change it before it proceeds.
    """

    metadata: MutableMapping[str, MetadataValue]

    def __init__(
        self,
        operation: Operation,
        arguments: dict[str, Any],
        transport: TransportLike,
        metadata: Metadata,
        timeout: float | None,
    ) -> None:
        super().__init__(operation, arguments)
        self._transport = transport
        self.metadata = Metadata(metadata)
        self.timeout = timeout
        self._call: Call | None = None  # of the last attempt, once it has begun
        self._is_running = False

    @property
    def peer(self) -> PeerIdentity:
        """The identity of the server.

        Raises:
            trio.ClosedResourceError: the connection has ended, and the system was not asked before.
        """
        return self._transport.peer

    @property
    def has_begun(self) -> bool:
        """Whether an attempt was sent to the server."""
        return self._call is not None

    @property
    def answer_metadata(self) -> Mapping[str, MetadataValue]:
        """What the server has sent beside the result, also if the call has failed; empty before the
        answer has come. After several attempts, that of the last one.
        """
        return NO_METADATA if self._call is None else self._call.answer_metadata

    @property
    def may_proceed(self) -> bool:
        """Whether an interceptor may proceed now. It may proceed once. It may proceed again if the
        operation is idempotent, or if no attempt was begun by the server: the attempt raised
        :class:`ServerTooBusy`, :class:`ServerUnavailable`, or an error of an argument.
        """
        if self.idempotent:
            return True
        if self._is_running:
            return False
        return self._call is None or isinstance(self._call.failure, _NOT_BEGUN)

    @contextmanager
    def _attempting(self) -> Iterator[None]:
        """Raises:
        RuntimeError: the call must not be repeated.
        """
        if not self.may_proceed:
            raise RuntimeError(
                f"{self._operation} is not idempotent, and an attempt may have begun: an "
                "interceptor must not proceed again"
            )
        self._call = None
        self._is_running = True
        try:
            yield
        finally:
            self._is_running = False


class ServerCall(_InterceptedCall):
    """A call at the server, as the interceptors of the server see it.

    Attributes:
        arguments: the arguments by the names of their parameters, and the ends of pipes. An
            interceptor may change them before it proceeds.
        peer: the identity of the client.
        deadline: the time after which the client does not need an answer, on the clock of
            :func:`trio.current_time`, or in a thread, of :func:`time.monotonic`; ``math.inf`` if
            the client set no timeout.
    """

    def __init__(
        self, operation: Operation, arguments: Iterable[Any], current: CurrentCall
    ) -> None:
        named = dict(zip(operation.parameters, arguments, strict=True))
        super().__init__(operation, named)
        self._current = current
        self.peer: PeerIdentity = current.peer
        self.deadline = current.deadline
        self._has_proceeded = False

    @property
    def metadata(self) -> Mapping[str, MetadataValue]:
        """What the client has sent beside the arguments; empty if that is nothing."""
        return self._current.metadata

    @property
    def answer_metadata(self) -> MutableMapping[str, MetadataValue]:
        """What is sent with the answer; see :attr:`CurrentCall.answer_metadata`.

        Raises:
            rpc.InvalidAsyncHandle: the call is over.
        """
        return self._current.answer_metadata

    def _proceed(self, method: Callable[..., Any]) -> Any:
        """Calls the manager's method.

        Raises:
            RuntimeError: an interceptor has proceeded before.
        """
        if self._has_proceeded:
            raise RuntimeError(
                f"an interceptor has called the manager of {self._operation} already; at a server, "
                "an interceptor proceeds once"
            )
        self._has_proceeded = True
        return method(*[self.arguments[name] for name in self._operation.parameters])


def checked_interceptors(interceptors: Iterable[Callable[..., Any]]) -> Sequence[Any]:
    """Raises:
    TypeError: they are not functions in a list.
    """
    checked = tuple(interceptors)
    for one in checked:
        if not callable(one):
            raise TypeError(f"an interceptor is a function (call, proceed), not {one!r}")
    return checked


def chained(
    interceptors: Sequence[Callable[[CallT, Callable[[CallT], Any]], Any]],
    innermost: Callable[[CallT], Any],
) -> Callable[[CallT], Any]:
    """Returns a function that passes a call through the interceptors; the first is the outermost.

    Args:
        innermost: what the last interceptor calls to proceed.
    """
    proceed = innermost
    for interceptor in reversed(interceptors):
        proceed = partial(_intercept, interceptor, proceed)
    return proceed


def _intercept(
    interceptor: Callable[[CallT, Callable[[CallT], Any]], Any],
    proceed: Callable[[CallT], Any],
    call: CallT,
) -> Any:
    return interceptor(call, proceed)
