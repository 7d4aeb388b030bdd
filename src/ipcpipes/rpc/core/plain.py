"""The most frequent frames in few steps: those of plain calls, which have no pipes.

The functions take frames as :meth:`Session.receive` does, if nothing is unusual about them.
Otherwise they change nothing, and the caller passes the frame to :meth:`Session.receive`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..wire.format import (
    HEAD,
    LENGTH_SIZE,
    STREAM_HEAD_SIZE,
    TIMED,
    Frame,
    Kind,
    pack_head,
    pack_stream_head,
    unpack_stream_head,
)
from .call import Call
from .state import CallState, ConnectionState

if TYPE_CHECKING:
    from .session import Session

__all__ = [
    "answer_data",
    "request_data",
    "request_frame",
    "request_in",
    "result_in",
    "take_answer",
    "take_request",
]

# Looked up once; session.py says why.
_REQUEST, _RESPONSE = Kind.REQUEST, Kind.RESPONSE
_OPEN, _CALL_OPEN, _DONE = ConnectionState.OPEN, CallState.OPEN, CallState.DONE
_HEAD_SIZE = HEAD.size
# Up to this size, a copy costs less than a view.
_SMALL = 2048


def request_frame(number: int, milliseconds: int, call: int, arguments: bytes) -> bytes:
    """Makes the REQUEST of a call that gets an answer.

    Args:
        number: of the operation at the server.
        milliseconds: the time limit of the call; 0 for no limit.
        call: the number of the call.
    """
    flags = TIMED if milliseconds else 0
    return pack_head(_REQUEST, flags, number, milliseconds, call) + arguments


def request_data(number: int, milliseconds: int, call: int, arguments: bytes) -> bytes:
    """Makes the same frame as :func:`request_frame`, as a stream carries it."""
    flags = TIMED if milliseconds else 0
    size = _HEAD_SIZE + len(arguments)
    return pack_stream_head(size, _REQUEST, flags, number, milliseconds, call) + arguments


def answer_data(call: int, body: bytes) -> bytes:
    """Makes the RESPONSE of a call, as a stream carries it."""
    return pack_stream_head(_HEAD_SIZE + len(body), _RESPONSE, 0, 0, 0, call) + body


def result_in(data: bytes, number: int) -> bytes | memoryview | None:
    """Returns the result, if the data of a stream is exactly the RESPONSE of the call with this
    number. The caller ends the call.
    """
    size = len(data) - LENGTH_SIZE
    if size < _HEAD_SIZE:
        return None
    if data[:STREAM_HEAD_SIZE] != pack_stream_head(size, _RESPONSE, 0, 0, 0, number):
        return None
    return data[STREAM_HEAD_SIZE:] if size < _SMALL else memoryview(data)[STREAM_HEAD_SIZE:]


def take_answer(session: Session, frame: Frame) -> bool:
    """Takes the result of a plain call. Returns whether the frame is one. Tasks that wait to begin
    a call are not woken.
    """
    call = session.calls.get(frame.call)
    if (
        call is None
        or frame.kind is not _RESPONSE
        or call.state is not _CALL_OPEN
        or not call.operation.is_plain
        or call.failure is not None
        or call.notify
    ):
        return False
    call.state = _DONE
    call.body = frame.body
    call.is_answered = True
    del session.calls[frame.call]
    if call.owner is not None:
        call.owner.wake()
    return True


def take_request(session: Session, frame: Frame) -> Call | None:
    """Begins a plain call without a time limit, if the frame is its REQUEST."""
    if frame.kind is not _REQUEST or frame.flags:
        return None
    return _begin(session, frame.number, frame.call, frame.body)


def request_in(session: Session, data: bytes) -> Call | None:
    """Does the same as :func:`take_request`, if the data of a stream is exactly one frame."""
    size = len(data) - LENGTH_SIZE
    if size < _HEAD_SIZE:
        return None
    length, kind, flags, index, _, number = unpack_stream_head(data)
    if kind != _REQUEST or flags or length != size:
        return None
    body = data[STREAM_HEAD_SIZE:] if size < _SMALL else memoryview(data)[STREAM_HEAD_SIZE:]
    return _begin(session, index, number, body)


def _begin(session: Session, index: int, number: int, body: bytes | memoryview) -> Call | None:
    operation = session.plain_operations.get(index)
    if (
        operation is None
        or number != session.last_call + 1
        or session.state is not _OPEN
        or len(session.calls) - session.maybes >= session.limits.calls
    ):
        return None
    session.last_call = number
    call = session.calls[number] = Call(session, number, operation)
    call.body = body
    return call
