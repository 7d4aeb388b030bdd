"""Servers in processes of their own, which report their state while they are attacked."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from ipcpipes import Endpoint

from .children import Child, python_child

_HEAD = """
import contextlib, functools, logging, os
name = sys.argv[1]
logged = {}
class Counter(logging.Handler):
    def emit(self, record):
        logged[record.levelname] = logged.get(record.levelname, 0) + 1
logging.getLogger().addHandler(Counter())

# Wine shows a /proc too, but not the one of this process.
def descriptors():
    try:
        return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    except OSError:
        return 0  # no descriptor is left for the listing itself

def memory():
    if sys.platform != "linux":
        return 0
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
"""
_TAIL = """
async with trio.open_nursery() as nursery:
    listener = await nursery.start(serve)
    say("ready")
    while await hear_async() == "how are you":
        tasks = trio.lowlevel.current_statistics().tasks_living
        say(listener.connection_count, tasks, descriptors(), memory(),
            logged.get("WARNING", 0), sum(logged.values()))
    nursery.cancel_scope.cancel()
"""


class State:
    """The state of a server.

    Attributes:
        connections, tasks: the number of open connections and living tasks.
        descriptors, memory: the number of open descriptors, and the bytes of resident memory; 0
            where the system does not report them.
        warnings, logged: the number of log records of level WARNING, and of all levels.
    """

    def __init__(self, line: str) -> None:
        numbers = map(int, line.split())
        self.connections, self.tasks, self.descriptors, self.memory, self.warnings, self.logged = (
            numbers
        )


@asynccontextmanager
async def attacked(program: str, endpoint: Endpoint, *arguments: str) -> AsyncIterator[Child]:
    """Runs a server. At the end it is cancelled, whatever its clients do.

    Args:
        program: defines ``serve``, an async function for ``nursery.start``, which listens at
            ``name``.
    """
    source = _HEAD + textwrap.dedent(program) + _TAIL
    with python_child(source, endpoint.name, *arguments) as server:
        assert await trio.to_thread.run_sync(server.hear) == "ready"
        yield server
        server.say("goodbye")
        assert await trio.to_thread.run_sync(server.wait) == 0


async def state(server: Child) -> State:
    server.say("how are you")
    return State(await trio.to_thread.run_sync(server.hear))


async def until(server: Child, connections: int) -> State:
    while (found := await state(server)).connections != connections:
        await trio.sleep(0.01)
    return found


async def until_again(server: Child, before: State) -> State:
    """Waits until the server has as many tasks and descriptors as before. The task of a handler
    ends one step after its connection.
    """
    while True:
        found = await state(server)
        if (found.tasks, found.descriptors) == (before.tasks, before.descriptors):
            return found
        await trio.sleep(0.01)
