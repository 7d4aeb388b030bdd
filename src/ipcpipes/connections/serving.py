"""A listener whose clients are handled, each in a task of its own."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import trio

from .. import abc
from ..authentication import Greeting
from ..endpoint import Endpoint
from ..errors import (
    AuthenticationFailed,
    DescriptorsLost,
    FramingError,
    IncompleteMessage,
    consists_of,
    single_errors,
)

__all__ = ["handle_client", "serve_listener", "server_finishing"]

logger = logging.getLogger("ipcpipes")

server_finishing: ContextVar[trio.Event | None] = ContextVar(
    "ipcpipes_server_finishing", default=None
)
"""In a handler of a group's worker: the event that is set when the worker is to finish."""


class _Authenticator:
    """Greets the clients of one server until its listener is closed."""

    def __init__(self, greet: Greeting) -> None:
        self._greet = greet
        self._greeting: set[trio.CancelScope] = set()
        self._closed = False

    async def admit(self, connection: Any, endpoint: Endpoint) -> bool:
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
        grace: seconds that the handlers have to finish after the listener was closed.
        shut_down: called when there are no more clients, before the handlers are waited for.
    """
    door = None if greet is None else _Authenticator(greet)
    async with listener, trio.open_nursery() as nursery:
        task_status.started(listener)
        # The owner closed the listener: accept no more clients, and let the handlers finish.
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
    door: _Authenticator | None = None,
) -> None:
    """Runs the handler of one client of a server, whose errors are no others' affair."""
    try:
        async with connection:
            if door is None or await door.admit(connection, endpoint):
                await handler(connection)
    except Exception as error:
        _report(error, connection, endpoint)


def _report(error: Exception, connection: object, endpoint: Endpoint) -> None:
    """Logs how a handler has ended. If its client left, that is not an error of this program."""
    if getattr(connection, "disconnected", False) and consists_of(error, trio.ClosedResourceError):
        return  # the code that disconnected the client has logged that
    if (departure := _departure_of(error, connection)) is not None:
        logger.info("a client of %s has left: %s", endpoint, departure)
    elif (violation := _violation_of(error, connection)) is not None:
        logger.warning("a client of %s was disconnected: %s", endpoint, violation)
    else:
        logger.error("the handler of a client of %s failed", endpoint, exc_info=error)


# Whether a handler has failed, or has only ended because its client left.


def _departure_of(error: BaseException, connection: object) -> BaseException | None:
    """The error that a handler got because its client left; ``None`` for any other error.

    Args:
        error: what the handler has raised; also a group of such, as a nursery raises it.
        connection: the handler's own stream or channel. What another one raises, which the handler
            has used, is a failure of the handler.

    Returns:
        A :exc:`trio.BrokenResourceError` or :exc:`trio.EndOfChannel` of this connection.
    """
    ends = list(single_errors(error))
    if all(_is_of(each, connection) and _violation_in(each) is None for each in ends):
        return ends[0]
    return None


def _violation_of(
    error: BaseException, connection: object
) -> FramingError | DescriptorsLost | None:
    """The error for bytes from the client that are not a message, or descriptors that this process
    does not take; ``None`` for any other error.
    """
    ends = list(single_errors(error))
    violations = [_violation_in(each) for each in ends if _is_of(each, connection)]
    return violations[0] if len(violations) == len(ends) else None


def _is_of(error: BaseException, connection: object) -> bool:
    """Whether a method of this connection has raised it, as its traceback tells.

    A mark on the exception was the alternative. It would have to be made wherever such an error is
    raised, in each driver on each system, and by each wrapper that raises one anew.
    """
    if not isinstance(error, (trio.BrokenResourceError, trio.EndOfChannel)):
        return False
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_locals.get("self") is connection:
            return True
        step = step.tb_next
    return False


def _violation_in(error: BaseException) -> FramingError | DescriptorsLost | None:
    if isinstance(error, DescriptorsLost):
        return error
    cause = error.__cause__
    # A client that is killed while it sends leaves a part of a message.
    if isinstance(cause, FramingError) and not isinstance(cause, IncompleteMessage):
        return cause
    return None
