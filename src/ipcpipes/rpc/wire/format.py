"""The frames of the protocol; docs/protocol.md describes them for other languages.

A frame is one message: a head of 16 bytes, and a body that its kind determines. The kinds have the
names of DCE's connection-oriented protocol where it has an equivalent (C706, 12.6).
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

import msgspec

from ..errors import ProtocolError

__all__ = ["Frame", "Kind", "decode", "encode"]

VERSION = 1
HEAD = struct.Struct("<BBHIQ")
pack_head = HEAD.pack
unpack_head = HEAD.unpack_from
# On a stream, the length of a frame comes before it: without the length itself, in bytes.
_LENGTH = struct.Struct("<I")
LENGTH_SIZE = _LENGTH.size
pack_length = _LENGTH.pack
unpack_length = _LENGTH.unpack_from
_STREAM_HEAD = struct.Struct("<I" + HEAD.format[1:])
STREAM_HEAD_SIZE = _STREAM_HEAD.size
pack_stream_head = _STREAM_HEAD.pack
unpack_stream_head = _STREAM_HEAD.unpack_from
MAX_FRAME = 16 * 2**20
"""The default limit of a frame in bytes, and so of the arguments or the result of a call."""

# The most bytes of a pipe in one frame: a MiB of elements and their count. At this size the cost
# per frame is small in comparison, and other frames wait for a frame only a fifth of a millisecond.
FRAGMENT = 2**20 + 64
LEAST_FRAME = 64 * 1024
MOST_FRAME = 2**31 - 1
LEAST_CREDIT = 128 * 1024
DEFAULT_CREDIT = 16 * 2**20
# A pipe begins with at most this credit. It is enough for a sender to fill one fragment while the
# receiver takes another one, and little for a receiver that turns out to be slow.
FIRST_CREDIT = 2 * FRAGMENT
DEFAULT_CALLS = 1024
# The time that a client has to send its BIND after it has connected, and that a server has to
# answer the BIND.
BIND_TIMEOUT = 10.0  # seconds


class Kind(enum.IntEnum):
    """The kinds of frames."""

    BIND = 1
    BIND_ACK = 2
    BIND_NAK = 3
    REQUEST = 4
    RESPONSE = 5
    FAULT = 6
    PIPE = 7
    CREDIT = 8
    CANCEL = 9
    ORPHANED = 10
    PING = 11
    PONG = 12
    SHUTDOWN = 13
    STREAM = 14
    METADATA = 15
    STOP = 16


# The flag of a REQUEST that gets no answer.
MAYBE = 1
# The flag of a REQUEST with a time limit. Its amount is the limit in milliseconds.
TIMED = 2
# The flag of the last STREAM for a stream.
END = 1

KINDS = {int(kind): kind for kind in Kind}


# gc=False: a frame refers only to bytes, and cannot be part of a cycle.
class Frame(msgspec.Struct, gc=False):
    """One decoded frame.

    Attributes:
        flags: ``MAYBE``, ``TIMED``, ``END``; 0 for kinds without flags.
        number: of the operation (REQUEST), or of the pipe or the stream among those of the
            operation (PIPE, STREAM, CREDIT, STOP); else 0.
        amount: bytes (CREDIT) or milliseconds (REQUEST); else 0.
        call: the number of the call, from 1, one higher for each call; 0 for the connection.
    """

    kind: Kind
    flags: int
    number: int
    amount: int
    call: int
    body: memoryview


def encode(
    kind: Kind,
    call: int = 0,
    body: bytes = b"",
    *,
    flags: int = 0,
    number: int = 0,
    amount: int = 0,
) -> bytes:
    """Encodes a frame."""
    return pack_head(kind, flags, number, amount, call) + body


def decode(message: bytes) -> Frame:
    """Decodes a frame.

    Raises:
        ProtocolError: the message is not a frame.
    """
    if len(message) < HEAD.size:
        raise ProtocolError(
            f"a frame of {len(message)} bytes is too short; its head has {HEAD.size}"
        )
    kind, flags, number, amount, call = HEAD.unpack_from(message)
    known = KINDS.get(kind)
    if known is None:
        raise ProtocolError(f"there is no frame of kind {kind}")
    return Frame(known, flags, number, amount, call, memoryview(message)[HEAD.size :])


class Bind(msgspec.Struct):
    """The body of BIND: the interface that the client wants, and the client's limits."""

    protocol: int
    uuid: str
    version: tuple[int, int]
    max_frame: int
    credit: int
    name: str = ""
    metadata: int | msgspec.UnsetType = msgspec.UNSET


class BindAck(msgspec.Struct):
    """The body of BIND_ACK: the server's interface and limits.

    ``operations`` has the name and the pipes (as text) of each operation, in the order of their
    numbers.
    """

    protocol: int
    version: tuple[int, int]
    max_frame: int
    credit: int
    calls: int
    operations: list[tuple[str, str]]
    metadata: int | msgspec.UnsetType = msgspec.UNSET


class Reason(msgspec.Struct):
    """The body of BIND_NAK and SHUTDOWN. A code of 0 is not a failure."""

    code: int
    message: str
    last_call: int = 0


class FaultBody(msgspec.Struct):
    """The body of FAULT, and each failure in it."""

    code: int
    message: str
    type: str | None = None
    traceback: str | None = None
    notes: list[str] | msgspec.UnsetType = msgspec.UNSET
    cause: FaultBody | msgspec.UnsetType = msgspec.UNSET
    exceptions: list[FaultBody] | msgspec.UnsetType = msgspec.UNSET
    raised: str | msgspec.UnsetType = msgspec.UNSET
    fields: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True)
class Limits:
    """The limits of what one end accepts.

    Attributes:
        max_frame: bytes of a frame.
        credit: bytes of a pipe that may be sent before some are consumed, when the consumer keeps
            up.
        calls: how many calls may be open.
        carried: the largest frame, in bytes, that this end's channel can carry; a stream has no
            limit.
    """

    max_frame: int = MAX_FRAME
    credit: int = DEFAULT_CREDIT
    calls: int = DEFAULT_CALLS
    carried: int = MOST_FRAME

    @property
    def first_credit(self) -> int:
        """Bytes of a pipe that may be sent before some are consumed, at its beginning."""
        return min(self.credit, FIRST_CREDIT)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("max_frame", LEAST_FRAME, MOST_FRAME),
            ("credit", LEAST_CREDIT, 2**32 - 1),
            ("calls", 1, 2**20),
        ):
            value = getattr(self, name)
            if type(value) is not int:
                raise TypeError(f"{name} must be an int, not {value!r}")
            if not low <= value <= high:
                raise ValueError(f"{name} must be {low:,} to {high:,}, not {value:,}")
