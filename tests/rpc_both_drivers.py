"""Servers and clients of either driver, for synchronous tests: rpc_drivers.py in another thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ipcpipes import Endpoint, rpc

from .rpc_drivers import DRIVERS as DRIVERS
from .threads import in_trio


@contextmanager
def served(driver: str, *managers: rpc.Interface, **options: Any) -> Iterator[Endpoint]:
    """Serves the managers. At the end of the block, the server has ended."""
    with in_trio(partial(DRIVERS[driver].serving, *managers, **options)) as (listener, _):
        yield listener.endpoint


@contextmanager
def connected(
    driver: str, interface: type[rpc.Interface], endpoint: Endpoint, **options: Any
) -> Iterator[BothClients]:
    """A client of the server at this endpoint."""
    with in_trio(partial(DRIVERS[driver].connect, interface, endpoint, **options)) as found:
        yield BothClients(*found)


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

    def call_within(self, seconds: float, name: str, *arguments: Any) -> Any:
        """The same with a timeout."""
        timed = getattr(self.client, name).with_options(timeout=seconds)
        return self._run(partial(timed, *arguments))
