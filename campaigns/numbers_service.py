"""A server in threads that checks rising numbers element by element, for campaigns over calls."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

__all__ = ["Numbers", "NumbersManager", "numbers", "served"]


class Numbers(rpc.Interface, uuid="8b2f4a0c-98d0-4d8d-b1f6-1c2f0a4c7e55", version=(1, 0)):
    """What campaigns call."""

    @rpc.operation
    def upload(self, elements: blocking.InPipe[rpc.int32]) -> Any: ...
    @rpc.operation
    def download(self, count: int, elements: blocking.OutPipe[rpc.int32]) -> Any: ...
    @rpc.operation
    def wait(self, seconds: float) -> None: ...
    @rpc.operation
    def echo(self, value: int) -> Any: ...


class NumbersManager(Numbers):
    """Checks that each upload is 0, 1, 2, ... up to its end, whether it was cancelled or not.

    Attributes:
        faults: the errors that were found.
        received: how many elements arrived in all.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.received = 0
        self._ending = threading.Event()

    def upload(self, elements: Any) -> int:
        expected = 0
        for chunk in elements:
            found = array.array("i", bytes(chunk))
            if found != numbers(expected, len(found)):
                self.faults.append(
                    f"an upload has {found[0]:,} where {expected:,} was expected"
                    if found[0] != expected
                    else f"an upload has a gap or a repetition after {expected:,}"
                )
                break
            expected += len(found)
            self.received += len(found)
        return expected

    def download(self, count: int, elements: Any) -> int:
        for first in range(0, count, 10_000):
            elements.push(numbers(first, min(10_000, count - first)))
        elements.close()
        return count

    def wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not rpc.current_call().test_cancel():
            if self._ending.wait(0.005):
                return

    def echo(self, value: int) -> int:
        return value

    def end(self) -> None:
        """Lets calls that wait come to their end."""
        self._ending.set()


def numbers(first: int, count: int) -> array.array[int]:
    """Rising numbers."""
    return array.array("i", range(first, first + count))


@contextmanager
def served(manager: NumbersManager) -> Iterator[streams.Listener[Any]]:
    """Serves it in threads of this process."""
    listener = streams.listen(unique_endpoint())
    thread = threading.Thread(target=blocking.serve, args=(manager, listener))
    thread.start()
    try:
        yield listener
    finally:
        manager.end()
        listener.close()
        thread.join()
