"""An interface with plain methods and its manager, for the tests of the blocking driver alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .threads import Worker


class Calls(rpc.Interface, uuid="5f0a6a52-3a0f-4a51-9f0e-6a0f7d1f2c11", version=(1, 0)):
    """Operations without pipes, with a timeout, and with a pipe of each direction."""

    @rpc.operation
    def plain(self, value: Any) -> Any: ...
    @rpc.operation
    @rpc.options(timeout=30)
    def limited(self, value: int = 7) -> Any: ...
    @rpc.operation
    @rpc.options(maybe=True)
    def tell(self, value: Any) -> None: ...
    @rpc.operation
    def into(self, numbers: blocking.InPipe[rpc.int32]) -> Any: ...
    @rpc.operation
    def out(self, numbers: blocking.OutPipe[rpc.int32]) -> Any: ...
    @rpc.operation
    def both(self, numbers: blocking.InOutPipe[rpc.int32]) -> Any: ...


class Manager(Calls):
    """Each operation calls ``self.does`` with its arguments."""

    def __init__(self, does: Callable[..., Any] | None = None) -> None:
        self.does: Callable[..., Any] = does or (lambda given: given)

    def plain(self, value: Any) -> Any:
        return self.does(value)

    def limited(self, value: int = 7) -> Any:
        return self.does(value)

    def tell(self, value: Any) -> None:
        self.does(value)

    def into(self, numbers: Any) -> Any:
        return self.does(numbers)

    def out(self, numbers: Any) -> Any:
        return self.does(numbers)

    def both(self, numbers: Any) -> Any:
        return self.does(numbers)


def everything(pipe: Any) -> list[Any]:
    """The elements of a pipe, up to its end."""
    return [element for chunk in pipe for element in chunk]


def push_all(pipe: Any, elements: Any) -> None:
    """Pushes the elements, and closes the pipe."""
    pipe.push(elements)
    pipe.close()


@contextmanager
def served(does: Callable[..., Any] | None = None, **options: Any) -> Iterator[Any]:
    """A client of a server in threads. At the end of the block, the server has ended."""
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
    """An event, with a timeout so that a hang fails."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def open(self) -> None:
        self._event.set()

    def wait(self) -> None:
        assert self._event.wait(30), "the gate was not opened"

    def opens_within(self, seconds: float) -> bool:
        return self._event.wait(seconds)

    @property
    def is_open(self) -> bool:
        return self._event.is_set()
