"""Servers and clients of either driver, for synchronous tests; the others use rpc_drivers.py.

Managers have plain methods, which servers of both kinds take.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import Any

import trio

from ipcpipes import Endpoint, blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .rpc_over_links import serving
from .threads import Worker

DRIVERS = ("trio", "blocking")


@contextmanager
def served(driver: str, *managers: rpc.Interface, **options: Any) -> Iterator[Endpoint]:
    """Serves the managers. At the end of the block, the server has ended."""
    if driver == "trio":
        with _in_trio(partial(serving, *managers, **options)) as (listener, _):
            yield listener.endpoint
        return
    listener = streams.listen(unique_endpoint())
    server = Worker(blocking.serve, managers, listener, **options)
    try:
        yield listener.endpoint
    finally:
        listener.close()
        server.result()


@contextmanager
def connected(
    driver: str, interface: type[rpc.Interface], endpoint: Endpoint, **options: Any
) -> Iterator[BothClients]:
    """A client of the server at this endpoint."""
    if driver == "trio":
        with _in_trio(partial(rpc.connect, interface, endpoint, **options)) as (client, run):
            yield BothClients(client, run)
    else:
        with blocking.connect(interface, endpoint, **options) as other:
            yield BothClients(other, lambda function, *arguments: function(*arguments))


class BothClients:
    """A client of either kind.

    Attributes:
        client: the client of the driver.
    """

    def __init__(self, client: Any, run: Callable[..., Any]) -> None:
        self.client = client
        self._run = run

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Calls an operation of this name, and waits for the result."""
        return self._run(partial(getattr(self.client, name), *arguments, **named))


@contextmanager
def _in_trio(make: Callable[[], AbstractAsyncContextManager[Any]]) -> Iterator[tuple[Any, Any]]:
    """Enters the block of ``make`` in another thread with a trio loop: (its value, a function that
    runs coroutine functions in that loop).
    """
    begun: queue.SimpleQueue[tuple[Any, ...] | BaseException] = queue.SimpleQueue()

    async def main() -> None:
        entered = False
        try:
            async with make() as value:
                entered = True
                stop = trio.Event()
                begun.put((value, trio.lowlevel.current_trio_token(), stop))
                await stop.wait()
        except BaseException as error:
            if entered:
                raise
            begun.put(error)

    worker = Worker(trio.run, main)
    found = begun.get()
    if isinstance(found, BaseException):
        worker.result()
        raise found
    value, token, stop = found
    try:
        yield value, partial(trio.from_thread.run, trio_token=token)
    finally:
        token.run_sync_soon(stop.set)
        worker.result()
