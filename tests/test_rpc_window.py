"""The window of a pipe: it grows while the consumer keeps up, and never beyond the limit."""

from __future__ import annotations

import struct
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from ipcpipes import rpc
from ipcpipes.rpc.core.call import Call
from ipcpipes.rpc.core.call_pipes import Incoming
from ipcpipes.rpc.core.state import Party
from ipcpipes.rpc.wire.format import FIRST_CREDIT, LEAST_CREDIT, Kind, Limits, decode, encode
from ipcpipes.rpc.wire.ndr import ChunkWriter

from .rpc_drivers import Driver
from .rpc_over_managers import Calls, drained
from .rpc_pair_work import Work
from .rpc_pairs import Pair, close, go_on, pull, pull_all, push
from .rpc_waiting import Event

C, S = Party.CLIENT, Party.SERVER
MIB = 2**20
OCTETS = Calls._rpc_definition.operations["octets_into"].pipes[0]
HEAD = 4  # the count of a chunk


class Sender:
    """The peer of one incoming pipe, which sends all that it may."""

    def __init__(self, limit: int) -> None:
        self.pipe = Incoming(OCTETS, min(limit, FIRST_CREDIT), limit)
        self.credit = min(limit, FIRST_CREDIT)
        self._writer = ChunkWriter(OCTETS.element)

    def send(self, most: int) -> int:
        """Sends up to ``most`` bytes, and returns how many."""
        size = min(most, self.credit - HEAD - 3)  # a count may follow up to three bytes
        if size <= 0:
            return 0
        octets = self._writer.prefix(size) + bytes(size)
        self.pipe.arrived(memoryview(octets))
        self.credit -= len(octets)
        return size

    def grant(self) -> None:
        self.credit += self.pipe.grant()


def test_the_window_doubles_up_to_the_limit_while_the_consumer_keeps_up() -> None:
    sender = Sender(16 * MIB)
    windows = [sender.credit]
    for _ in range(40):
        sender.send(MIB)
        while sender.pipe.reader.has_elements:
            sender.pipe.reader.take(2**32)
        sender.grant()
        if sender.credit > windows[-1]:
            windows.append(sender.credit)
    assert windows == [FIRST_CREDIT, 2 * FIRST_CREDIT, 4 * FIRST_CREDIT, 16 * MIB]


def test_a_consumer_that_is_behind_has_the_first_window() -> None:
    sender = Sender(16 * MIB)
    while sender.send(MIB):
        pass
    for _ in range(100):
        sender.pipe.reader.take(100_000)
        sender.grant()
        while sender.send(MIB):  # the sender is never the slower one
            pass
        assert sender.pipe.reader.waiting <= FIRST_CREDIT


def test_a_limit_below_the_first_window_is_the_window() -> None:
    sender = Sender(LEAST_CREDIT)
    for _ in range(20):
        assert sender.send(MIB)
        while sender.pipe.reader.has_elements:
            sender.pipe.reader.take(2**32)
        sender.grant()
        assert sender.credit == LEAST_CREDIT


@settings(max_examples=60)
@given(
    limit=st.integers(LEAST_CREDIT, 40 * MIB),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("send"), st.integers(1, 3 * MIB)),
            st.tuples(st.just("pull"), st.integers(1, 3 * MIB)),
            st.tuples(st.just("pull all"), st.just(0)),
        ),
        max_size=60,
    ),
)
def test_what_may_come_and_what_waits_are_within_the_limit(
    limit: int, steps: list[tuple[str, int]]
) -> None:
    sender = Sender(limit)
    reader = sender.pipe.reader
    for step, amount in steps:
        if step == "send":
            sender.send(amount)
        elif step == "pull":
            if reader.has_elements:
                reader.take(amount)
            sender.grant()
        else:
            while reader.has_elements:
                reader.take(2**32)
            sender.grant()
        assert sender.credit + reader.waiting <= limit
        if not reader.has_elements and step != "send":
            # A consumer that waits never waits for a sender that waits for credit.
            assert sender.credit > min(limit, FIRST_CREDIT) // 2


def granted(pair: Pair, party: Party) -> int:
    frames = [decode(frame) for sender, frame in pair.sent if sender is party]
    return sum(frame.amount for frame in frames if frame.kind is Kind.CREDIT)


@pytest.mark.parametrize("receiver", [S, C], ids=["in", "out"])
def test_the_window_grows_in_both_directions(receiver: Party) -> None:
    pair = Pair(Work, client=Limits(), server=Limits())
    assert (pair.client.peer_credit, pair.server.peer_credit) == (FIRST_CREDIT, FIRST_CREDIT)
    if receiver is S:
        sending, receiving = pair.begin("total")
    else:
        receiving, sending = pair.begin("count", 0)
    sent = largest = 0
    for _ in range(40):
        pushing = push(sending, "numbers", bytes(MIB))
        pair.pump()
        assert pushing.done
        sent += MIB + HEAD
        pull_all(receiving, "numbers")
        pair.pump()
        ahead = FIRST_CREDIT + granted(pair, receiver) - sent
        assert ahead <= 16 * MIB
        largest = max(largest, ahead)
    assert largest > 8 * FIRST_CREDIT - 2 * MIB


def test_more_than_a_widened_window_is_a_violation() -> None:
    pair = Pair(Work, client=Limits(), server=Limits(credit=4 * MIB))
    call, served = pair.begin("total")
    while granted(pair, S) < 4 * MIB:
        push(call, "numbers", bytes(MIB))
        pair.pump()
        pull_all(served, "numbers")
        pair.pump()
    left = call.outgoing[0].credit
    assert left <= 4 * MIB
    writer = call.outgoing[0].writer
    size = left // 4 * 4
    octets = writer.prefix(size // 4) + bytes(size)
    pair.server.receive(encode(Kind.PIPE, call.id, octets[:left], number=0))
    with pytest.raises(rpc.ProtocolError, match="where 0 were allowed"):
        pair.server.receive(encode(Kind.PIPE, call.id, bytes(8), number=0))


def test_each_of_many_calls_has_its_own_window() -> None:
    """One consumer keeps up, and the other ones do not pull at all: their windows do not grow."""
    limits = Limits(credit=8 * MIB, max_frame=2**24)
    pair = Pair(Work, client=limits, server=limits)
    calls = [pair.begin("total") for _ in range(8)]
    pushes = [push(call, "numbers", bytes(16 * MIB)) for call, _ in calls]
    fast, quick = calls[0]
    for _ in range(100):
        pair.pump()
        pull_all(quick, "numbers")
        pair.pump()
        if go_on(fast, "numbers", pushes[0]):
            break
    assert pushes[0].done
    waiting = [served.incoming[0].reader.waiting for _, served in calls]
    assert max(waiting[1:]) <= FIRST_CREDIT
    assert sum(waiting) <= 7 * FIRST_CREDIT + 8 * MIB


def served_by_an_old_peer(call: Call, served: Call, pair: Pair) -> None:
    """Grants as versions did whose window was fixed: what was pulled, in halves of the window."""
    pipe: Any = served.incoming[0]
    pipe._most = pipe._window


def test_a_peer_that_never_widens_its_window() -> None:
    pair = Pair(Work, client=Limits(), server=Limits())
    call, served = pair.begin("total")
    served_by_an_old_peer(call, served, pair)
    numbers = list(range(2 * MIB))
    pushing = push(call, "numbers", numbers)
    pulled: list[int] = []
    for _ in count():
        pair.pump()
        pulled += pull(served, "numbers") or []
        pair.pump()
        if go_on(call, "numbers", pushing):
            break
    assert close(call, "numbers")
    pair.pump()
    pulled += pull_all(served, "numbers")
    assert pulled == numbers
    assert granted(pair, S) <= 4 * len(numbers) + 64


async def test_the_window_of_a_manager_that_keeps_up(driver: Driver) -> None:
    """With both drivers: the credit grows to the limit of the server, and no further."""

    async def octets_into(data: Any) -> int:
        return len(await drained(data))

    async with driver.raw_calling(octets_into=octets_into, server={"credit": 8 * MIB}) as (raw, _):
        answer = await raw.bind()
        assert b"\xa6credit\xce" + struct.pack(">I", FIRST_CREDIT) in bytes(answer.body)
        await raw.request(1, "octets_into")
        chunk = struct.pack("<I", MIB) + bytes(MIB)
        credit, largest = FIRST_CREDIT, 0
        for _ in range(30):
            await raw.send(Kind.PIPE, 1, body=chunk)
            credit -= len(chunk)
            while credit < len(chunk):
                frame = await raw.receive()
                assert frame.kind is Kind.CREDIT
                credit += frame.amount
                largest = max(largest, credit)
            assert credit <= 8 * MIB
        await raw.send(Kind.PIPE, 1, body=bytes(4))
        while (frame := await raw.receive()).kind is Kind.CREDIT:
            credit += frame.amount
            assert credit <= 8 * MIB
        assert frame.kind is Kind.RESPONSE
        assert largest > 4 * MIB


async def test_a_manager_that_does_not_pull_gets_the_first_window(driver: Driver) -> None:
    begun, go_on = Event(), Event()

    async def octets_into(data: Any) -> int:
        begun.set()
        await go_on.wait()
        return len(await drained(data))

    async with driver.raw_calling(octets_into=octets_into) as (raw, _):
        await raw.bind()
        await raw.request(1, "octets_into")
        half = FIRST_CREDIT // 2
        chunk = struct.pack("<I", half - HEAD) + bytes(half - HEAD)
        for _ in range(2):
            await raw.send(Kind.PIPE, 1, body=chunk)
        await begun.wait()
        # No credit came before the answer to this: the next frame is the PONG.
        await raw.send(Kind.PING)
        assert (await raw.receive()).kind is Kind.PONG
        go_on.set()
        assert (await raw.receive()).kind is Kind.CREDIT
        await raw.send(Kind.PIPE, 1, body=bytes(4))
        while (frame := await raw.receive()).kind is Kind.CREDIT:
            pass
        assert frame.kind is Kind.RESPONSE
