"""Logs how a handler of a server has ended: alike for handlers in tasks and in threads."""

from __future__ import annotations

import logging

import trio

from ..endpoint import Endpoint
from ..errors import (
    DescriptorsLost,
    FramingError,
    IncompleteMessage,
    consists_of,
    single_errors,
)

__all__ = ["report"]

logger = logging.getLogger("ipcpipes")


def report(error: Exception, connection: object, endpoint: Endpoint) -> None:
    """Logs the error that has ended a handler. If its client has left, that is not an error.

    Args:
        error: the handler's error, or a group of errors, as a nursery raises it.
        connection: the handler's own stream or channel. An error of another connection that the
            handler has used is a failure of the handler.
    """
    if getattr(connection, "_disconnected", False) and consists_of(error, trio.ClosedResourceError):
        return  # already logged by the code that disconnected the client
    ends = list(single_errors(error))
    violations = [each for each in map(_violation_in, ends) if each is not None]
    if not all(_is_of(each, connection) for each in ends):
        logger.error("the handler of a client of %s failed", endpoint, exc_info=error)
    elif violations:
        logger.warning("a client of %s was disconnected: %s", endpoint, violations[0])
    else:
        logger.info("a client of %s has left: %s", endpoint, ends[0])


def _is_of(error: BaseException, connection: object) -> bool:
    """Returns whether a method of this connection has raised the error, according to the traceback.

    A mark on the exception was rejected: every place that raises such an error, in each driver on
    each system, and every wrapper that raises a new error would have to set the mark.
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
    """Returns the error if the client has sent bytes that are not a message, or descriptors that
    this process does not take; ``None`` for any other error.
    """
    if isinstance(error, DescriptorsLost):
        return error
    cause = error.__cause__
    # A client that is killed while it sends leaves an incomplete message.
    if isinstance(cause, FramingError) and not isinstance(cause, IncompleteMessage):
        return cause
    return None
