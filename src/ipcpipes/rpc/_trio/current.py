"""The call that a manager serves under trio."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from ..core.current import CurrentCall, encoded_result
from ..errors import BadStubData, InvalidAsyncHandle, RpcError

if TYPE_CHECKING:
    from ...abc import PeerIdentity
    from ..core.call import Call
    from .link import Link

__all__ = ["TaskCall", "deadline_of"]


class TaskCall(CurrentCall):
    """A call that a task serves.

    Args:
        hand_back: runs a function in the task's event loop, from any thread.
        answered: called in the event loop once the call was answered.
    """

    def __init__(
        self,
        link: Link,
        call: Call,
        peer: PeerIdentity,
        deadline: float,
        hand_back: Callable[[Callable[[], None]], None],
        answered: Callable[[], None],
    ) -> None:
        super().__init__(call, peer, deadline)
        self._link = link
        self._hand_back = hand_back
        self._answered = answered
        self._decided = threading.Lock()
        self._thread = threading.get_ident()

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
            self._link.flush()
            self._answered()

    def returned(self, result: Any) -> None:
        """The manager has returned."""
        if self._decided.locked() or self._call.over:
            return
        if self._call.is_deferred:
            self._call.put_off()
            self._link.flush()
            return
        try:
            body = encoded_result(self._call, result)
        except BadStubData as error:
            self.failed(error)
        else:
            self._decide(body, None)

    def failed(self, error: RpcError) -> None:
        """The manager has raised."""
        if self._call.over:
            return
        with suppress(InvalidAsyncHandle):  # it was answered before
            self._decide(None, error)


def deadline_of(call: Call) -> float:
    """When the call's time is over."""
    if call.milliseconds is None:
        return math.inf
    return trio.current_time() + call.milliseconds / 1000
