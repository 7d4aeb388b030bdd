"""Interfaces for the tests of calls, and a manager that runs the scripts of a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from ipcpipes import rpc


class Sample(rpc.Structure):
    """12 bytes, and 4 bytes of padding between two."""

    time: rpc.int64
    level: rpc.int32


class Point(rpc.Structure):
    """5 bytes, and 3 bytes of padding between two."""

    value: rpc.int32
    mark: rpc.byte


class Calls(rpc.Interface, uuid="0d3c2f0e-6b0f-4f0c-8b39-3c2f5d3f7a01", version=(1, 2)):
    """Each combination of pipes once; an operation's name lists its pipes in their order."""

    @rpc.operation
    async def plain(self, value: Any) -> Any: ...
    @rpc.operation
    def inline(self, value: Any) -> Any: ...
    @rpc.operation
    @rpc.options(maybe=True)
    async def tell(self, value: Any) -> None: ...
    @rpc.operation
    async def into(self, numbers: rpc.InPipe[rpc.int32]) -> Any: ...
    @rpc.operation
    async def into_into(
        self, first: rpc.InPipe[rpc.int32], second: rpc.InPipe[rpc.int32]
    ) -> Any: ...
    @rpc.operation
    async def out(self, numbers: rpc.OutPipe[rpc.int32]) -> Any: ...
    @rpc.operation
    async def out_out(
        self, first: rpc.OutPipe[rpc.int32], second: rpc.OutPipe[rpc.int32]
    ) -> Any: ...
    @rpc.operation
    async def into_out(
        self, source: rpc.InPipe[rpc.int32], sink: rpc.OutPipe[rpc.int32]
    ) -> Any: ...
    @rpc.operation
    async def both(self, numbers: rpc.InOutPipe[rpc.int32]) -> Any: ...
    @rpc.operation
    async def both_out_into(
        self,
        first: rpc.InOutPipe[rpc.int32],
        second: rpc.OutPipe[rpc.int32],
        third: rpc.InPipe[rpc.int32],
    ) -> Any: ...
    @rpc.operation
    async def into_value(self, numbers: rpc.InPipe[rpc.int32], value: str) -> Any: ...
    @rpc.operation
    async def both_value(self, numbers: rpc.InOutPipe[rpc.int32], value: int) -> int:
        raise NotImplementedError

    @rpc.operation
    async def octets_into(self, data: rpc.InPipe[rpc.byte]) -> Any: ...
    @rpc.operation
    async def octets_out(self, data: rpc.OutPipe[rpc.byte]) -> Any: ...
    @rpc.operation
    async def octets_both(self, data: rpc.InOutPipe[rpc.byte]) -> Any: ...
    @rpc.operation
    async def samples_both(self, samples: rpc.InOutPipe[Sample]) -> Any: ...
    @rpc.operation
    async def points_both(self, points: rpc.InOutPipe[Point]) -> Any: ...
    @rpc.operation
    async def flags_both(self, flags: rpc.InOutPipe[rpc.boolean]) -> Any: ...
    @rpc.operation
    async def bounded_into(
        self, numbers: Annotated[rpc.InPipe[rpc.int32], rpc.Range(2, 4)]
    ) -> Any: ...
    @rpc.operation
    async def bounded_out(
        self, numbers: Annotated[rpc.OutPipe[rpc.int32], rpc.Range(2, 4)]
    ) -> Any: ...


class Scripted(Calls):
    """Each operation calls the script of its name."""

    def __init__(self, **scripts: Callable[..., Any]) -> None:
        self.scripts = scripts

    async def plain(self, value: Any) -> Any:
        return await self.scripts["plain"](value)

    def inline(self, value: Any) -> Any:
        return self.scripts["inline"](value)

    async def tell(self, value: Any) -> None:
        await self.scripts["tell"](value)

    async def into(self, numbers: Any) -> Any:
        return await self.scripts["into"](numbers)

    async def into_into(self, first: Any, second: Any) -> Any:
        return await self.scripts["into_into"](first, second)

    async def out(self, numbers: Any) -> Any:
        return await self.scripts["out"](numbers)

    async def out_out(self, first: Any, second: Any) -> Any:
        return await self.scripts["out_out"](first, second)

    async def into_out(self, source: Any, sink: Any) -> Any:
        return await self.scripts["into_out"](source, sink)

    async def both(self, numbers: Any) -> Any:
        return await self.scripts["both"](numbers)

    async def both_out_into(self, first: Any, second: Any, third: Any) -> Any:
        return await self.scripts["both_out_into"](first, second, third)

    async def into_value(self, numbers: Any, value: str) -> Any:
        return await self.scripts["into_value"](numbers, value)

    async def both_value(self, numbers: Any, value: int) -> Any:
        return await self.scripts["both_value"](numbers, value)

    async def octets_into(self, data: Any) -> Any:
        return await self.scripts["octets_into"](data)

    async def octets_out(self, data: Any) -> Any:
        return await self.scripts["octets_out"](data)

    async def octets_both(self, data: Any) -> Any:
        return await self.scripts["octets_both"](data)

    async def samples_both(self, samples: Any) -> Any:
        return await self.scripts["samples_both"](samples)

    async def points_both(self, points: Any) -> Any:
        return await self.scripts["points_both"](points)

    async def flags_both(self, flags: Any) -> Any:
        return await self.scripts["flags_both"](flags)

    async def bounded_into(self, numbers: Any) -> Any:
        return await self.scripts["bounded_into"](numbers)

    async def bounded_out(self, numbers: Any) -> Any:
        return await self.scripts["bounded_out"](numbers)


class Other(rpc.Interface, uuid="9c5d54a5-6c5c-4a6d-8d9c-f52cb5dd7104", version=(3, 1)):
    """Another interface, for servers of several interfaces, or of a wrong one."""

    @rpc.operation
    async def whoami(self) -> str:
        raise NotImplementedError


class OtherManager(Other):
    async def whoami(self) -> str:
        return "the other one"


async def drained(pipe: Any) -> list[Any]:
    """The elements up to the end."""
    return [element async for chunk in pipe for element in chunk]


async def pushed(pipe: Any, *chunks: Any) -> None:
    """Pushes each chunk, and closes the pipe."""
    for chunk in chunks:
        await pipe.push(chunk)
    await pipe.close()


async def echoed(pipe: Any) -> int:
    """Pulls to the end, pushes the same chunks, and returns the number of elements."""
    chunks = [chunk async for chunk in pipe]
    await pushed(pipe, *chunks)
    return sum(map(len, chunks))


async def given_back(value: Any) -> Any:
    return value
