"""Two sessions against each other, message by message: binding, calls, pipes, credit and ends."""

from __future__ import annotations

import os
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given, settings, strategies as st

from ipcpipes import rpc
from ipcpipes.rpc.call import BATCH, SMALL, Call
from ipcpipes.rpc.elements import LARGEST
from ipcpipes.rpc.errors import ProtocolError
from ipcpipes.rpc.session import Event, Session
from ipcpipes.rpc.state import CallState, ConnectionState, Party
from ipcpipes.rpc.wire import (
    HEAD,
    LEAST_CREDIT,
    LEAST_FRAME,
    MAYBE,
    Kind,
    Limits,
    decode,
    encode,
)

from .rpc_pairs import (
    NARROW,
    Pair,
    arguments_of,
    close,
    definition,
    go_on,
    kinds,
    pull,
    pull_all,
    push,
    push_small,
    result_of,
)

EXAMPLES = os.environ.get("IPCPIPES_EXAMPLES")
PROFILE = settings(
    deadline=None,
    max_examples=int(EXAMPLES or 100),
    derandomize="CI" in os.environ and not EXAMPLES,
)

UUID = "6f1c6b1e-58b8-4b52-9d0c-0f6f4f0f7a10"
C, S = Party.CLIENT, Party.SERVER
to_octets = msgspec.msgpack.encode


class Largest(rpc.Structure):
    data: Annotated[list[rpc.byte], rpc.Length(LARGEST)]


class Work(rpc.Interface, uuid=UUID, version=(2, 5)):
    @rpc.operation
    def add(self, a: int, b: int = 1) -> int:
        raise NotImplementedError

    @rpc.operation
    def total(self, numbers: rpc.InPipe[rpc.int32], scale: int = 1) -> int:
        raise NotImplementedError

    @rpc.operation
    def count(self, upto: int, numbers: rpc.OutPipe[rpc.int32]) -> int:
        raise NotImplementedError

    @rpc.operation
    def pass_on(
        self,
        first: rpc.InOutPipe[rpc.int32],
        second: rpc.OutPipe[rpc.byte],
        third: rpc.InPipe[rpc.byte],
    ) -> None: ...

    @rpc.operation(maybe=True)
    def note(self, text: str) -> None: ...

    @rpc.operation
    def ranged(
        self,
        into: Annotated[rpc.InPipe[rpc.int64], rpc.Range(2, 100_000)],
        out: Annotated[rpc.OutPipe[rpc.int64], rpc.Range(2, 100_000)],
    ) -> None: ...

    @rpc.operation
    def large(self, into: rpc.InPipe[Largest]) -> None: ...

    @rpc.operation
    def echo(self, data: bytes) -> bytes:
        raise NotImplementedError

    @rpc.operation
    def outs(self, one: rpc.OutPipe[rpc.byte], two: rpc.OutPipe[rpc.byte]) -> None: ...

    @rpc.operation
    def ins(self, one: rpc.InPipe[rpc.byte], two: rpc.InPipe[rpc.byte]) -> None: ...


@pytest.fixture
def pair() -> Pair:
    return Pair(Work)


# Binding


def test_a_client_is_taken() -> None:
    pair = Pair(Work, bind=False)
    assert {pair.client.state, pair.server.state} == {ConnectionState.UNBOUND}
    pair.client.bind(definition(Work))
    assert {pair.client.state} == {ConnectionState.BINDING}
    pair.pump()
    assert pair.client.state is pair.server.state is ConnectionState.OPEN
    assert pair.events == [(S, Event.BOUND), (C, Event.BOUND)]
    assert pair.server.definition is definition(Work)
    pair.client.require_open()


def test_each_end_knows_what_the_other_takes() -> None:
    ours = Limits(max_frame=2**20, credit=300_000)
    theirs = Limits(max_frame=2**18, credit=200_000, calls=5)
    pair = Pair(Work, client=ours, server=theirs)
    assert (pair.client.peer_credit, pair.server.peer_credit) == (200_000, 300_000)
    assert (pair.client.peer_max_frame, pair.server.peer_max_frame) == (2**18, 2**18)
    assert pair.client.peer_calls == 5


class Other(rpc.Interface, uuid="b5f2ab13-0d3f-4d43-a8c1-d3a2b9ed7e01", version=(1, 0)):
    @rpc.operation
    def add(self, a: int) -> int:
        raise NotImplementedError


def test_an_interface_that_is_not_served() -> None:
    pair = Pair(Work, Other)
    assert pair.events == [(S, Event.REFUSED), (C, Event.REFUSED)]
    assert pair.client.state is pair.server.state is ConnectionState.CLOSED
    with pytest.raises(
        rpc.UnknownInterface, match=r"^the server does not serve the interface Other"
    ):
        pair.client.require_open()


@pytest.mark.parametrize(
    ("version", "good"),
    [
        ((2, 5), True),
        ((2, 4), True),
        ((2, 0), True),
        ((2, 6), False),
        ((1, 5), False),
        ((3, 0), False),
    ],
)
def test_versions(version: tuple[int, int], good: bool) -> None:
    class Wanted(rpc.Interface, uuid=UUID, version=version):
        @rpc.operation
        def echo(self, data: bytes) -> bytes:
            raise NotImplementedError

    pair = Pair(Work, Wanted)
    if good:
        call, served = pair.begin("echo", b"x")
        assert served.operation.name == "echo"
        pair.finish(served, b"y")
        assert result_of(call) == b"y"
    else:
        with pytest.raises(
            rpc.UnknownInterface, match=r"^the server serves Work 2\.5, which does "
        ):
            pair.client.require_open()


def bind_body(**changes: Any) -> bytes:
    body = {
        "protocol": 1,
        "uuid": UUID,
        "version": (2, 5),
        "max_frame": LEAST_FRAME,
        "credit": LEAST_CREDIT,
    }
    return to_octets(body | changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": 2}, "the client speaks version 2 of the protocol, not 1"),
        ({"credit": LEAST_CREDIT - 1}, "the client's limits are too low"),
        ({"max_frame": LEAST_FRAME - 1}, "the client's limits are too low"),
        ({"uuid": "x" * 1000, "name": "y" * 1000}, "does not serve the interface yyy"),
    ],
)
def test_a_client_that_does_not_do_is_told_why(change: dict[str, Any], words: str) -> None:
    pair = Pair(Work, bind=False)
    assert pair.server.receive(encode(Kind.BIND, 0, bind_body(**change)))[0] is Event.REFUSED
    (frame,) = map(decode, pair.server.take_output())
    assert frame.kind is Kind.BIND_NAK
    reason = msgspec.msgpack.decode(frame.body)
    assert words in reason["message"]
    assert len(reason["message"]) < 300
    assert reason["code"] != 0


def test_what_a_later_version_adds_to_a_body_is_passed_over() -> None:
    pair = Pair(Work, bind=False)
    assert pair.server.receive(encode(Kind.BIND, 0, bind_body(more=[1])))[0] is Event.BOUND


def ack_body(**changes: Any) -> bytes:
    body = {
        "protocol": 1,
        "version": (2, 5),
        "max_frame": LEAST_FRAME,
        "credit": LEAST_CREDIT,
        "calls": 1,
        "operations": [],
    }
    return to_octets(body | changes)


@pytest.mark.parametrize(
    "change",
    [
        {"credit": LEAST_CREDIT - 1},
        {"credit": 0},
        {"max_frame": LEAST_FRAME - 1},
        {"max_frame": -1},
        {"calls": 0},
    ],
)
def test_with_a_server_of_too_low_limits_a_call_would_wait_for_ever(change: dict[str, Any]) -> None:
    pair = Pair(Work, bind=False)
    pair.client.bind(definition(Work))
    with pytest.raises(ProtocolError, match=r"^the server's limits are too low$"):
        pair.client.receive(encode(Kind.BIND_ACK, 0, ack_body(**change)))


def test_the_operations_of_the_other_end() -> None:
    class Wanted(rpc.Interface, uuid=UUID, version=(2, 0)):
        @rpc.operation
        def missing(self) -> None: ...

        @rpc.operation
        def total(self, numbers: rpc.InPipe[rpc.int64]) -> int:
            raise NotImplementedError

    pair = Pair(Work, Wanted)
    with pytest.raises(rpc.ProcnumOutOfRange, match=r"^the server's Wanted has no missing$"):
        pair.request("missing")
    with pytest.raises(rpc.WrongPipeVersion) as caught:
        pair.request("total")
    assert str(caught.value) == (
        "Wanted.total has the pipes (in int64) here and (in int32) at the server"
    )
    assert pair.client.calls == {}


# Calls


def test_a_call(pair: Pair) -> None:
    call, served = pair.begin("add", 3)
    assert (arguments_of(served).a, arguments_of(served).b) == (3, 1)
    assert (served.id, served.operation.name, served.milliseconds) == (call.id, "add", None)
    assert pair.finish(served, 4) is None
    assert result_of(call) == 4
    assert pair.events[-2:] == [(S, Event.REQUEST), (C, Event.ANSWER)]
    assert pair.is_idle


def test_many_calls_are_answered_in_any_order(pair: Pair) -> None:
    calls = [pair.begin("add", n) for n in range(4)]
    for place in (2, 0, 3, 1):
        pair.finish(calls[place][1], place * 10)
    assert [result_of(call) for call, _ in calls] == [0, 10, 20, 30]
    assert pair.is_idle


def test_the_time_that_is_left_travels_along(pair: Pair) -> None:
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


def test_a_fault_says_where_it_comes_from(pair: Pair) -> None:
    call, served = pair.begin("add", 3)
    pair.finish(served, error=rpc.Fault("gone", type="KeyError", traceback="Traceback"))
    with pytest.raises(rpc.Fault) as caught:
        call.raise_failure()
    assert (caught.value.type, caught.value.traceback) == ("KeyError", "Traceback")
    assert str(caught.value) == "KeyError: gone"


def test_a_fault_is_cut_to_what_the_client_takes(pair: Pair) -> None:
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
def test_a_fault_of_no_code_is_a_fault_all_the_same(pair: Pair, code: Any) -> None:
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
        served.finish(to_octets(5), None)
    with pytest.raises(rpc.InvalidAsyncHandle):
        served.finish(None, rpc.Fault())
    assert pair.server.take_output() == []


def test_nobody_waits_for_a_maybe_call(pair: Pair) -> None:
    for error in (None, rpc.Fault("lost")):
        call, served = pair.begin("note", "hello")
        assert pair.client.calls == {}
        assert arguments_of(served).text == "hello"
        pair.finish(served, None, error)
        assert pair.is_idle
        assert call.failure is None
    assert not [frame for party, frame in pair.sent[2:] if party is S]
    # And the connection goes on.
    pair.finish(pair.begin("add", 1)[1], 2)


def test_an_unknown_operation_is_a_fault_and_its_pipes_are_passed_over(pair: Pair) -> None:
    server = pair.server
    for flags, answers in ((0, [Kind.FAULT]), (MAYBE, [])):
        number = 1 if not flags else 2
        request = encode(Kind.REQUEST, number, to_octets([]), flags=flags, number=99)
        assert server.receive(request) == (Event.NOTHING, None)
        for kind in (Kind.PIPE, Kind.CREDIT, Kind.CANCEL, Kind.ORPHANED):
            assert server.receive(encode(kind, number, b"abc")) == (Event.NOTHING, None)
        output = server.take_output()
        assert kinds(output) == answers
        if answers:
            assert msgspec.msgpack.decode(decode(output[0]).body)["code"] == 1745
    assert server.calls == {}


@pytest.mark.parametrize(("number", "flags"), [(0, MAYBE), (4, 0)])
def test_both_ends_agree_about_whether_somebody_waits(pair: Pair, number: int, flags: int) -> None:
    request = encode(Kind.REQUEST, 1, to_octets(["x"]), flags=flags, number=number)
    assert pair.server.receive(request)[0] is Event.NOTHING
    assert kinds(pair.server.take_output()) == ([] if flags else [Kind.FAULT])
    assert pair.server.calls == {}


def test_too_many_calls() -> None:
    pair = Pair(Work, server=Limits(calls=2))
    first, _ = pair.begin("add", 1), pair.begin("add", 2)
    assert not pair.client.has_room
    # A client that asks all the same.
    third = pair.request("add", 3)
    pair.pump()
    with pytest.raises(rpc.ServerTooBusy, match=r"^2 calls are open, and that is the limit$"):
        third.raise_failure()
    assert not pair.client.has_room
    pair.finish(first[1], 0)
    assert pair.client.has_room
    pair.begin("add", 4)


def test_arguments_are_as_large_as_a_frame(pair: Pair) -> None:
    most = LEAST_FRAME - HEAD.size - 4
    _, served = pair.begin("echo", bytes(most))
    assert max(len(frame) for _, frame in pair.sent) == LEAST_FRAME
    with pytest.raises(ValueError, match=r"^the arguments of Work.echo have 65,521 bytes, and "):
        pair.request("echo", bytes(most + 1))
    assert len(pair.client.calls) == 1
    # It was no call: the next one has the next number.
    assert pair.begin("add", 1)[0].id == served.id + 1


def test_results_are_as_large_as_a_frame(pair: Pair) -> None:
    call, served = pair.begin("echo", b"")
    most = LEAST_FRAME - HEAD.size - 3
    pair.finish(served, bytes(most))
    assert len(result_of(call)) == most
    call, served = pair.begin("echo", b"")
    assert type(pair.finish(served, bytes(most + 1))) is rpc.BadStubData
    with pytest.raises(rpc.BadStubData, match=r"has 65,521 bytes, .* send what is large through a"):
        call.raise_failure()
    assert pair.is_idle


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


def test_both_directions_at_once(pair: Pair) -> None:
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


def test_16_the_pipes_have_their_turns(pair: Pair) -> None:
    call, served = pair.begin("ins")
    with pytest.raises(rpc.WrongPipeOrder) as caught:
        push(call, "two", b"x")
    assert str(caught.value) == (
        "pipe two of Work.ins: it is not this pipe's turn; it is one's turn to be written"
    )
    with pytest.raises(rpc.WrongPipeOrder, match="it is one's turn to be drained"):
        pull(served, "two")
    # The client's mistake ends nothing; the manager's does.
    assert (call.latched, type(served.latched)) == (None, rpc.WrongPipeOrder)


def test_17_no_push_before_the_in_pipes_are_drained(pair: Pair) -> None:
    _, served = pair.begin("pass_on")
    for name in ("first", "second"):
        with pytest.raises(rpc.WrongPipeOrder):
            push(served, name, b"abcd")


def test_18_the_first_of_two_out_pipes_comes_first(pair: Pair) -> None:
    call, served = pair.begin("outs")
    with pytest.raises(rpc.WrongPipeOrder):
        push(served, "two", b"x")
    with pytest.raises(rpc.WrongPipeOrder):
        pull(call, "two")


def test_20_a_pipe_goes_in_its_own_direction(pair: Pair) -> None:
    _, served = pair.begin("count", 3)
    with pytest.raises(rpc.WrongPipeOrder):
        pull(served, "numbers")
    _, served = pair.begin("total")
    with pytest.raises(rpc.WrongPipeOrder):
        push(served, "numbers", [1])


def test_22_drained_and_no_out_pipes(pair: Pair) -> None:
    call, served = pair.begin("total")
    assert close(call, "numbers")
    pair.pump()
    assert pull(served, "numbers") == []
    assert pair.finish(served, 0) is None
    assert result_of(call) == 0


def test_23_the_end_comes_once(pair: Pair) -> None:
    call, served = pair.begin("total")
    push(call, "numbers", [1])
    close(call, "numbers")
    pair.pump()
    assert [pull(served, "numbers"), pull(served, "numbers")] == [[1], []]
    with pytest.raises(
        rpc.PipeEmpty, match=r"^pipe numbers of Work.total: this pipe has been read"
    ):
        pull(served, "numbers")


def test_24_nothing_goes_into_a_closed_pipe(pair: Pair) -> None:
    _, served = pair.begin("outs")
    assert close(served, "one")
    for again in (lambda: push(served, "one", b"x"), lambda: close(served, "one")):
        with pytest.raises(rpc.PipeClosed, match="it is two's turn to be written"):
            again()


@pytest.mark.parametrize(
    ("name", "pipe", "verb"), [("total", "numbers", "drained"), ("outs", "one", "closed")]
)
def test_25_26_a_manager_that_returns_too_soon(pair: Pair, name: str, pipe: str, verb: str) -> None:
    call, served = pair.begin(name)
    assert type(pair.finish(served, 5)) is rpc.PipeDisciplineError
    with pytest.raises(rpc.PipeDisciplineError) as caught:
        result_of(call)
    assert str(caught.value) == f"Work.{name} returned before the pipe {pipe} was {verb}"
    assert not call.is_answered
    assert pair.is_idle


def test_25_also_where_the_end_lies_there_and_was_not_pulled(pair: Pair) -> None:
    call, served = pair.begin("total")
    push(call, "numbers", [1])
    close(call, "numbers")
    pair.pump()
    assert pull(served, "numbers") == [1]
    assert type(pair.finish(served, 5)) is rpc.PipeDisciplineError


def test_27_28_empty_pipes(pair: Pair) -> None:
    call, served = pair.begin("pass_on")
    for name in ("first", "third"):
        assert close(call, name)
    pair.pump()
    assert (pull(served, "first"), pull(served, "third")) == ([], [])
    for name in ("first", "second"):
        assert close(served, name)
    pair.finish(served, None)
    assert (pull(call, "first"), pull(call, "second")) == ([], [])


def test_31_a_pull_takes_no_more_than_was_asked(pair: Pair) -> None:
    call, served = pair.begin("total")
    push(call, "numbers", list(range(10)))
    pair.pump()
    assert [pull(served, "numbers", 4) for _ in range(4)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
        None,
    ]


def test_32_a_pull_of_none(pair: Pair) -> None:
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


def test_nothing_has_come_yet(pair: Pair) -> None:
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


# Small elements, and many


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


def test_and_stay_in_order_with_large_ones_and_the_end(pair: Pair) -> None:
    call, served = pair.begin("total")
    push_small(call, "numbers", [1])
    push(call, "numbers", [2] * 5000)
    push_small(call, "numbers", [3])
    close(call, "numbers")
    pair.pump()
    assert pull_all(served, "numbers") == [1, *[2] * 5000, 3]


def test_they_do_not_wait_when_there_are_many(pair: Pair) -> None:
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


# Credit


def sent_octets(pair: Pair, party: Party, call: Call) -> int:
    frames = [decode(frame) for sender, frame in pair.sent if sender is party]
    return sum(len(f.body) for f in frames if f.kind is Kind.PIPE and f.call == call.id)


def test_39_no_more_is_on_its_way_than_was_allowed(pair: Pair) -> None:
    call, served = pair.begin("total")
    numbers = list(range(200_000))
    pushing = push(call, "numbers", numbers)
    pair.pump()
    assert not pushing.done
    assert LEAST_CREDIT - 64 < sent_octets(pair, C, call) <= LEAST_CREDIT
    # Who does not pull holds the other back.
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


def test_39_the_same_towards_the_client() -> None:
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


def test_credit_is_given_back_when_it_pays(pair: Pair) -> None:
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


def test_no_credit_is_given_for_a_pipe_that_has_ended(pair: Pair) -> None:
    call, served = pair.begin("total")
    push(call, "numbers", bytes(LEAST_CREDIT - 64))
    assert close(call, "numbers")
    pair.pump()
    pull_all(served, "numbers")
    assert pair.server.take_output() == []


def test_the_end_needs_credit_too(pair: Pair) -> None:
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
def test_the_largest_elements_move(limits: Limits) -> None:
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


def test_what_lies_in_a_user_s_memory_is_sent_as_it_is(pair: Pair) -> None:
    call, _ = pair.begin("total")
    memory = bytearray(b"\1\0\0\0\2\0\0\0")
    assert push(call, "numbers", memory).done
    memory[:] = bytes(8)
    pair.gather(C)
    assert bytes(decode(pair.sent[-1][1]).body[4:]) == b"\1\0\0\0\2\0\0\0"


# Ranges


def test_38_a_push_out_of_its_range_is_refused(pair: Pair) -> None:
    call, _ = pair.begin("ranged")
    for count in (1, 100_001):
        with pytest.raises(rpc.InvalidBound, match=rf"^{count:,} elements in a chunk of into, whe"):
            push(call, "into", bytes(8 * count))
    assert push(call, "into", [1, 2]).done


def test_38_where_counts_are_bounded_they_are_kept(pair: Pair) -> None:
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


def test_38_a_bounded_chunk_that_was_left_spoils_its_pipe(pair: Pair) -> None:
    call, _ = pair.begin("ranged")
    assert not push(call, "into", bytes(8 * 60_000)).done
    for again in (lambda: push(call, "into", [1, 2]), lambda: close(call, "into")):
        with pytest.raises(rpc.BadStubData, match="cancelled in the middle of its chunk"):
            again()


def chunk_of_one() -> bytes:
    return b"\1\0\0\0\0\0\0\0" + bytes(8)


def test_38_a_client_that_breaks_the_range_has_its_call_failed_and_no_more(pair: Pair) -> None:
    call, served = pair.begin("ranged")
    other, other_served = pair.begin("add", 1)
    # What follows the count means nothing now, and may be anything: also what looks like an end.
    for body in (chunk_of_one(), bytes(4), b"\7", bytes(100)):
        pair.server.receive(encode(Kind.PIPE, call.id, body, number=0))
    for _ in range(2):
        with pytest.raises(rpc.InvalidBound, match="a chunk of 1 elements, where 2 to 100,000 are"):
            pull(served, "into")
    pair.finish(served, error=served.latched)
    with pytest.raises(rpc.InvalidBound):
        call.raise_failure()
    pair.finish(other_served, 2)
    assert result_of(other) == 2
    assert pair.is_idle


def test_38_a_server_that_breaks_the_range_is_told_that_nobody_listens(pair: Pair) -> None:
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
    # An answer that was on its way before it heard of that is no violation.
    pair.finish(pair.begin("add", 1)[1], 2)


# Errors of a manager


def test_41_a_manager_that_swallows_an_error_has_failed_all_the_same(pair: Pair) -> None:
    call, served = pair.begin("outs")
    close(served, "one")
    with pytest.raises(rpc.PipeClosed):
        push(served, "one", b"x")
    close(served, "two")
    assert type(pair.finish(served, 5)) is rpc.PipeClosed
    with pytest.raises(rpc.PipeClosed):
        result_of(call)


def test_41_it_is_the_first_error_that_counts(pair: Pair) -> None:
    call, served = pair.begin("outs")
    with pytest.raises(rpc.WrongPipeOrder):
        push(served, "two", b"x")
    close(served, "one")
    with pytest.raises(rpc.PipeClosed):
        close(served, "one")
    pair.finish(served, 5)
    with pytest.raises(rpc.WrongPipeOrder):
        result_of(call)


def test_42_what_is_raised_again_has_the_same_code(pair: Pair) -> None:
    call, served = pair.begin("outs")
    with pytest.raises(rpc.WrongPipeOrder) as caught:
        push(served, "two", b"x")
    pair.finish(served, error=caught.value)
    with pytest.raises(rpc.WrongPipeOrder) as there:
        result_of(call)
    assert (there.value.code, there.value.fault_status) == (1831, 0x1C000016)


def test_43_a_manager_that_fails_in_the_middle(pair: Pair) -> None:
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


def test_45_the_end_of_a_connection_is_no_end_of_a_pipe(pair: Pair) -> None:
    call, served = pair.begin("total")
    push(call, "numbers", [1])
    pair.pump()
    pair.server.close(rpc.CommFailure("the connection ended"))
    with pytest.raises(rpc.CommFailure, match=r"^the connection ended during the call: the conn"):
        pull(served, "numbers")
    # Nobody hears of the answer, and giving it is no error.
    assert type(served.finish(to_octets(1), None)) is rpc.CommFailure
    assert pair.server.take_output() == []
    pair.client.close(rpc.CommFailure("the connection ended"))
    with pytest.raises(rpc.CommFailure):
        push(call, "numbers", [2])
    with pytest.raises(rpc.CommFailure):
        call.raise_failure()
    with pytest.raises(rpc.ServerUnavailable, match=r"^the connection ended; this call was not"):
        pair.client.require_open()


def test_60_after_a_failure_nothing_more_is_owed(pair: Pair) -> None:
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


def test_64_65_a_server_is_asked_to_end_and_answers_as_it_likes(pair: Pair) -> None:
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


def test_64_its_pipes_go_on(pair: Pair) -> None:
    call, served = pair.begin("total")
    call.cancel()
    push(call, "numbers", [1])
    close(call, "numbers")
    pair.pump()
    assert [pull(served, "numbers"), pull(served, "numbers")] == [[1], []]
    pair.finish(served, 4)
    assert result_of(call) == 4


@pytest.mark.parametrize("cancelled", [False, True])
def test_66_who_gives_a_call_up_ends_it_at_the_server(pair: Pair, cancelled: bool) -> None:
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


def test_67_after_the_answer_there_is_nothing_to_give_up(pair: Pair) -> None:
    call, served = pair.begin("add", 1)
    pair.finish(served, 2)
    call.cancel()
    call.orphan()
    assert pair.client.take_output() == []
    assert result_of(call) == 2


@pytest.mark.parametrize("give_up", ["cancel", "orphan"])
@pytest.mark.parametrize("name", ["add", "count", "total"])
def test_67_giving_up_may_cross_the_answer(pair: Pair, name: str, give_up: str) -> None:
    call, served = pair.begin(name, *([1] if name != "total" else []))
    if name == "total":
        close(call, "numbers")
        pair.pump()
        pull(served, "numbers")
    if name == "count":
        push(served, "numbers", [1])
        close(served, "numbers")
    getattr(call, give_up)()
    served.finish(to_octets(1), None)
    pair.pump()
    assert pair.is_idle
    assert pair.server.state is pair.client.state is ConnectionState.OPEN
    pair.finish(pair.begin("add", 1)[1], 2)


def test_what_comes_for_a_call_that_was_given_up_is_passed_over(pair: Pair) -> None:
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


def test_what_was_pushed_when_the_answer_came_is_passed_over(pair: Pair) -> None:
    call, served = pair.begin("total")
    push(call, "numbers", [1])
    call.cancel()
    served.finish(None, rpc.Fault("no"))
    pair.pump()
    with pytest.raises(rpc.Fault, match=r"^no$"):
        push(call, "numbers", [2])
    assert pair.is_idle


# Shutting down


def test_a_server_that_shuts_down_finishes_what_it_has_begun(pair: Pair) -> None:
    call, served = pair.begin("total")
    pair.server.shut_down()
    pair.server.shut_down()
    pair.pump()
    assert pair.events.count((C, Event.SHUTDOWN)) == 1
    assert pair.client.state is pair.server.state is ConnectionState.DRAINING
    with pytest.raises(rpc.ServerUnavailable, match=r"^the server is going away; connect again$"):
        pair.client.require_open()
    push(call, "numbers", [1])
    close(call, "numbers")
    pair.pump()
    assert [pull(served, "numbers"), pull(served, "numbers")] == [[1], []]
    pair.finish(served, 1)
    assert result_of(call) == 1
    assert pair.is_idle


def test_calls_that_cross_the_shutdown_are_not_begun(pair: Pair) -> None:
    begun, served = pair.begin("add", 1)
    pair.server.shut_down("gone for lunch")
    late = pair.request("total")
    push(late, "numbers", [1])
    also = pair.request("add", 2)
    also.cancel()
    also.orphan()
    pair.pump()
    assert set(pair.server.calls) == {served.id}
    for call in (late, also):
        with pytest.raises(rpc.ServerUnavailable, match=r"^gone for lunch; this call was not beg"):
            call.raise_failure()
        assert call.id not in pair.client.calls
    with pytest.raises(rpc.ServerUnavailable):
        push(late, "numbers", [1])
    pair.finish(served, 2)
    assert result_of(begun) == 2
    assert pair.is_idle


def test_only_a_server_shuts_down(pair: Pair) -> None:
    body = to_octets({"code": 0, "message": "bye"})
    with pytest.raises(ProtocolError, match="the client sent SHUTDOWN"):
        pair.server.receive(encode(Kind.SHUTDOWN, 0, body))


@pytest.mark.parametrize("party", Party)
def test_who_breaks_the_protocol_is_told(pair: Pair, party: Party) -> None:
    call, _ = pair.begin("add", 1)
    end = pair.ends[party]
    with pytest.raises(ProtocolError) as caught:
        end.receive(b"\xff" * 20)
    end.close(caught.value)
    end.close(rpc.CommFailure("later"))
    assert end.state is ConnectionState.CLOSED
    assert end.failure is caught.value
    pair.pump(end.peer)
    other = pair.ends[end.peer]
    assert other.state is ConnectionState.CLOSED
    assert isinstance(other.failure, rpc.CommFailure)
    assert other.failure.message == (
        "the other end has closed the connection: there is no frame of kind 255"
    )
    with pytest.raises(rpc.CommFailure):
        call.raise_failure()


@pytest.mark.parametrize("kind", [Kind.FAULT, Kind.RESPONSE])
def test_a_call_whose_answer_is_none_fails_with_the_connection(pair: Pair, kind: Kind) -> None:
    call, _ = pair.begin("total")
    with pytest.raises(ProtocolError) as caught:
        pair.client.receive(encode(kind, call.id, b"\xc1"))
    pair.client.close(caught.value)
    with pytest.raises(rpc.CommFailure):
        call.raise_failure()


def test_nothing_comes_after_the_end(pair: Pair) -> None:
    pair.server.close(rpc.CommFailure("over"))
    for kind in (Kind.PING, Kind.REQUEST, Kind.BIND):
        with pytest.raises(ProtocolError):
            pair.server.receive(encode(kind, 1))


# Are you there?


@pytest.mark.parametrize("party", Party)
def test_a_ping_is_answered(pair: Pair, party: Party) -> None:
    end = pair.ends[party]
    end.ping()
    end.ping()
    assert end.pings == 2
    pair.pump()
    assert end.pings == 0


def test_answers_to_pings_do_not_pile_up(pair: Pair) -> None:
    for _ in range(100):
        pair.server.receive(encode(Kind.PING))
    assert pair.server.take_output() == [encode(Kind.PONG)]
    assert pair.server.output_size == 0


def test_nobody_is_asked_before_it_is_bound() -> None:
    # It would be against the protocol; and who stays silent is still silent.
    pair = Pair(Work, bind=False)
    pair.server.ping()
    assert (pair.server.take_output(), pair.server.pings) == ([], 1)


# What the other end must not do


def violation(pair: Pair, party: Party, frame: bytes, words: str) -> None:
    """Checks that this end refuses it."""
    with pytest.raises(ProtocolError, match=words):
        pair.ends[party].receive(frame)


def pipe(number: int, octets: bytes, call: int = 1) -> bytes:
    return encode(Kind.PIPE, call, octets, number=number)


def credit(number: int, amount: int, call: int = 1) -> bytes:
    return encode(Kind.CREDIT, call, number=number, amount=amount)


def test_more_than_was_allowed(pair: Pair) -> None:
    pair.begin("total")
    most = (LEAST_CREDIT // 4).to_bytes(4, "little") + bytes(LEAST_CREDIT - 4)
    pair.server.receive(pipe(0, most[:-1]))
    pair.server.receive(pipe(0, most[-1:]))
    violation(pair, S, pipe(0, b"x"), r"^1 octets came for the pipe numbers, where 0 were allowed$")


def test_pulling_allows_as_much_again(pair: Pair) -> None:
    _, served = pair.begin("total")
    pair.server.receive(pipe(0, (2**32 - 1).to_bytes(4, "little") + bytes(LEAST_CREDIT - 4)))
    violation(pair, S, pipe(0, b"x"), "where 0 were allowed")
    pull(served, "numbers")
    pair.server.receive(pipe(0, bytes(LEAST_CREDIT)))
    violation(pair, S, pipe(0, b"x"), "where 0 were allowed")


@pytest.mark.parametrize(
    ("name", "number"), [("total", 1), ("total", 65535), ("ins", 1), ("pass_on", 2), ("outs", 0)]
)
def test_a_pipe_out_of_turn(pair: Pair, name: str, number: int) -> None:
    pair.begin(name)
    violation(pair, S, pipe(number, bytes(4)), rf"^pipe {number} of Work.{name} came out of turn$")


def test_a_pipe_after_its_end(pair: Pair) -> None:
    pair.begin("ins")
    violation(pair, S, pipe(0, bytes(5)), "goes on after its end")
    pair.begin("ins")
    pair.server.receive(pipe(0, bytes(4), call=2))
    violation(pair, S, pipe(0, bytes(4), call=2), "came out of turn")


def test_an_out_pipe_before_the_in_pipes_have_ended(pair: Pair) -> None:
    call, _ = pair.begin("pass_on")
    close(call, "first")
    violation(pair, C, pipe(0, bytes(4)), "answered before it had all its in-pipes")


def test_an_answer_before_the_in_pipes_have_ended(pair: Pair) -> None:
    pair.begin("total")
    violation(pair, C, encode(Kind.RESPONSE, 1, b"\1"), "before it had all its in-pipes")


def test_an_answer_before_the_out_pipes_have_ended(pair: Pair) -> None:
    pair.begin("count", 1)
    violation(pair, C, encode(Kind.RESPONSE, 1, b"\1"), "was answered before its pipes had ended")


def test_credit_for_a_pipe_that_is_not_sent(pair: Pair) -> None:
    pair.begin("total")
    violation(pair, C, credit(1, 5), r"^Work.total sends no pipe 1 from here$")
    violation(pair, S, credit(0, 5), r"^Work.total sends no pipe 0 from here$")


def test_calls_out_of_order(pair: Pair) -> None:
    pair.begin("add", 1)
    for number in (0, 1, 3, 2**64 - 1):
        violation(
            pair, S, encode(Kind.REQUEST, number, b"\x91\1"), rf"^call {number} follows call 1$"
        )


@pytest.mark.parametrize("kind", [Kind.PIPE, Kind.CREDIT, Kind.CANCEL, Kind.ORPHANED])
def test_a_call_that_never_was(pair: Pair, kind: Kind) -> None:
    for number in (0, 1, 2**63):
        violation(
            pair, S, encode(kind, number), rf"^{kind.name} for call {number}, which never was"
        )


def test_an_answer_to_no_call(pair: Pair) -> None:
    call, served = pair.begin("add", 1)
    violation(pair, C, encode(Kind.RESPONSE, 2, b"\1"), "which never was")
    pair.finish(served, 2)
    violation(pair, C, encode(Kind.RESPONSE, call.id, b"\1"), "for a call that is done")
    violation(pair, C, encode(Kind.FAULT, call.id, b"\1"), "for a call that is done")


def test_anything_for_a_call_that_was_given_up(pair: Pair) -> None:
    for kind in (Kind.PIPE, Kind.CREDIT, Kind.CANCEL, Kind.ORPHANED):
        call, _ = pair.begin("count", 1)
        call.orphan()
        pair.pump()
        violation(pair, S, encode(kind, call.id), "for a call that is orphaned")


def test_binding_twice_and_before_all_else(pair: Pair) -> None:
    violation(pair, S, encode(Kind.BIND, 0, bind_body()), "on a connection that is open")
    violation(pair, C, encode(Kind.BIND_ACK, 0, ack_body()), "on a connection that is open")
    unbound = Pair(Work, bind=False)
    for kind in set(Kind) - {Kind.BIND, Kind.SHUTDOWN}:
        violation(unbound, S, encode(kind, 1), "on a connection that is unbound")


@pytest.mark.parametrize("size", range(HEAD.size))
def test_a_frame_has_a_head(pair: Pair, size: int) -> None:
    violation(pair, S, encode(Kind.PING)[:size], rf"^a frame of {size} octets is too short$")


@pytest.mark.parametrize("kind", [0, 14, 255])
def test_a_frame_has_a_kind(pair: Pair, kind: int) -> None:
    violation(pair, C, bytes([kind]) + bytes(15), rf"^there is no frame of kind {kind}$")


BAD_BODIES = [
    b"",
    b"\xc1",
    b"\x80",
    b"\x90",
    b"\x81\xa4code\xa1x",
    to_octets({"code": 0, "message": 5}),
    to_octets({"code": 0, "message": ""}) + b"\0",
    b"\x82\xa4code\0\xa7message\xa2\xff\xfe",
    b"\x83\xa4code\0\xa7message\xa0\xa4more" + b"\x91" * 50_000 + b"\0",
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_a_body_is_what_its_kind_says(pair: Pair, body: bytes) -> None:
    pair.begin("add", 1)
    violation(pair, C, encode(Kind.FAULT, 1, body), r"^the body of FAULT is not what it should be")
    violation(pair, C, encode(Kind.SHUTDOWN, 0, body), r"^the body of SHUTDOWN is not what it sho")
    unbound = Pair(Work, bind=False)
    violation(unbound, S, encode(Kind.BIND, 0, body), r"^the body of BIND is not what it should be")
    for kind in (Kind.BIND_ACK, Kind.BIND_NAK):
        unbound = Pair(Work, bind=False)
        unbound.client.bind(definition(Work))
        violation(unbound, C, encode(kind, 0, body), rf"^the body of {kind.name} is not what it")


# What goes out once never changes


class Golden(rpc.Interface, uuid="00112233-4455-6677-8899-aabbccddeeff", version=(1, 2)):
    @rpc.operation
    def add(self, a: int, b: int) -> int:
        raise NotImplementedError

    @rpc.operation
    def copy(
        self, into: rpc.InPipe[rpc.int16], out: Annotated[rpc.OutPipe[rpc.byte], rpc.Range(0, 9)]
    ) -> None: ...


def golden_conversation() -> list[tuple[Party, bytes]]:
    """One frame of each kind, in an order that can be."""
    pair = Pair(
        Golden, client=Limits(credit=2**20), server=Limits(max_frame=2**20, credit=2**18, calls=3)
    )
    call, served = pair.begin("add", 2, 3)
    pair.finish(served, 5)
    call, served = pair.begin("copy", milliseconds=2500)
    push(call, "into", [1, -2])
    close(call, "into")
    pair.pump()
    pull_all(served, "into")
    push(served, "out", b"abc")
    call.cancel()
    pair.pump()
    pair.finish(served, error=rpc.Fault("no", code=7, type="KeyError"))
    call, served = pair.begin("copy")
    push(call, "into", bytes(2**18 - 4))
    pair.pump()
    pull(served, "into")
    call.orphan()
    pair.pump()
    pair.client.ping()
    pair.pump()
    pair.server.shut_down("bye")
    pair.pump()
    refused = Pair(Work, Golden)
    return pair.sent + [one for one in refused.sent if one[0] is S]


GOLDEN: list[tuple[Party, Kind, str]] = [
    (
        C,
        Kind.BIND,
        """0100000000000000 0000000000000000
        86a870726f746f636f6c01a475756964d92430303131323233332d343435352d363637372d383839
        392d616162626363646465656666a776657273696f6e920102a96d61785f6672616d65ce01000000
        a6637265646974ce00100000a46e616d65a6476f6c64656e""",
    ),
    (
        S,
        Kind.BIND_ACK,
        """0200000000000000 0000000000000000
        86a870726f746f636f6c01a776657273696f6e920102a96d61785f6672616d65ce00100000a66372
        65646974ce00040000a563616c6c7303aa6f7065726174696f6e739292a3616464a092a4636f7079
        be696e20696e7431362c206f757420627974652072616e676528302c203929""",
    ),
    (
        C,
        Kind.REQUEST,
        """0400000000000000 0100000000000000
        920203""",
    ),
    (
        S,
        Kind.RESPONSE,
        """0500000000000000 0100000000000000
        05""",
    ),
    (
        C,
        Kind.REQUEST,
        """04020100c4090000 0200000000000000
        90""",
    ),
    (
        C,
        Kind.PIPE,
        """0700000000000000 0200000000000000
        020000000100feff""",
    ),
    (
        C,
        Kind.PIPE,
        """0700000000000000 0200000000000000
        00000000""",
    ),
    (
        S,
        Kind.PIPE,
        """0700010000000000 0200000000000000
        03000000616263""",
    ),
    (
        C,
        Kind.CANCEL,
        """0900000000000000 0200000000000000""",
    ),
    (
        S,
        Kind.FAULT,
        """0600000000000000 0200000000000000
        84a4636f646507a76d657373616765a26e6fa474797065a84b65794572726f72a974726163656261
        636bc0""",
    ),
    (
        C,
        Kind.REQUEST,
        """0400010000000000 0300000000000000
        90""",
    ),
    (
        S,
        Kind.CREDIT,
        """08000000f4ff0300 0300000000000000""",
    ),
    (
        C,
        Kind.ORPHANED,
        """0a00000000000000 0300000000000000""",
    ),
    (
        C,
        Kind.PING,
        """0b00000000000000 0000000000000000""",
    ),
    (
        S,
        Kind.PONG,
        """0c00000000000000 0000000000000000""",
    ),
    (
        S,
        Kind.SHUTDOWN,
        """0d00000000000000 0000000000000000
        83a4636f646500a76d657373616765a3627965a96c6173745f63616c6c03""",
    ),
    (
        S,
        Kind.BIND_NAK,
        """0300000000000000 0000000000000000
        83a4636f6465cd06b5a76d657373616765d9557468652073657276657220646f6573206e6f742073
        657276652074686520696e7465726661636520476f6c64656e202830303131323233332d34343535
        2d363637372d383839392d61616262636364646565666629a96c6173745f63616c6c00""",
    ),
]


def test_golden_frames() -> None:
    # Those that are long have nothing in them that the short ones have not.
    sent = [(party, octets) for party, octets in golden_conversation() if len(octets) < 300]
    assert sent == [(party, bytes.fromhex(octets)) for party, _, octets in GOLDEN]
    assert [kind for _, kind, _ in GOLDEN] == kinds(octets for _, octets in sent)


def test_golden_frames_are_of_every_kind() -> None:
    assert {kind for _, kind, _ in GOLDEN} == set(Kind)


def test_golden_frames_mean_the_same_again() -> None:
    for _, octets in golden_conversation():
        frame = decode(octets)
        again = encode(
            frame.kind,
            frame.call,
            bytes(frame.body),
            flags=frame.flags,
            number=frame.number,
            amount=frame.amount,
        )
        assert again == octets


# Garbage


def busy_pair() -> Pair:
    """Calls of each kind, in the middle."""
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
    """What comes to this end in busy_pair(), or nearly."""
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
    """What a user may do with its calls whatever has come."""
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
    """What holds whatever has come: its calls can be ended, and leave nothing."""
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
def test_garbage_is_taken_or_refused_and_nothing_else(party: Party, data: st.DataObject) -> None:
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
