"""A server, in a process of its own, that reports how much memory it uses:
``python -m campaigns.memory_service DRIVER ENDPOINT``.

It answers each line of its standard input. ``begin`` starts the measurement; ``peak`` and ``now``
return how many bytes Python has allocated since then, at most and at the moment.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import tracemalloc
from functools import partial
from typing import Any

import trio

from fuzz.output import say
from ipcpipes import Endpoint, rpc
from ipcpipes.rpc import blocking
from ipcpipes.rpc.wire import frames

__all__ = ["CALLS", "CREDIT", "DRIVERS", "LARGEST", "Held"]

DRIVERS = ("trio", "blocking")
# The limits of a connection. Each is small compared with the leaks that the campaign looks for.
CALLS = 4
CREDIT = 2 * 2**20
LARGEST = 2**18  # bytes of a frame
LIMITS = {"credit": CREDIT, "max_calls": CALLS, "max_frame": LARGEST}


class Held(rpc.Interface, uuid="d2f8f7f0-42a5-4e1e-8b9f-3e0a4be0d0a7", version=(1, 0)):
    """Operations that keep the data of a client for as long as the client chooses."""

    @rpc.operation
    async def hold(
        self, value: Any, data: rpc.InPipe[rpc.byte], more: rpc.InPipe[rpc.byte]
    ) -> None:
        """Pulls nothing."""

    @rpc.operation
    async def sip(self, data: rpc.InPipe[rpc.byte]) -> None:
        """Pulls a little now and then."""

    @rpc.operation
    async def defer(self, value: Any, data: rpc.InPipe[rpc.byte]) -> None:
        """Is never answered."""

    @rpc.operation
    async def pour(self, data: rpc.OutPipe[rpc.byte]) -> None:
        """Pushes without end."""

    @rpc.operation
    async def both(self, data: rpc.InOutPipe[rpc.byte]) -> None:
        """Pulls, and pushes without end."""

    @rpc.operation
    async def add(self, a: int, b: int) -> int:
        raise NotImplementedError


_PIECE = bytes(100_000)


class UnderTrio(Held):
    async def hold(self, value: Any, data: Any, more: Any) -> None:
        await trio.sleep_forever()

    async def sip(self, data: Any) -> None:
        async for chunk in data:
            for _ in range(0, len(chunk), 1000):
                await trio.sleep(0.01)

    async def defer(self, value: Any, data: Any) -> None:
        rpc.current_call().defer()

    async def pour(self, data: Any) -> None:
        while True:
            await data.push(_PIECE)

    async def both(self, data: Any) -> None:
        async for _ in data:
            pass
        await self.pour(data)

    async def add(self, a: int, b: int) -> int:
        return a + b


class InThreads(Held):
    def hold(self, value: Any, data: Any, more: Any) -> None:  # type: ignore[override]
        call = rpc.current_call()
        while not call.test_cancel():
            time.sleep(0.01)

    def sip(self, data: Any) -> None:  # type: ignore[override]
        while data.pull(1000):
            time.sleep(0.01)

    def defer(self, value: Any, data: Any) -> None:  # type: ignore[override]
        rpc.current_call().defer()

    def pour(self, data: Any) -> None:  # type: ignore[override]
        while True:
            data.push(_PIECE)

    def both(self, data: Any) -> None:  # type: ignore[override]
        for _ in data:
            pass
        self.pour(data)

    def add(self, a: int, b: int) -> int:  # type: ignore[override]
        return a + b


def _serve(driver: str, name: str) -> None:
    endpoint = Endpoint.named(name)
    if driver == "trio":
        trio.run(partial(rpc.serve, UnderTrio(), endpoint, **LIMITS))  # type: ignore[arg-type]
    else:
        blocking.serve(InThreads(), endpoint, **LIMITS)  # type: ignore[arg-type]


def main() -> None:
    driver, name = sys.argv[1:]
    threading.Thread(target=_serve, args=(driver, name), daemon=True).start()
    tracemalloc.start()
    before = 0
    for line in sys.stdin:
        if line == "begin\n":
            gc.collect()
            frames._spare.clear()  # buffers that are ready for all connections together
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            say("0")
        elif line == "peak\n":
            say(f"{tracemalloc.get_traced_memory()[1] - before}")
        else:
            gc.collect()
            say(f"{tracemalloc.get_traced_memory()[0] - before}")


if __name__ == "__main__":
    main()
