"""What every contender of ipcpipes.rpc serves."""

from __future__ import annotations

from typing import Annotated

from ipcpipes import rpc

# How many calls are in flight at a time where there are many.
IN_FLIGHT = 64


class Element(rpc.Structure):
    """Sixty-four bytes."""

    words: Annotated[list[rpc.int64], rpc.Length(8)]


class Benchmark(rpc.Interface, uuid="0f6a0f9e-4a8e-4b6a-8b54-6e1c8d5b7a31", version=(1, 0)):
    """Echoes, and counts what comes through pipes."""

    @rpc.operation
    async def echo(self, message: bytes) -> bytes:
        """Returns the message."""
        raise NotImplementedError

    @rpc.operation
    async def collect(self, data: rpc.InPipe[rpc.byte]) -> int:
        """How many bytes have come."""
        raise NotImplementedError

    @rpc.operation
    async def count(self, data: rpc.InPipe[Element]) -> int:
        """How many elements have come."""
        raise NotImplementedError
