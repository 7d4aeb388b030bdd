"""Metadata of calls and answers, between two sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.rpc.core.metadata import answer_metadata_of
from ipcpipes.rpc.core.plain import request_in, take_request
from ipcpipes.rpc.core.state import Party
from ipcpipes.rpc.errors import TooLarge
from ipcpipes.rpc.wire.format import BindAck, Kind, Limits, decode, encode
from ipcpipes.rpc.wire.joining import joined
from ipcpipes.rpc.wire.metadata import MOST_METADATA, Metadata, decode_metadata

from .rpc_pairs import Pair, close, kinds, pull_all, push, result_of

C, S = Party.CLIENT, Party.SERVER
VALUES: dict[str, Any] = {
    "text": "héllo",
    "octets": b"\x00\xff",
    "number": -(2**63),
    "large": 2**64 - 1,
    "share": 0.5,
    "yes": True,
    "a.b_c-1": "",
    "0": 0,
}


class Work(rpc.Interface, uuid="9a3f3f0e-3f53-4f4e-8a35-0a2c6d1d5a01", version=(1, 0)):
    @rpc.operation
    def add(self, a: int, b: int) -> int:
        raise NotImplementedError

    @rpc.operation
    def sum(self, numbers: rpc.InPipe[rpc.int32]) -> int:
        raise NotImplementedError

    @rpc.operation
    @rpc.options(maybe=True)
    def tell(self, what: int) -> None: ...


def sent_kinds(pair: Pair, party: Party) -> list[int]:
    return kinds(octets for sender, octets in pair.sent if sender is party)


def test_metadata_comes_with_the_call_and_with_the_answer() -> None:
    pair = Pair(Work)
    call, served = pair.begin("add", 2, 3, metadata=VALUES)
    assert dict(served.metadata) == VALUES
    assert [type(value) for value in served.metadata.values()] == [*map(type, VALUES.values())]
    answer_metadata_of(served).update(VALUES)
    assert call.answer_metadata == {}
    pair.finish(served, 5)
    assert result_of(call) == 5
    assert dict(call.answer_metadata) == VALUES
    assert sent_kinds(pair, C) == [Kind.BIND, Kind.METADATA, Kind.REQUEST]
    assert sent_kinds(pair, S) == [Kind.BIND_ACK, Kind.METADATA, Kind.RESPONSE]
    assert pair.is_idle


def test_received_metadata_cannot_be_changed() -> None:
    pair = Pair(Work)
    call, served = pair.begin("add", 2, 3, metadata={"a": 1})
    answer_metadata_of(served)["b"] = 2
    pair.finish(served, 5)
    for received in (served.metadata, call.answer_metadata):
        with pytest.raises(TypeError):
            received["c"] = 3  # type: ignore[index]


def test_a_fault_has_metadata_too() -> None:
    pair = Pair(Work)
    call, served = pair.begin("add", 2, 3)
    answer_metadata_of(served)["retry-after"] = 1.5
    pair.finish(served, error=rpc.Fault("no"))
    assert call.answer_metadata == {"retry-after": 1.5}
    with pytest.raises(rpc.Fault, match="no"):
        call.raise_failure()
    assert sent_kinds(pair, S)[1:] == [Kind.METADATA, Kind.FAULT]


def test_each_call_has_its_own() -> None:
    pair = Pair(Work)
    first, second = pair.request("add", 1, 1, metadata={"n": 1}), pair.request("add", 2, 2)
    third = pair.request("add", 3, 3, metadata={"n": 3})
    pair.pump()
    found = [dict(pair.server.calls[call.id].metadata) for call in (first, second, third)]
    assert found == [{"n": 1}, {}, {"n": 3}]


def test_nothing_is_sent_for_no_metadata() -> None:
    pair = Pair(Work)
    call, served = pair.begin("add", 2, 3)
    assert answer_metadata_of(served) == {}
    pair.finish(served, 5)
    assert call.answer_metadata == {}
    assert Kind.METADATA not in kinds(octets for _, octets in pair.sent)


def test_calls_with_pipes_have_metadata() -> None:
    pair = Pair(Work)
    call, served = pair.begin("sum", metadata={"a": 1})
    push(call, "numbers", [1, 2])
    close(call, "numbers")
    pair.pump()
    answer_metadata_of(served)["count"] = len(pull_all(served, "numbers"))
    pair.finish(served, 3)
    assert served.metadata == {"a": 1}
    assert (result_of(call), call.answer_metadata) == (3, {"count": 2})


def test_a_maybe_call_has_metadata_and_no_answer() -> None:
    pair = Pair(Work)
    pair.request("tell", 1, metadata={"a": 1})
    pair.pump()
    (served,) = pair.server.calls.values()
    assert served.metadata == {"a": 1}
    answer_metadata_of(served)["b"] = 2
    pair.finish(served)
    assert sent_kinds(pair, S) == [Kind.BIND_ACK]


def test_a_call_that_was_given_up_gets_no_metadata() -> None:
    pair = Pair(Work)
    call, served = pair.begin("add", 2, 3)
    answer_metadata_of(served)["a"] = 1
    call.abandon()
    pair.finish(served, 5)
    assert call.answer_metadata == {}
    assert pair.is_idle


@pytest.mark.parametrize("take", ["frames", "data"])
def test_short_ways_to_begin_a_call_do_not_lose_metadata(take: str) -> None:
    pair = Pair(Work)
    server = pair.server
    server.receive(encode(Kind.METADATA, 1, Metadata({"a": 1}).encoded))
    request = encode(Kind.REQUEST, 1, b"\x92\x02\x03")
    after = encode(Kind.REQUEST, 2, b"\x92\x02\x03")
    if take == "frames":
        assert take_request(server, decode(request)) is None
    else:
        assert request_in(server, joined([request])) is None
    server.receive(request)
    assert server.calls[1].metadata == {"a": 1}
    found = take_request(server, decode(after))
    assert found is not None, "the next call is plain again"
    assert found.metadata == {}


# What is refused


BAD: dict[str, bytes] = {
    "no map": b"\x90",
    "no MessagePack": b"\xc1",
    "cut": b"\x81\xa1a",
    "more": b"\x80\x80",
    "nil": b"\x81\xa1a\xc0",
    "nested": b"\x81\xa1a\x90",
    "too deep": b"\x81\xa1a" + b"\x91" * 2000 + b"\x01",
    "a time": b"\x81\xa1a\xd6\xff\x00\x00\x00\x00",
    "not UTF-8": b"\x81\xa1a\xa1\xff",
    "key of capitals": b"\x81\xa1A\x01",
    "empty key": b"\x81\xa0\x01",
    "long key": msgspec.msgpack.encode({"k" * 65: 1}),
    "key of octets": b"\x81\xc4\x01a\x01",
    "too large": msgspec.msgpack.encode({"k": b"x" * MOST_METADATA}),
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_invalid_metadata_ends_only_its_call(body: bytes) -> None:
    pair = Pair(Work)
    pair.server.receive(encode(Kind.METADATA, 1, body))
    call = pair.request("add", 2, 3)
    pair.pump()
    with pytest.raises(rpc.BadStubData, match="the metadata of call 1 is not valid"):
        call.raise_failure()
    again, served = pair.begin("add", 2, 3)
    assert pair.server.plain_operations, "later calls are plain again"
    pair.finish(served, 5)
    assert result_of(again) == 5


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_invalid_metadata_of_an_answer_ends_only_its_call(body: bytes) -> None:
    pair = Pair(Work)
    call, served = pair.begin("add", 2, 3)
    pair.client.receive(encode(Kind.METADATA, call.id, body))
    with pytest.raises(rpc.BadStubData, match="the metadata of call 1 is not valid"):
        call.raise_failure()
    pair.finish(served, 5)
    assert not call.is_answered
    assert pair.is_idle
    again, served = pair.begin("add", 2, 3)
    pair.finish(served, 5)
    assert result_of(again) == 5


def test_a_maybe_call_with_invalid_metadata_is_dropped() -> None:
    pair = Pair(Work)
    pair.server.receive(encode(Kind.METADATA, 1, b"\x90"))
    pair.request("tell", 1)
    pair.pump()
    assert pair.is_idle
    assert sent_kinds(pair, S) == [Kind.BIND_ACK]


@pytest.mark.parametrize("number", [0, 1, 3])
def test_metadata_of_another_call_than_the_next_is_an_error(number: int) -> None:
    pair = Pair(Work)
    pair.begin("add", 1, 1)
    with pytest.raises(rpc.ProtocolError, match=f"METADATA for call {number} came before call 2"):
        pair.server.receive(encode(Kind.METADATA, number, b"\x80"))


def test_metadata_that_comes_twice_is_an_error() -> None:
    pair = Pair(Work)
    frame = encode(Kind.METADATA, 1, Metadata({"a": 1}).encoded)
    pair.server.receive(frame)
    with pytest.raises(rpc.ProtocolError, match="twice"):
        pair.server.receive(frame)
    pair = Pair(Work)
    pair.begin("add", 1, 1)
    pair.client.receive(frame)
    with pytest.raises(rpc.ProtocolError, match="twice"):
        pair.client.receive(frame)


def test_metadata_after_the_answer_is_an_error() -> None:
    pair = Pair(Work)
    _, served = pair.begin("add", 1, 1)
    pair.finish(served, 2)
    with pytest.raises(rpc.ProtocolError, match="the server sent METADATA for a call that is done"):
        pair.client.receive(encode(Kind.METADATA, 1, b"\x80"))
    with pytest.raises(rpc.ProtocolError, match="which never was"):
        pair.client.receive(encode(Kind.METADATA, 2, b"\x80"))


def test_metadata_before_the_handshake_is_an_error() -> None:
    pair = Pair(Work, bind=False)
    with pytest.raises(rpc.ProtocolError, match="METADATA on a connection that is unbound"):
        pair.server.receive(encode(Kind.METADATA, 1, b"\x80"))


def test_metadata_of_a_client_that_has_not_said_that_it_takes_any_is_an_error() -> None:
    pair = Pair(Work, bind=False)
    definition = Work._rpc_definition
    wanted = {"protocol": 1, "uuid": str(definition.uuid), "version": (1, 0)}
    limits = {"max_frame": 65536, "credit": 131072}
    pair.server.receive(encode(Kind.BIND, body=msgspec.msgpack.encode({**wanted, **limits})))
    answer = msgspec.msgpack.decode(decode(pair.server.take_output()[0]).body)
    assert "metadata" not in answer
    with pytest.raises(rpc.ProtocolError, match="has not said that it takes any"):
        pair.server.receive(encode(Kind.METADATA, 1, b"\x80"))


def test_metadata_of_a_call_after_the_shutdown_is_forgotten() -> None:
    pair = Pair(Work)
    call = pair.request("add", 1, 1, metadata={"a": 1})
    pair.server.shut_down()
    pair.pump()
    with pytest.raises(rpc.ServerUnavailable):
        call.raise_failure()
    assert pair.server.metadata.coming is None
    assert pair.is_idle


# Limits


def bound_with(limit: object) -> Pair:
    """A client whose server takes so much metadata."""
    pair = Pair(Work, bind=False)
    pair.client.bind(Work._rpc_definition)
    pair.gather(C)
    pair.server.receive(pair.coming[S].popleft())
    (frame,) = pair.server.take_output()
    answer = msgspec.msgpack.decode(decode(frame).body, type=BindAck)
    answer.metadata = limit  # type: ignore[assignment]
    pair.client.receive(encode(Kind.BIND_ACK, body=msgspec.msgpack.encode(answer)))
    return pair


def test_a_peer_may_take_less() -> None:
    pair = bound_with(10)
    pair.request("add", 1, 1, metadata={"a": "12345"})
    with pytest.raises(TooLarge, match="the metadata has 14 bytes, and the server takes 10"):
        pair.request("add", 1, 1, metadata={"a": "1234567890"})
    assert len(pair.client.calls) == 1
    pair.request("add", 1, 1)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_peer_may_take_none(limit: int) -> None:
    pair = bound_with(limit)
    pair.request("add", 1, 1, metadata={"a": 1})
    pair.gather(C)
    assert sent_kinds(pair, C) == [Kind.BIND, Kind.REQUEST]


def test_a_larger_limit_is_not_used() -> None:
    assert bound_with(2**40).client.metadata.limit == MOST_METADATA


def test_a_narrow_channel_limits_metadata() -> None:
    pair = Pair(Work, client=Limits(carried=1000))
    with pytest.raises(TooLarge, match="the metadata has 2,006 bytes, and the server takes 984"):
        pair.request("add", 1, 1, metadata={"a": b"x" * 2000})


def test_the_largest_metadata() -> None:
    room = MOST_METADATA - len(Metadata({"a": b"x" * 300}).encoded) + 300
    metadata = {"a": b"x" * room}
    pair = Pair(Work)
    call, served = pair.begin("add", 1, 1, metadata=metadata)
    answer_metadata_of(served).update(metadata)
    pair.finish(served, 2)
    assert served.metadata == call.answer_metadata == metadata
    with pytest.raises(ValueError, match="8,193 bytes with 'a', and 8,192 are allowed"):
        Metadata({"a": b"x" * (room + 1)})


def test_an_answer_has_at_most_what_the_client_takes() -> None:
    pair = Pair(Work)
    pair.server.metadata.limit = 10
    _, served = pair.begin("add", 1, 1)
    with pytest.raises(ValueError, match="10 are allowed"):
        answer_metadata_of(served)["a"] = "1234567890"


# What a user may give


@pytest.mark.parametrize(
    ("key", "value", "error", "text"),
    [
        ("", 1, ValueError, "1 to 64 of the characters"),
        ("A", 1, ValueError, "'A': a key of metadata"),
        (".a", 1, ValueError, "begins with a letter or digit"),
        ("a b", 1, ValueError, "a key of metadata"),
        ("a\n", 1, ValueError, "a key of metadata"),
        ("é", 1, ValueError, "a key of metadata"),
        ("a" * 65, 1, ValueError, "a key of metadata"),
        (b"a", 1, TypeError, "a key of metadata is a str, not b'a'"),
        ("a", None, TypeError, "'a' is a NoneType; str, bytes, int, float and bool can be sent"),
        ("a", [1], TypeError, "'a' is a list"),
        ("a", bytearray(b"x"), TypeError, "'a' is a bytearray"),
        ("a", 2**64, ValueError, "'a' cannot be sent"),
        ("a", "\ud800", ValueError, "'a' cannot be sent"),
    ],
)
def test_metadata_that_cannot_be_sent(
    key: Any, value: Any, error: type[Exception], text: str
) -> None:
    metadata = Metadata({"before": 1})
    with pytest.raises(error, match=text):
        metadata[key] = value
    assert metadata == {"before": 1}


def test_metadata_is_a_mapping() -> None:
    metadata = Metadata({"a": 1})
    metadata["b"] = 2
    metadata["a"] = 3
    del metadata["b"]
    assert (dict(metadata), len(metadata), "a" in metadata) == ({"a": 3}, 1, True)
    with pytest.raises(KeyError):
        del metadata["c"]
    assert Metadata().encoded == b""
    found: Mapping[str, Any] = decode_metadata(metadata.encoded)
    assert found == {"a": 3}


def test_metadata_does_not_show_its_values() -> None:
    assert repr(Metadata({"token": "secret"})) == "<ipcpipes rpc metadata: token>"
    assert repr(Metadata()) == "<ipcpipes rpc metadata: none>"
