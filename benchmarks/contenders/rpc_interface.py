"""The interface of all contenders with ipcpipes.rpc."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from ipcpipes import rpc

# The number of calls in flight at a time, in the cases with many.
IN_FLIGHT = 64


class Element(rpc.Structure):
    """An element of 64 bytes."""

    words: Annotated[list[rpc.int64], rpc.Length(8)]


class Benchmark(rpc.Interface, uuid="0f6a0f9e-4a8e-4b6a-8b54-6e1c8d5b7a31", version=(1, 0)):
    """Echoes messages, and counts what arrives through pipes."""

    @rpc.operation
    async def echo(self, message: bytes) -> bytes:
        """Returns the message."""
        raise NotImplementedError

    @rpc.operation
    async def collect(self, data: rpc.InPipe[rpc.byte]) -> int:
        """Returns the number of bytes received."""
        raise NotImplementedError

    @rpc.operation
    async def count(self, data: rpc.InPipe[Element]) -> int:
        """Returns the number of elements received."""
        raise NotImplementedError

    @rpc.operation
    async def gather(self, values: rpc.InStream[bytes]) -> int:
        """Returns the number of values received."""
        raise NotImplementedError

    @rpc.operation
    def scatter(self, count: int, size: int) -> AsyncIterator[bytes]:
        """Yields values of a size."""
        raise NotImplementedError
