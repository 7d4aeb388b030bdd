"""Tools for the tests that pass descriptors: open files that tell where they are open (POSIX)."""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import ipcpipes
from ipcpipes.testing import unique_endpoint

from . import drivers

PAIRS = [
    pytest.param((ipcpipes, ipcpipes), id="trio"),
    pytest.param((drivers, drivers), id="blocking"),
    pytest.param((ipcpipes, drivers), id="trio-to-blocking"),
    pytest.param((drivers, ipcpipes), id="blocking-to-trio"),
]


async def connected(doors: Any, kind: str = "", **options: Any) -> tuple[Any, Any]:
    """Returns (client, server): streams, or channels for the kind ``"_messages"``."""
    client_door, server_door = doors
    async with await getattr(server_door, f"listen{kind}")(
        unique_endpoint(), backlog=1, **options
    ) as listener:
        client = await getattr(client_door, f"connect{kind}")(listener.endpoint, **options)
        return client, await listener.accept()


def raw(connection: Any) -> Any:
    """Returns a socket object for the connection, for what only a socket object can do."""
    stream = getattr(connection, "blocking", connection)
    stream = getattr(stream, "_carrier", stream)
    number = getattr(stream, "_fd", None)
    return socket.socket(fileno=os.dup(stream._number if number is None else number))


class Watched:
    """A pipe that tells whether its send end is open anywhere, in a process or in flight.

    Attributes:
        end: the send end, for the test to pass.
    """

    def __init__(self) -> None:
        self._receiving, self.end = os.pipe()

    def fileno(self) -> int:
        return self.end

    def close_here(self) -> None:
        os.close(self.end)
        self.end = -1

    @property
    def is_open_anywhere(self) -> bool:
        # The pipe is empty, so it is readable only at its end.
        return select.select([self._receiving], [], [], 0)[0] == []

    def comes_through(self, descriptor: int) -> bool:
        """Whether ``descriptor`` is another number of the send end."""
        os.write(descriptor, b"?")
        return os.read(self._receiving, 10) == b"?"

    def close(self) -> None:
        os.close(self._receiving)
        if self.end != -1:
            os.close(self.end)


@contextmanager
def watched() -> Iterator[Watched]:
    pipe = Watched()
    try:
        yield pipe
    finally:
        pipe.close()


def is_closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


def close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


@contextmanager
def at_most_open(count: int) -> Iterator[None]:
    """In the block, this process can open only ``count`` more descriptors."""
    if sys.platform == "win32":
        raise NotImplementedError("there is no such limit")
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = [number for number in range(limits[0]) if is_closed(number)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[count], limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
