"""The call that a manager serves in a thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..current import CurrentCall
from ..errors import RpcError
from ..session import Event

if TYPE_CHECKING:
    from ...abc import PeerIdentity
    from .exchange import Exchange

__all__ = ["ThreadCall"]


class ThreadCall(CurrentCall):
    """A call that a thread serves; what :func:`ipcpipes.rpc.current_call` returns there.

    A thread cannot be cancelled. When the client has given the call up, has died, or its time is
    over, the manager hears of it by its pipes, which fail, and by :meth:`test_cancel`.

    Attributes:
        deadline: when the client has no more use for an answer, as :func:`time.monotonic` counts;
            ``math.inf`` if it did not say.
    """

    def __init__(
        self, exchange: Exchange, peer: PeerIdentity, answered: Callable[[], None]
    ) -> None:
        deadline = math.inf if exchange.deadline is None else exchange.deadline
        # Whatever thread decides, the answer is sent by it: there is no other to hand it to.
        super().__init__(exchange.call, peer, deadline, _at_once, answered)
        self._exchange = exchange

    def test_cancel(self) -> bool:
        """Whether nobody waits for the answer any more, or the client wants the call to end.

        Raises:
            rpc.InvalidAsyncHandle: the call is over.
        """
        return (
            super().test_cancel()
            or self._call.failure is not None
            or time.monotonic() >= self.deadline
        )

    def _answer(self, body: bytes | None, error: RpcError | None) -> None:
        self._exchange.link.flush(first=lambda: self._finish(body, error))
        self._answered()

    def _finish(self, body: bytes | None, error: RpcError | None) -> None:
        if not self._call.over:  # the connection's end may have come before
            self._call.finish(body, error)
            self._exchange.wake(Event.ANSWER)


def _at_once(answer: Callable[[], None]) -> None:
    answer()
