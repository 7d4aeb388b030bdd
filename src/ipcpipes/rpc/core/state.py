"""What may follow what: for a connection, for a call, and for the pipes of a call.

Tables and a cursor, and no I/O. They do not know at which end they are: each entry says which party
sends a frame, and both ends look at the same one when it goes and when it comes.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from ..errors import PipeClosed, PipeEmpty, ProtocolError, WrongPipeOrder
from ..wire.format import Kind

__all__ = ["CallState", "ConnectionState", "Cursor", "Party", "next_call", "next_connection"]


class Party(enum.IntEnum):
    """Who sends."""

    CLIENT = 0
    SERVER = 1


class ConnectionState(enum.IntEnum):
    """Where a connection stands.

    ``DRAINING``: the server begins no new calls; those that are open come to their end.
    """

    UNBOUND = 0
    BINDING = 1
    OPEN = 2
    DRAINING = 3
    CLOSED = 4


class CallState(enum.IntEnum):
    """Where a call stands.

    ``CANCELLING``: the client has asked for its end and waits for the answer. ``ORPHANED``: the
    client has given it up, and passes over what still comes.
    """

    NEW = 0
    OPEN = 1
    CANCELLING = 2
    ORPHANED = 3
    DONE = 4


_C, _S = Party.CLIENT, Party.SERVER
_LINK, _CALL = ConnectionState, CallState

CONNECTION: dict[tuple[ConnectionState, Party, Kind], ConnectionState] = {
    (_LINK.UNBOUND, _C, Kind.BIND): _LINK.BINDING,
    (_LINK.BINDING, _S, Kind.BIND_ACK): _LINK.OPEN,
    (_LINK.BINDING, _S, Kind.BIND_NAK): _LINK.CLOSED,
    (_LINK.OPEN, _C, Kind.REQUEST): _LINK.OPEN,
    (_LINK.OPEN, _S, Kind.SHUTDOWN): _LINK.DRAINING,
    # A client may have sent it before it heard of the shutdown; it is not begun.
    (_LINK.DRAINING, _C, Kind.REQUEST): _LINK.DRAINING,
    **{
        (state, party, kind): state
        for state in (_LINK.OPEN, _LINK.DRAINING)
        for party in Party
        for kind in (Kind.PIPE, Kind.CREDIT, Kind.PING, Kind.PONG)
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
    (_CALL.NEW, _C, Kind.REQUEST): _CALL.OPEN,
    (_CALL.OPEN, _C, Kind.CANCEL): _CALL.CANCELLING,
    (_CALL.CANCELLING, _C, Kind.CANCEL): _CALL.CANCELLING,
    **{
        (state, party, kind): state
        for state in (_CALL.OPEN, _CALL.CANCELLING)
        for party in Party
        for kind in (Kind.PIPE, Kind.CREDIT)
    },
    **{(state, _C, Kind.ORPHANED): _CALL.ORPHANED for state in (_CALL.OPEN, _CALL.CANCELLING)},
    **{
        (state, _S, kind): _CALL.DONE
        for state in (_CALL.OPEN, _CALL.CANCELLING, _CALL.ORPHANED)
        for kind in (Kind.RESPONSE, Kind.FAULT)
    },
    # What crosses the client's ORPHANED, and what crosses the server's answer.
    **{(_CALL.ORPHANED, _S, kind): _CALL.ORPHANED for kind in (Kind.PIPE, Kind.CREDIT)},
    **{
        (_CALL.DONE, _C, kind): _CALL.DONE
        for kind in (Kind.PIPE, Kind.CREDIT, Kind.CANCEL, Kind.ORPHANED)
    },
}


def kinds_within(state: ConnectionState, sender: Party) -> frozenset[Kind]:
    """What this party may send as often as it likes: the connection stands where it stood."""
    return _WITHIN[state, sender]


def next_connection(state: ConnectionState, sender: Party, kind: Kind) -> ConnectionState:
    """Where the connection stands after this frame.

    Raises:
        ProtocolError: it may not come now.
    """
    try:
        return CONNECTION[state, sender, kind]
    except KeyError:
        raise ProtocolError(
            f"the {sender.name.lower()} sent {kind.name} on a connection that is "
            f"{state.name.lower()}"
        ) from None


def next_call(state: CallState, sender: Party, kind: Kind) -> CallState:
    """Where the call stands after this frame.

    Raises:
        ProtocolError: it may not come now.
    """
    try:
        return CALL[state, sender, kind]
    except KeyError:
        raise ProtocolError(
            f"the {sender.name.lower()} sent {kind.name} for a call that is {state.name.lower()}"
        ) from None


class Cursor:
    """Whose turn it is among the pipes of a call.

    The in-pipes from left to right, each to its end, then the out-pipes from left to right. A pipe
    in both directions has its turn in each pass. Both ends have such a cursor: what one pushes in a
    pass, the other pulls.
    """

    def __init__(self, ins: Iterable[int], outs: Iterable[int]) -> None:
        self._turns = [*((True, pipe) for pipe in ins), *((False, pipe) for pipe in outs)]
        self._place = {turn: place for place, turn in enumerate(self._turns)}
        self._now = 0

    @property
    def done(self) -> bool:
        """Whether each pipe has come to its end."""
        return self._now == len(self._turns)

    @property
    def turn(self) -> tuple[bool, int] | None:
        """(whether towards the server, which pipe) has the turn; ``None`` when all are done."""
        return None if self.done else self._turns[self._now]

    def check(self, pipe: int, *, into: bool, pulling: bool) -> None:
        """Lets it pass if it is this pipe's turn.

        Raises:
            PipeEmpty, PipeClosed: it had its turn.
            WrongPipeOrder: it has not come to its turn, or has none in this direction.
        """
        place = self._place.get((into, pipe), len(self._turns))
        if place == self._now < len(self._turns):
            return
        if place < self._now:
            raise PipeEmpty if pulling else PipeClosed
        raise WrongPipeOrder

    def advance(self) -> None:
        """This pipe has come to its end."""
        self._now += 1
