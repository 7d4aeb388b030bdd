"""The bodies of frames that are MessagePack: reasons, what an end is like, and results."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ..errors import BadStubData, Fault, ProtocolError, RpcError, is_code
from .format import Bind, BindAck, FaultBody, Frame, Reason

if TYPE_CHECKING:
    from ..core.call import Call

__all__ = [
    "bind_ack_of",
    "bind_of",
    "fault_body",
    "fault_of_frame",
    "reason_of",
    "result_of",
    "to_octets",
]

# Characters of what a fault says, where all of it is more than a frame takes.
LONGEST_TEXT = 4 * 1024

BodyT = TypeVar("BodyT")

to_octets = msgspec.msgpack.Encoder().encode


def _decoder_of(kind: type[BodyT]) -> Callable[[Frame], BodyT]:
    decode = msgspec.msgpack.Decoder(kind).decode

    def body_of(frame: Frame) -> BodyT:
        """Raises:
        ProtocolError: it is not what it should be.
        """
        try:
            return decode(frame.body)
        # The last two are what msgspec says of text that is none, and of what is nested too deeply.
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ProtocolError(
                f"the body of {frame.kind.name} is not what it should be: {error}"
            ) from None

    return body_of


bind_of = _decoder_of(Bind)
bind_ack_of = _decoder_of(BindAck)
reason_of = _decoder_of(Reason)
fault_of_frame = _decoder_of(FaultBody)


def fault_body(error: RpcError, fits: Callable[[bytes], bool]) -> bytes:
    """The body of FAULT for a failure; a short one, if all of it does not fit."""
    message, kind, trace = map(_text, (error.message, error.type, error.traceback))
    code = error.code if is_code(error.code) else Fault.default_code  # its attribute may be set
    body = to_octets(FaultBody(code, message or "", kind, trace))
    if fits(body):
        return body
    return to_octets(FaultBody(code, (message or "")[:LONGEST_TEXT], kind and kind[:LONGEST_TEXT]))


def _text(text: str | None) -> str | None:
    """The same without what is no text, such as a file's name has it that is no UTF-8."""
    return text and text.encode(errors="backslashreplace").decode()


def result_of(call: Call) -> Any:
    """The value of the server's answer.

    Raises:
        RpcError: it is a failure.
        BadStubData: the answer is not of the result's type.
    """
    call.raise_failure()
    results = map(call.operation.result_decoder.decode, (call.body,))
    try:
        # Not a call: the interpreter runs signal handlers after calls, and what a handler raised
        # would be taken for an error of the result.
        (result,) = results
        return result
    except Exception as error:  # also UnicodeDecodeError, and errors of a user's own types
        raise BadStubData(f"the result of {call.operation} is not of its type: {error}") from None
