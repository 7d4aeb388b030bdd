"""The frames of the protocol, as octets; docs/protocol.md describes them for other languages.

A frame is one message: a head of 16 octets, and a body that its kind determines. The kinds have the
names of DCE's connection-oriented protocol where it has such a thing (C706, 12.6).
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
MAX_FRAME = 16 * 2**20
"""The default limit for a frame, and so for the arguments or the result of a call."""

# What one frame carries of a pipe at most, a MiB of elements and their count: so much that it costs
# little beside it, and others wait behind it for a fifth of a millisecond.
FRAGMENT = 2**20 + 64
LEAST_FRAME = 64 * 1024
MOST_FRAME = 2**31 - 1
LEAST_CREDIT = 128 * 1024
DEFAULT_CREDIT = 2 * FRAGMENT
DEFAULT_CALLS = 1024
# How long an end may take after connecting: a client to send its BIND, a server to answer it.
BIND_TIMEOUT = 10.0  # seconds


class Kind(enum.IntEnum):
    """What a frame is."""

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


# A REQUEST that nobody waits for.
MAYBE = 1
# A REQUEST whose amount is a time limit in milliseconds.
TIMED = 2

KINDS = {int(kind): kind for kind in Kind}


# The garbage collector need not look at them: what they refer to are octets.
class Frame(msgspec.Struct, gc=False):
    """One frame, taken apart.

    Attributes:
        kind: what it is.
        flags: ``MAYBE``, ``TIMED``; 0 where the kind has none.
        number: that of the operation (REQUEST), or of the pipe among the operation's pipes
            (PIPE, CREDIT); else 0.
        amount: octets (CREDIT), milliseconds (REQUEST); else 0.
        call: which call it belongs to, from 1, each above the one before; 0 for the connection.
        body: the rest.
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
    """One frame."""
    return pack_head(kind, flags, number, amount, call) + body


def decode(message: bytes) -> Frame:
    """Takes a message apart.

    Raises:
        ProtocolError: it is no frame.
    """
    if len(message) < HEAD.size:
        raise ProtocolError(f"a frame of {len(message)} octets is too short")
    kind, flags, number, amount, call = HEAD.unpack_from(message)
    known = KINDS.get(kind)
    if known is None:
        raise ProtocolError(f"there is no frame of kind {kind}")
    return Frame(known, flags, number, amount, call, memoryview(message)[HEAD.size :])


class Bind(msgspec.Struct):
    """The body of BIND: what the client wants."""

    protocol: int
    uuid: str
    version: tuple[int, int]
    max_frame: int
    credit: int
    name: str = ""


class BindAck(msgspec.Struct):
    """The body of BIND_ACK: what the server has.

    ``operations`` are the names of the operations in the order of their numbers, each with what
    its pipes are.
    """

    protocol: int
    version: tuple[int, int]
    max_frame: int
    credit: int
    calls: int
    operations: list[tuple[str, str]]


class Reason(msgspec.Struct):
    """The body of BIND_NAK and SHUTDOWN: why. A code of 0 is no failure."""

    code: int
    message: str
    last_call: int = 0


class FaultBody(msgspec.Struct):
    """The body of FAULT."""

    code: int
    message: str
    type: str | None = None
    traceback: str | None = None


@dataclass(frozen=True)
class Limits:
    """What one end accepts.

    Attributes:
        max_frame: octets of a frame.
        credit: octets of a pipe that may be on their way before some are consumed.
        calls: how many calls may be open.
        carried: the largest frame, in octets, that this end's channel carries; a stream has no
            limit.
    """

    max_frame: int = MAX_FRAME
    credit: int = DEFAULT_CREDIT
    calls: int = DEFAULT_CALLS
    carried: int = MOST_FRAME

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
