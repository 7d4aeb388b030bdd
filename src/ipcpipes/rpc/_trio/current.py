"""The call that a manager serves, as the manager sees it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import trio

from ...abc.uncopied import Uncopied
from ..definition.values import encode_result
from ..errors import BadStubData, Fault, InvalidAsyncHandle, NoCallActive, RpcError

if TYPE_CHECKING:
    from ...abc import PeerIdentity
    from ..core.call import Call

__all__ = ["CurrentCall", "current_call"]

_current: ContextVar[CurrentCall] = ContextVar("ipcpipes.rpc.current_call")


def current_call() -> CurrentCall:
    """The call that this task, or this thread, serves.

    Raises:
        rpc.NoCallActive: it serves none.
    """
    try:
        return _current.get()
    except LookupError:
        raise NoCallActive from None


class CurrentCall(Uncopied):
    """A call that is being served.

    It is good until the call is over: its manager has returned or raised, or, after :meth:`defer`,
    :meth:`complete` or :meth:`abort` was called. From then on its methods raise
    :class:`InvalidAsyncHandle`.

    Attributes:
        operation: the name of the operation.
        peer: who calls.
        deadline: when the client has no more use for an answer, as :func:`trio.current_time`
            counts; ``math.inf`` if it did not say. The client gives the call up then, and the
            manager is cancelled.
    """

    _instead = "they belong to a call, and a call belongs to its connection"

    def __init__(
        self,
        call: Call,
        peer: PeerIdentity,
        deadline: float,
        hand_back: Callable[[Callable[[], None]], None],
        answered: Callable[[], None],
    ) -> None:
        self._call = call
        self._hand_back = hand_back
        self._answered = answered
        self._decided = threading.Lock()
        self._thread = threading.get_ident()
        self.operation = call.operation.name
        self.peer = peer
        self.deadline = deadline

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

        What comes out is as if the manager had returned it: pipes that have not come to their ends
        are a failure. Whether the client is still there to hear of it makes no difference.

        Args:
            result: what the operation returns.

        Raises:
            rpc.InvalidAsyncHandle: the call is over.
            RuntimeError: it was not deferred; return the result instead.
            TypeError, ValueError, OverflowError: the result cannot be sent; the call stays open.
        """
        self._require_live()
        if not self._call.is_deferred:
            raise RuntimeError("this call was not deferred; return its result")
        body = encode_result(result, self._call.operation.result_times)
        self._decide(body, None)

    def abort(self, code: int, message: str = "the server has aborted the call") -> None:
        """Answers with a failure of your own, from any task or thread (RpcAsyncAbortCall).

        The manager goes on, and what it returns is passed over.

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
        if self._call.over or self._decided.locked():
            raise InvalidAsyncHandle

    def _decide(self, body: bytes | None, error: RpcError | None) -> None:
        # Taken once, and never given back.
        if self._call.over or not self._decided.acquire(blocking=False):
            raise InvalidAsyncHandle
        if threading.get_ident() == self._thread:
            self._answer(body, error)
        else:
            self._hand_back(lambda: self._answer(body, error))

    def _answer(self, body: bytes | None, error: RpcError | None) -> None:
        call = self._call
        if not call.over:  # the connection's end may have come before
            call.finish(body, error)
            driver, call.owner = call.owner, None  # no circle, in which large arguments would lie
            driver.over()
            self._answered()

    def returned(self, result: Any) -> None:
        """The manager has returned."""
        if self._decided.locked() or self._call.over:
            return
        if self._call.is_deferred:
            self._call.put_off()
            self._call.owner.link.flush()
            return
        try:
            body = encode_result(result, self._call.operation.result_times)
        except Exception as error:
            self.failed(
                BadStubData(f"the result of {self._call.operation} cannot be sent: {error}")
            )
        else:
            self._decide(body, None)

    def failed(self, error: RpcError) -> None:
        """The manager has raised."""
        if self._call.over:
            return
        with suppress(InvalidAsyncHandle):  # it, or somebody else, has answered before
            self._decide(None, error)

    def __repr__(self) -> str:
        return f"<ipcpipes rpc call of {self._call.operation} being served>"


def deadline_of(call: Call) -> float:
    """When the call's time is over."""
    if call.milliseconds is None:
        return math.inf
    return trio.current_time() + call.milliseconds / 1000
