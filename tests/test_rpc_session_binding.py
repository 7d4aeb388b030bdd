"""How two sessions bind: what each end learns of the other, and which clients are refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.rpc.core.session import Event
from ipcpipes.rpc.core.state import ConnectionState, Party
from ipcpipes.rpc.errors import ProtocolError
from ipcpipes.rpc.wire.format import LEAST_CREDIT, LEAST_FRAME, Kind, Limits, decode, encode

from .rpc_pair_work import UUID, Work, ack_body, bind_body
from .rpc_pairs import Pair, definition, result_of

C, S = Party.CLIENT, Party.SERVER


def test_a_client_binds() -> None:
    pair = Pair(Work, bind=False)
    assert {pair.client.state, pair.server.state} == {ConnectionState.UNBOUND}
    pair.client.bind(definition(Work))
    assert {pair.client.state} == {ConnectionState.BINDING}
    pair.pump()
    assert pair.client.state is pair.server.state is ConnectionState.OPEN
    assert pair.events == [(S, Event.BOUND), (C, Event.BOUND)]
    assert pair.server.definition is definition(Work)
    pair.client.require_open()


def test_each_end_knows_the_limits_of_the_other() -> None:
    ours = Limits(max_frame=2**20, credit=300_000)
    theirs = Limits(max_frame=2**18, credit=200_000, calls=5)
    pair = Pair(Work, client=ours, server=theirs)
    assert (pair.client.peer_credit, pair.server.peer_credit) == (200_000, 300_000)
    assert (pair.client.peer_max_frame, pair.server.peer_max_frame) == (2**18, 2**20)
    assert pair.client.peer_calls == 5


class Other(rpc.Interface, uuid="b5f2ab13-0d3f-4d43-a8c1-d3a2b9ed7e01", version=(1, 0)):
    @rpc.operation
    def add(self, a: int) -> int:
        raise NotImplementedError


def test_an_unknown_interface_is_refused() -> None:
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
        ((2, 6), True),
        ((1, 5), False),
        ((3, 0), False),
    ],
)
def test_a_client_of_the_same_major_version_is_served(version: tuple[int, int], good: bool) -> None:
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
            rpc.UnknownInterface, match=r"^the server serves Work 2\.5, which is incompatible "
        ):
            pair.client.require_open()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": 2}, "the client uses version 2 of the protocol, not 1"),
        ({"credit": LEAST_CREDIT - 1}, "the client's limits are too low"),
        ({"max_frame": LEAST_FRAME - 1}, "the client's limits are too low"),
        ({"uuid": "x" * 1000, "name": "y" * 1000}, "does not serve the interface yyy"),
    ],
)
def test_a_refused_client_gets_the_reason(change: dict[str, Any], words: str) -> None:
    pair = Pair(Work, bind=False)
    assert pair.server.receive(encode(Kind.BIND, 0, bind_body(**change)))[0] is Event.REFUSED
    (frame,) = map(decode, pair.server.take_output())
    assert frame.kind is Kind.BIND_NAK
    reason = msgspec.msgpack.decode(frame.body)
    assert words in reason["message"]
    assert len(reason["message"]) < 300
    assert reason["code"] != 0


def test_unknown_fields_of_a_body_are_ignored() -> None:
    pair = Pair(Work, bind=False)
    assert pair.server.receive(encode(Kind.BIND, 0, bind_body(more=[1])))[0] is Event.BOUND


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
def test_a_server_with_too_low_limits_is_refused(change: dict[str, Any]) -> None:
    pair = Pair(Work, bind=False)
    pair.client.bind(definition(Work))
    with pytest.raises(ProtocolError, match=r"^the server's limits are too low$"):
        pair.client.receive(encode(Kind.BIND_ACK, 0, ack_body(**change)))


def test_operations_that_the_server_lacks_are_refused() -> None:
    class Wanted(rpc.Interface, uuid=UUID, version=(2, 5)):
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
