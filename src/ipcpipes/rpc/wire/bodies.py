"""The bodies of the frames that contain a MessagePack map: handshake, shutdown and faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from ...framing.messagepack import check_depth
from ..definition.declared import Declared
from ..errors import BadStubData, Fault, ProtocolError, RpcError, failure_code
from .fault_classes import FAULT_CLASSES
from .format import FaultBody, Frame

__all__ = ["decode_body", "decode_fault", "encode_body", "encode_fault"]

# If a whole fault does not fit into a frame, its message and its type are each cut to this many
# characters.
LONGEST_TEXT = 4 * 1024
_NO_FIELDS = msgspec.Raw(b"\x80")

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


def decode_fault(frame: Frame, declared: Declared) -> RpcError:
    """Returns the client's exception for a fault of the server: an instance of the class that the
    interface declares, of the class for its code, or of :class:`Fault`. A code that is not valid
    for a failure becomes RPC_S_CALL_FAILED.

    Raises:
        ProtocolError: the body is malformed.
    """
    return _failure_of(decode_body(frame, FaultBody), declared)


def _failure_of(body: FaultBody, declared: Declared) -> RpcError:
    failure = FAULT_CLASSES.get(body.code, Fault)(
        body.message, code=failure_code(body.code), type=body.type, traceback=body.traceback
    )
    kind = declared.get(body.raised) if body.raised else None
    if kind is not None:
        try:
            failure = kind.with_fields(body.fields or _NO_FIELDS, failure)
        except Exception as error:
            failure = BadStubData(
                f"the fields of {body.raised} are not of their types: {error}; its message is: "
                f"{body.message}"
            )
    return failure.carrying(
        body.notes or (),
        _failure_of(body.cause, declared) if body.cause else None,
        [_failure_of(one, declared) for one in body.exceptions or ()],
    )


def encode_fault(error: RpcError, fits: Callable[[bytes], bool]) -> bytes:
    """Encodes the body of FAULT for a failure. If the whole body does not fit, only the code and
    the beginnings of the message and of the type are sent.

    Args:
        fits: returns whether a body fits into a frame.
    """
    whole = _body_of(error)
    body = encode_body(whole)
    if fits(body):
        return body
    kind = whole.type and whole.type[:LONGEST_TEXT]
    return encode_body(FaultBody(whole.code, whole.message[:LONGEST_TEXT], kind))


def _body_of(error: RpcError) -> FaultBody:
    message, kind, trace = map(_text, (error.message, error.type, error.traceback))
    body = FaultBody(
        failure_code(error.code) or Fault.default_code,  # users can set the attribute
        message or "",
        kind,
        trace,
    )
    # A peer of an earlier revision gets the same octets for a failure that has none of these.
    if error._declared is not None:
        body.raised, fields = error._declared
        body.fields = msgspec.Raw(fields)
    if error.notes:
        body.notes = [_text(note) or "" for note in error.notes]
    if isinstance(error.__cause__, RpcError):
        body.cause = _body_of(error.__cause__)
    if error.sub_exceptions:
        body.exceptions = [_body_of(one) for one in error.sub_exceptions]
    return body


def _text(text: str | None) -> str | None:
    """Returns the text with surrogates escaped. The name of a file has surrogates if it is not
    UTF-8.
    """
    return text and text.encode(errors="backslashreplace").decode()
