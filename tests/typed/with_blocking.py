"""What a type checker says about a client and a manager without an event loop.

A comment ``# error`` marks each line that every checker has to refuse; they refuse no other line.
"""

from __future__ import annotations

import io
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipcpipes import blocking as connections, rpc
from ipcpipes.rpc import blocking

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
    rpc.Interface, raises=[NotFound], uuid="1f5a0c1e-9a53-4b9e-8a3c-5d8d0f0c7a11", version=(1, 0)
):
    @rpc.operation
    def make(self, name: str, size: int = 5) -> bytes: ...

    @rpc.operation
    @rpc.options(idempotent=True, timeout=5)
    def names(self) -> list[str]: ...

    @rpc.options(maybe=True)
    @rpc.operation
    def forget(self, name: str) -> None: ...

    @rpc.operation
    def total(self, scale: int, numbers: blocking.InPipe[rpc.int32]) -> int: ...

    @rpc.operation
    def squares(
        self, numbers: blocking.InPipe[rpc.int32], found: blocking.OutPipe[rpc.float64]
    ) -> None: ...

    @rpc.operation
    def mirror(self, points: blocking.InOutPipe[Point]) -> None: ...


class Manager(Thumbs):
    def make(self, name: str, size: int = 5) -> bytes:
        assert_type(rpc.current_call().operation, str)
        if size < 0:
            raise NotFound(name)  # error
        if size == 0:
            raise NotFound(name, similar=["dog"])
        return name.encode() * size

    def names(self) -> list[str]:
        return []

    def forget(self, name: str) -> None: ...

    def total(self, scale: int, numbers: blocking.InPipe[rpc.int32]) -> int:
        total = 0
        for chunk in numbers:
            assert_type(chunk, rpc.Chunk[int])
            total += sum(chunk)
        return total * scale

    def squares(
        self, numbers: blocking.InPipe[rpc.int32], found: blocking.OutPipe[rpc.float64]
    ) -> None:
        for chunk in numbers:
            found.push([number**0.5 for number in chunk])
            found.push(["text"])  # error
        found.close()

    def mirror(self, points: blocking.InOutPipe[Point]) -> None:
        for chunk in points:
            assert_type(chunk[0], Point)
        points.close()


class Incomplete(Thumbs):
    def make(self, name: int, size: int = 5) -> bytes:  # error
        return bytes(size)


async def pull_later(most: int) -> list[int]:
    return [most]


def pieces() -> Iterator[bytes]:
    yield b"piece"


def call() -> None:
    with blocking.connect(Thumbs, "thumbs") as thumbs:
        assert_type(thumbs, Thumbs)
        assert_type(thumbs.make("cat"), bytes)
        assert_type(thumbs.make("cat", size=3), bytes)
        try:
            thumbs.make("cat")
        except NotFound as error:
            assert_type(error.similar, list[str])
            assert_type(error.code, int)
            assert error.colour  # error
        thumbs.make(3)  # error
        thumbs.make()  # error
        thumbs.make("cat", colour=3)  # error
        thumbs.mak("cat")  # error
        text: str = thumbs.make("cat")  # error
        assert_type(thumbs.names(), list[str])
        thumbs.forget(text)


def feed() -> None:
    with blocking.connect(Thumbs, "thumbs") as thumbs:
        assert_type(thumbs.total(2, blocking.feed([1, 2, 3])), int)
        thumbs.total(2, numbers=blocking.feed(range(5)))
        thumbs.total(2, blocking.feed([[1, 2], [3]]))
        thumbs.total(2, blocking.feed(array("i", [1])))
        thumbs.total(2, blocking.feed(b"\0\0\0\0"))
        thumbs.total(2, blocking.feed(pieces()))
        thumbs.total(2, blocking.feed(io.BytesIO(b"\0\0\0\0")))
        thumbs.total(2, blocking.feed(pull_later))  # error
        thumbs.total(2, blocking.feed(lambda most: [most]))
        thumbs.total(2, blocking.feed(rpc.PipeControl(pull=len)))
        thumbs.total(2, blocking.feed(["text"]))  # error
        thumbs.total(2, blocking.feed(3))  # error
        thumbs.total(2, [1, 2, 3])  # error
        thumbs.total(2, blocking.drain([3]))  # error


# An int is a float, so a source of int fills a pipe of float.
def wider(given: blocking.InPipe[int]) -> blocking.InPipe[float]:
    return given


def wider_out(given: blocking.OutPipe[int]) -> blocking.OutPipe[float]:
    return given  # error


def narrower(given: blocking.InPipe[float]) -> blocking.InPipe[int]:
    return given  # error


def narrower_out(given: blocking.OutPipe[float]) -> blocking.OutPipe[int]:
    return given


def drain() -> None:
    with blocking.connect(Thumbs, "thumbs") as thumbs:
        found: list[float] = []
        texts: list[str] = []
        later: deque[float] = deque()
        given = blocking.feed([1, 2, 3])
        thumbs.squares(given, blocking.drain(found))
        thumbs.squares(given, blocking.drain(later))
        thumbs.squares(given, blocking.drain(array("d")))
        thumbs.squares(given, blocking.drain(bytearray()))
        thumbs.squares(given, blocking.drain(io.BytesIO()))
        thumbs.squares(given, blocking.drain(lambda chunk: found.extend(chunk)))
        thumbs.squares(given, blocking.drain(rpc.PipeControl(push=print)))
        thumbs.squares(given, blocking.drain(texts))  # error
        thumbs.squares(given, blocking.drain(b"read-only"))  # error
        points: list[Point] = []
        thumbs.mirror(blocking.exchange(blocking.feed([Point(1, 2)]), blocking.drain(points)))
        thumbs.mirror(blocking.feed([Point(1, 2)]))  # error


def beyond_the_operations() -> None:
    with blocking.connect(Thumbs, "thumbs") as thumbs:
        client = blocking.client_of(thumbs)
        assert_type(client, blocking.Client[Thumbs])
        assert_type(client.server_version, tuple[int, int])
        make = blocking.operation_of(thumbs.make)
        assert_type(make("cat"), bytes)
        assert_type(make.with_options(timeout=3)("cat", size=3), bytes)
        make.with_options(timeout=3)(3)  # error
        make.with_options(colour=3)("cat")  # error
        with blocking.operation_of(thumbs.total).begin(2) as total:
            assert_type(total, blocking.CallHandle[int])
            numbers: blocking.OutPipe[int] = total.pipes["numbers"]
            numbers.push([1])
            assert_type(total.complete(timeout=3), int)


def bind(manager: Manager) -> None:
    with blocking.bind(Thumbs, ...) as thumbs:  # error
        assert_type(thumbs, Thumbs)
    with blocking.connect(str, "thumbs"):  # error
        pass
    with connections.listen("thumbs") as listener:
        blocking.serve(manager, listener)
    Incomplete()  # error


def note(call: rpc.ClientCall, proceed: Callable[[rpc.ClientCall], Any]) -> Any:
    call.metadata["token"] = "t"
    call.metadata["token"] = None  # error
    call.peer = None  # error
    return proceed(call)


def check(call: rpc.ServerCall, proceed: Callable[[rpc.ServerCall], Any]) -> Any:
    assert_type(call.operation, str)
    call.metadata["token"] = "t"  # error
    call.answer_metadata["count"] = 1
    return proceed(call)


def intercept(manager: Manager) -> None:
    with blocking.connect(Thumbs, "thumbs", interceptors=[note], metadata={"a": 1}) as thumbs:
        assert_type(thumbs, Thumbs)
        make = blocking.operation_of(thumbs.make).with_options(metadata={"b": b"x", "c": 0.5})
        assert_type(make("cat"), bytes)
    with blocking.connect(Thumbs, "thumbs", interceptors=[check]):  # error
        pass
    with blocking.connect(Thumbs, "thumbs", metadata={"a": None}):  # error
        pass
    blocking.serve(manager, "thumbs", interceptors=[check])
    blocking.serve(manager, "thumbs", interceptors=[note])  # error
