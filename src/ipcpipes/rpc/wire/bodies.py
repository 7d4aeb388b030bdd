"""The bodies of the frames that contain a MessagePack map: handshake, shutdown and faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from ...framing.messagepack import check_depth
from ..errors import FAULT_CLASSES, Fault, ProtocolError, RpcError, failure_code
from .format import FaultBody, Frame

__all__ = ["decode_body", "decode_fault", "encode_body", "encode_fault"]

# If a whole fault does not fit into a frame, its message and its type are each cut to this many
# characters.
LONGEST_TEXT = 4 * 1024

BodyT = TypeVar("BodyT")

encode_body = msgspec.msgpack.Encoder().encode


def decode_body(frame: Frame, kind: type[BodyT]) -> BodyT:
    """Raises:
    ProtocolError: the body is malformed.
    """
    try:
        # Fields that this version does not know may contain anything, such as deep nesting.
        check_depth(frame.body)
        return msgspec.msgpack.decode(frame.body, type=kind)
    # A ValueError is raised for too many levels, or for text that is not UTF-8.
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolError(f"the body of {frame.kind.name} is malformed: {error}") from None


def decode_fault(frame: Frame) -> RpcError:
    """Returns the client's exception for a fault of the server: an instance of the class for its
    code, or of :class:`Fault`. A code that is not valid for a failure becomes RPC_S_CALL_FAILED.

    Raises:
        ProtocolError: the body is malformed.
    """
    body = decode_body(frame, FaultBody)
    kind = FAULT_CLASSES.get(body.code, Fault)
    code = failure_code(body.code)
    return kind(body.message, code=code, type=body.type, traceback=body.traceback)


def encode_fault(error: RpcError, fits: Callable[[bytes], bool]) -> bytes:
    """Encodes the body of FAULT for a failure. If the whole body does not fit, it is shortened.

    Args:
        fits: returns whether a body fits into a frame.
    """
    message, kind, trace = map(_text, (error.message, error.type, error.traceback))
    code = failure_code(error.code) or Fault.default_code  # users can set the attribute
    body = encode_body(FaultBody(code, message or "", kind, trace))
    if fits(body):
        return body
    return encode_body(
        FaultBody(code, (message or "")[:LONGEST_TEXT], kind and kind[:LONGEST_TEXT])
    )


def _text(text: str | None) -> str | None:
    """Returns the text with surrogates escaped. The name of a file has surrogates if it is not
    UTF-8.
    """
    return text and text.encode(errors="backslashreplace").decode()
