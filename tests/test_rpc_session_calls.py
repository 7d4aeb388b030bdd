"""Calls between two sessions: requests, answers, faults, and how many there may be."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.rpc.core.session import Event
from ipcpipes.rpc.core.state import Party
from ipcpipes.rpc.wire.format import HEAD, LEAST_FRAME, MAYBE, Kind, Limits, decode, encode

from .rpc_pair_work import Work
from .rpc_pairs import Pair, arguments_of, kinds, result_of

C, S = Party.CLIENT, Party.SERVER
encode_body = msgspec.msgpack.encode


@pytest.fixture
def pair() -> Pair:
    return Pair(Work)


def test_a_call_is_answered(pair: Pair) -> None:
    call, served = pair.begin("add", 3)
    assert (arguments_of(served).a, arguments_of(served).b) == (3, 1)
    assert (served.id, served.operation.name, served.milliseconds) == (call.id, "add", None)
    assert pair.finish(served, 4) is None
    assert result_of(call) == 4
    assert pair.events[-2:] == [(S, Event.REQUEST), (C, Event.ANSWER)]
    assert pair.is_idle


def test_calls_can_be_answered_in_any_order(pair: Pair) -> None:
    calls = [pair.begin("add", n) for n in range(4)]
    for place in (2, 0, 3, 1):
        pair.finish(calls[place][1], place * 10)
    assert [result_of(call) for call, _ in calls] == [0, 10, 20, 30]
    assert pair.is_idle


def test_a_request_carries_the_remaining_time(pair: Pair) -> None:
    assert pair.begin("add", 3, milliseconds=1500)[1].milliseconds == 1500
    assert pair.begin("add", 3, milliseconds=2**32 - 1)[1].milliseconds == 2**32 - 1


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (rpc.Fault("no such log", code=2), rpc.Fault),
        (rpc.PipeClosed("closed"), rpc.PipeClosed),
        (rpc.BadStubData("no int"), rpc.BadStubData),
        (rpc.CallCancelled("too late"), rpc.CallCancelled),
    ],
)
def test_a_fault_is_the_same_at_the_client(
    pair: Pair, raised: rpc.RpcError, kind: type[rpc.RpcError]
) -> None:
    call, served = pair.begin("add", 3)
    assert pair.finish(served, error=raised) is raised
    with pytest.raises(kind) as caught:
        call.raise_failure()
    assert type(caught.value) is kind
    assert (caught.value.code, caught.value.message) == (raised.code, raised.message)
    assert pair.is_idle


def test_a_fault_carries_its_type_and_traceback(pair: Pair) -> None:
    call, served = pair.begin("add", 3)
    pair.finish(served, error=rpc.Fault("gone", type="KeyError", traceback="Traceback"))
    with pytest.raises(rpc.Fault) as caught:
        call.raise_failure()
    assert (caught.value.type, caught.value.traceback) == ("KeyError", "Traceback")
    assert str(caught.value) == "KeyError: gone"


def test_a_fault_is_cut_to_the_limit_of_the_client(pair: Pair) -> None:
    call, served = pair.begin("add", 3)
    error = rpc.Fault("\u20ac" * 70_000, type="T" * 70_000, traceback="x" * 70_000)
    pair.finish(served, error=error)
    assert all(len(frame) <= LEAST_FRAME for _, frame in pair.sent)
    with pytest.raises(rpc.Fault) as caught:
        call.raise_failure()
    assert caught.value.message.startswith("\u20ac" * 1000)
    assert caught.value.traceback is None


def test_a_fault_may_quote_the_name_of_a_file(pair: Pair) -> None:
    call, served = pair.begin("add", 3)
    name = os.fsdecode(b"caf\xe9") if os.name == "posix" else "caf\udce9"
    pair.finish(served, error=rpc.Fault(f"no file {name}", type="OSError", traceback=name))
    with pytest.raises(rpc.Fault, match=r"no file caf\\udce9"):
        call.raise_failure()


@pytest.mark.parametrize("code", [-1, 2**32, 2**70, "5", None, 1.5])
def test_a_fault_with_a_wrong_code_gets_the_default_code(pair: Pair, code: Any) -> None:
    call, served = pair.begin("add", 3)
    error = rpc.Fault("broken")
    error.code = code
    pair.finish(served, error=error)
    with pytest.raises(rpc.Fault, match=r"^broken$") as caught:
        call.raise_failure()
    assert caught.value.code == rpc.Fault.default_code
    assert pair.is_idle


def test_a_call_is_answered_once(pair: Pair) -> None:
    _, served = pair.begin("add", 3)
    pair.finish(served, 4)
    with pytest.raises(rpc.InvalidAsyncHandle):
        served.finish(encode_body(5), None)
    with pytest.raises(rpc.InvalidAsyncHandle):
        served.finish(None, rpc.Fault())
    assert pair.server.take_output() == []


def test_a_maybe_call_has_no_answer(pair: Pair) -> None:
    for error in (None, rpc.Fault("lost")):
        call, served = pair.begin("note", "hello")
        assert pair.client.calls == {}
        assert arguments_of(served).text == "hello"
        pair.finish(served, None, error)
        assert pair.is_idle
        assert call.failure is None
    assert not [frame for party, frame in pair.sent[2:] if party is S]
    # The connection still works.
    pair.finish(pair.begin("add", 1)[1], 2)


def test_an_unknown_operation_is_a_fault(pair: Pair) -> None:
    server = pair.server
    for flags, answers in ((0, [Kind.FAULT]), (MAYBE, [])):
        number = 1 if not flags else 2
        request = encode(Kind.REQUEST, number, encode_body([]), flags=flags, number=99)
        assert server.receive(request) == (Event.NOTHING, None)
        for kind in (Kind.PIPE, Kind.CREDIT, Kind.CANCEL, Kind.ORPHANED):
            assert server.receive(encode(kind, number, b"abc")) == (Event.NOTHING, None)
        output = server.take_output()
        assert kinds(output) == answers
        if answers:
            assert msgspec.msgpack.decode(decode(output[0]).body)["code"] == 1745
    assert server.calls == {}


@pytest.mark.parametrize(("number", "flags"), [(0, MAYBE), (4, 0)])
def test_both_ends_must_agree_about_maybe(pair: Pair, number: int, flags: int) -> None:
    request = encode(Kind.REQUEST, 1, encode_body(["x"]), flags=flags, number=number)
    assert pair.server.receive(request)[0] is Event.NOTHING
    assert kinds(pair.server.take_output()) == ([] if flags else [Kind.FAULT])
    assert pair.server.calls == {}


def test_a_call_above_the_limit_fails() -> None:
    pair = Pair(Work, server=Limits(calls=2))
    first, _ = pair.begin("add", 1), pair.begin("add", 2)
    assert not pair.client.has_room
    # A client that ignores the limit.
    third = pair.request("add", 3)
    pair.pump()
    with pytest.raises(rpc.ServerTooBusy, match=r"^2 calls are open, and that is the limit$"):
        third.raise_failure()
    assert not pair.client.has_room
    pair.finish(first[1], 0)
    assert pair.client.has_room
    pair.begin("add", 4)


def test_arguments_can_fill_a_frame(pair: Pair) -> None:
    most = LEAST_FRAME - HEAD.size - 4
    _, served = pair.begin("echo", bytes(most))
    assert max(len(frame) for _, frame in pair.sent) == LEAST_FRAME
    with pytest.raises(ValueError, match=r"^the arguments of Work.echo have 65,521 bytes, and "):
        pair.request("echo", bytes(most + 1))
    assert len(pair.client.calls) == 1
    # The refused request used no call number.
    assert pair.begin("add", 1)[0].id == served.id + 1


def test_results_can_fill_a_frame(pair: Pair) -> None:
    call, served = pair.begin("echo", b"")
    most = LEAST_FRAME - HEAD.size - 3
    pair.finish(served, bytes(most))
    assert len(result_of(call)) == most
    call, served = pair.begin("echo", b"")
    assert type(pair.finish(served, bytes(most + 1))) is rpc.BadStubData
    with pytest.raises(rpc.BadStubData, match=r"has 65,521 bytes, .* send large values through a"):
        call.raise_failure()
    assert pair.is_idle
