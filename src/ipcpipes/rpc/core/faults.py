"""The fault that a client gets for an exception of a manager."""

from __future__ import annotations

import logging
import sys
import traceback

from ..errors import BadElement, BadStubData, Fault, RpcError
from .call import Call
from .exceptions import fault_of

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = ["fault_from_exception"]

logger = logging.getLogger("ipcpipes.rpc")

LONGEST_TRACEBACK = 64 * 1024


def fault_from_exception(error: BaseException, call: Call, *, with_traceback: bool) -> RpcError:
    """Returns the fault for the client, with what is sent of the exception; see
    :mod:`.exceptions`. The traceback is sent if that is allowed. Nothing else about the server is
    sent. Logs exceptions that are not part of the call's protocol.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]  # nurseries wrap exceptions in groups
    for own in (call.latched, call.failure):
        if own is not None and _is(error, own, call):
            logger.debug("%s has ended: %s", call.operation, own)
            return own
    text = "".join(traceback.format_exception(error))[-LONGEST_TRACEBACK:]
    trace = text if with_traceback else None
    if isinstance(error, BadElement):  # the client sent the element, and the manager read it
        return BadStubData(error.message, traceback=trace)
    if not isinstance(error, Fault):
        logger.error("%s failed", call.operation, exc_info=error)
    fault = fault_of(error, call.operation.raises)
    fault.traceback = trace
    return fault


def _is(error: BaseException, own: RpcError, call: Call) -> bool:
    """Whether ``error`` is this failure of this call, or an exception group of such errors only.

    A manager that is a client of another server may get an error of the same class when the
    connection to that server ends. Then the manager has failed, and that is logged.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(_is(part, own, call) for part in error.exceptions)
    if not isinstance(error, RpcError) or type(error) is not type(own) or error.code != own.code:
        return False
    # An error that ended another call is a copy of that call's failure. An error that the manager
    # raised itself, or that a misused pipe raised, is not a copy.
    return error.first in (error, call.failure, call.latched)
