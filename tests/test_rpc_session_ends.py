"""How two sessions end: shutdown, violations of the protocol, and pings."""

from __future__ import annotations

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.rpc.core.session import Event
from ipcpipes.rpc.core.state import ConnectionState, Party
from ipcpipes.rpc.errors import ProtocolError
from ipcpipes.rpc.wire.format import Kind, encode

from .rpc_pair_work import Work
from .rpc_pairs import Pair, close, pull, push, result_of

C = Party.CLIENT
encode_body = msgspec.msgpack.encode


@pytest.fixture
def pair() -> Pair:
    return Pair(Work)


# Shutting down


def test_a_server_that_shuts_down_finishes_open_calls(pair: Pair) -> None:
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


def test_only_a_server_can_shut_down(pair: Pair) -> None:
    body = encode_body({"code": 0, "message": "bye"})
    with pytest.raises(ProtocolError, match="the client sent SHUTDOWN"):
        pair.server.receive(encode(Kind.SHUTDOWN, 0, body))


@pytest.mark.parametrize("party", Party)
def test_a_violation_is_reported_to_the_peer(pair: Pair, party: Party) -> None:
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
def test_a_malformed_answer_fails_its_call(pair: Pair, kind: Kind) -> None:
    call, _ = pair.begin("total")
    with pytest.raises(ProtocolError) as caught:
        pair.client.receive(encode(kind, call.id, b"\xc1"))
    pair.client.close(caught.value)
    with pytest.raises(rpc.CommFailure):
        call.raise_failure()


def test_a_closed_session_refuses_frames(pair: Pair) -> None:
    pair.server.close(rpc.CommFailure("over"))
    for kind in (Kind.PING, Kind.REQUEST, Kind.BIND):
        with pytest.raises(ProtocolError):
            pair.server.receive(encode(kind, 1))


# Pings


@pytest.mark.parametrize("party", Party)
def test_a_ping_is_answered(pair: Pair, party: Party) -> None:
    end = pair.ends[party]
    end.ping()
    end.ping()
    assert end.pings == 2
    pair.pump()
    assert end.pings == 0


def test_many_pings_have_one_waiting_answer(pair: Pair) -> None:
    for _ in range(100):
        pair.server.receive(encode(Kind.PING))
    assert pair.server.take_output() == [encode(Kind.PONG)]
    assert pair.server.output_size == 0


def test_an_unbound_peer_gets_no_ping() -> None:
    # A ping would violate the protocol. It still counts as unanswered.
    pair = Pair(Work, bind=False)
    pair.server.ping()
    assert (pair.server.take_output(), pair.server.pings) == ([], 1)
