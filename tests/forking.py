"""Forks the process of the tests, for children that call one function."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ipcpipes import blocking
from ipcpipes.testing import unique_endpoint

assert sys.platform != "win32" or not TYPE_CHECKING

SECONDS = 60


def fork() -> int:
    """Calls os.fork without its warning in a process with threads (Python 3.12), which is what the
    tests are about.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


class ForkedChild:
    """Calls a function without arguments in a forked child.

    Args:
        stays: whether the child lives on until :meth:`end`, with everything that it inherited.
    """

    def __init__(self, function: Callable[[], Any], *, stays: bool = False) -> None:
        receiving, sending = os.pipe()
        waiting, self._end = os.pipe()
        self._pid = fork()
        if self._pid == 0:
            os.close(self._end)
            _run(function, sending)
            os.close(sending)
            if stays:
                os.read(waiting, 1)
            os._exit(0)
        os.close(sending)
        os.close(waiting)
        with open(receiving, "rb") as file:
            self.said = file.read().decode()
        if not stays:
            self.end()

    def end(self) -> None:
        os.close(self._end)
        os.waitpid(self._pid, 0)


def _run(function: Callable[[], Any], sending: int) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS)
    try:
        said = repr(function())
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
    os.write(sending, said.encode())


def in_forked_child(function: Callable[[], Any]) -> str:
    """Returns the ``repr`` of the function's result in the child, or the error that it raises."""
    return ForkedChild(function).said


def error_of(what: str, error: str = "ClosedResourceError") -> str:
    """Returns the error that a forked child gets from an object that belongs to this process."""
    return (
        f"{error}: this {what} was made by process {os.getpid()}, and this is a forked child "
        "of it; connect again here"
    )


async def in_child_of_trio(function: Callable[..., Any], *arguments: Any) -> str:
    """Awaits ``function(*arguments)`` in a forked child, without its loop: it must not get to a
    checkpoint.
    """

    def run() -> Any:
        awaited = function(*arguments)
        try:
            awaited.send(None)
        except StopIteration as stop:
            return stop.value
        return "it waited"

    return in_forked_child(run)


@contextmanager
def blocking_pair() -> Iterator[tuple[blocking.Stream, blocking.Stream]]:
    """Yields (client, server)."""
    with (
        blocking.listen(unique_endpoint()) as listener,
        blocking.connect(listener.endpoint) as client,
        listener.accept() as server,
    ):
        yield client, server
