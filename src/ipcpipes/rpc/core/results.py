"""Decodes the value of an answer, for the client."""

from __future__ import annotations

from typing import Any

from ...framing.messagepack import TooDeep, check_depth
from ..definition.operations import Operation
from ..errors import BadStubData
from .call import Call
from .session import Session

__all__ = ["decode_result", "result_of"]

_NONE = type(None)


def result_of(call: Call) -> Any:
    """Returns the value of the server's answer.

    Raises:
        RpcError: the call has failed.
        BadStubData: the answer is not of the result's type, or too deep.
    """
    call.raise_failure()
    return decode_result(call.session, call.operation, call.body)


def decode_result(session: Session, operation: Operation, body: bytes | memoryview) -> Any:
    """Raises:
    BadStubData: the answer is not of the result's type, or too deep.
    """
    if operation.result_can_nest:
        try:
            check_depth(body)
        except TooDeep as error:
            raise _bad_result(session, operation, error) from None
    results = map(operation.decode_result, (body,))
    try:
        # The decoder runs in an iteration and not in a call: the interpreter runs signal handlers
        # after a call, and an exception of a handler would be taken for an error of the result.
        for result in results:
            return result
    except Exception as error:  # also UnicodeDecodeError, and errors of a user's own types
        raise _bad_result(session, operation, error) from None
    raise _bad_result(session, operation, StopIteration("StopIteration"))  # it has ended the loop


def _bad_result(session: Session, operation: Operation, error: Exception) -> BadStubData:
    hint = "; the operation declares no result: -> TYPE" if operation.result is _NONE else ""
    hint += session.versions_after("; ")
    return BadStubData(f"the result of {operation} is not of its type: {error}{hint}")
