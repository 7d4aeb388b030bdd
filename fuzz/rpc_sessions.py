"""A ``Session`` at either end: the bytes choose what its users do and what its peer sends."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from random import Random

from ipcpipes.rpc.core.session import Session
from ipcpipes.rpc.core.state import Party
from ipcpipes.rpc.errors import CommFailure, RpcError, TooLarge
from ipcpipes.rpc.wire.format import LEAST_CREDIT, LEAST_FRAME, Limits

from .drawing import Drawing
from .rpc_end import End
from .rpc_peer import DEFINITION, Peer

# The smallest limits allowed, so that they are reached often.
_LIMITS = Limits(LEAST_FRAME, LEAST_CREDIT, calls=5)


def server(data: bytes) -> None:
    session = Session(Party.SERVER, {str(DEFINITION.uuid): DEFINITION}, _LIMITS)
    _run(End(session), Drawing(data))


def client(data: bytes) -> None:
    session = Session(Party.CLIENT, {}, _LIMITS)
    session.bind(DEFINITION)
    _run(End(session), Drawing(data))


def _run(end: End, drawing: Drawing) -> None:
    peer = Peer(end.session)
    end.receive(peer.hello(drawing), drawing)
    while drawing.more and not end.is_closed:
        choice = drawing.number()
        if choice < 128:
            end.receive(peer.frame(drawing), drawing)
        elif choice < 160 and end.session.party is Party.CLIENT:
            _begin(end, drawing)
        else:
            end.use(drawing)
    end.close(CommFailure())
    # Users may go on until they notice the end.
    for _ in range(8):
        end.use(drawing)


def _begin(end: End, drawing: Drawing) -> None:
    """Begins a call of a client, if the session allows it."""
    session = end.session
    operation = drawing.one_of(tuple(DEFINITION.operations.values()))
    # The server does not have this operation, or shuts down, or takes less metadata.
    with suppress(RpcError, TooLarge):
        session.require_open()
        if session.has_room:
            milliseconds, metadata = drawing.one_of(((None, b""), (1000, b"\x81\xa1a\x01")))
            call = session.request(operation, b"\x90", milliseconds, metadata)
            if not operation.options.maybe:
                end.calls.append(call)
    end.check()


def seeds() -> Iterable[bytes]:
    """Yields random bytes, which mostly choose valid actions."""
    for number in range(20):
        yield Random(number).randbytes(40 * (number + 1))
