"""Interfaces for the tests of calls, and a manager that does what a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from ipcpipes import rpc


class Sample(rpc.Structure):
    """12 octets, with 4 of padding to the next one."""

    time: rpc.int64
    level: rpc.int32


class Point(rpc.Structure):
    """5 octets, with 3 of padding to the next one."""

    value: rpc.int32
    mark: rpc.byte


class Calls(rpc.Interface, uuid="0d3c2f0e-6b0f-4f0c-8b39-3c2f5d3f7a01", version=(1, 2)):
    """Each shape of pipes once; the names say which ones there are, in their order."""

    @rpc.operation
    async def plain(self, value: Any) -> Any: ...
    @rpc.operation
    def inline(self, value: Any) -> Any: ...
    @rpc.operation(maybe=True)
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
    """Does for each operation what a test has given for its name."""

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
    """Another interface, for a server of several, or of the wrong one."""

    @rpc.operation
    async def whoami(self) -> str:
        raise NotImplementedError


class OtherManager(Other):
    async def whoami(self) -> str:
        return "the other one"


async def drained(pipe: Any) -> list[Any]:
    """Pulls to the end."""
    return [element async for chunk in pipe for element in chunk]


async def pushed(pipe: Any, *chunks: Any) -> None:
    """Pushes each, and closes."""
    for chunk in chunks:
        await pipe.push(chunk)
    await pipe.close()


async def echoed(pipe: Any) -> int:
    """Gives back what came, once all of it is there; how much that was."""
    chunks = [chunk async for chunk in pipe]
    await pushed(pipe, *chunks)
    return sum(map(len, chunks))


async def given_back(value: Any) -> Any:
    return value
