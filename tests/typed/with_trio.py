"""What a type checker says about a client and a manager under trio.

A comment ``# error`` marks each line that every checker has to refuse; they refuse no other line.
"""

from __future__ import annotations

import io
from array import array
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipcpipes import rpc

if TYPE_CHECKING:
    from typing_extensions import assert_type


class Point(rpc.Structure):
    x: rpc.int32
    y: rpc.int32


@dataclass(eq=False)
class NotFound(rpc.Fault):
    name: str
    similar: list[str]
    default_code = 404

    def __post_init__(self) -> None:
        super().__init__(f"there is no {self.name}")


class Thumbs(
    rpc.Interface, raises=[NotFound], uuid="0f5a0c1e-9a53-4b9e-8a3c-5d8d0f0c7a11", version=(1, 0)
):
    @rpc.operation
    async def make(self, name: str, size: int = 5) -> bytes: ...

    @rpc.operation
    @rpc.options(idempotent=True, timeout=5)
    async def names(self) -> list[str]: ...

    @rpc.options(maybe=True)
    @rpc.operation
    async def forget(self, name: str) -> None: ...

    @rpc.operation
    async def total(self, scale: int, numbers: rpc.InPipe[rpc.int32]) -> int: ...

    @rpc.operation
    async def squares(
        self, numbers: rpc.InPipe[rpc.int32], found: rpc.OutPipe[rpc.float64]
    ) -> None: ...

    @rpc.operation
    async def mirror(self, points: rpc.InOutPipe[Point]) -> None: ...


class Manager(Thumbs):
    async def make(self, name: str, size: int = 5) -> bytes:
        assert_type(rpc.current_call().operation, str)
        if size < 0:
            raise NotFound(name)  # error
        if size == 0:
            raise NotFound(name, similar=["dog"])
        return name.encode() * size

    async def names(self) -> list[str]:
        return []

    async def forget(self, name: str) -> None: ...

    async def total(self, scale: int, numbers: rpc.InPipe[rpc.int32]) -> int:
        total = 0
        async for chunk in numbers:
            assert_type(chunk, rpc.Chunk[int])
            total += sum(chunk)
        return total * scale

    async def squares(
        self, numbers: rpc.InPipe[rpc.int32], found: rpc.OutPipe[rpc.float64]
    ) -> None:
        async for chunk in numbers:
            await found.push([number**0.5 for number in chunk])
            await found.push(["text"])  # error
        await found.close()

    async def mirror(self, points: rpc.InOutPipe[Point]) -> None:
        async for chunk in points:
            assert_type(chunk[0], Point)
        await points.close()


class Incomplete(Thumbs):
    async def make(self, name: int, size: int = 5) -> bytes:  # error
        return bytes(size)


async def numbers_later() -> AsyncIterator[int]:
    yield 1


async def pull_later(most: int) -> list[int]:
    return [most]


def pieces() -> Iterator[bytes]:
    yield b"piece"


async def call() -> None:
    async with rpc.connect(Thumbs, "thumbs") as thumbs:
        assert_type(thumbs, Thumbs)
        assert_type(await thumbs.make("cat"), bytes)
        assert_type(await thumbs.make("cat", size=3), bytes)
        try:
            await thumbs.make("cat")
        except NotFound as error:
            assert_type(error.similar, list[str])
            assert_type(error.code, int)
            assert error.colour  # error
        await thumbs.make(3)  # error
        await thumbs.make()  # error
        await thumbs.make("cat", colour=3)  # error
        await thumbs.mak("cat")  # error
        text: str = await thumbs.make("cat")  # error
        assert_type(await thumbs.names(), list[str])
        await thumbs.forget(text)


async def feed() -> None:
    async with rpc.connect(Thumbs, "thumbs") as thumbs:
        assert_type(await thumbs.total(2, rpc.feed([1, 2, 3])), int)
        await thumbs.total(2, numbers=rpc.feed(range(5)))
        await thumbs.total(2, rpc.feed([[1, 2], [3]]))
        await thumbs.total(2, rpc.feed(array("i", [1])))
        await thumbs.total(2, rpc.feed(b"\0\0\0\0"))
        await thumbs.total(2, rpc.feed(pieces()))
        await thumbs.total(2, rpc.feed(io.BytesIO(b"\0\0\0\0")))
        await thumbs.total(2, rpc.feed(numbers_later()))
        await thumbs.total(2, rpc.feed(pull_later))
        await thumbs.total(2, rpc.feed(lambda most: [most]))
        await thumbs.total(2, rpc.feed(rpc.PipeControl(pull=len)))
        await thumbs.total(2, rpc.feed(["text"]))  # error
        await thumbs.total(2, rpc.feed(3))  # error
        await thumbs.total(2, [1, 2, 3])  # error
        await thumbs.total(2, rpc.drain([3]))  # error


# An int is a float, so a source of int fills a pipe of float.
def wider(given: rpc.InPipe[int]) -> rpc.InPipe[float]:
    return given


def wider_out(given: rpc.OutPipe[int]) -> rpc.OutPipe[float]:
    return given  # error


def narrower(given: rpc.InPipe[float]) -> rpc.InPipe[int]:
    return given  # error


def narrower_out(given: rpc.OutPipe[float]) -> rpc.OutPipe[int]:
    return given


async def drain() -> None:
    async with rpc.connect(Thumbs, "thumbs") as thumbs:
        found: list[float] = []
        texts: list[str] = []
        later: deque[float] = deque()
        given = rpc.feed([1, 2, 3])
        await thumbs.squares(given, rpc.drain(found))
        await thumbs.squares(given, rpc.drain(later))
        await thumbs.squares(given, rpc.drain(array("d")))
        await thumbs.squares(given, rpc.drain(bytearray()))
        await thumbs.squares(given, rpc.drain(io.BytesIO()))
        await thumbs.squares(given, rpc.drain(lambda chunk: found.extend(chunk)))
        await thumbs.squares(given, rpc.drain(rpc.PipeControl(push=print)))
        await thumbs.squares(given, rpc.drain(texts))  # error
        await thumbs.squares(given, rpc.drain(b"read-only"))  # error
        points: list[Point] = []
        await thumbs.mirror(rpc.exchange(rpc.feed([Point(1, 2)]), rpc.drain(points)))
        await thumbs.mirror(rpc.feed([Point(1, 2)]))  # error


async def beyond_the_operations() -> None:
    async with rpc.connect(Thumbs, "thumbs") as thumbs:
        client = rpc.client_of(thumbs)
        assert_type(client, rpc.Client[Thumbs])
        assert_type(client.server_version, tuple[int, int])
        make = rpc.operation_of(thumbs.make)
        assert_type(await make("cat"), bytes)
        assert_type(await make.with_options(timeout=3)("cat", size=3), bytes)
        await make.with_options(timeout=3)(3)  # error
        await make.with_options(colour=3)("cat")  # error
        async with rpc.operation_of(thumbs.total).begin(2) as total:
            assert_type(total, rpc.CallHandle[int])
            numbers: rpc.OutPipe[int] = total.pipes["numbers"]
            await numbers.push([1])
            assert_type(await total.complete(), int)


async def bind(manager: Manager) -> None:
    async with rpc.bind(Thumbs, ...) as thumbs:  # error
        assert_type(thumbs, Thumbs)
    async with rpc.connect(str, "thumbs"):  # error
        pass
    await rpc.serve(manager, "thumbs")
    Incomplete()  # error


async def note(call: rpc.ClientCall, proceed: Callable[[rpc.ClientCall], Awaitable[Any]]) -> Any:
    call.metadata["token"] = "t"
    call.metadata["token"] = None  # error
    call.peer = None  # error
    return await proceed(call)


async def check(call: rpc.ServerCall, proceed: Callable[[rpc.ServerCall], Awaitable[Any]]) -> Any:
    assert_type(call.operation, str)
    call.metadata["token"] = "t"  # error
    call.answer_metadata["count"] = 1
    return await proceed(call)


async def intercept(manager: Manager) -> None:
    async with rpc.connect(Thumbs, "thumbs", interceptors=[note], metadata={"a": 1}) as thumbs:
        assert_type(thumbs, Thumbs)
        make = rpc.operation_of(thumbs.make).with_options(metadata={"b": b"x", "c": 0.5})
        assert_type(await make("cat"), bytes)
    async with rpc.connect(Thumbs, "thumbs", interceptors=[check]):  # error
        pass
    async with rpc.connect(Thumbs, "thumbs", metadata={"a": None}):  # error
        pass
    await rpc.serve(manager, "thumbs", interceptors=[check])
    await rpc.serve(manager, "thumbs", interceptors=[note])  # error
