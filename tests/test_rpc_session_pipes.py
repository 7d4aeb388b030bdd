"""Pipes between two sessions: their turns, their ends, and small elements."""

from __future__ import annotations

import pytest

from ipcpipes import rpc
from ipcpipes.rpc.core.call import BATCH
from ipcpipes.rpc.core.call_pipes import SMALL
from ipcpipes.rpc.core.state import Party
from ipcpipes.rpc.wire.format import LEAST_CREDIT

from .rpc_pair_work import Work
from .rpc_pairs import Pair, arguments_of, close, pull, pull_all, push, push_small, result_of

C = Party.CLIENT


@pytest.fixture
def pair() -> Pair:
    return Pair(Work)


# Pipes


def test_30_elements_arrive_in_order(pair: Pair) -> None:
    call, served = pair.begin("total")
    for chunk in ([0, 1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11], [12, 13], [14]):
        assert push(call, "numbers", chunk).done
    assert close(call, "numbers")
    pair.pump()
    assert pull_all(served, "numbers") == list(range(15))
    pair.finish(served, 105)
    assert result_of(call) == 105
    assert pair.is_idle


def test_a_call_with_pipes_of_each_direction(pair: Pair) -> None:
    call, served = pair.begin("pass_on")
    push(call, "first", [1, 2])
    close(call, "first")
    push(call, "third", b"abc")
    close(call, "third")
    pair.pump()
    assert (pull(served, "first"), pull(served, "first")) == ([1, 2], [])
    assert (pull(served, "third"), pull(served, "third")) == ([*b"abc"], [])
    push(served, "first", [3])
    close(served, "first")
    push(served, "second", b"de")
    close(served, "second")
    pair.finish(served, None)
    assert (pull(call, "first"), pull(call, "first")) == ([3], [])
    assert (pull(call, "second"), pull(call, "second")) == ([*b"de"], [])
    assert result_of(call) is None
    assert pair.is_idle


def test_16_pipes_have_their_turns(pair: Pair) -> None:
    call, served = pair.begin("ins")
    with pytest.raises(rpc.WrongPipeOrder) as caught:
        push(call, "two", b"x")
    assert str(caught.value) == (
        "pipe two of Work.ins: it is not this pipe's turn; it is one's turn to be written"
    )
    with pytest.raises(rpc.WrongPipeOrder, match="it is one's turn to be drained"):
        pull(served, "two")
    # A mistake of the client does not fail the call; a mistake of the manager does.
    assert (call.latched, type(served.latched)) == (None, rpc.WrongPipeOrder)


def test_17_no_push_before_the_in_pipes_are_drained(pair: Pair) -> None:
    _, served = pair.begin("pass_on")
    for name in ("first", "second"):
        with pytest.raises(rpc.WrongPipeOrder):
            push(served, name, b"abcd")


def test_18_out_pipes_are_pushed_in_their_order(pair: Pair) -> None:
    call, served = pair.begin("outs")
    with pytest.raises(rpc.WrongPipeOrder):
        push(served, "two", b"x")
    with pytest.raises(rpc.WrongPipeOrder):
        pull(call, "two")


def test_20_a_pipe_has_one_direction(pair: Pair) -> None:
    _, served = pair.begin("count", 3)
    with pytest.raises(rpc.WrongPipeOrder):
        pull(served, "numbers")
    _, served = pair.begin("total")
    with pytest.raises(rpc.WrongPipeOrder):
        push(served, "numbers", [1])


def test_22_drained_in_pipes_are_a_normal_return(pair: Pair) -> None:
    call, served = pair.begin("total")
    assert close(call, "numbers")
    pair.pump()
    assert pull(served, "numbers") == []
    assert pair.finish(served, 0) is None
    assert result_of(call) == 0


def test_23_the_end_is_pulled_once(pair: Pair) -> None:
    call, served = pair.begin("total")
    push(call, "numbers", [1])
    close(call, "numbers")
    pair.pump()
    assert [pull(served, "numbers"), pull(served, "numbers")] == [[1], []]
    with pytest.raises(
        rpc.PipeEmpty, match=r"^pipe numbers of Work.total: this pipe has been read"
    ):
        pull(served, "numbers")


def test_24_nothing_can_be_pushed_after_close(pair: Pair) -> None:
    _, served = pair.begin("outs")
    assert close(served, "one")
    for again in (lambda: push(served, "one", b"x"), lambda: close(served, "one")):
        with pytest.raises(rpc.PipeClosed, match="it is two's turn to be written"):
            again()


@pytest.mark.parametrize(
    ("name", "pipe", "verb"), [("total", "numbers", "drained"), ("outs", "one", "closed")]
)
def test_25_26_a_manager_must_finish_its_pipes(pair: Pair, name: str, pipe: str, verb: str) -> None:
    call, served = pair.begin(name)
    assert type(pair.finish(served, 5)) is rpc.PipeDisciplineError
    with pytest.raises(rpc.PipeDisciplineError) as caught:
        result_of(call)
    assert str(caught.value) == f"Work.{name} returned before the pipe {pipe} was {verb}"
    assert not call.is_answered
    assert pair.is_idle


def test_25_draining_includes_the_end(pair: Pair) -> None:
    call, served = pair.begin("total")
    push(call, "numbers", [1])
    close(call, "numbers")
    pair.pump()
    assert pull(served, "numbers") == [1]
    assert type(pair.finish(served, 5)) is rpc.PipeDisciplineError


def test_27_28_empty_pipes_have_only_their_ends(pair: Pair) -> None:
    call, served = pair.begin("pass_on")
    for name in ("first", "third"):
        assert close(call, name)
    pair.pump()
    assert (pull(served, "first"), pull(served, "third")) == ([], [])
    for name in ("first", "second"):
        assert close(served, name)
    pair.finish(served, None)
    assert (pull(call, "first"), pull(call, "second")) == ([], [])


def test_31_a_pull_returns_at_most_its_maximum(pair: Pair) -> None:
    call, served = pair.begin("total")
    push(call, "numbers", list(range(10)))
    pair.pump()
    assert [pull(served, "numbers", 4) for _ in range(4)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
        None,
    ]


def test_32_a_maximum_of_0_fails_while_there_are_elements(pair: Pair) -> None:
    call, served = pair.begin("total")
    assert pull(served, "numbers", 0) is None
    push(call, "numbers", [1])
    pair.pump()
    with pytest.raises(rpc.PipeAppMemory):
        pull(served, "numbers", 0)
    call, served = pair.begin("total")
    close(call, "numbers")
    pair.pump()
    assert pull(served, "numbers", 0) == []


def test_a_pull_without_elements_returns_none(pair: Pair) -> None:
    call, served = pair.begin("count", 3)
    assert pull(call, "numbers") is None
    push(served, "numbers", [1])
    pair.pump()
    assert [pull(call, "numbers"), pull(call, "numbers")] == [[1], None]


def test_46_47_48_arguments_come_first_and_the_result_last(pair: Pair) -> None:
    call, served = pair.begin("total", 7)
    assert arguments_of(served).scale == 7
    assert not call.is_answered
    close(call, "numbers")
    pair.pump()
    pull(served, "numbers")
    assert not call.is_answered
    pair.finish(served, 9)
    assert result_of(call) == 9


# Small elements


def test_small_elements_travel_together(pair: Pair) -> None:
    call, served = pair.begin("total")
    before = len(pair.sent)
    for number in range(100):
        assert push_small(call, "numbers", [number])
    assert pair.client.output == []
    assert pair.client.has_output
    pair.pump()
    assert len(pair.sent) == before + 1
    assert pull(served, "numbers") == list(range(100))


def test_small_elements_stay_in_order_with_large_ones(pair: Pair) -> None:
    call, served = pair.begin("total")
    push_small(call, "numbers", [1])
    push(call, "numbers", [2] * 5000)
    push_small(call, "numbers", [3])
    close(call, "numbers")
    pair.pump()
    assert pull_all(served, "numbers") == [1, *[2] * 5000, 3]


def test_many_small_elements_are_sent_at_once(pair: Pair) -> None:
    call, _ = pair.begin("total")
    pushes = 0
    while not pair.client.output:
        assert push_small(call, "numbers", bytes(SMALL))
        pushes += 1
    assert len(pair.client.output[0]) <= BATCH + 100
    assert pushes == BATCH // SMALL + 1


def test_small_elements_keep_to_the_credit(pair: Pair) -> None:
    call, served = pair.begin("total")
    pushed = 0
    while push_small(call, "numbers", bytes(SMALL)):
        pushed += SMALL
        pair.gather(C)
    assert LEAST_CREDIT - 2 * SMALL < pushed < LEAST_CREDIT
    pair.pump()
    assert len(pull_all(served, "numbers")) * 4 == pushed
    pair.pump()
    assert push_small(call, "numbers", bytes(SMALL))
