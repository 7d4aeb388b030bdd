"""How much of a pipe may be on its way between two sessions; and chunks with a range."""

from __future__ import annotations

import pytest

from ipcpipes import rpc
from ipcpipes.rpc.core.call import Call
from ipcpipes.rpc.core.session import Event
from ipcpipes.rpc.core.state import Party
from ipcpipes.rpc.definition.elements import LARGEST
from ipcpipes.rpc.wire.format import LEAST_CREDIT, Kind, Limits, decode, encode

from .rpc_pair_work import Work
from .rpc_pairs import NARROW, Pair, close, go_on, pull, pull_all, push, push_small, result_of

C, S = Party.CLIENT, Party.SERVER


@pytest.fixture
def pair() -> Pair:
    return Pair(Work)


# Credit


def sent_octets(pair: Pair, party: Party, call: Call) -> int:
    frames = [decode(frame) for sender, frame in pair.sent if sender is party]
    return sum(len(f.body) for f in frames if f.kind is Kind.PIPE and f.call == call.id)


def test_39_a_client_sends_no_more_than_its_credit(pair: Pair) -> None:
    call, served = pair.begin("total")
    numbers = list(range(200_000))
    pushing = push(call, "numbers", numbers)
    pair.pump()
    assert not pushing.done
    assert LEAST_CREDIT - 64 < sent_octets(pair, C, call) <= LEAST_CREDIT
    # A server that does not pull stops the client.
    assert not go_on(call, "numbers", pushing)
    assert pair.pump() == []
    pulled: list[int] = []
    allowed = LEAST_CREDIT
    while not pushing.done:
        before = len(pair.sent)
        pulled += pull(served, "numbers") or []
        pair.pump()
        for party, frame in pair.sent[before:]:
            assert (party, frame[0]) == (S, Kind.CREDIT)
            allowed += decode(frame).amount
        go_on(call, "numbers", pushing)
        pair.pump()
        assert sent_octets(pair, C, call) <= allowed
        assert served.incoming[0].reader.waiting <= LEAST_CREDIT
    pulled += pull_all(served, "numbers")
    assert pulled == numbers


def test_39_a_server_sends_no_more_than_its_credit() -> None:
    pair = Pair(Work, client=Limits(credit=200_000), server=NARROW)
    call, served = pair.begin("count", 0)
    pushing = push(served, "numbers", bytes(400_000))
    pair.pump()
    assert 200_000 - 64 < sent_octets(pair, S, call) <= 200_000
    pulled = 0
    while not pushing.done:
        pulled += len(pull(call, "numbers") or ())
        pair.pump()
        go_on(served, "numbers", pushing)
        pair.pump()
    pulled += len(pull_all(call, "numbers"))
    assert pulled == 100_000


def test_credit_is_returned_in_large_portions(pair: Pair) -> None:
    call, served = pair.begin("total")
    push(call, "numbers", bytes(LEAST_CREDIT // 2 - 16))
    pair.pump()
    pull_all(served, "numbers")
    assert pair.server.take_output() == []
    push(call, "numbers", [1])
    pair.pump(S)
    pull_all(served, "numbers")
    (frame,) = map(decode, pair.server.take_output())
    assert (frame.kind, frame.number, frame.amount) == (Kind.CREDIT, 0, LEAST_CREDIT // 2)


def test_a_pipe_that_has_ended_gets_no_credit(pair: Pair) -> None:
    call, served = pair.begin("total")
    push(call, "numbers", bytes(LEAST_CREDIT - 64))
    assert close(call, "numbers")
    pair.pump()
    pull_all(served, "numbers")
    assert pair.server.take_output() == []


def test_the_end_of_a_pipe_needs_credit(pair: Pair) -> None:
    call, served = pair.begin("total")
    while push(call, "numbers", [1]).done:
        pass
    while push_small(call, "numbers", [1]):
        pair.gather(C)
    assert call.outgoing[0].credit < 20
    call.outgoing[0].credit = 3
    assert not close(call, "numbers")
    pair.pump()
    assert pull_all(served, "numbers")
    pair.pump()
    assert close(call, "numbers")


@pytest.mark.parametrize("limits", [NARROW, Limits()], ids=["narrow", "default"])
def test_the_largest_elements_can_be_sent(limits: Limits) -> None:
    pair = Pair(Work, client=limits, server=limits)
    call, served = pair.begin("large")
    element = b"".join(bytes([n % 251]) for n in range(LARGEST))
    pushing = push(call, "into", element * 5)
    for _ in range(20):
        pair.pump()
        for chunk in iter(lambda: served.pull(0), None):
            assert bytes(chunk) == element * (len(chunk) // LARGEST)
        pair.pump()
        if go_on(call, "into", pushing):
            break
    assert pushing.done


def test_pushed_memory_is_copied_when_it_waits(pair: Pair) -> None:
    call, _ = pair.begin("total")
    memory = bytearray(b"\1\0\0\0\2\0\0\0")
    assert push(call, "numbers", memory).done
    memory[:] = bytes(8)
    pair.gather(C)
    assert bytes(decode(pair.sent[-1][1]).body[4:]) == b"\1\0\0\0\2\0\0\0"


# Ranges


def test_38_a_push_outside_the_range_is_refused(pair: Pair) -> None:
    call, _ = pair.begin("ranged")
    for count in (1, 100_001):
        with pytest.raises(rpc.InvalidBound, match=rf"^{count:,} elements in a chunk of into, whe"):
            push(call, "into", bytes(8 * count))
    assert push(call, "into", [1, 2]).done


def test_38_chunks_with_a_range_keep_their_counts(pair: Pair) -> None:
    call, served = pair.begin("ranged")
    for chunk in ([1, 2], [3, 4, 5]):
        assert push_small(call, "into", chunk)
    pair.pump()
    bodies = [decode(frame).body for _, frame in pair.sent[-2:]]
    assert [body[0] for body in bodies] == [2, 3]
    assert pull_all(served, "into") == [1, 2, 3, 4, 5]


def test_38_a_bounded_chunk_may_be_larger_than_the_credit(pair: Pair) -> None:
    call, served = pair.begin("ranged")
    numbers = list(range(60_000))
    pushing = push(call, "into", numbers)
    pulled: list[int] = []
    while not pushing.done:
        pair.pump()
        pulled += pull_all(served, "into")
        pair.pump()
        go_on(call, "into", pushing)
    close(call, "into")
    pair.pump()
    pulled += pull_all(served, "into")
    assert pulled == numbers
    counts = [decode(f).body[:4] for p, f in pair.sent if p is C and f[0] == Kind.PIPE]
    assert counts[0] == (60_000).to_bytes(4, "little")


def test_38_an_unfinished_chunk_with_a_range_blocks_its_pipe(pair: Pair) -> None:
    call, _ = pair.begin("ranged")
    assert not push(call, "into", bytes(8 * 60_000)).done
    for again in (lambda: push(call, "into", [1, 2]), lambda: close(call, "into")):
        with pytest.raises(rpc.BadStubData, match="cancelled in the middle of its chunk"):
            again()


def chunk_of_one() -> bytes:
    return b"\1\0\0\0\0\0\0\0" + bytes(8)


def test_38_a_client_that_breaks_the_range_fails_its_call_alone(pair: Pair) -> None:
    call, served = pair.begin("ranged")
    other, other_served = pair.begin("add", 1)
    # The bytes after a wrong count have no meaning, also where they look like an end.
    for body in (chunk_of_one(), bytes(4), b"\7", bytes(100)):
        pair.server.receive(encode(Kind.PIPE, call.id, body, number=0))
    for _ in range(2):
        with pytest.raises(
            rpc.InvalidBound, match="a chunk has 1 elements; allowed are 2 to 100,000"
        ):
            pull(served, "into")
    pair.finish(served, error=served.latched)
    with pytest.raises(rpc.InvalidBound):
        call.raise_failure()
    pair.finish(other_served, 2)
    assert result_of(other) == 2
    assert pair.is_idle


def test_38_a_server_that_breaks_the_range_loses_its_client(pair: Pair) -> None:
    call, served = pair.begin("ranged")
    close(call, "into")
    pair.pump()
    for body in (chunk_of_one(), bytes(4), b"\7"):
        pair.client.receive(encode(Kind.PIPE, call.id, body, number=1))
    with pytest.raises(rpc.InvalidBound):
        pull(call, "out")
    pair.pump()
    assert pair.events[-1] == (S, Event.ORPHANED)
    with pytest.raises(rpc.CallCancelled):
        pull(served, "into")
    pair.finish(served, error=served.latched)
    assert pair.is_idle
    with pytest.raises(rpc.InvalidBound):
        call.raise_failure()
    # An answer that crosses ORPHANED is not a violation.
    pair.finish(pair.begin("add", 1)[1], 2)
