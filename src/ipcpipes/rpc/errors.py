"""The errors of remote calls: one exception class for each status, and the table of the statuses.

The codes are those of Windows RPC (winerror.h). Errors that a server sends also have the number of
DCE RPC (C706, appendix E). Each class also derives from the built-in exception that code for
sockets and files would catch. Python has no built-in exception for a cancelled call.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeVar

import trio

from ..errors import IpcError

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "AsyncCallPending",
    "BadStubData",
    "BindTimeout",
    "CallCancelled",
    "CallTimedOut",
    "CommFailure",
    "DefinitionError",
    "Fault",
    "InvalidAsyncCall",
    "InvalidAsyncHandle",
    "InvalidBound",
    "NoCallActive",
    "PipeAppMemory",
    "PipeClosed",
    "PipeDisciplineError",
    "PipeEmpty",
    "PipeError",
    "ProcnumOutOfRange",
    "ProtocolError",
    "RpcError",
    "ServerTooBusy",
    "ServerUnavailable",
    "StreamStopped",
    "UnknownInterface",
    "WrongPipeOrder",
    "WrongPipeVersion",
]


ErrorT = TypeVar("ErrorT", bound="RpcError")


class DefinitionError(IpcError, TypeError):
    """An interface breaks a rule of remote calls. This is a mistake in the program.

    The text names the rule, the interface, the operation and the parameter, and says what to do.

    Attributes:
        rule: the rule in a few words (``"only a parameter"``): its heading in docs/rpc-rules.md.
        where: the interface, the operation and the parameter.
        text: what is wrong, and what to do.

    Cause and cure: docs/troubleshooting.md#definitionerror
    """

    def __init__(self, rule: str, where: str, text: str) -> None:
        super().__init__(rule, where, text)
        self.rule = rule
        self.where = where
        self.text = text

    def __str__(self) -> str:
        return f"{self.where}: {self.text} (rule: {self.rule})"


class BrokenRule(Exception):
    """A definition breaks a rule. The exception does not name the place; :class:`DefinitionError`
    adds it.
    """

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(rule, text)
        self.rule = rule
        self.text = text


def failure_code(code: object) -> int | None:
    """Returns the code if it can be the status of a failure, otherwise ``None``."""
    if isinstance(code, int) and not isinstance(code, bool) and 0 < code < 2**32:
        return int(code)
    return None


class RpcError(IpcError):
    """A call failed. Each status has its own subclass.

    Attributes:
        code: the status in Windows' numbering (``RPC_X_…``, ``RPC_S_…``; winerror.h).
        default_code, default_message: the status and the text of the class.
        default_errno: the ``errno`` of a class that is an :exc:`OSError`; otherwise ``None``.
        fault_status: the status in DCE's numbering (``nca_s_fault_…``); ``None`` if DCE has none.
        message: what happened, in one line.
        type: the name of the exception that the server's manager raised; ``None`` if the manager
            raised none, or if the failure happened at this end.
        traceback: the server's traceback as text, if the server sends it (``tracebacks=True``).
        sub_exceptions: if the manager raised an :exc:`ExceptionGroup`, its exceptions; otherwise
            empty. (Not ``exceptions``: much code takes an exception with that attribute for a
            group, and an error without parts for one that consists of anything.)

    The exception from which the manager's exception was raised (``raise ... from cause``) is
    ``__cause__``, and the notes of the manager's exception (:pep:`678`) are those of this one, so a
    traceback shows them. Causes and the members of a group are :class:`Fault` objects, too.

    Args:
        message: ``None`` for the usual text of the status.
        code: 1 to 2**32 - 1; ``None`` for the code of the class.

    Raises:
        ValueError: ``code`` is out of range. 0 would mean success.

    Cause and cure: docs/troubleshooting.md#rpcerror
    """

    default_code: ClassVar[int]
    default_message: ClassVar[str]
    default_errno: ClassVar[int | None] = None  # classes that are an OSError set it
    sub_exceptions: tuple[RpcError, ...] = ()
    _declared: tuple[str, bytes] | None = None  # how the server sends it: its class, its fields
    _first: RpcError | None = None

    def __init__(
        self,
        message: str | None = None,
        *,
        code: int | None = None,
        type: str | None = None,  # noqa: A002  # the protocol has the same name
        traceback: str | None = None,
    ) -> None:
        valid = self.default_code if code is None else failure_code(code)
        if valid is None:
            raise ValueError(f"the code of a failure is 1 to 2**32 - 1, not {code!r}")
        self.message = self.default_message if message is None else message
        if self.default_errno is None:
            super().__init__(self.message)
        else:
            super().__init__(self.default_errno, self.message)
        self.code = valid
        self.type = type
        self.traceback = traceback

    @property
    def fault_status(self) -> int | None:
        return FAULT_STATUS.get(self.code)

    def again(self) -> RpcError:
        """Returns a copy to raise, because an exception that is raised twice would collect both
        tracebacks.
        """
        copy = _made_again(type(self), self.args, self.__dict__)
        copy.carrying(self.notes, self.__cause__, self.sub_exceptions)
        copy._first = self.first
        return copy

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes of the manager's exception; before Python 3.11, tracebacks do not show them."""
        return tuple(getattr(self, "__notes__", ()))

    def carrying(
        self,
        notes: Sequence[str] = (),
        cause: BaseException | None = None,
        sub_exceptions: Sequence[RpcError] = (),
    ) -> Self:
        """Adds what belongs to the exception, and returns it."""
        if notes:
            self.__notes__ = [*notes]
        if cause is not None:
            self.__cause__ = cause
        self.sub_exceptions = tuple(sub_exceptions)
        return self

    @property
    def first(self) -> RpcError:
        """The exception that :meth:`again` copied, or this exception."""
        return self._first or self

    def __reduce__(self) -> tuple[object, ...]:
        state = {name: value for name, value in self.__dict__.items() if name != "_first"}
        return _made_again, (type(self), self.args, state)

    def __str__(self) -> str:
        return self.message if self.type is None else f"{self.type}: {self.message}"


def _made_again(
    kind: type[ErrorT], args: tuple[object, ...], attributes: Mapping[str, object]
) -> ErrorT:
    """Makes an error without its ``__init__``, because a subclass may have its own."""
    error = kind.__new__(kind)
    super(RpcError, error).__init__(*args)  # an OSError takes its errno from them
    error.__dict__.update(attributes)
    return error


class Fault(RpcError, RuntimeError):
    """The server's manager raised an exception, or aborted the call.

    A manager raises this exception to choose the text and the code that the client gets:
    ``raise rpc.Fault("no such log", code=2)``. Any other exception of a manager reaches the client
    as a fault with the code RPC_S_CALL_FAILED.

    An interface can declare subclasses, which reach the client as what they are
    (``class Library(rpc.Interface, ..., raises=[NotFound])``):

    >>> @dataclass(eq=False)
    ... class NotFound(rpc.Fault):
    ...     title: str
    ...     default_message = "there is no such book"

    Cause and cure: docs/troubleshooting.md#fault
    """

    default_code = 1726  # RPC_S_CALL_FAILED
    default_message = "the server's manager failed"

    def __post_init__(self) -> None:
        """A subclass that is a dataclass has an ``__init__`` that calls this one. Replace it to
        choose the message: ``super().__init__(f"there is no {self.title}")``.
        """
        Fault.__init__(self)


class PipeError(RpcError):
    """A pipe was used against its rules, or cannot continue.

    Cause and cure: docs/troubleshooting.md#pipeerror
    """


class WrongPipeOrder(PipeError, RuntimeError):
    """Another pipe comes first: in-pipes from left to right, then out-pipes from left to right.

    Cause and cure: docs/troubleshooting.md#wrongpipeorder
    """

    default_code = 1831  # RPC_X_WRONG_PIPE_ORDER
    default_message = "it is not this pipe's turn"


class PipeClosed(PipeError, RuntimeError):
    """A push into a pipe that was closed.

    Cause and cure: docs/troubleshooting.md#pipeclosed
    """

    default_code = 1916  # RPC_X_PIPE_CLOSED
    default_message = "this pipe is closed"


class PipeEmpty(PipeError, EOFError):
    """A pull from a pipe after its end was pulled.

    Cause and cure: docs/troubleshooting.md#pipeempty
    """

    default_code = 1918  # RPC_X_PIPE_EMPTY
    default_message = "this pipe has been read to its end"


class PipeDisciplineError(PipeError, RuntimeError):
    """The manager returned before it drained each in-pipe and closed each out-pipe.

    Cause and cure: docs/troubleshooting.md#pipedisciplineerror
    """

    default_code = 1917  # RPC_X_PIPE_DISCIPLINE_ERROR
    default_message = "the manager returned before it was done with its pipes"


class PipeAppMemory(PipeError, BufferError):
    """No room for an element: a pull of 0 elements, or a buffer smaller than one element.

    Cause and cure: docs/troubleshooting.md#pipeappmemory
    """

    default_code = 14  # RPC_X_PIPE_APP_MEMORY
    default_message = "there is no room for an element"


class WrongPipeVersion(PipeError, LookupError):
    """The client and the server declare different pipes for the same operation.

    Cause and cure: docs/troubleshooting.md#wrongpipeversion
    """

    default_code = 1832  # RPC_X_WRONG_PIPE_VERSION
    default_message = "the client and the server declare different pipes for this operation"


class CommFailure(RpcError, ConnectionError):
    """The connection ended during a call: the peer died, or closed the connection.

    Cause and cure: docs/troubleshooting.md#commfailure
    """

    default_code = 1820  # RPC_S_COMM_FAILURE
    default_errno = errno.ECONNRESET
    default_message = "the connection ended during the call"


class BindTimeout(CommFailure, TimeoutError):
    """The server did not confirm within ``bind_timeout`` that it serves the interface.

    Cause and cure: docs/troubleshooting.md#bindtimeout
    """

    default_errno = errno.ETIMEDOUT
    default_message = "the server did not answer in time"


class CallCancelled(RpcError):
    """The client cancelled the call; see also :class:`CallTimedOut`.

    Cause and cure: docs/troubleshooting.md#callcancelled
    """

    default_code = 1818  # RPC_S_CALL_CANCELLED
    default_message = "the call was cancelled"


class CallTimedOut(CallCancelled, TimeoutError):
    """The call took longer than its ``timeout``, and was cancelled.

    It has the code of :class:`CallCancelled`, as on Windows (RPC_C_OPT_CALL_TIMEOUT).

    Cause and cure: docs/troubleshooting.md#calltimedout
    """

    default_errno = errno.ETIMEDOUT
    default_message = "the call took longer than its timeout"


class InvalidBound(PipeError, ValueError):
    """A chunk has more elements, or fewer, than the pipe's ``Range`` allows.

    Cause and cure: docs/troubleshooting.md#invalidbound
    """

    default_code = 1734  # RPC_X_INVALID_BOUND
    default_message = "a count is out of its range"


class BadStubData(RpcError, ValueError):
    """The received data does not match the types of the operation, or exceeds a limit.

    The name comes from Windows (RPC_X_BAD_STUB_DATA). A stub is the code that converts data to
    types.

    Cause and cure: docs/troubleshooting.md#badstubdata
    """

    default_code = 1783  # RPC_X_BAD_STUB_DATA
    default_message = "what arrived is not of the right type"


class TooLarge(ValueError):
    """The arguments of a call are larger than the server accepts. Users see a ValueError. The
    drivers need this class to distinguish it from a ValueError that a signal handler raises.
    """


class BadElement(BadStubData):
    """A received element is not a value of its type. This is found when the code that pulled the
    chunk reads the element. Everywhere else it is a :class:`BadStubData`.
    """


class AsyncCallPending(RpcError, BlockingIOError):
    """The call has no result yet, or the pipe has no data yet; try again later.

    Cause and cure: docs/troubleshooting.md#asynccallpending
    """

    default_code = 997  # RPC_S_ASYNC_CALL_PENDING
    default_errno = errno.EAGAIN
    default_message = "not yet"


class InvalidAsyncHandle(RpcError, RuntimeError):
    """The call is over: it was completed or aborted, or its manager raised an exception.

    Cause and cure: docs/troubleshooting.md#invalidasynchandle
    """

    default_code = 1914  # RPC_S_INVALID_ASYNC_HANDLE
    default_message = "this call is over"


class InvalidAsyncCall(RpcError, RuntimeError):
    """The handle is in use for another call, which is not over.

    Cause and cure: docs/troubleshooting.md#invalidasynccall
    """

    default_code = 1915  # RPC_S_INVALID_ASYNC_CALL
    default_message = "this handle is in use for another call"


class NoCallActive(RpcError, RuntimeError):
    """This code does not run in a call: no server of :mod:`ipcpipes.rpc` called it.

    Cause and cure: docs/troubleshooting.md#nocallactive
    """

    default_code = 1725  # RPC_S_NO_CALL_ACTIVE
    default_message = "no call is being served here"


class ProcnumOutOfRange(RpcError, LookupError):
    """The server's version of the interface does not have this operation. (Windows numbers
    operations and calls the number "procnum".)

    Cause and cure: docs/troubleshooting.md#procnumoutofrange
    """

    default_code = 1745  # RPC_S_PROCNUM_OUT_OF_RANGE
    default_message = "the server has no such operation"


class StreamStopped(RpcError, BrokenPipeError, trio.BrokenResourceError):
    """A send into a stream whose receiver needs no more values; see :class:`rpc.OutStream`.

    Cause and cure: docs/troubleshooting.md#streamstopped
    """

    default_code = 232  # ERROR_NO_DATA
    default_errno = errno.EPIPE
    default_message = "the other end needs no more values of this stream"


class UnknownInterface(RpcError, LookupError):
    """The server does not serve this interface, or not this version of it.

    Cause and cure: docs/troubleshooting.md#unknowninterface
    """

    default_code = 1717  # RPC_S_UNKNOWN_IF
    default_message = "the server does not serve this interface"


class ServerTooBusy(RpcError, BlockingIOError):
    """The server accepts no more calls at the moment.

    Cause and cure: docs/troubleshooting.md#servertoobusy
    """

    default_code = 1723  # RPC_S_SERVER_TOO_BUSY
    default_errno = errno.EAGAIN
    default_message = "the server accepts no more calls at the moment"


class ServerUnavailable(RpcError, ConnectionError):
    """The connection is closed or shutting down; this call did not begin.

    Cause and cure: docs/troubleshooting.md#serverunavailable
    """

    default_code = 1722  # RPC_S_SERVER_UNAVAILABLE
    default_errno = errno.ENOTCONN
    default_message = "the connection is closed"


class ProtocolError(RpcError, ConnectionError):
    """The peer violates the protocol; the connection is closed.

    Cause and cure: docs/troubleshooting.md#protocolerror
    """

    default_code = 1728  # RPC_S_PROTOCOL_ERROR
    default_errno = errno.ECONNABORTED
    default_message = "the peer violates the protocol"


# DCE's numbers (C706, appendix E: nca_s_fault_...).
FAULT_STATUS = {
    1831: 0x1C000016,  # pipe_order
    1916: 0x1C000015,  # pipe_closed
    1917: 0x1C000017,  # pipe_discipline
    1918: 0x1C000014,  # pipe_empty
    1820: 0x1C000018,  # pipe_comm_error
    14: 0x1C000019,  # pipe_memory
    1818: 0x1C00000D,  # cancel
    1734: 0x1C000007,  # invalid_bound
    1745: 0x1C010002,  # nca_op_rng_error
    1717: 0x1C010003,  # nca_unk_if
    1728: 0x1C01000B,  # nca_proto_error
    1723: 0x1C010014,  # nca_server_too_busy
}
