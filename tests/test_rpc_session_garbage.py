"""A session accepts or refuses any garbage, and its calls can be ended afterwards."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings, strategies as st

from ipcpipes import rpc
from ipcpipes.rpc.core.session import Event, Session
from ipcpipes.rpc.core.state import ConnectionState, Party
from ipcpipes.rpc.errors import ProtocolError
from ipcpipes.rpc.wire.format import Kind, decode, encode

from .rpc_golden import golden_conversation
from .rpc_pair_work import Work
from .rpc_pairs import Pair, close, definition, pull, push

EXAMPLES = os.environ.get("IPCPIPES_EXAMPLES")
PROFILE = settings(
    deadline=None,
    max_examples=int(EXAMPLES or 100),
    derandomize="CI" in os.environ and not EXAMPLES,
)

C, S = Party.CLIENT, Party.SERVER


def busy_pair() -> Pair:
    """Unfinished calls of each kind."""
    pair = Pair(Work)
    pair.begin("add", 1)
    call, served = pair.begin("pass_on")
    push(call, "first", [1, 2, 3])
    pair.pump()
    pull(served, "first", 1)
    call, served = pair.begin("outs")
    push(served, "one", b"abc")
    call.cancel()
    call, _ = pair.begin("count", 2)
    call.orphan()
    pair.begin("ranged")
    pair.begin("note", "x")
    pair.pump()
    return pair


CORPUS = sorted(
    {frame for _, frame in [*golden_conversation(), *busy_pair().sent] if len(frame) < 999}
)
SENT_BY = {
    C: [Kind.REQUEST, Kind.PIPE, Kind.PIPE, Kind.CREDIT, Kind.CANCEL, Kind.ORPHANED, Kind.PING],
    S: [Kind.PIPE, Kind.PIPE, Kind.CREDIT, Kind.RESPONSE, Kind.FAULT, Kind.PING, Kind.PONG],
}
BODIES = st.sampled_from(
    [bytes(4), b"\1\0\0\0", b"\5\0\0\0\1\2\3\4\5", b"", b"\xc0", b"\xff" * 4]
) | st.binary(max_size=40)


@st.composite
def plausible(draw: st.DrawFn, party: Party) -> bytes:
    """Frames as this end receives them in busy_pair(), or nearly."""
    return encode(
        draw(st.sampled_from(SENT_BY[Party(1 - party)])),
        draw(st.integers(1, 7)),
        draw(BODIES),
        flags=draw(st.sampled_from([0, 0, 0, 1, 2, 255])),
        number=draw(st.sampled_from([0, 0, 1, 2, 2**16 - 1])),
        amount=draw(st.sampled_from([0, 1, 100_000, 2**32 - 1])),
    )


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    frame = bytearray(draw(st.sampled_from(CORPUS)))
    for place in draw(st.lists(st.integers(0, len(frame) - 1), max_size=3)):
        frame[place] = draw(st.integers(0, 255))
    cut = draw(st.none() | st.integers(0, len(frame)))
    return bytes(frame[:cut]) + draw(st.just(b"") | st.binary(max_size=5))


def garbage_for(party: Party) -> st.SearchStrategy[list[bytes]]:
    likely = plausible(party)
    return st.lists(
        st.one_of(*[likely] * 6, mutated(), mutated(), st.binary(max_size=60)), max_size=30
    )


def poke(session: Session) -> None:
    """Pulls and pushes in all calls; only RpcErrors may come."""
    for call in list(session.calls.values()):
        for one in call.operation.pipes:
            try:
                while call.pull(one.index):
                    pass
            except rpc.RpcError:
                pass
            try:
                if not push(call, one.name, bytes(one.element.stride * 2)).done:
                    continue
                close(call, one.name)
            except rpc.RpcError:
                pass


def at_stage(stage: str) -> Pair:
    if stage == "unbound":
        return Pair(Work, bind=False)
    if stage == "binding":
        pair = Pair(Work, bind=False)
        pair.client.bind(definition(Work))
        return pair
    pair = busy_pair()
    if stage == "draining":
        pair.server.shut_down()
        pair.pump()
    return pair


def check_end(end: Session) -> None:
    """Checks that the calls can be ended, and leave nothing."""
    for frame in end.take_output():
        decode(frame)
    assert (end.output_size, end.has_output) == (0, False)
    for call in list(end.calls.values()):
        if end.party is S:
            call.finish(b"\xc0", None)
        elif end.state is ConnectionState.CLOSED:
            with pytest.raises(rpc.RpcError):
                call.raise_failure()
    assert end.party is C or end.state is ConnectionState.CLOSED or not end.calls
    for frame in end.take_output():
        decode(frame)


@pytest.mark.parametrize("party", Party, ids=lambda party: party.name)
@PROFILE
@given(st.data())
def test_garbage_is_accepted_or_refused(party: Party, data: st.DataObject) -> None:
    garbage = data.draw(garbage_for(party))
    stage = data.draw(st.sampled_from(["bound", "bound", "draining", "binding", "unbound"]))
    poking = data.draw(st.booleans())
    end = at_stage(stage).ends[party]
    for octets in garbage:
        calls = set(end.calls)
        try:
            event, call = end.receive(octets)
        except ProtocolError as error:
            end.close(error)
        else:
            assert isinstance(event, Event)
            assert call is None or call.id in calls | set(end.calls)
        if poking:
            poke(end)
        if end.state is ConnectionState.CLOSED:
            check_end(end)
            end = at_stage(stage).ends[party]
    waiting = [one.reader.waiting for call in end.calls.values() for one in call.incoming.values()]
    assert sum(waiting) <= 2 * sum(map(len, garbage)) + 100
    check_end(end)
