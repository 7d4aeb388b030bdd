"""The call that a manager serves in a thread."""

from __future__ import annotations

import time

from ..core.current import CurrentCall
from ..core.managers import GRACE
from ..errors import RpcError

__all__ = ["ThreadCall"]


class ThreadCall(CurrentCall):
    """A call that a thread serves; what :func:`ipcpipes.rpc.current_call` returns there.

    A thread cannot be cancelled. When the client has given the call up, has died, or its time is
    over, the manager hears of it by its pipes, which fail, and by :meth:`test_cancel`.

    Attributes:
        deadline: when the client has no more use for an answer, as :func:`time.monotonic` counts;
            ``math.inf`` if it did not say.
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

    def _decide(self, body: bytes | None, error: RpcError | None) -> None:
        self._connection.link.settle(lambda: self._call.finish(body, error))
