"""The core of streams, without a transport: credits, ends, and what a peer may not do."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.rpc.core.call_streams import BATCH, decoded
from ipcpipes.rpc.core.state import CallState, Party
from ipcpipes.rpc.core.stream_call import StreamCall
from ipcpipes.rpc.wire.batches import content_of, head_of
from ipcpipes.rpc.wire.format import END, LEAST_CREDIT, LEAST_FRAME, Kind, Limits, encode

from .rpc_pair_work import UUID
from .rpc_pairs import Pair, kinds, result_of

C, S = Party.CLIENT, Party.SERVER
pack = msgspec.msgpack.encode


class Flow(rpc.Interface, uuid=UUID, version=(1, 0)):
    @rpc.operation
    def chat(self, asked: rpc.InStream[str], answers: rpc.OutStream[str]) -> int:
        raise NotImplementedError

    @rpc.operation
    def numbers(self, count: int) -> AsyncIterator[int]:
        raise NotImplementedError

    @rpc.operation
    def keys(self, sets: rpc.InStream[set[int]]) -> None: ...
    @rpc.operation
    def nested(self, values: rpc.InStream[Any]) -> None: ...
    @rpc.operation
    def pipe(self, data: rpc.InPipe[rpc.byte]) -> None: ...
    @rpc.operation
    def plain(self) -> None: ...


ASKED, ANSWERS = 0, 1


@pytest.fixture
def pair() -> Pair:
    return Pair(Flow)


def begun(pair: Pair, name: str, *values: Any) -> tuple[StreamCall, StreamCall]:
    call, served = pair.begin(name, *values)
    assert isinstance(call, StreamCall)
    assert isinstance(served, StreamCall)
    return call, served


def received(call: StreamCall, index: int) -> list[Any] | None:
    """The values that have come; ``None`` at the end."""
    incoming = call.incoming[index]
    while batch := call.values_of(index):
        call.took(index, batch, *decoded(incoming.stream, batch))
    values = [*incoming.values]
    incoming.values.clear()
    return values if values or batch is None else None


def stream(body: bytes, number: int = ASKED, flags: int = 0, call: int = 1) -> bytes:
    return encode(Kind.STREAM, call, body, number=number, flags=flags)


def violation(pair: Pair, party: Party, frame: bytes, words: str) -> None:
    with pytest.raises(rpc.ProtocolError, match=words):
        pair.ends[party].receive(frame)


def test_values_go_in_both_directions(pair: Pair) -> None:
    call, served = begun(pair, "chat")
    for word in ("a", "b"):
        assert call.send(ASKED, pack(word))
    assert served.send(ANSWERS, pack("c"))
    pair.pump()
    assert received(served, ASKED) == ["a", "b"]
    assert received(call, ANSWERS) == ["c"]
    assert received(call, ANSWERS) == []
    call.end_stream(ASKED)
    pair.pump()
    assert received(served, ASKED) is None
    pair.finish(served, 3)
    assert received(call, ANSWERS) is None
    assert result_of(call) == 3
    assert pair.is_idle


def test_values_of_one_moment_are_one_frame(pair: Pair) -> None:
    call, _ = begun(pair, "chat")
    for _ in range(100):
        call.send(ASKED, pack("x"))
    call.end_stream(ASKED)
    before = len(pair.sent)
    pair.pump()
    assert [frame for _, frame in pair.sent[before:]] == [
        stream(b"\xdc\x00\x64" + b"\xa1x" * 100, flags=END)
    ]


def test_a_large_batch_is_sent_in_parts(pair: Pair) -> None:
    call, served = begun(pair, "chat")
    value = "x" * 1000
    for _ in range(100):
        assert call.send(ASKED, pack(value))
    before = len(pair.sent)
    pair.pump()
    sizes = [len(frame) for _, frame in pair.sent[before:]]
    assert len(sizes) == 4
    assert max(sizes) <= BATCH + 24
    assert received(served, ASKED) == [value] * 100


def test_credit_limits_what_is_sent(pair: Pair) -> None:
    call, served = begun(pair, "chat")
    value = pack("x" * 1000)
    count = 0
    while call.send(ASKED, value):
        count += 1
        pair.pump()
    assert count == LEAST_CREDIT // (len(value) + 1) + 1  # the last one exceeds the credit
    assert len(received(served, ASKED) or ()) == count
    pair.pump()
    assert call.send(ASKED, value)


def test_one_value_may_exceed_the_credit() -> None:
    limits = Limits(max_frame=4 * LEAST_CREDIT, credit=LEAST_CREDIT)
    pair = Pair(Flow, client=limits, server=limits)
    call, served = begun(pair, "chat")
    large = "x" * 3 * LEAST_CREDIT
    assert call.send(ASKED, pack("first"))
    pair.pump()
    assert call.send(ASKED, pack(large))
    assert not call.send(ASKED, pack("last"))
    pair.pump()
    assert not call.send(ASKED, pack("last"))
    assert received(served, ASKED) == ["first", large]
    pair.pump()
    assert call.send(ASKED, pack("last"))
    pair.pump()
    assert received(served, ASKED) == ["last"]


def test_what_arrives_after_a_stop_is_dropped(pair: Pair) -> None:
    call, served = begun(pair, "chat")
    call.send(ASKED, pack("a"))
    pair.pump()
    call.send(ASKED, pack("b"))  # crosses the STOP
    served.leave_stream(ASKED)
    pair.pump()
    assert not served.incoming[ASKED].has_news or served.incoming[ASKED].closed
    assert served.incoming[ASKED].first() is None
    with pytest.raises(rpc.StreamStopped, match="the server needs no more values of the stream as"):
        call.send(ASKED, pack("c"))
    call.end_stream(ASKED)
    pair.pump()
    pair.finish(served, 0)
    assert result_of(call) == 0


def test_an_answer_stops_the_streams_of_the_client(pair: Pair) -> None:
    call, served = begun(pair, "chat")
    call.send(ASKED, pack("a"))
    pair.finish(served, 1)
    with pytest.raises(rpc.StreamStopped):
        call.send(ASKED, pack("b"))
    assert result_of(call) == 1
    assert pair.is_idle


def test_data_for_a_call_that_was_given_up_is_ignored(pair: Pair) -> None:
    call, served = begun(pair, "chat")
    served.send(ANSWERS, pack("a"))
    call.send(ASKED, pack("a"))
    pair.gather(C)
    call.orphan()
    pair.pump()
    assert served.failure is not None
    served.leave_stream(ASKED)
    pair.pump()
    pair.finish(served, 1)
    assert pair.is_idle


def test_a_stop_of_a_call_that_is_over_is_ignored(pair: Pair) -> None:
    call, served = begun(pair, "chat")
    pair.gather(C)
    call.leave_stream(ANSWERS)
    call.send(ASKED, pack("a"))
    pair.gather(C)
    served.finish(pack(1), None)
    pair.pump()
    assert result_of(call) == 1
    assert pair.is_idle


# What a peer may not do.


def test_more_than_the_credit(pair: Pair) -> None:
    begun(pair, "chat")
    body = head_of(2) + pack("x" * LEAST_CREDIT) + pack("y")
    violation(pair, S, stream(body), r"octets came for the stream asked, where 131,072 were allow")


def test_more_after_one_value_that_exceeds_the_credit(pair: Pair) -> None:
    begun(pair, "chat")
    pair.server.receive(stream(head_of(1) + pack("x" * LEAST_CREDIT)))
    violation(pair, S, stream(head_of(1) + pack("y")), "where -6 were allowed")


@pytest.mark.parametrize("body", [b"\x01", b"\x80", b"\xdc\x00", b"\xdd\x00\x00\x00", b"\xc0"])
def test_a_body_that_is_no_array(pair: Pair, body: bytes) -> None:
    begun(pair, "chat")
    violation(pair, S, stream(body), "the body of STREAM is not an array")


@pytest.mark.parametrize(
    "body", [b"\x91", b"\x93\xa1a", b"\xdc\x00\x01", b"\xdd\xff\xff\xff\xff\xa1a"]
)
def test_more_values_than_octets(pair: Pair, body: bytes) -> None:
    begun(pair, "chat")
    violation(pair, S, stream(body), r"STREAM announces [0-9,]+ values in [0-9] octets")


@pytest.mark.parametrize("body", [b"", b"\x90", b"\xdc\x00\x00"])
def test_no_values_that_are_not_the_end(pair: Pair, body: bytes) -> None:
    begun(pair, "chat")
    violation(pair, S, stream(body), "no values came for the stream asked")


@pytest.mark.parametrize("body", [b"", b"\x90", b"\x91\xa1x"])
def test_values_after_the_end(pair: Pair, body: bytes) -> None:
    begun(pair, "chat")
    pair.server.receive(stream(body, flags=END))
    violation(pair, S, stream(b"\x91\xa1x"), "values came for the stream asked after its end")


@pytest.mark.parametrize("number", [ANSWERS, 2, 65535])
def test_values_for_a_stream_that_is_not_received(pair: Pair, number: int) -> None:
    begun(pair, "chat")
    violation(pair, S, stream(b"\x91\xa1x", number), f"Flow.chat receives no stream {number} here")


@pytest.mark.parametrize("number", [ASKED, 2, 65535])
def test_a_stop_of_a_stream_that_is_not_sent(pair: Pair, number: int) -> None:
    begun(pair, "chat")
    frame = encode(Kind.STOP, 1, number=number)
    violation(pair, S, frame, f"Flow.chat sends no stream {number} from here")


@pytest.mark.parametrize("kind", [Kind.STREAM, Kind.STOP])
@pytest.mark.parametrize("name", ["pipe", "plain"])
def test_streams_of_a_call_without_streams(pair: Pair, name: str, kind: Kind) -> None:
    pair.begin(name)
    violation(pair, S, encode(kind, 1, b"\x91\xa1x"), f"Flow.{name} has no streams")
    violation(pair, C, encode(kind, 1, b"\x91\xa1x"), f"Flow.{name} has no streams")


def test_a_pipe_of_a_call_with_streams(pair: Pair) -> None:
    begun(pair, "chat")
    violation(pair, S, encode(Kind.PIPE, 1, bytes(4)), "pipe 0 of Flow.chat came out of turn")


@pytest.mark.parametrize("name", ["chat", "pipe"])
def test_too_much_credit(pair: Pair, name: str) -> None:
    pair.begin(name)
    party, number = (S, ANSWERS) if name == "chat" else (C, 0)
    frame = encode(Kind.CREDIT, 1, number=number, amount=2**32 - 1 - LEAST_CREDIT)
    pair.ends[party].receive(frame)
    more = encode(Kind.CREDIT, 1, number=number, amount=1)
    violation(pair, party, more, "the other end grants 4,294,967,296 octets, above 4,294,967,295")


def test_values_for_a_call_that_never_was(pair: Pair) -> None:
    violation(pair, S, stream(b"\x91\xa1x", call=3), "STREAM for call 3, which never was")
    violation(pair, C, stream(b"\x91\xa1x", call=3), "STREAM for call 3, which never was")


def test_values_of_the_server_after_its_answer(pair: Pair) -> None:
    _, served = begun(pair, "chat")
    pair.finish(served, 1)
    violation(pair, C, stream(b"\x91\xa1x", ANSWERS), "the server sent STREAM for a call that is d")


# Values that are wrong: only this call fails.


@pytest.mark.parametrize(
    ("body", "good", "text"),
    [
        (b"\x92\xa1a\x01", ["a"], "Expected `str`, got `int`"),
        (b"\x91\x01", [], "Expected `str`, got `int`"),
        (b"\x92\xa1a", [], "Input data was truncated"),
        (b"\x91\xa1a\xa1b", [], "MessagePack data is malformed: trailing characters"),
        (b"\x91\xc1", [], "invalid opcode"),
        (b"\x91\xa1\xff", [], "Invalid UTF-8"),
    ],
)
def test_wrong_values_fail_the_call(pair: Pair, body: bytes, good: list[str], text: str) -> None:
    call, served = begun(pair, "chat")
    pair.server.receive(stream(body))
    found: list[str] = []
    with pytest.raises(rpc.BadStubData, match="a value of the stream asked is not of its type: "):
        while (values := received(served, ASKED)) is not None and len(found) < 9:
            found += values
    assert served.latched is not None
    assert text in served.latched.message
    pair.finish(served, 1)
    with pytest.raises(rpc.BadStubData, match="the stream asked is not of its type"):
        result_of(call)
    assert pair.server.failure is None


def test_values_before_a_wrong_one_are_received() -> None:
    pair = Pair(Flow)
    _, served = begun(pair, "chat")
    pair.server.receive(stream(b"\x93\xa1a\xa1b\x01"))
    batch = served.values_of(ASKED)
    assert batch is not None
    values, error = decoded(served.incoming[ASKED].stream, batch)
    assert values == ["a", "b"]
    assert error is not None
    assert error.message == (
        "a value of the stream asked is not of its type: Expected `str`, got `int`"
    )


def test_a_manager_gets_no_values_with_too_many_colliding_keys(pair: Pair) -> None:
    _, served = begun(pair, "keys")
    limits = Limits(max_frame=2**20, credit=2**20)
    pair = Pair(Flow, client=limits, server=limits)
    _, served = begun(pair, "keys")
    pair.server.receive(stream(head_of(1) + pack([*range(20_000)])))
    with pytest.raises(rpc.BadStubData, match="too many set or dict keys"):
        received(served, 0)


def test_a_manager_gets_no_values_with_too_many_levels(pair: Pair) -> None:
    _, served = begun(pair, "nested")
    pair.server.receive(stream(head_of(1) + b"\x91" * 5000 + b"\xc0"))
    with pytest.raises(rpc.BadStubData, match="levels"):
        received(served, 0)


def test_tiny_batches_take_little_memory() -> None:
    limits = Limits(credit=2 * 2**20)
    pair = Pair(Flow, client=limits, server=limits)
    _, served = begun(pair, "chat")
    frame = stream(b"\x91\xa0")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(500_000):
            pair.server.receive(frame)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 4 * 2**20
    assert len(received(served, ASKED) or ()) == 500_000


@pytest.mark.parametrize("count", [0, 1, 15, 16, 65_535, 65_536])
def test_heads_of_arrays(count: int) -> None:
    head, values = head_of(count), b"\xc0" * count
    found, content = content_of(memoryview(head + values))
    assert (found, bytes(content)) == (count, values)
    assert head + values == pack([None] * count)


def test_another_version_of_an_operation_has_other_streams(pair: Pair) -> None:
    class Changed(rpc.Interface, uuid=UUID, version=(1, 1)):
        @rpc.operation
        def chat(self, asked: rpc.OutStream[str], answers: rpc.OutStream[str]) -> int:
            raise NotImplementedError

        @rpc.operation
        def numbers(self, count: int, found: rpc.OutStream[int]) -> None: ...
        @rpc.operation
        def plain(self, data: rpc.InStream[int]) -> None: ...

    pair = Pair(Flow, Changed)
    with pytest.raises(
        rpc.WrongPipeVersion, match=r"has the pipes \(out stream, out stream\) here and \(in str"
    ):
        pair.request("chat")
    with pytest.raises(rpc.WrongPipeVersion):
        pair.request("plain")
    # What an operation yields is a stream like any other.
    begun(pair, "numbers", 3)


def test_the_frames_are_of_the_kinds_that_are_documented(pair: Pair) -> None:
    call, _ = begun(pair, "chat")
    call.send(ASKED, pack("a"))
    call.leave_stream(ANSWERS)
    before = len(pair.sent)
    pair.gather(C)
    assert sorted(kinds(frame for _, frame in pair.sent[before:])) == [14, 16]
    assert CallState.OPEN is call.state
    assert LEAST_FRAME > BATCH
