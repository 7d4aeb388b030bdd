"""The call that a manager serves in a thread."""

from __future__ import annotations

import time

from ..core.current import CurrentCall
from ..core.managers import GRACE
from ..errors import RpcError
from .call_driver import CallDriver

__all__ = ["ThreadCall"]


class ThreadCall(CurrentCall):
    """A call that a thread serves. In that thread, :func:`ipcpipes.rpc.current_call` returns it.

    A thread cannot be cancelled. When the client has given the call up or has died, or when the
    time is over, the manager's pipes fail, and :meth:`test_cancel` returns true.

    Attributes:
        deadline: the time after which the client does not need an answer, on the clock of
            :func:`time.monotonic`; ``math.inf`` if the client set no timeout.
    """

    def test_cancel(self) -> bool:
        """Whether the answer is no longer wanted: the client has cancelled the call, or is gone.

        Raises:
            rpc.InvalidAsyncHandle: the call is over.
        """
        return (
            super().test_cancel()
            or self._call.failure is not None
            or time.monotonic() >= self.deadline + GRACE
        )

    def _expect_answer_metadata(self) -> None:
        # A call with an owner is answered in the general way, which sends metadata.
        if self._call.owner is None:
            CallDriver(self._connection.link).adopt(self._call)

    def _decide(self, body: bytes | None, error: RpcError | None) -> None:
        self._connection.link.do_and_end_when_done(lambda: self._call.finish(body, error))
