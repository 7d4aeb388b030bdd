"""The order of frames: of a connection, of a call, and of the pipes of a call.

This module has tables and a cursor, and does no I/O. Both ends use the same tables: each entry says
which party sends a frame; the sender and the receiver of the frame look up the same entry.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from ..errors import PipeClosed, PipeEmpty, ProtocolError, WrongPipeOrder
from ..wire.format import Kind

__all__ = ["CallState", "ConnectionState", "Cursor", "Party", "next_call", "next_connection"]


class Party(enum.IntEnum):
    """The sender of a frame."""

    CLIENT = 0
    SERVER = 1


class ConnectionState(enum.IntEnum):
    """The state of a connection.

    ``DRAINING``: the server begins no new calls; open calls continue to their end.
    """

    UNBOUND = 0
    BINDING = 1
    OPEN = 2
    DRAINING = 3
    CLOSED = 4


class CallState(enum.IntEnum):
    """The state of a call.

    ``CANCELLING``: the client has cancelled the call and waits for the answer. ``ORPHANED``: the
    client has abandoned the call, and ignores frames that still arrive.
    """

    NEW = 0
    OPEN = 1
    CANCELLING = 2
    ORPHANED = 3
    DONE = 4


_C, _S = Party.CLIENT, Party.SERVER
_LINK, _CALL = ConnectionState, CallState
# The frames of pipes and streams.
_FLOWING = (Kind.PIPE, Kind.CREDIT, Kind.STREAM, Kind.STOP)

CONNECTION: dict[tuple[ConnectionState, Party, Kind], ConnectionState] = {
    (_LINK.UNBOUND, _C, Kind.BIND): _LINK.BINDING,
    (_LINK.BINDING, _S, Kind.BIND_ACK): _LINK.OPEN,
    (_LINK.BINDING, _S, Kind.BIND_NAK): _LINK.CLOSED,
    (_LINK.OPEN, _C, Kind.REQUEST): _LINK.OPEN,
    (_LINK.OPEN, _S, Kind.SHUTDOWN): _LINK.DRAINING,
    # A client may have sent the REQUEST before it received the SHUTDOWN; the server does not begin
    # the call.
    (_LINK.DRAINING, _C, Kind.REQUEST): _LINK.DRAINING,
    **{
        (state, party, kind): state
        for state in (_LINK.OPEN, _LINK.DRAINING)
        for party in Party
        for kind in (*_FLOWING, Kind.METADATA, Kind.PING, Kind.PONG)
    },
    **{
        (state, _C, kind): state
        for state in (_LINK.OPEN, _LINK.DRAINING)
        for kind in (Kind.CANCEL, Kind.ORPHANED)
    },
    **{
        (state, _S, kind): state
        for state in (_LINK.OPEN, _LINK.DRAINING)
        for kind in (Kind.RESPONSE, Kind.FAULT)
    },
}

_WITHIN = {
    (state, party): frozenset(
        kind
        for (before, sender, kind), after in CONNECTION.items()
        if before is after is state and sender is party
    )
    for state in ConnectionState
    for party in Party
}

CALL: dict[tuple[CallState, Party, Kind], CallState] = {
    (_CALL.NEW, _C, Kind.METADATA): _CALL.NEW,
    (_CALL.NEW, _C, Kind.REQUEST): _CALL.OPEN,
    (_CALL.OPEN, _C, Kind.CANCEL): _CALL.CANCELLING,
    (_CALL.CANCELLING, _C, Kind.CANCEL): _CALL.CANCELLING,
    **{
        (state, party, kind): state
        for state in (_CALL.OPEN, _CALL.CANCELLING)
        for party in Party
        for kind in _FLOWING
    },
    **{(state, _C, Kind.ORPHANED): _CALL.ORPHANED for state in (_CALL.OPEN, _CALL.CANCELLING)},
    **{
        (state, _S, kind): _CALL.DONE
        for state in (_CALL.OPEN, _CALL.CANCELLING, _CALL.ORPHANED)
        for kind in (Kind.RESPONSE, Kind.FAULT)
    },
    **{
        (state, _S, Kind.METADATA): state
        for state in (_CALL.OPEN, _CALL.CANCELLING, _CALL.ORPHANED)
    },
    # These entries are for frames that cross the client's ORPHANED or the server's answer.
    **{(_CALL.ORPHANED, _S, kind): _CALL.ORPHANED for kind in _FLOWING},
    **{(_CALL.DONE, _C, kind): _CALL.DONE for kind in (*_FLOWING, Kind.CANCEL, Kind.ORPHANED)},
}


def kinds_within(state: ConnectionState, sender: Party) -> frozenset[Kind]:
    """Returns the kinds of frames that this party may send without a change of the state."""
    return _WITHIN[state, sender]


def next_connection(state: ConnectionState, sender: Party, kind: Kind) -> ConnectionState:
    """Returns the state of the connection after this frame.

    Raises:
        ProtocolError: the frame is not allowed in this state.
    """
    try:
        return CONNECTION[state, sender, kind]
    except KeyError:
        raise ProtocolError(
            f"the {sender.name.lower()} sent {kind.name} on a connection that is "
            f"{state.name.lower()}"
        ) from None


def next_call(state: CallState, sender: Party, kind: Kind) -> CallState:
    """Returns the state of the call after this frame.

    Raises:
        ProtocolError: the frame is not allowed in this state.
    """
    try:
        return CALL[state, sender, kind]
    except KeyError:
        raise ProtocolError(
            f"the {sender.name.lower()} sent {kind.name} for a call that is {state.name.lower()}"
        ) from None


class Cursor:
    """The pipe of a call that may be used now.

    The in-pipes come first, from left to right, each to its end. The out-pipes follow, from left to
    right. A pipe in both directions has one turn among each. Both ends have such a cursor: when one
    end pushes into a pipe, the other end pulls from it.

    Attributes:
        turn: whether the current pipe carries elements to the server, and its index; ``None`` if
            all pipes have ended.
    """

    def __init__(self, ins: Iterable[int], outs: Iterable[int]) -> None:
        self._turns = [*((True, pipe) for pipe in ins), *((False, pipe) for pipe in outs)]
        self._place = {turn: place for place, turn in enumerate(self._turns)}
        self._now = -1
        self.turn: tuple[bool, int] | None = None
        self.advance()

    @property
    def done(self) -> bool:
        """Whether all pipes have ended."""
        return self.turn is None

    def check(self, pipe: int, *, into: bool, pulling: bool) -> None:
        """Checks that this pipe may be used now.

        Raises:
            PipeEmpty, PipeClosed: its turn is over.
            WrongPipeOrder: its turn has not come, or it has no turn in this direction.
        """
        place = self._place.get((into, pipe), len(self._turns))
        if place == self._now < len(self._turns):
            return
        if place < self._now:
            raise PipeEmpty if pulling else PipeClosed
        raise WrongPipeOrder

    def advance(self) -> None:
        """Gives the turn to the next pipe, after the current pipe has ended."""
        self._now += 1
        self.turn = self._turns[self._now] if self._now < len(self._turns) else None
