"""A manager's script that defers its calls."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from ipcpipes import rpc

from .rpc_over_links import SECONDS


class Deferring:
    """A manager's script that defers its calls, and keeps them."""

    def __init__(self) -> None:
        self.calls: list[rpc.CurrentCall] = []
        self.ends: list[Any] = []

    async def __call__(self, given: Any) -> str:
        call = rpc.current_call()
        call.defer()
        self.calls.append(call)
        self.ends.append(given)
        return "what is returned after defer() is passed over"

    async def one(self) -> rpc.CurrentCall:
        with trio.fail_after(SECONDS):
            while not self.calls:
                await trio.sleep(0.001)
        await trio.testing.wait_all_tasks_blocked()  # the manager has returned
        return self.calls[-1]
