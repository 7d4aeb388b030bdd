"""Two sessions, compared with a model, while users act and frames arrive in any order."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ipcpipes import rpc
from ipcpipes.rpc.core.call import Call
from ipcpipes.rpc.core.call_pipes import Push
from ipcpipes.rpc.core.session import Event
from ipcpipes.rpc.core.state import ConnectionState, Party
from ipcpipes.rpc.definition.operations import Operation, Pipe
from ipcpipes.rpc.wire.format import LEAST_CREDIT, LEAST_FRAME, Kind, Limits, decode
from ipcpipes.rpc.wire.ndr import LARGEST_COUNT

from .rpc_pairs import Pair

EXAMPLES = os.environ.get("IPCPIPES_EXAMPLES")
C, S = Party.CLIENT, Party.SERVER


class Padded(rpc.Structure):
    value: rpc.int32
    last: rpc.byte


class Work(rpc.Interface, uuid="6f1c6b1e-58b8-4b52-9d0c-0f6f4f0f7a10", version=(1, 0)):
    @rpc.operation
    def none(self) -> int:
        raise NotImplementedError

    @rpc.operation
    def into(self, a: rpc.InPipe[rpc.byte]) -> int:
        raise NotImplementedError

    @rpc.operation
    def out(self, a: rpc.OutPipe[rpc.int64]) -> int:
        raise NotImplementedError

    @rpc.operation
    def both(self, a: rpc.InOutPipe[Padded]) -> int:
        raise NotImplementedError

    @rpc.operation
    def many(
        self,
        a: rpc.InOutPipe[rpc.int16],
        b: rpc.OutPipe[Padded],
        c: rpc.InPipe[rpc.float64],
        d: rpc.OutPipe[rpc.byte],
    ) -> int:
        raise NotImplementedError

    @rpc.operation
    def ranged(
        self,
        a: Annotated[rpc.InPipe[Padded], rpc.Range(2, 30_000)],
        b: Annotated[rpc.OutPipe[rpc.int16], rpc.Range(0, 70_000)],
    ) -> int:
        raise NotImplementedError


OPERATIONS: list[Operation] = list(Work._rpc_definition.operations.values())
Turn = tuple[bool, int]


@dataclass
class Pass:
    """A pipe in one direction: its pushed and its pulled bytes."""

    pipe: Pipe
    pushed: bytearray = field(default_factory=bytearray)
    pulled: bytearray = field(default_factory=bytearray)
    is_closed: bool = False
    end_was_pulled: bool = False
    pending: Push | None = None
    octets: int = 0  # on the wire
    allowed: int = LEAST_CREDIT


class Model:
    """The expected state of a call."""

    def __init__(self, operation: Operation, call: Call) -> None:
        self.operation = operation
        self.call = call
        self.served: Call | None = None
        self.turns: list[Turn] = [
            *((True, index) for index in operation.ins),
            *((False, index) for index in operation.outs),
        ]
        self.passes = {turn: Pass(operation.pipes[turn[1]]) for turn in self.turns}
        self.latched: type[rpc.RpcError] | None = None
        self.is_finished = False
        self.result: int | None = None

    def end(self, party: Party) -> Call | None:
        return self.call if party is C else self.served

    def place(self, party: Party) -> int:
        """The number of turns that are over at this end."""
        sends = party is C
        return sum(
            one.is_closed if into is sends else one.end_was_pulled
            for (into, _), one in self.passes.items()
        )

    def wrong_turn(self, party: Party, turn: Turn, *, pulling: bool) -> type[rpc.RpcError] | None:
        now = self.place(party)
        if turn not in self.turns or self.turns.index(turn) > now:
            return rpc.WrongPipeOrder
        if self.turns.index(turn) < now:
            return rpc.PipeEmpty if pulling else rpc.PipeClosed
        return None

    def fails(self, party: Party, turn: Turn, *, pulling: bool) -> type[rpc.RpcError] | None:
        """The error that the use of a pipe must raise now."""
        end = self.end(party)
        assert end is not None
        if party is S and self.is_finished:
            return rpc.InvalidAsyncHandle
        # A client may pull data that arrived before the call failed.
        if end.failure is not None and not (pulling and party is C):
            return type(end.failure)
        return self.wrong_turn(party, turn, pulling=pulling)


calls = st.integers(0, 5)
parties = st.sampled_from(Party)
# Above 3: the pipe that has its turn.
pipes = st.integers(0, 20)
counts = st.sampled_from([1, 2, 5, 100, 3000, 40_000])


class Sessions(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        limits = Limits(max_frame=LEAST_FRAME, credit=LEAST_CREDIT, calls=5)
        self.pair = Pair(Work, client=limits, server=limits)
        self.open: list[Model] = []
        self.models: dict[int, Model] = {}
        self.seen = len(self.pair.sent)
        self.filling = 0
        self.is_leaving = False

    # Frames on their way

    def account(self) -> None:
        """Counts the output of both ends."""
        for party in Party:
            self.pair.gather(party)
        for party, octets in self.pair.sent[self.seen :]:
            frame = decode(octets)
            assert len(octets) <= LEAST_FRAME
            if frame.kind is Kind.PIPE:
                one = self.models[frame.call].passes[party is C, frame.number]
                one.octets += len(frame.body)
                # A pipe uses only credit that has arrived, not credit that is on its way.
                assert one.octets <= one.allowed
        self.seen = len(self.pair.sent)

    def step(self, party: Party) -> bool:
        """One message arrives. No message of a correct end is refused."""
        self.account()
        coming = self.pair.coming[party]
        if not coming:
            return False
        frame = decode(coming[0])
        if frame.kind is Kind.CREDIT:
            self.models[frame.call].passes[party is C, frame.number].allowed += frame.amount
        happened = self.pair.deliver(party)
        assert happened is not None
        event, call = happened
        if event is Event.REQUEST:
            assert call is not None
            assert not self.is_leaving
            self.models[call.id].served = call
        elif event is Event.ANSWER:
            assert call is not None
            model = self.models[call.id]
            assert model.is_finished
            assert call.is_answered or call.failure is not None
        return True

    @rule(party=parties, count=st.integers(1, 4))
    def arrive(self, party: Party, count: int) -> None:
        for _ in range(count):
            self.step(party)

    @rule()
    def settle(self) -> None:
        while self.step(C) or self.step(S):
            pass

    @rule(party=parties)
    def ping(self, party: Party) -> None:
        self.pair.ends[party].ping()

    # Calls

    @precondition(lambda self: len(self.open) < 5 and not self.is_leaving)
    @rule(operation=st.sampled_from(OPERATIONS), arrives=st.booleans())
    def begin(self, operation: Operation, arrives: bool) -> None:
        if self.pair.client.state is ConnectionState.OPEN and self.pair.client.has_room:
            call = self.pair.request(operation.name)
            model = Model(operation, call)
            self.models[call.id] = model
            self.open.append(model)
            if arrives:
                self.settle()

    @initialize(operations=st.lists(st.sampled_from(OPERATIONS[1:]), min_size=1, max_size=4))
    def begin_some(self, operations: list[Operation]) -> None:
        for operation in operations:
            self.begin(operation, True)

    @precondition(lambda self: self.open)
    @rule(
        number=calls,
        times=st.integers(1, 8),
        count=counts,
        most=st.sampled_from([1, 1000, LARGEST_COUNT]),
        ends=st.booleans(),
    )
    def go_through(self, number: int, times: int, count: int, most: int, ends: bool) -> None:
        """The normal use: one end pushes and closes, the other end pulls."""
        model = self.chosen(number)
        number = self.open.index(model)
        for _ in range(times):
            place = model.place(S)
            if place == len(model.turns):
                if not model.turns or ends:
                    self.finish(number, False)  # if it is done
                return
            sender = C if model.turns[place][0] else S
            self.push(number, sender, 20, count, count < 100)
            if ends:
                self.close(number, sender, 20)
            self.settle()
            self.pull(number, Party(1 - sender), 20, most, 4)
            self.settle()

    def chosen(self, number: int) -> Model:
        return self.open[number % len(self.open)]

    @precondition(lambda self: self.open)
    @rule(number=calls, party=parties, pipe=pipes, count=counts, small=st.booleans())
    def push(self, number: int, party: Party, pipe: int, count: int, small: bool) -> None:
        """Into any pipe, or the pipe that has its turn."""
        model = self.chosen(number)
        end = model.end(party)
        if end is None or not model.operation.pipes:
            return
        turn = self.turn_of(model, party, pipe)
        if turn in model.passes and model.passes[turn].pending:
            self.continue_push(model, party, turn)
            return
        one = model.operation.pipes[turn[1]]
        error = model.fails(party, turn, pulling=False)
        limits = one.range
        if error is None and limits is not None and not limits.low <= count <= limits.high:
            error = rpc.InvalidBound
        try:
            end.check_push(turn[1], count)
        except rpc.RpcError as caught:
            self.expect(model, party, error, caught)
            return
        assert error is None
        octets = self.elements(one, count)
        if small and len(octets) <= 4096:
            if end.push_small(turn[1], octets):
                model.passes[turn].pushed += octets
            return
        model.passes[turn].pending = Push(octets, count)
        self.continue_push(model, party, turn)

    def turn_of(self, model: Model, party: Party, pipe: int) -> Turn:
        """A pipe in the direction in which this end sends; usually the pipe that has its turn."""
        place = model.place(party)
        if pipe > 3 and place < len(model.turns) and model.turns[place][0] is (party is C):
            return model.turns[place]
        return (party is C, pipe % len(model.operation.pipes))

    def elements(self, pipe: Pipe, count: int) -> memoryview:
        """So many elements, different from those before; padding is zero."""
        stride, size = pipe.element.stride, pipe.element.size
        octets = bytearray(count * stride)
        for place in range(size):
            self.filling += 1
            octets[place::stride] = bytes([self.filling % 251 + 1]) * count
        return memoryview(octets)

    def continue_push(self, model: Model, party: Party, turn: Turn) -> None:
        end, one = model.end(party), model.passes[turn]
        pending = one.pending
        assert end is not None
        assert pending is not None
        error = model.fails(party, turn, pulling=False)
        before = pending.position
        try:
            while not pending.done and end.push_some(turn[1], pending):
                pass
        except rpc.RpcError as caught:
            assert type(caught) is error
            one.pending = None
            return
        assert error is None
        one.pushed += pending.octets[before : pending.position]
        if pending.done:
            one.pending = None

    def expect(
        self, model: Model, party: Party, error: type[rpc.RpcError] | None, caught: rpc.RpcError
    ) -> None:
        assert type(caught) is error, (error, caught)
        kinds = (rpc.PipeError, rpc.BadStubData)
        if party is S and isinstance(caught, kinds) and model.latched is None:
            model.latched = error

    @precondition(lambda self: self.open)
    @rule(number=calls, party=parties, pipe=pipes)
    def close(self, number: int, party: Party, pipe: int) -> None:
        model = self.chosen(number)
        end = model.end(party)
        if end is None or not model.operation.pipes:
            return
        turn = self.turn_of(model, party, pipe)
        if turn in model.passes and model.passes[turn].pending:
            return
        error = model.fails(party, turn, pulling=False)
        try:
            end.check_push(turn[1], None)
        except rpc.RpcError as caught:
            self.expect(model, party, error, caught)
            return
        assert error is None
        model.passes[turn].is_closed = end.close_pipe(turn[1])

    @precondition(lambda self: self.open)
    @rule(
        number=calls,
        party=parties,
        pipe=pipes,
        most=st.sampled_from([1, 3, 1000, LARGEST_COUNT]),
        times=st.integers(1, 4),
    )
    def pull(self, number: int, party: Party, pipe: int, most: int, times: int) -> None:
        model = self.chosen(number)
        end = model.end(party)
        if end is None or not model.operation.pipes:
            return
        place = model.place(party)
        turn = (party is S, pipe % len(model.operation.pipes))
        if pipe > 3 and place < len(model.turns) and model.turns[place][0] is turn[0]:
            turn = model.turns[place]
        for _ in range(times):
            if not self.pull_once(model, party, turn, most):
                return

    def pull_once(self, model: Model, party: Party, turn: Turn, most: int) -> bool:
        end = model.end(party)
        assert end is not None
        error = model.fails(party, turn, pulling=True)
        try:
            octets = end.pull(turn[1], most)
        except rpc.RpcError as caught:
            if error is None and party is C and end.failure is not None:
                # All data that arrived before was pulled.
                assert type(caught) is type(end.failure)
                assert not end.incoming[turn[1]].reader.has_elements
            else:
                self.expect(model, party, error, caught)
            return False
        assert error is None
        if octets is None:
            return False
        one = model.passes[turn]
        assert len(octets) <= most * one.pipe.element.stride
        one.pulled += octets
        one.end_was_pulled = not octets
        return bool(octets)

    # Ends

    @precondition(lambda self: self.open)
    @rule(number=calls, raises=st.sampled_from([False, False, True]), early=st.integers(0, 9))
    def finish(self, number: int, raises: bool, early: int = 9) -> None:
        model = self.chosen(number)
        is_done = model.place(S) == len(model.turns)
        if model.served is not None and not model.is_finished and (is_done or early == 9):
            self.answer(model, rpc.Fault("raised") if raises else None)

    def answer(self, model: Model, error: rpc.RpcError | None) -> None:
        served = model.served
        assert served is not None
        failure = None if served.failure is None else type(served.failure)
        expected: type[rpc.RpcError] | None = type(error) if error else model.latched or failure
        if expected is None and model.place(S) < len(model.turns):
            expected = rpc.PipeDisciplineError
        model.is_finished = True
        outcome = served.finish(None if error else msgspec.msgpack.encode(served.id), error)
        assert type(outcome) is (expected or type(None))
        if expected is None:
            model.result = served.id
        assert served.id not in self.pair.server.calls

    @precondition(lambda self: self.open)
    @rule(number=calls)
    def finish_again(self, number: int) -> None:
        model = self.chosen(number)
        if model.served is not None and model.is_finished:
            try:
                model.served.finish(b"\xc0", None)
            except rpc.InvalidAsyncHandle:
                return
            raise AssertionError("a call was answered twice")

    @precondition(lambda self: self.open)
    @rule(number=calls)
    def cancel(self, number: int) -> None:
        self.chosen(number).call.cancel()

    @precondition(lambda self: self.open)
    @rule(number=calls, again=st.booleans())
    def orphan(self, number: int, again: bool) -> None:
        model = self.chosen(number)
        model.call.orphan()
        model.call.lose(rpc.CallCancelled())
        self.open.remove(model)
        if again:
            model.call.orphan()

    @precondition(lambda self: len(self.models) > 3)
    @rule(sure=st.integers(0, 9))
    def shut_down(self, sure: int) -> None:
        if sure == 9:
            self.pair.server.shut_down()
            self.is_leaving = True

    @precondition(lambda self: self.open)
    @rule(number=calls)
    def forget(self, number: int) -> None:
        """The owner of an answered call drops it."""
        model = self.chosen(number)
        if model.call.is_answered:
            assert model.call.operation.decode_result(model.call.body) == model.result
            self.open.remove(model)

    # What always holds

    @invariant()
    def elements_arrive_exactly_and_in_order(self) -> None:
        for model in self.models.values():
            for one in model.passes.values():
                assert one.pushed.startswith(one.pulled)
                if one.end_was_pulled:
                    assert one.is_closed
                    assert one.pulled == one.pushed

    @invariant()
    def waiting_bytes_are_bounded(self) -> None:
        for session in self.pair.ends.values():
            for call in session.calls.values():
                for one in call.incoming.values():
                    # Including padding that is not sent.
                    assert one.reader.waiting <= LEAST_CREDIT * 2
        self.account()

    @invariant()
    def finished_calls_are_removed(self) -> None:
        server, client = self.pair.server, self.pair.client
        for number, model in self.models.items():
            assert (number in server.calls) == (model.served is not None and not model.is_finished)
            if model.call.is_answered:
                assert number not in client.calls
                assert model.call.failure is None or model.call not in client.calls.values()
        assert server.failure is None
        assert client.failure is None

    def teardown(self) -> None:
        """All calls end, and nothing is left."""
        self.settle()
        for model in self.models.values():
            if model.served is not None and not model.is_finished:
                self.answer(model, None)
        self.settle()
        for model in self.models.values():
            call = model.call
            if model.result is not None and call.failure is None:
                assert call.is_answered
                for (into, _), one in model.passes.items():
                    while not into and not one.end_was_pulled and one.pipe.index >= 0:
                        turn = model.turns[model.place(C)]
                        while self.pull_once(model, C, turn, LARGEST_COUNT):
                            pass
                        assert model.passes[turn].end_was_pulled
            elif not call.is_answered:
                assert call.failure is not None
        self.elements_arrive_exactly_and_in_order()
        assert self.pair.is_idle
        assert not self.pair.client.has_output
        assert not self.pair.server.has_output
        events = Counter(event for party, event in self.pair.events if party is C)
        assert events[Event.SHUTDOWN] == int(self.is_leaving)


TestSessions = Sessions.TestCase
TestSessions.settings = settings(
    deadline=None,
    max_examples=int(EXAMPLES or 200),
    stateful_step_count=60,
    derandomize="CI" in os.environ and not EXAMPLES,
)
