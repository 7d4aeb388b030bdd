"""An echo by remote calls: the interface, its manager, and who serves and calls it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import trio

from ... import abc, rpc

__all__ = ["Echo", "client", "serve"]

# So that a stream of chunks is held back by the pipes' own credits, and not here.
_UNDER_WAY = 1


class Echo(rpc.Interface, uuid="b6a0b8f4-7a3b-4a0e-8d2a-3f0f5f6d2a51", version=(1, 0)):
    """Sends back what it gets."""

    @rpc.operation
    async def echo(self, message: bytes) -> bytes:
        """Returns the message."""
        raise NotImplementedError

    @rpc.operation
    async def there(self, number: int, data: rpc.InPipe[rpc.byte]) -> int:
        """Takes what the call of :meth:`back` with the same number gives; how many bytes."""
        raise NotImplementedError

    @rpc.operation
    async def back(self, number: int, data: rpc.OutPipe[rpc.byte]) -> int:
        """Gives it back; how many bytes."""
        raise NotImplementedError


class EchoManager(Echo):
    """The echo itself."""

    def __init__(self) -> None:
        self._through: dict[int, tuple[Any, Any]] = {}

    async def echo(self, message: bytes) -> bytes:
        return message

    async def there(self, number: int, data: rpc.InPipe[rpc.byte]) -> int:
        count = 0
        async with self._ends(number)[0] as into:
            async for chunk in data:
                await into.send(chunk)
                count += len(chunk)
        return count

    async def back(self, number: int, data: rpc.OutPipe[rpc.byte]) -> int:
        count = 0
        async with self._ends(number)[1] as out:
            async for chunk in out:
                await data.push(chunk)
                count += len(chunk)
        del self._through[number]
        await data.close()
        return count

    def _ends(self, number: int) -> tuple[Any, Any]:
        """Whoever of the two calls comes first makes it."""
        return self._through.setdefault(number, trio.open_memory_channel(_UNDER_WAY))


async def serve(
    name: str, *, task_status: trio.TaskStatus[abc.Listener[Any]] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serves it under this name.

    Raises:
        What :func:`ipcpipes.rpc.serve` raises.
    """
    await rpc.serve(EchoManager(), name, introspection=True, task_status=task_status)


@contextlib.asynccontextmanager
async def client(stream: abc.ByteStream) -> AsyncIterator[rpc.Client[Echo]]:
    """A client of it over this connection."""
    async with rpc.bind(Echo, stream) as bound:
        yield bound
