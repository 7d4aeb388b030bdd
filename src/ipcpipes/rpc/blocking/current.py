"""The call that a manager serves in a thread."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from ..core.current import CurrentCall
from ..core.managers import GRACE
from ..errors import RpcError
from .call_driver import CallDriver

if TYPE_CHECKING:
    from ...abc import PeerIdentity
    from ..core.call import Call
    from .server_link import ServerLink

__all__ = ["ThreadCall"]


class ThreadCall(CurrentCall):
    """A call that a thread serves; what :func:`ipcpipes.rpc.current_call` returns there.

    A thread cannot be cancelled. When the client has given the call up, has died, or its time is
    over, the manager hears of it by its pipes, which fail, and by :meth:`test_cancel`.

    Attributes:
        deadline: when the client has no more use for an answer, as :func:`time.monotonic` counts;
            ``math.inf`` if it did not say.
    """

    # Each call has one, so that it is made of what differs; that a call is answered once is seen to
    # by the link's lock.
    def __init__(self, link: ServerLink, call: Call, peer: PeerIdentity) -> None:
        self._link = link
        self._call = call
        self.operation = call.operation.name
        self.peer = peer
        driver = call.owner
        assert driver is None or isinstance(driver, CallDriver)
        self.deadline = (
            math.inf if driver is None or driver.deadline is None else driver.deadline - GRACE
        )

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
        self._link.answer(self._call, body, error)
