"""Calls between two sessions that fail, are cancelled, or given up in the middle."""

from __future__ import annotations

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.rpc.core.call import Call
from ipcpipes.rpc.core.session import Event
from ipcpipes.rpc.core.state import CallState, ConnectionState, Party

from .rpc_pair_work import Work
from .rpc_pairs import Pair, close, pull, push, push_small, result_of

S = Party.SERVER
encode_body = msgspec.msgpack.encode


@pytest.fixture
def pair() -> Pair:
    return Pair(Work)


# Errors of a manager


def test_41_a_swallowed_error_still_fails_the_call(pair: Pair) -> None:
    call, served = pair.begin("outs")
    close(served, "one")
    with pytest.raises(rpc.PipeClosed):
        push(served, "one", b"x")
    close(served, "two")
    assert type(pair.finish(served, 5)) is rpc.PipeClosed
    with pytest.raises(rpc.PipeClosed):
        result_of(call)


def test_41_the_first_error_counts(pair: Pair) -> None:
    call, served = pair.begin("outs")
    with pytest.raises(rpc.WrongPipeOrder):
        push(served, "two", b"x")
    close(served, "one")
    with pytest.raises(rpc.PipeClosed):
        close(served, "one")
    pair.finish(served, 5)
    with pytest.raises(rpc.WrongPipeOrder):
        result_of(call)


def test_42_an_error_raised_again_keeps_its_code(pair: Pair) -> None:
    call, served = pair.begin("outs")
    with pytest.raises(rpc.WrongPipeOrder) as caught:
        push(served, "two", b"x")
    pair.finish(served, error=caught.value)
    with pytest.raises(rpc.WrongPipeOrder) as there:
        result_of(call)
    assert (there.value.code, there.value.fault_status) == (1831, 0x1C000016)


def test_43_elements_before_a_failure_arrive(pair: Pair) -> None:
    call, served = pair.begin("count", 3)
    push(served, "numbers", [1, 2])
    push_small(served, "numbers", [3])
    pair.finish(served, error=rpc.Fault("broken"))
    assert pull_all_until(call) == [1, 2, 3]
    with pytest.raises(rpc.Fault, match=r"^broken$"):
        pull(call, "numbers")
    assert pair.is_idle


def pull_all_until(call: Call) -> list[int]:
    found: list[int] = []
    while call.incoming[0].reader.has_elements:
        found += pull(call, "numbers") or []
    return found


def test_45_a_lost_connection_is_not_the_end_of_a_pipe(pair: Pair) -> None:
    call, served = pair.begin("total")
    push(call, "numbers", [1])
    pair.pump()
    pair.server.close(rpc.CommFailure("the connection ended"))
    with pytest.raises(rpc.CommFailure, match=r"^the connection ended during the call: the conn"):
        pull(served, "numbers")
    # The answer reaches no client, and giving it is not an error.
    assert type(served.finish(encode_body(1), None)) is rpc.CommFailure
    assert pair.server.take_output() == []
    pair.client.close(rpc.CommFailure("the connection ended"))
    with pytest.raises(rpc.CommFailure):
        push(call, "numbers", [2])
    with pytest.raises(rpc.CommFailure):
        call.raise_failure()
    with pytest.raises(rpc.ServerUnavailable, match=r"^the connection ended; this call was not"):
        pair.client.require_open()


def test_60_after_a_failure_no_pipe_must_be_closed(pair: Pair) -> None:
    call, served = pair.begin("pass_on")
    with pytest.raises(rpc.WrongPipeOrder):
        pull(served, "third")
    pair.finish(served, error=served.latched)
    with pytest.raises(rpc.WrongPipeOrder):
        push(call, "first", [1])
    assert pair.is_idle
    for use in (lambda: pull(served, "first"), lambda: push(served, "second", b"x")):
        with pytest.raises(rpc.InvalidAsyncHandle):
            use()


# Cancelling and giving up


def test_64_65_a_server_that_is_asked_to_end_can_answer(pair: Pair) -> None:
    call, served = pair.begin("add", 3)
    assert not served.cancel_requested
    call.cancel()
    call.cancel()
    (happened,) = pair.pump()
    assert happened == (Event.CANCEL, served)
    assert served.cancel_requested
    assert call.state is served.state is CallState.CANCELLING
    pair.finish(served, 4)
    assert result_of(call) == 4
    assert pair.is_idle


def test_64_the_pipes_of_a_cancelled_call_continue(pair: Pair) -> None:
    call, served = pair.begin("total")
    call.cancel()
    push(call, "numbers", [1])
    close(call, "numbers")
    pair.pump()
    assert [pull(served, "numbers"), pull(served, "numbers")] == [[1], []]
    pair.finish(served, 4)
    assert result_of(call) == 4


@pytest.mark.parametrize("cancelled", [False, True])
def test_66_giving_a_call_up_ends_it_at_the_server(pair: Pair, cancelled: bool) -> None:
    call, served = pair.begin("total")
    push(call, "numbers", [1])
    if cancelled:
        call.cancel()
    call.orphan()
    call.orphan()
    pair.pump()
    assert pair.events[-1] == (S, Event.ORPHANED)
    assert served.cancel_requested
    with pytest.raises(rpc.CallCancelled, match=r"^the client has given the call up$"):
        pull(served, "numbers")
    assert set(pair.client.calls) == {call.id}
    assert type(pair.finish(served, 5)) is rpc.CallCancelled
    assert pair.is_idle
    assert not call.is_answered


def test_67_giving_up_an_answered_call_has_no_effect(pair: Pair) -> None:
    call, served = pair.begin("add", 1)
    pair.finish(served, 2)
    call.cancel()
    call.orphan()
    assert pair.client.take_output() == []
    assert result_of(call) == 2


@pytest.mark.parametrize("give_up", ["cancel", "orphan"])
@pytest.mark.parametrize("name", ["add", "count", "total"])
def test_67_giving_up_can_cross_the_answer(pair: Pair, name: str, give_up: str) -> None:
    call, served = pair.begin(name, *([1] if name != "total" else []))
    if name == "total":
        close(call, "numbers")
        pair.pump()
        pull(served, "numbers")
    if name == "count":
        push(served, "numbers", [1])
        close(served, "numbers")
    getattr(call, give_up)()
    served.finish(encode_body(1), None)
    pair.pump()
    assert pair.is_idle
    assert pair.server.state is pair.client.state is ConnectionState.OPEN
    pair.finish(pair.begin("add", 1)[1], 2)


def test_data_for_a_call_that_was_given_up_is_ignored(pair: Pair) -> None:
    call, served = pair.begin("count", 1)
    call.orphan()
    push(served, "numbers", bytes(1000))
    pair.pump()
    assert call.incoming[0].reader.waiting == 0
    push_fails = pytest.raises(rpc.CallCancelled)
    with push_fails:
        push(served, "numbers", [1])
    pair.finish(served, error=served.latched)
    assert pair.is_idle


def test_data_that_crosses_the_answer_is_ignored(pair: Pair) -> None:
    call, served = pair.begin("total")
    push(call, "numbers", [1])
    call.cancel()
    served.finish(None, rpc.Fault("no"))
    pair.pump()
    with pytest.raises(rpc.Fault, match=r"^no$"):
        push(call, "numbers", [2])
    assert pair.is_idle
