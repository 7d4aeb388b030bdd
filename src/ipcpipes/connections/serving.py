"""Runs a handler for each client of a listener, each in a task of its own."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import trio

from .. import abc
from ..authentication import Authenticate
from ..authentication.core import log_refusal
from ..endpoint import Endpoint
from ..errors import AuthenticationFailed
from .reporting import report

__all__ = ["call_async", "handle_client", "serve_listener", "server_finishing"]

logger = logging.getLogger("ipcpipes")

server_finishing: ContextVar[trio.Event | None] = ContextVar(
    "ipcpipes_server_finishing", default=None
)
"""In a handler of a worker of a group: the event that is set when the worker has to finish."""


class _Authenticator:
    """Authenticates the clients of one server until its listener is closed."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate
        self._handshakes: set[trio.CancelScope] = set()
        self._closed = False

    async def admit(self, connection: Any, endpoint: Endpoint) -> bool:
        """Returns whether the client has proved itself. If it has not, that is logged."""
        if self._closed:
            return False
        with trio.CancelScope() as scope:
            self._handshakes.add(scope)
            try:
                await self._authenticate(connection)
            except AuthenticationFailed as error:
                log_refusal(endpoint, connection, error)
                return False
            finally:
                self._handshakes.discard(scope)
        return not scope.cancelled_caught

    def close(self) -> None:
        """Admits no more clients, and ends the handshakes: silent clients would delay the end of
        the server.
        """
        self._closed = True
        for scope in self._handshakes:
            scope.cancel()


async def serve_listener(
    handler: Callable[[Any], Awaitable[object]],
    listener: abc.Listener[Any],
    task_status: trio.TaskStatus[Any],
    authenticate: Authenticate | None,
    grace: float,
    handler_nursery: trio.Nursery | None = None,
    shut_down: Callable[[], object] = lambda: None,
) -> None:
    """Serves the clients of ``listener``. All functions that serve call this; see :func:`serve`.

    Args:
        grace: seconds that the handlers have to finish after the listener was closed.
        handler_nursery: where the handlers run; ``None`` for a nursery of this function.
        shut_down: called when no more clients are accepted, before the handlers finish.
    """
    authenticator = None if authenticate is None else _Authenticator(authenticate)
    async with listener, trio.open_nursery() as nursery:
        handlers = nursery if handler_nursery is None else handler_nursery
        task_status.started(listener)
        # The owner closed the listener: accept no more clients, and let the handlers finish.
        with suppress(trio.ClosedResourceError):
            while True:
                connection = await listener.accept()
                try:
                    handlers.start_soon(
                        handle_client, handler, connection, listener.endpoint, authenticator
                    )
                except RuntimeError:  # the caller's nursery has ended
                    await trio.aclose_forcefully(connection)
                    raise
        if authenticator is not None:
            authenticator.close()
        shut_down()
        nursery.cancel_scope.deadline = trio.current_time() + grace
    if nursery.cancel_scope.cancelled_caught:
        logger.warning(
            "%s: cancelled the clients that had not finished %g s after the listener was closed",
            listener.endpoint,
            grace,
        )


def call_async(function: Callable[..., Awaitable[object]], *arguments: Any) -> Awaitable[object]:
    """Calls an async function of the user, for ``await``.

    Raises:
        TypeError: the function is not async. The error of Python would not name it.
        And what the function raises.
    """
    called = function(*arguments)
    if not inspect.isawaitable(called):
        raise TypeError(f"{function!r} is not async; define it with 'async def'")
    return called


async def handle_client(
    handler: Callable[[Any], Awaitable[object]],
    connection: Any,
    endpoint: Endpoint,
    authenticator: _Authenticator | None = None,
) -> None:
    """Runs the handler of one client. Its errors are logged, and do not affect other clients."""
    try:
        async with connection:
            if authenticator is None or await authenticator.admit(connection, endpoint):
                await call_async(handler, connection)
    except Exception as error:
        report(error, connection, endpoint)
