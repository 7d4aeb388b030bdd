"""The order of frames: the whole tables, and the turns of pipes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from itertools import product
from typing import Any

import pytest

from ipcpipes.rpc.core.state import (
    CALL,
    CONNECTION,
    CallState,
    ConnectionState,
    Cursor,
    Party,
    next_call,
    next_connection,
)
from ipcpipes.rpc.errors import PipeClosed, PipeEmpty, ProtocolError, WrongPipeOrder
from ipcpipes.rpc.wire.format import Kind

C, S = Party.CLIENT, Party.SERVER
OF_CALLS = {
    Kind.REQUEST,
    Kind.RESPONSE,
    Kind.FAULT,
    Kind.PIPE,
    Kind.CREDIT,
    Kind.CANCEL,
    Kind.ORPHANED,
    Kind.STREAM,
    Kind.STOP,
    Kind.METADATA,
}
CLIENTS = {Kind.BIND, Kind.REQUEST, Kind.CANCEL, Kind.ORPHANED}
SERVERS = {Kind.BIND_ACK, Kind.BIND_NAK, Kind.RESPONSE, Kind.FAULT, Kind.SHUTDOWN}
OPEN = (ConnectionState.OPEN, ConnectionState.DRAINING)

Table = Mapping[Any, Any]
TABLES: list[tuple[Table, type[IntEnum], Any]] = [
    (CONNECTION, ConnectionState, ConnectionState.UNBOUND),
    (CALL, CallState, CallState.NEW),
]
every_table = pytest.mark.parametrize(
    ("table", "states", "first"), TABLES, ids=["connection", "call"]
)


def reachable(table: Table, first: Any) -> set[Any]:
    found, fresh = {first}, [first]
    while fresh:
        state = fresh.pop()
        for (before, _, _), after in table.items():
            if before is state and after not in found:
                found.add(after)
                fresh.append(after)
    return found


# The tables


@every_table
def test_every_state_is_reached(table: Table, states: type[IntEnum], first: Any) -> None:
    assert reachable(table, first) == set(states)


def test_every_call_can_end_from_every_state() -> None:
    for state in CallState:
        assert CallState.DONE in reachable(CALL, state)


@every_table
def test_no_state_returns_to_an_earlier_one(
    table: Table, states: type[IntEnum], first: Any
) -> None:
    # The states are numbered in their order.
    assert all(after >= before for (before, _, _), after in table.items())


def test_every_kind_is_in_a_table() -> None:
    assert {kind for _, _, kind in CONNECTION} == set(Kind)
    assert {kind for _, _, kind in CALL} == OF_CALLS


@every_table
def test_some_kinds_are_sent_by_one_party_only(
    table: Table, states: type[IntEnum], first: Any
) -> None:
    for _, party, kind in table:
        if kind in CLIENTS:
            assert party is C
        elif kind in SERVERS:
            assert party is S


def test_a_connection_allows_the_frames_of_its_calls() -> None:
    allowed = {(party, kind) for _, party, kind in CALL}
    for state in OPEN:
        assert {
            (party, kind)
            for before, party, kind in CONNECTION
            if before is state and kind in OF_CALLS
        } == allowed
    assert not any(kind in OF_CALLS for state, _, kind in CONNECTION if state not in OPEN)


def test_a_connection_binds_once_and_its_end_is_final() -> None:
    for state, _, kind in CONNECTION:
        assert state is not ConnectionState.CLOSED
        assert (kind is Kind.BIND) == (state is ConnectionState.UNBOUND)
        assert (kind in (Kind.BIND_ACK, Kind.BIND_NAK)) == (state is ConnectionState.BINDING)


def test_after_the_answer_only_crossing_frames_are_allowed() -> None:
    left = {(party, kind) for state, party, kind in CALL if state is CallState.DONE}
    flowing = (Kind.PIPE, Kind.CREDIT, Kind.STREAM, Kind.STOP)
    assert left == {(C, kind) for kind in (*flowing, Kind.CANCEL, Kind.ORPHANED)}


def test_a_client_sends_nothing_after_orphaned() -> None:
    assert not any(state is CallState.ORPHANED and party is C for state, party, _ in CALL)


@every_table
def test_frames_outside_the_tables_are_refused(
    table: Table, states: type[IntEnum], first: Any
) -> None:
    step: Any = next_connection if table is CONNECTION else next_call
    where = "on a connection that is" if table is CONNECTION else "for a call that is"
    refused = 0
    for state, party, kind in product(states, Party, Kind):
        if (state, party, kind) in table:
            assert step(state, party, kind) is table[state, party, kind]
            continue
        refused += 1
        with pytest.raises(ProtocolError) as caught:
            step(state, party, kind)
        assert str(caught.value) == (
            f"the {party.name.lower()} sent {kind.name} {where} {state.name.lower()}"
        )
    assert refused > len(table)


# Two ends with the same table: the other end may receive each frame that one end may send, however
# the frames cross.

End = tuple[IntEnum, tuple[Kind, ...]]  # its state, and the frames on their way to it


def sends(state: CallState, party: Party) -> list[Kind]:
    """The frames that an end sends on its own; late frames are only accepted."""
    if state is CallState.DONE:
        return []
    kinds = [kind for before, sender, kind in CALL if before is state and sender is party]
    if state is CallState.ORPHANED:
        # It received ORPHANED, and ends the call.
        kinds = [kind for kind in kinds if kind is Kind.FAULT]
    return kinds


def explore(first: tuple[End, End], moves: Any) -> set[tuple[End, End]]:
    seen, fresh = {first}, [first]
    while fresh:
        for after in moves(fresh.pop()):
            if after not in seen:
                seen.add(after)
                fresh.append(after)
    return seen


def call_moves(both: tuple[End, End]) -> list[tuple[End, End]]:
    after = []
    for party in Party:
        (mine, coming), (theirs, going) = both[party], both[1 - party]
        found: list[tuple[End, End]] = [
            ((next_call(CallState(mine), party, kind), coming), (theirs, (*going, kind)))
            for kind in sends(CallState(mine), party)
            if len(going) < 3
        ]
        if coming:
            # Raises if the ends contradict each other.
            state = next_call(CallState(mine), Party(1 - party), coming[0])
            found.append(((state, coming[1:]), (theirs, going)))
        after += [one if party is C else (one[1], one[0]) for one in found]
    return after


def test_the_ends_of_a_call_never_contradict_each_other() -> None:
    seen = explore(((CallState.NEW, ()), (CallState.NEW, ())), call_moves)
    ends = {(client[0], server[0]) for client, server in seen}
    assert (CallState.DONE, CallState.DONE) in ends
    assert (CallState.ORPHANED, CallState.DONE) in ends
    assert (CallState.CANCELLING, CallState.OPEN) in ends
    # The server has ended each call that the client has ended.
    assert all(server is CallState.DONE for client, server in ends if client is CallState.DONE)


def connection_moves(both: tuple[End, End]) -> list[tuple[End, End]]:
    after = []
    for party in Party:
        (mine, coming), (theirs, going) = both[party], both[1 - party]
        found: list[tuple[End, End]] = []
        for before, sender, kind in CONNECTION:
            if before is not mine or sender is not party or len(going) == 2:
                continue
            if mine is ConnectionState.DRAINING and kind is Kind.REQUEST:
                continue  # the client has received it
            state = next_connection(before, party, kind)
            found.append(((state, coming), (theirs, (*going, kind))))
        if coming:
            state = next_connection(ConnectionState(mine), Party(1 - party), coming[0])
            found.append(((state, coming[1:]), (theirs, going)))
        after += [one if party is C else (one[1], one[0]) for one in found]
    return after


def test_the_ends_of_a_connection_never_contradict_each_other() -> None:
    first = ((ConnectionState.UNBOUND, ()), (ConnectionState.UNBOUND, ()))
    ends = {(client[0], server[0]) for client, server in explore(first, connection_moves)}
    assert (ConnectionState.OPEN, ConnectionState.DRAINING) in ends
    assert (ConnectionState.DRAINING, ConnectionState.DRAINING) in ends
    assert (ConnectionState.CLOSED, ConnectionState.CLOSED) in ends
    # A client is never ahead of its server, except that it has sent its BIND.
    assert (ConnectionState.DRAINING, ConnectionState.OPEN) not in ends


# The turns of pipes. A manager pulls from in-pipes and pushes into out-pipes.


def pull(cursor: Cursor, pipe: int) -> None:
    cursor.check(pipe, into=True, pulling=True)


def push(cursor: Cursor, pipe: int) -> None:
    cursor.check(pipe, into=False, pulling=False)


def test_16_the_first_of_two_in_pipes_comes_first() -> None:
    cursor = Cursor((0, 2), ())
    with pytest.raises(WrongPipeOrder):
        pull(cursor, 2)
    pull(cursor, 0)
    cursor.advance()
    pull(cursor, 2)


def test_17_no_push_before_the_in_pipes_are_drained() -> None:
    cursor = Cursor((0,), (1,))
    pull(cursor, 0)
    with pytest.raises(WrongPipeOrder):
        push(cursor, 1)
    cursor.advance()
    push(cursor, 1)


def test_18_the_first_of_two_out_pipes_comes_first() -> None:
    cursor = Cursor((), (0, 1))
    push(cursor, 0)
    with pytest.raises(WrongPipeOrder):
        push(cursor, 1)
    cursor.advance()
    push(cursor, 1)


def test_19_an_inout_pipe_has_a_turn_in_each_pass() -> None:
    cursor = Cursor((0, 2), (0, 1))
    for step, pipe in ((pull, 0), (pull, 2), (push, 0), (push, 1)):
        assert not cursor.done
        assert cursor.turn == (step is pull, pipe)
        step(cursor, pipe)
        cursor.advance()
    assert cursor.done


def test_20_a_pipe_has_no_turn_in_the_other_direction() -> None:
    cursor = Cursor((0,), (1,))
    for _ in range(3):
        with pytest.raises(WrongPipeOrder):
            pull(cursor, 1)
        with pytest.raises(WrongPipeOrder):
            push(cursor, 0)
        if not cursor.done:
            cursor.advance()


def test_21_without_in_pipes_the_first_push_is_at_once() -> None:
    push(Cursor((), (0,)), 0)


def test_22_without_out_pipes_draining_ends_the_pipes() -> None:
    cursor = Cursor((0,), ())
    assert (cursor.done, cursor.turn) == (False, (True, 0))
    cursor.advance()
    assert (cursor.done, cursor.turn) == (True, None)


def test_a_call_without_pipes_is_done_at_once() -> None:
    cursor = Cursor((), ())
    assert (cursor.done, cursor.turn) == (True, None)


@pytest.mark.parametrize("outs", [(), (1,)])
def test_23_after_its_end_a_pipe_is_empty(outs: tuple[int, ...]) -> None:
    cursor = Cursor((0,), outs)
    cursor.advance()
    for _ in range(2):
        with pytest.raises(PipeEmpty):
            pull(cursor, 0)


@pytest.mark.parametrize("outs", [(0,), (0, 1)])
def test_24_after_its_end_a_pipe_is_closed_in_any_turn(outs: tuple[int, ...]) -> None:
    cursor = Cursor((), outs)
    cursor.advance()
    for _ in range(2):
        with pytest.raises(PipeClosed):
            push(cursor, 0)


def test_25_26_the_pipes_end_when_each_pipe_has_ended() -> None:
    cursor = Cursor((0, 1), (1, 2))
    for _ in range(4):
        assert not cursor.done
        cursor.advance()
    assert cursor.done


def test_one_end_pushes_while_the_other_end_pulls() -> None:
    cursor = Cursor((0,), (0,))
    cursor.check(0, into=True, pulling=False)
    with pytest.raises(WrongPipeOrder):
        cursor.check(0, into=False, pulling=True)
    cursor.advance()
    with pytest.raises(PipeClosed):
        cursor.check(0, into=True, pulling=False)
    cursor.check(0, into=False, pulling=True)
    cursor.advance()
    with pytest.raises(PipeEmpty):
        cursor.check(0, into=False, pulling=True)
