"""An interface and its manager, served in threads, for the tests of calls without an event loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import pytest

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .threads import Worker


class Sample(rpc.Structure):
    """12 octets, with 4 of padding to the next one."""

    time: rpc.int64
    level: rpc.int32


class Calls(rpc.Interface, uuid="5f0a6a52-3a0f-4a51-9f0e-6a0f7d1f2c11", version=(1, 0)):
    """Each shape of pipes once."""

    @rpc.operation
    def plain(self, value: Any) -> Any: ...
    @rpc.operation(timeout=30)
    def limited(self, value: int = 7) -> Any: ...
    @rpc.operation(maybe=True)
    def tell(self, value: Any) -> None: ...
    @rpc.operation
    def into(self, numbers: rpc.InPipe[rpc.int32]) -> Any: ...
    @rpc.operation
    def into_into(self, first: rpc.InPipe[rpc.int32], second: rpc.InPipe[rpc.int32]) -> Any: ...
    @rpc.operation
    def out(self, numbers: rpc.OutPipe[rpc.int32]) -> Any: ...
    @rpc.operation
    def out_out(self, first: rpc.OutPipe[rpc.int32], second: rpc.OutPipe[rpc.int32]) -> Any: ...
    @rpc.operation
    def into_out(self, source: rpc.InPipe[rpc.int32], sink: rpc.OutPipe[rpc.int32]) -> Any: ...
    @rpc.operation
    def both(self, numbers: rpc.InOutPipe[rpc.int32]) -> Any: ...
    @rpc.operation
    def samples(self, source: rpc.InPipe[Sample], sink: rpc.OutPipe[Sample]) -> Any: ...
    @rpc.operation
    def ranged(
        self, numbers: Annotated[rpc.InPipe[rpc.int32], rpc.Range(2, 4)], value: str
    ) -> Any: ...


class Manager(Calls):
    """Does what a test says: each operation is ``self.does``, which is given what came."""

    def __init__(self, does: Callable[..., Any] | None = None) -> None:
        self.does: Callable[..., Any] = does or (lambda *given: given[0])

    def plain(self, value: Any) -> Any:
        return self.does(value)

    def limited(self, value: int = 7) -> Any:
        return self.does(value)

    def tell(self, value: Any) -> None:
        self.does(value)

    def into(self, numbers: Any) -> Any:
        return self.does(numbers)

    def into_into(self, first: Any, second: Any) -> Any:
        return self.does(first, second)

    def out(self, numbers: Any) -> Any:
        return self.does(numbers)

    def out_out(self, first: Any, second: Any) -> Any:
        return self.does(first, second)

    def into_out(self, source: Any, sink: Any) -> Any:
        return self.does(source, sink)

    def both(self, numbers: Any) -> Any:
        return self.does(numbers)

    def samples(self, source: Any, sink: Any) -> Any:
        return self.does(source, sink)

    def ranged(self, numbers: Any, value: str) -> Any:
        return self.does(numbers, value)


def everything(pipe: Any) -> list[Any]:
    """What comes out of a pipe, to its end."""
    return [element for chunk in pipe for element in chunk]


def push_all(pipe: Any, elements: Any) -> None:
    """Pushes them, and closes the pipe."""
    pipe.push(elements)
    pipe.close()


def fails(error: type[rpc.RpcError], code: int) -> Any:
    """Checks that it raises this error with this code."""
    return pytest.raises(error, check=lambda found: found.code == code)


@contextmanager
def served(does: Callable[..., Any] | None = None, **options: Any) -> Iterator[Any]:
    """A client of a server in threads. Leaving it sees the server to its end."""
    limits = {name: options.pop(name) for name in ("credit", "max_frame") if name in options}
    listener = streams.listen(unique_endpoint())
    server = Worker(blocking.serve, Manager(does), listener, **limits, **options)
    try:
        with blocking.connect(Calls, listener.endpoint, **limits) as client:
            yield client
    finally:
        listener.close()
        server.result()


class Gate:
    """Something that one thread waits for and another one brings about."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def open(self) -> None:
        self._event.set()

    def wait(self) -> None:
        assert self._event.wait(30), "nobody came"

    @property
    def is_open(self) -> bool:
        return self._event.is_set()
