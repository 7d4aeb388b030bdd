"""The bodies of the frames that contain a MessagePack map: handshake, shutdown and faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from ...framing.messagepack import check_depth
from ..errors import FAULT_CLASSES, Fault, ProtocolError, RpcError, failure_code
from .format import FaultBody, Frame

__all__ = ["decode_body", "decode_fault", "encode_body", "encode_fault"]

# Characters of a fault's message and type, if the whole fault does not fit into a frame.
LONGEST_TEXT = 4 * 1024

BodyT = TypeVar("BodyT")

encode_body = msgspec.msgpack.Encoder().encode


def decode_body(frame: Frame, kind: type[BodyT]) -> BodyT:
    """Raises:
    ProtocolError: the body is malformed.
    """
    try:
        # Fields that this version does not know may contain anything.
        check_depth(frame.body)
        return msgspec.msgpack.decode(frame.body, type=kind)
    # ValueError: too many levels, or text that is not UTF-8.
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ProtocolError(f"the body of {frame.kind.name} is malformed: {error}") from None


def decode_fault(frame: Frame) -> RpcError:
    """The client's exception for a fault of the server: the class of its code, else
    :class:`Fault`. A code that cannot be a failure's becomes RPC_S_CALL_FAILED.

    Raises:
        ProtocolError: the body is malformed.
    """
    body = decode_body(frame, FaultBody)
    kind = FAULT_CLASSES.get(body.code, Fault)
    code = failure_code(body.code)
    return kind(body.message, code=code, type=body.type, traceback=body.traceback)


def encode_fault(error: RpcError, fits: Callable[[bytes], bool]) -> bytes:
    """The body of FAULT for a failure; a shortened one if the whole does not fit.

    Args:
        fits: whether a body fits into a frame.
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
    """The text without surrogates, which the name of a file has if it is not UTF-8."""
    return text and text.encode(errors="backslashreplace").decode()
