"""A listener whose clients are handled, each in a task of its own."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import trio

from . import abc
from .authentication import Greeting
from .endpoint import Endpoint
from .errors import AuthenticationFailed

__all__ = ["handle_client", "serve_listener", "server_finishing"]

logger = logging.getLogger("ipcpipes")

server_finishing: ContextVar[trio.Event | None] = ContextVar(
    "ipcpipes_server_finishing", default=None
)
"""In a handler: what is set when its server is to finish, where somebody else says when."""


class _Door:
    """Greets the clients of one server until its listener is closed."""

    def __init__(self, greet: Greeting) -> None:
        self._greet = greet
        self._greeting: set[trio.CancelScope] = set()
        self._closed = False

    async def lets_in(self, connection: Any, endpoint: Endpoint) -> bool:
        """Whether the client has proved itself; it is logged if not."""
        if self._closed:
            return False
        with trio.CancelScope() as scope:
            self._greeting.add(scope)
            try:
                await self._greet(connection)
            except AuthenticationFailed as error:
                logger.warning("%s: turned away %s: %s", endpoint, connection.peer, error)
                return False
            finally:
                self._greeting.discard(scope)
        return not scope.cancelled_caught

    def close(self) -> None:
        """Lets nobody in any more: who says nothing would hold the server up."""
        self._closed = True
        for scope in self._greeting:
            scope.cancel()


async def serve_listener(
    handler: Callable[[Any], Awaitable[object]],
    listener: abc.Listener[Any],
    task_status: trio.TaskStatus[Any],
    greet: Greeting | None,
    grace: float,
    shut_down: Callable[[], object] = lambda: None,
) -> None:
    """What every way to serve comes down to; see :func:`serve`.

    Args:
        grace: seconds that the handlers have once the listener was closed.
        shut_down: called when there are no more clients, before the handlers are waited for.
    """
    door = None if greet is None else _Door(greet)
    async with listener, trio.open_nursery() as nursery:
        task_status.started(listener)
        # Closed by its owner: no more clients, and the handlers come to their ends.
        with suppress(trio.ClosedResourceError):
            while True:
                nursery.start_soon(
                    handle_client, handler, await listener.accept(), listener.endpoint, door
                )
        if door is not None:
            door.close()
        shut_down()
        nursery.cancel_scope.deadline = trio.current_time() + grace
    if nursery.cancel_scope.cancelled_caught:
        logger.warning(
            "%s: cancelled the clients that had not finished %g s after the listener was closed",
            listener.endpoint,
            grace,
        )


async def handle_client(
    handler: Callable[[Any], Awaitable[object]],
    connection: Any,
    endpoint: Endpoint,
    door: _Door | None = None,
) -> None:
    """Runs the handler of one client of a server, whose errors are no others' affair."""
    try:
        async with connection:
            if door is None or await door.lets_in(connection, endpoint):
                await handler(connection)
    except Exception:
        logger.exception("the handler of a client of %s failed", endpoint)
