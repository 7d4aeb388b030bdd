"""The call that a manager serves, as the manager sees it: the part that all drivers share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from ...abc.uncopied import Uncopied
from ..definition.values import Times, encode_raw, encode_result
from ..errors import BadStubData, Fault, InvalidAsyncHandle, NoCallActive, RpcError
from ..wire.metadata import MetadataValue
from .metadata import answer_metadata_of

if TYPE_CHECKING:
    from ...abc import PeerIdentity
    from .call import Call

__all__ = ["CurrentCall", "answer_of", "current_call", "serving"]

_NO_TIMES = Times.NONE  # looked up once; session.py says why

serving: ContextVar[CurrentCall] = ContextVar("ipcpipes.rpc.current_call")


def current_call() -> CurrentCall:
    """Returns the call that this task or thread serves.

    Raises:
        rpc.NoCallActive: this task or thread does not serve a call.
    """
    try:
        return serving.get()
    except LookupError:
        raise NoCallActive from None


class CurrentCall(Uncopied):
    """A call that is being served.

    The object is valid until the call is over. A call is over when its manager returns or raises an
    exception; after :meth:`defer`, it is over when :meth:`complete` or :meth:`abort` is called.
    After that, the methods raise :class:`InvalidAsyncHandle`.

    Attributes:
        operation: the name of the operation.
        peer: the identity of the client.
        deadline: the time after which the client does not need an answer, on the clock of
            :func:`trio.current_time`, or in a thread, of :func:`time.monotonic`; ``math.inf`` if
            the client set no timeout. At the deadline, the client gives the call up, and a manager
            under trio is cancelled.
    """

    _instead = "they belong to a call, and a call belongs to its connection"

    def __init__(self, connection: Any, call: Call, deadline: float) -> None:
        self._connection = connection
        self._call = call
        self.operation = call.operation.name
        self.peer: PeerIdentity = connection.peer
        self.deadline = deadline

    @property
    def metadata(self) -> Mapping[str, MetadataValue]:
        """What the client has sent with the call beside its arguments; empty if that is nothing.
        The values are ``str``, ``bytes``, ``int``, ``float`` or ``bool``.
        """
        return self._call.metadata

    @property
    def answer_metadata(self) -> MutableMapping[str, MetadataValue]:
        """What is sent with the answer, also if the call fails. Until the call is over, any task or
        thread may change it: ``rpc.current_call().answer_metadata["cached"] = True``.

        Keys and values are those of ``with_options(metadata=...)``; others raise a TypeError or
        ValueError when they are set. A client of an earlier version of ipcpipes does not get it,
        and neither does a client of an operation with ``maybe=True``.

        Raises:
            rpc.InvalidAsyncHandle: the call is over.
        """
        self._require_live()
        self._expect_answer_metadata()
        return answer_metadata_of(self._call)

    def test_cancel(self) -> bool:
        """Whether the client wants the call to end (RpcServerTestCancel).

        Raises:
            rpc.InvalidAsyncHandle: the call is over.
        """
        self._require_live()
        return self._call.cancel_requested

    def defer(self) -> None:
        """Lets the manager return without answering; :meth:`complete` or :meth:`abort` answers,
        from any task or thread. The pipes remain usable until then.

        Raises:
            rpc.InvalidAsyncHandle: the call is over.
        """
        self._require_live()
        self._call.is_deferred = True

    def complete(self, result: Any = None) -> None:
        """Answers a call that was deferred, from any task or thread (RpcAsyncCompleteCall).

        The effect is as if the manager had returned the result: the call fails if a pipe has not
        come to its end. It does not matter whether the client is still connected.

        Args:
            result: what the operation returns.

        Raises:
            rpc.InvalidAsyncHandle: the call is over.
            RuntimeError: the call was not deferred; return the result instead.
            TypeError, ValueError, OverflowError: the result cannot be sent; the call stays open.
        """
        self._require_live()
        if not self._call.is_deferred:
            raise RuntimeError("this call was not deferred; return its result")
        body = encode_result(result, self._call.operation.result_times)
        self._decide(body, None)

    def abort(self, code: int, message: str = "the server has aborted the call") -> None:
        """Answers with a failure that you choose, from any task or thread (RpcAsyncAbortCall).

        The manager continues, and its result is ignored.

        Args:
            code: what the client gets as ``error.code``, 1 to 2**32 - 1.
            message: what it gets as ``error.message``.

        Raises:
            ValueError: ``code`` is 0 or out of range.
            rpc.InvalidAsyncHandle: the call is over.
        """
        if type(code) is not int or not 1 <= code <= 2**32 - 1:
            raise ValueError(f"the code of a failure is 1 to 2**32 - 1, not {code!r}")
        self._require_live()
        self._decide(None, Fault(message, code=code))

    def _require_live(self) -> None:
        if self._call.over:
            raise InvalidAsyncHandle

    def _expect_answer_metadata(self) -> None:
        """Called before the answer may get metadata."""

    @abstractmethod
    def _decide(self, body: bytes | None, error: RpcError | None) -> None:
        """Answers the call, from any task or thread.

        Raises:
            InvalidAsyncHandle: the call was answered before.
        """

    def __repr__(self) -> str:
        return f"<ipcpipes rpc call of {self._call.operation} being served>"


def answer_of(call: Call, result: object) -> tuple[bytes | None, RpcError | None]:
    """Makes the answer from the manager's result: the body, or the failure if the result cannot be
    sent.
    """
    times = call.operation.result_times
    if times is _NO_TIMES:
        encoded = map(encode_raw, (result,))
        try:
            # An iteration and not a call, so that an exception of a signal handler is not taken for
            # an error of the result; see decode_result.
            for body in encoded:
                return body, None
        except Exception:
            pass  # the same error comes below, with a better text
    try:
        return encode_result(result, times), None
    except Exception as error:
        return None, BadStubData(f"the result of {call.operation} cannot be sent: {error}")
