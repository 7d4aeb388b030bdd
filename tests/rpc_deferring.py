"""A manager's script that defers its calls."""

from __future__ import annotations

from typing import Any

from ipcpipes import rpc

from .rpc_waiting import until


class Deferring:
    """A manager's script that defers its calls, and keeps them and their pipes."""

    def __init__(self) -> None:
        self.calls: list[rpc.CurrentCall] = []
        self.ends: list[Any] = []

    async def __call__(self, given: Any) -> str:
        call = rpc.current_call()
        call.defer()
        self.ends.append(given)
        self.calls.append(call)
        return "what is returned after defer() is ignored"

    async def one(self) -> rpc.CurrentCall:
        await until(lambda: self.calls)
        return self.calls[-1]
