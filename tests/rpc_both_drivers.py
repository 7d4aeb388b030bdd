"""Servers and clients of either driver, for synchronous tests; the others use rpc_drivers.py.

Managers have plain methods, which servers of both kinds take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ipcpipes import Endpoint, blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .rpc_over_links import serving
from .threads import Worker, in_trio

DRIVERS = ("trio", "blocking")


@contextmanager
def served(driver: str, *managers: rpc.Interface, **options: Any) -> Iterator[Endpoint]:
    """Serves the managers. At the end of the block, the server has ended."""
    if driver == "trio":
        with in_trio(partial(serving, *managers, **options)) as (listener, _):
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
        with in_trio(partial(rpc.connect, interface, endpoint, **options)) as (client, run):
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
