"""Connections that calls go over: how they begin and end, who is served on them, and what spoils
them.
"""

from __future__ import annotations

import contextvars
import itertools
import logging
import os
import random
import struct
import sys
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import rpc
from ipcpipes.rpc import server as serving_module
from ipcpipes.rpc.wire import Kind, encode
from ipcpipes.testing import memory_stream_pair

from .children import python_child
from .programs import trio_program
from .rpc_over_links import (
    FIND_TESTS,
    SECONDS,
    GatedStream,
    RawClient,
    Witness,
    call_failed,
    calling,
    calling_in_memory,
    cancelled,
    comm_failure,
    failing,
    open_calls,
    raw_calling,
    serving,
    unavailable,
)
from .rpc_over_managers import Calls, Scripted, drained, echoed, given_back, pushed

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

MIB = 2**20
unknown_interface = partial(failing, rpc.UnknownInterface, 1717, 0x1C010003)
protocol_error = partial(failing, rpc.ProtocolError, 1728, 0x1C01000B)


class Other(rpc.Interface, uuid="9c5d54a5-6c5c-4a6d-8d9c-f52cb5dd7104", version=(3, 1)):
    @rpc.operation
    async def whoami(self) -> str:
        raise NotImplementedError


class OtherManager(Other):
    async def whoami(self) -> str:
        return "the other one"


def version_of(major: int, minor: int) -> type[rpc.Interface]:
    """The interface ``Other`` in another version."""

    class Another(
        rpc.Interface, uuid="9c5d54a5-6c5c-4a6d-8d9c-f52cb5dd7104", version=(major, minor)
    ):
        @rpc.operation
        async def whoami(self) -> str:
            raise NotImplementedError

        @rpc.operation
        async def newer(self) -> str:
            raise NotImplementedError

    return Another


# How it begins.


async def test_an_interface_that_is_not_served() -> None:
    async with serving(OtherManager()) as listener:
        for _ in range(2):
            with unknown_interface() as caught:
                async with rpc.connect(Calls, listener.endpoint):
                    raise AssertionError("it is not there")
            assert "does not serve the interface Calls" in caught.value.message
        async with rpc.connect(Other, listener.endpoint) as other:
            assert await other.whoami() == "the other one"


@pytest.mark.parametrize("version", [(3, 0), (3, 1)])
async def test_a_client_of_a_minor_version_up_to_the_servers(version: tuple[int, int]) -> None:
    async with serving(OtherManager()) as listener:
        async with rpc.connect(version_of(*version), listener.endpoint) as other:
            assert await other.whoami() == "the other one"
            with failing(rpc.ProcnumOutOfRange, 1745, 0x1C010002) as caught:
                await other.newer()
            assert "has no newer" in caught.value.message


@pytest.mark.parametrize("version", [(3, 2), (2, 1), (4, 0), (4, 1)])
async def test_a_client_of_another_version(version: tuple[int, int]) -> None:
    async with serving(OtherManager()) as listener:
        with unknown_interface() as caught:
            async with rpc.connect(version_of(*version), listener.endpoint):
                raise AssertionError("it is not there")
        assert f"{version[0]}.{version[1]}" in caught.value.message
        assert "Other 3.1" in caught.value.message


async def test_an_operation_with_other_pipes_at_the_server() -> None:
    class Changed(rpc.Interface, uuid="0d3c2f0e-6b0f-4f0c-8b39-3c2f5d3f7a01", version=(1, 0)):
        @rpc.operation
        async def plain(self, value: Any) -> Any: ...
        @rpc.operation
        async def into(self, numbers: rpc.InPipe[rpc.int64]) -> Any: ...

    async with serving(Scripted(plain=given_back)) as listener:
        async with rpc.connect(Changed, listener.endpoint) as changed:
            with failing(rpc.WrongPipeVersion, 1832):
                await changed.into(numbers=[1])
            assert await changed.plain(1) == 1


async def test_several_managers_at_one_endpoint() -> None:
    async with serving(OtherManager(), Scripted(plain=given_back)) as listener:
        async with (
            rpc.connect(Calls, listener.endpoint) as acc,
            rpc.connect(Other, listener.endpoint) as other,
        ):
            assert await acc.plain(1) == 1
            assert await other.whoami() == "the other one"


async def test_what_cannot_be_served(endpoint: ipcpipes.Endpoint) -> None:
    for managers, words in [
        ([], "no manager"),
        ([OtherManager(), OtherManager()], "have the same uuid"),
        ([object()], "implements no interface"),
        ([Other], "implements no interface"),
    ]:
        with pytest.raises(TypeError, match=words):
            await rpc.serve(managers, endpoint)  # type: ignore[arg-type]
    limits: Any
    for limits in ({"max_frame": 65_535}, {"credit": 131_071}, {"max_calls": 0}):
        with pytest.raises(ValueError, match="must be"):
            await rpc.serve(OtherManager(), endpoint, **limits)
        left, right = memory_stream_pair()
        with pytest.raises(ValueError, match="must be"):
            await rpc.serve_connection(OtherManager(), left, **limits)
        await left.aclose()
        await right.aclose()


@pytest.mark.parametrize("keep_alive", [0, -1, float("nan"), "1"])
async def test_a_time_that_is_none(endpoint: ipcpipes.Endpoint, keep_alive: Any) -> None:
    with trio.fail_after(SECONDS), pytest.raises((ValueError, TypeError)):
        await rpc.serve(OtherManager(), endpoint, keep_alive=keep_alive)
    async with serving(OtherManager()) as listener:
        with pytest.raises((ValueError, TypeError)):
            async with rpc.connect(Other, listener.endpoint, keep_alive=keep_alive):
                raise AssertionError("it is connected")


@pytest.mark.parametrize("interface", [int, object(), rpc.Interface])
async def test_what_is_no_interface_is_said_and_nothing_stays_open(interface: Any) -> None:
    async with serving(OtherManager()) as listener:
        with pytest.raises(TypeError, match="no interface"):
            async with rpc.connect(interface, listener.endpoint):
                raise AssertionError


async def test_what_is_no_transport() -> None:
    for transport in (None, "a name", trio.open_memory_channel[bytes](1)[0]):
        with pytest.raises(TypeError, match="a stream or a message channel"):
            await rpc.serve_connection(OtherManager(), transport)  # type: ignore[arg-type]


GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "nothing": b"",
    "an empty frame": struct.pack("<I", 0),
    "a short frame": struct.pack("<I", 3) + b"abc",
    "no kind": struct.pack("<I", 16) + bytes(16),
    "a request": struct.pack("<I", 16) + encode(Kind.REQUEST, 1),
    "an answer": struct.pack("<I", 16) + encode(Kind.BIND_ACK),
    "a goodbye": struct.pack("<I", 16) + encode(Kind.SHUTDOWN),
    "no body": struct.pack("<I", 16) + encode(Kind.BIND),
    "another body": struct.pack("<I", 17) + encode(Kind.BIND, 0, b"\xc0"),
    "a deep body": struct.pack("<I", 100_016) + encode(Kind.BIND, 0, b"\x91" * 100_000),
    "a deep rest": struct.pack("<I", 100_022)
    + encode(Kind.BIND, 0, b"\x81\xa4deep" + b"\x91" * 100_000),
    "half a frame": struct.pack("<I", 1000) + b"half",
    "too large a frame": struct.pack("<I", 2**31),
}


@pytest.mark.parametrize("octets", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_instead_of_a_bind(octets: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with raw_calling() as (raw, _):
        await raw.channel.stream.send_all(octets)
        if octets[4:] in (b"", b"half"):
            await raw.channel.aclose()
        else:
            await raw.at_end()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": 2},
        {"protocol": 0},
        {"credit": 0},
        {"credit": -1},
        {"max_frame": 1},
        {"uuid": "no uuid"},
        {"version": (65_536, 0)},
        {"version": (-1, -1)},
    ],
    ids=str,
)
async def test_a_bind_that_is_refused_is_told_why(change: dict[str, Any]) -> None:
    async with raw_calling() as (raw, _):
        answer = await raw.bind(**change)
        assert answer.kind is Kind.BIND_NAK
        await raw.at_end()


@pytest.mark.parametrize("said", [b"", struct.pack("<I", 100) + b"half"], ids=["nothing", "half"])
async def test_a_client_that_says_nothing_is_left(
    said: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    left, right = memory_stream_pair()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve_connection, OtherManager(), right)
        if said:
            await left.send_all(said)
        assert await left.receive_some(1) == b""
    assert trio.current_time() - began == pytest.approx(serving_module.PATIENCE)
    await left.aclose()


async def test_patience_is_for_the_beginning(autojump_clock: trio.testing.MockClock) -> None:
    async with calling_in_memory(plain=given_back) as acc:
        await trio.sleep(10 * serving_module.PATIENCE)
        assert await acc.plain(1) == 1


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", rpc.ProtocolError),
        (b"", rpc.CommFailure),
        (struct.pack("<I", 3) + b"abc", rpc.ProtocolError),
        (struct.pack("<I", 16) + bytes(16), rpc.ProtocolError),
        (struct.pack("<I", 16) + encode(Kind.BIND), rpc.ProtocolError),
        (struct.pack("<I", 16) + encode(Kind.BIND_ACK), rpc.ProtocolError),
        (struct.pack("<I", 100_016) + encode(Kind.BIND_ACK, 0, b"\x91" * 10**5), rpc.ProtocolError),
        (struct.pack("<I", 16) + encode(Kind.RESPONSE, 1), rpc.ProtocolError),
    ],
    ids=["http", "nothing", "short", "no kind", "bind", "no body", "deep", "response"],
)
async def test_a_server_that_is_no_server_of_ours(said: bytes, kind: type[rpc.RpcError]) -> None:
    left, right = memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def answer() -> None:
            await right.receive_some()
            await right.send_all(said)
            if kind is rpc.CommFailure:
                await right.aclose()

        nursery.start_soon(answer)
        with trio.fail_after(SECONDS), pytest.raises(kind):
            async with rpc.bind(Calls, left):
                raise AssertionError("it is bound")
    await right.aclose()


@asynccontextmanager
async def bound_by_hand() -> AsyncIterator[tuple[rpc.Client[Calls], RawClient]]:
    """A client, and the server's side of its connection, for the test to play."""
    left, right = memory_stream_pair()
    raw = RawClient(right)
    async with trio.open_nursery() as nursery, right:

        async def take() -> None:
            assert (await raw.receive()).kind is Kind.BIND
            operations = [
                (one.name, one.signature_of_pipes)
                for one in Calls._rpc_definition.operations.values()
            ]
            body = msgspec.msgpack.encode(
                {
                    "protocol": 1,
                    "version": [1, 0],
                    "max_frame": 2**24,
                    "credit": 2**20,
                    "calls": 5,
                    "operations": operations,
                }
            )
            await raw.send(Kind.BIND_ACK, body=body)

        nursery.start_soon(take)
        async with rpc.bind(Calls, left) as acc:
            yield acc, raw


BAD_ANSWERS = {
    "a fault of another shape": (Kind.FAULT, b"\xc0"),
    "a fault without a number": (
        Kind.FAULT,
        msgspec.msgpack.encode({"code": "x", "message": "y"}),
    ),
    "a deep fault": (Kind.FAULT, b"\x91" * 100_000),
    "a pipe that there is not": (Kind.PIPE, bytes(4)),
    "credit for a pipe that there is not": (Kind.CREDIT, b""),
    "a cancel": (Kind.CANCEL, b""),
    "another bind": (Kind.BIND, b""),
    "a request": (Kind.REQUEST, b""),
}


@pytest.mark.parametrize(("kind", "body"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
async def test_a_server_that_answers_wrongly_fails_its_callers(kind: Kind, body: bytes) -> None:
    with trio.fail_after(SECONDS):
        async with bound_by_hand() as (acc, raw), trio.open_nursery() as nursery:

            async def call() -> None:
                with comm_failure():
                    await acc.plain(1)

            nursery.start_soon(call)
            nursery.start_soon(call)
            assert (await raw.receive()).kind is Kind.REQUEST
            assert (await raw.receive()).kind is Kind.REQUEST
            await raw.send(kind, 1, body=body)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x91" * 100_000, b"\xa1\xff"], ids=range(4))
async def test_a_result_that_is_no_value_fails_its_call_alone(body: bytes) -> None:
    with trio.fail_after(SECONDS):
        async with bound_by_hand() as (acc, raw), trio.open_nursery() as nursery:

            async def call() -> None:
                with failing(rpc.BadStubData, 1783):
                    await acc.plain(1)

            nursery.start_soon(call)
            assert (await raw.receive()).kind is Kind.REQUEST
            await raw.send(Kind.RESPONSE, 1, body=body)
            while acc._caller.link.session.calls:
                await trio.sleep(0.001)
            assert acc._caller.link.session.failure is None


# While it lasts.


async def test_64_calls_at_once() -> None:
    most = 0

    async def plain(value: int) -> int:
        nonlocal most
        most = max(most, open_calls() + 1)
        if most < 64:
            await trio.sleep(0.001 * (value % 7))
        while most < 64:
            await trio.sleep(0.001)
        return value * value

    results: dict[int, int] = {}
    async with calling(plain=plain) as acc:

        async def call(number: int) -> None:
            results[number] = await acc.plain(number)

        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(call, number)
    assert results == {number: number * number for number in range(64)}


async def test_a_pipe_that_stands_still_holds_up_no_other_call() -> None:
    async def into(numbers: Any) -> None:
        await trio.sleep_forever()

    async def out(numbers: Any) -> None:
        while True:
            await numbers.push(bytes(400_000))

    async with calling(into=into, out=out, both=echoed, plain=given_back) as acc:
        async with acc.out.begin(), acc.out.begin(), trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(lambda: acc.into(numbers=lambda most: bytes(4 * most)))
            await trio.testing.wait_all_tasks_blocked(0.02)
            assert await acc.plain(5) == 5
            got: list[int] = []
            assert await acc.both(numbers=(range(10_000), got)) == 10_000
            assert got == list(range(10_000))
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [100, 3 * MIB])
async def test_large_values_both_ways_at_once(size: int) -> None:
    async with calling(plain=given_back) as acc, trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(acc.plain, bytes(size))


async def test_many_pipes_both_ways_at_once() -> None:
    size = 6 * MIB
    totals: list[int] = []

    async def octets_into(data: Any) -> int:
        return sum([len(chunk) async for chunk in data])

    async def octets_out(data: Any) -> None:
        for _ in range(6):
            await data.push(bytes(MIB))
        await data.close()

    async with calling(octets_into=octets_into, octets_out=octets_out) as acc:

        async def up() -> None:
            totals.append(await acc.octets_into(data=bytes(size)))

        async def down() -> None:
            total = 0

            def push(chunk: Any) -> None:
                nonlocal total
                total += len(chunk)

            await acc.octets_out(data=push)
            totals.append(total)

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(up)
                nursery.start_soon(down)
    assert totals == [size] * 12


@pytest.mark.parametrize("most", [1, 3])
async def test_more_tasks_than_calls_wait_for_their_turns(most: int) -> None:
    highest = 0

    async def plain(value: int) -> int:
        nonlocal highest
        highest = max(highest, open_calls() + 1)
        await trio.sleep(0.001)
        return value

    got: list[int] = []
    async with calling(plain=plain, server={"max_calls": most}) as acc:

        async def call(number: int) -> None:
            got.append(await acc.plain(number))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(call, number)
    assert sorted(got) == list(range(20))
    assert highest == most


async def test_a_task_that_waits_for_its_turn_can_be_cancelled_and_time_out() -> None:
    async def plain(value: Any) -> Any:
        await trio.sleep_forever()

    async with calling(plain=plain, server={"max_calls": 1}) as acc:
        async with acc.plain.begin(1):
            with trio.move_on_after(0.01) as scope:
                await acc.plain(2)
            assert scope.cancelled_caught
            with cancelled():
                await acc.plain.with_options(timeout=0.01)(3)
            with cancelled():
                async with acc.plain.with_options(timeout=0.01).begin(4):
                    raise AssertionError("it was begun")


async def test_tasks_that_wait_for_a_call_and_for_room_get_no_more_than_there_are() -> None:
    left, right = memory_stream_pair()
    gate = GatedStream(left)
    go_on = trio.Event()

    async def plain(value: Any) -> int:
        await go_on.wait()
        return len(value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(rpc.serve_connection, Scripted(plain=plain), right, max_calls=2))
        with trio.fail_after(SECONDS):
            async with rpc.bind(Calls, gate) as acc, trio.open_nursery() as callers:
                gate.writing = trio.Event()
                for size in (2 * MIB, 1, 2, 3):
                    callers.start_soon(acc.plain, bytes(size))
                    await trio.testing.wait_all_tasks_blocked()
                gate.writing.set()
                await trio.testing.wait_all_tasks_blocked()
                go_on.set()


async def test_a_strange_client_that_begins_more_calls_is_told() -> None:
    async def plain(value: Any) -> None:
        await trio.sleep_forever()

    async def given(value: Any) -> Any:
        return value

    async with calling(plain=given) as ours:
        assert await ours.plain(1) == 1
    with trio.fail_after(SECONDS):
        async with serving(Scripted(plain=plain), max_calls=2) as listener:
            async with await ipcpipes.connect(listener.endpoint) as stream:
                raw = RawClient(stream)
                await raw.bind()
                for number in (1, 2, 3):
                    await raw.request(number, "plain", 1)
                answer = await raw.receive()
                assert (answer.kind, answer.call) == (Kind.FAULT, 3)
                assert b"\xcd" + struct.pack(">H", 1723) in bytes(answer.body)


async def test_arguments_above_the_servers_limit_are_not_sent() -> None:
    async with calling(plain=given_back, server={"max_frame": 65_536}) as acc:
        for attempt in (acc.plain, acc.tell):
            with pytest.raises(ValueError, match="65,536; send what is large through a pipe"):
                await attempt(bytes(65_536))
        assert len(await acc.plain(bytes(65_000))) == 65_000


async def test_results_above_the_clients_limit_are_not_sent() -> None:
    async def plain(size: int) -> bytes:
        return bytes(size)

    async with calling(plain=plain, client={"max_frame": 65_536}) as acc:
        with failing(rpc.BadStubData, 1783) as caught:
            await acc.plain(65_536)
        assert "send what is large through a pipe" in caught.value.message
        assert len(await acc.plain(65_000)) == 65_000


@pytest.mark.parametrize("limits", [{"max_frame": 65_536}, {"credit": 131_072}], ids=str)
async def test_pipes_go_on_within_the_least_limits(limits: dict[str, int]) -> None:
    async with calling(octets_both=echoed, client=limits, server=limits) as acc:
        data = os.urandom(MIB)
        got = bytearray()
        # The whole of it is held by the manager; the credit is what is under way.
        assert await acc.octets_both(data=(data, got)) == MIB
        assert got == data


async def test_a_client_that_stops_reading_makes_the_server_keep_little() -> None:
    made = 0

    def inline(value: Any) -> bytes:
        nonlocal made
        made += 1
        return bytes(MIB)

    async with raw_calling(inline=inline) as (raw, _):
        await raw.bind()
        frames = []
        number = list(Calls._rpc_definition.operations).index("inline")
        for call in range(1, 501):
            frames.append(encode(Kind.REQUEST, call, b"\x91\x01", number=number))
        tracemalloc.start()
        try:
            with trio.move_on_after(0.3):
                await raw.channel.send_many(frames)
                await trio.sleep(0.3)
            assert tracemalloc.get_traced_memory()[1] < 16 * MIB
        finally:
            tracemalloc.stop()
        assert made < 16


async def test_a_client_that_stops_reading_its_pipes_stops_their_managers() -> None:
    pushes = 0

    async def octets_out(data: Any) -> None:
        nonlocal pushes
        while True:
            await data.push(bytes(100_000))
            pushes += 1

    async with raw_calling(octets_out=octets_out) as (raw, _):
        await raw.bind(credit=2**32 - 1)
        for call in range(1, 11):
            await raw.request(call, "octets_out")
        await trio.testing.wait_all_tasks_blocked(0.1)
        before = pushes
        assert before < 100
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert pushes == before


async def test_a_server_that_stops_reading_holds_up_the_client_and_not_its_memory() -> None:
    left, right = memory_stream_pair()
    gate = GatedStream(left)
    begun = 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve_connection, Scripted(plain=given_back), right)
        with trio.fail_after(SECONDS):
            async with rpc.bind(Calls, gate) as acc, trio.open_nursery() as callers:
                gate.writing = trio.Event()

                async def call() -> None:
                    nonlocal begun
                    begun += 1
                    assert len(await acc.plain(bytes(200_000))) == 200_000

                for _ in range(30):
                    callers.start_soon(call)
                await trio.testing.wait_all_tasks_blocked()
                assert acc._caller.link.session.output_size < 2 * MIB
                assert begun == 30
                gate.writing.set()


@pytest.mark.parametrize("who", ["client", "server"])
async def test_keep_alive_finds_a_peer_that_is_frozen(
    who: str, autojump_clock: trio.testing.MockClock
) -> None:
    left, right = memory_stream_pair()
    gates = {"client": GatedStream(left), "server": GatedStream(right)}
    manager = Witness()

    async def into(numbers: Any) -> None:
        with manager.watching():
            await numbers.pull()

    options: dict[str, Any] = {"keep_alive": 5.0}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(
                rpc.serve_connection,
                Scripted(into=into),
                gates["server"],
                **(options if who == "client" else {}),
            )
        )
        frozen = gates[who]
        other = options if who == "server" else {}
        async with rpc.bind(Calls, gates["client"], **other) as acc:
            async with acc.into.begin() as call:
                await manager.began.wait()
                await trio.sleep(100)  # both are there, and have nothing to say
                assert not manager.ended.is_set()
                began = trio.current_time()
                frozen.reading = frozen.writing = trio.Event()
                if who == "server":
                    with comm_failure() as caught:
                        await call.complete()
                    assert "silent for 10 s" in caught.value.message
                else:
                    await manager.raised(rpc.CommFailure)
                assert 5 <= trio.current_time() - began <= 15
                frozen.reading.set()
            nursery.cancel_scope.cancel()


async def test_without_keep_alive_a_peer_may_be_silent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def plain(value: Any) -> Any:
        await trio.sleep(80_000)
        return value

    async with calling_in_memory(plain=plain, client={"keep_alive": 3600}) as acc:
        assert await acc.plain(1) == 1


# Frames that should not be.


async def _after_a_bind(raw: RawClient, frames: list[bytes]) -> None:
    await raw.bind()
    await raw.channel.send_many(frames)


_NUMBERS = {name: n for n, name in enumerate(Calls._rpc_definition.operations)}
_INTO = encode(Kind.REQUEST, 1, b"\x90", number=_NUMBERS["into"])
MALFORMED = {
    "another bind": [encode(Kind.BIND)],
    "a bind's answer": [encode(Kind.BIND_ACK)],
    "an answer": [_INTO, encode(Kind.RESPONSE, 1)],
    "a fault": [_INTO, encode(Kind.FAULT, 1)],
    "too short": [b"abc"],
    "empty": [b""],
    "no kind": [encode(Kind.PING).replace(b"\x0b", b"\x63", 1)],
    "a call out of turn": [encode(Kind.REQUEST, 2, b"\x90")],
    "a call twice": [_INTO, _INTO],
    "a pipe of no call": [encode(Kind.PIPE, 1, bytes(4))],
    "a pipe of call 0": [_INTO, encode(Kind.PIPE, 0, bytes(4))],
    "a pipe that there is not": [_INTO, encode(Kind.PIPE, 1, bytes(4), number=1)],
    "after the end of a pipe": [_INTO, encode(Kind.PIPE, 1, bytes(8))],
    "beyond the credit": [_INTO, *[encode(Kind.PIPE, 1, b"\xff" * 700_000)] * 3],
    "credit for what is not sent": [_INTO, encode(Kind.CREDIT, 1, amount=1)],
    "cancelling what never was": [encode(Kind.CANCEL, 1)],
    "giving up what never was": [encode(Kind.ORPHANED, 7)],
    "a goodbye without a body": [encode(Kind.SHUTDOWN)],
    "a deep goodbye": [encode(Kind.SHUTDOWN, 0, b"\x91" * 100_000)],
}


@pytest.mark.parametrize("frames", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_frames_harm_no_other_connection(
    frames: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    manager = Witness()

    async def into(numbers: Any) -> None:
        with manager.watching():
            await trio.sleep_forever()

    async with raw_calling(into=into) as (raw, _):
        await raw.bind()
        await raw.channel.send_many(frames)
        await raw.at_end()
        if _INTO in frames and manager.began.is_set():
            with trio.fail_after(SECONDS):
                await manager.ended.wait()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


BAD_CALLS = {
    "no operation": encode(Kind.REQUEST, 1, b"\x90", number=999),
    "no arguments": encode(Kind.REQUEST, 1, b"", number=_NUMBERS["plain"]),
    "too few": encode(Kind.REQUEST, 1, b"\x90", number=_NUMBERS["plain"]),
    "too many": encode(Kind.REQUEST, 1, b"\x92\x01\x01", number=_NUMBERS["plain"]),
    "of another type": encode(Kind.REQUEST, 1, b"\x91\xa1x", number=_NUMBERS["both_value"]),
    "a map": encode(Kind.REQUEST, 1, b"\x80", number=_NUMBERS["plain"]),
    "rubbish": encode(Kind.REQUEST, 1, b"\xc1\xc1", number=_NUMBERS["plain"]),
    "no text": encode(Kind.REQUEST, 1, b"\x91\xa1\xff", number=_NUMBERS["plain"]),
    "deep": encode(Kind.REQUEST, 1, b"\x91" * 100_000, number=_NUMBERS["plain"]),
    "long": encode(Kind.REQUEST, 1, b"\xdd\xff\xff\xff\xff", number=_NUMBERS["plain"]),
    "nobody waits": encode(Kind.REQUEST, 1, b"\x91\x01", number=_NUMBERS["tell"]),
}


@pytest.mark.parametrize("request_", BAD_CALLS.values(), ids=BAD_CALLS)
async def test_a_request_that_is_wrong_fails_its_call_and_not_the_connection(
    request_: bytes,
) -> None:
    async with raw_calling() as (raw, _):
        await raw.bind()
        await raw.channel.send(request_)
        answer = await raw.receive()
        assert (answer.kind, answer.call) == (Kind.FAULT, 1)
        await raw.request(2, "plain", 5)
        answer = await raw.receive()
        assert (answer.kind, bytes(answer.body)) == (Kind.RESPONSE, b"\x05")


async def test_any_garbage_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(7)
    good = [
        _INTO,
        encode(Kind.REQUEST, 1, b"\x91\x01", number=_NUMBERS["plain"]),
        encode(Kind.REQUEST, 2, b"\x90", number=_NUMBERS["out"]),
        encode(Kind.PIPE, 1, struct.pack("<Ii", 1, 5)),
        encode(Kind.CREDIT, 2, amount=100),
        encode(Kind.CANCEL, 1),
        encode(Kind.ORPHANED, 1),
        encode(Kind.PING),
        encode(Kind.PONG),
    ]

    async def out(numbers: Any) -> None:
        await pushed(numbers, [1])

    with trio.fail_after(SECONDS):
        async with serving(Scripted(plain=given_back, into=drained, out=out)) as listener:
            async with rpc.connect(Calls, listener.endpoint) as acc:
                for _ in range(60):
                    async with await ipcpipes.connect(listener.endpoint) as stream:
                        raw = RawClient(stream)
                        await raw.bind()
                        frames = [bytearray(rng.choice(good)) for _ in range(6)]
                        for frame in frames:
                            for _ in range(rng.randrange(3)):
                                frame[rng.randrange(len(frame))] = rng.randrange(256)
                        with suppress(trio.BrokenResourceError, trio.EndOfChannel):
                            await raw.channel.send_many([bytes(frame) for frame in frames])
                            with trio.move_on_after(0.002):
                                await raw.receive()
                assert await acc.plain(1) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# What managers raise.


def no_text() -> Exception:
    class NoText(Exception):
        def __str__(self) -> str:
            raise RuntimeError("there is no text")

    return NoText()


ODD_ERRORS: dict[str, Any] = {
    "without a text": no_text,
    "with half a character": lambda: ValueError("\udc80"),
    "with a long text": lambda: ValueError("x" * 10**6),
    "a fault with a huge code": lambda: rpc.Fault("x", code=2**70),
    "a fault with no code": lambda: rpc.Fault("x", code="abc"),  # type: ignore[arg-type]
    "a fault with code 0": lambda: rpc.Fault("x", code=0),
    "a fault with no text": lambda: rpc.Fault(123),  # type: ignore[arg-type]
    "a fault with half a character": lambda: rpc.Fault("\udc80"),
    "a group": lambda: ExceptionGroup("several", [ValueError("1"), LookupError("2")]),
    "recursion": lambda: RecursionError("deep"),
    "memory": lambda: MemoryError(),
    "stop": lambda: StopAsyncIteration("now"),
}


@pytest.mark.parametrize("tracebacks", [False, True])
@pytest.mark.parametrize("make", ODD_ERRORS.values(), ids=ODD_ERRORS)
async def test_whatever_a_manager_raises_fails_its_call_alone(
    make: Any, tracebacks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # half a character is nothing for a report

    async def plain(value: Any) -> Any:
        if value == "bad":
            raise make()
        return value

    def inline(value: Any) -> Any:
        raise make()

    async with calling(plain=plain, inline=inline, server={"tracebacks": tracebacks}) as acc:
        for call in (partial(acc.plain, "bad"), partial(acc.inline, "bad")):
            with pytest.raises(rpc.Fault) as caught:
                await call()
            assert len(caught.value.message) < 5000
        assert await acc.plain("good") == "good"


class OwnError(Exception):
    pass


@pytest.mark.parametrize("tracebacks", [False, True])
async def test_what_a_client_learns_of_an_exception(
    tracebacks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def plain(value: Any) -> Any:
        if value == "own":
            raise OwnError("mine")
        if value == "fault":
            raise rpc.Fault("no such log", code=2)
        raise FileNotFoundError(2, "No such file", "x.txt")

    async with calling(plain=plain, server={"tracebacks": tracebacks}) as acc:
        with call_failed() as caught:
            await acc.plain("builtin")
        error = caught.value
        assert error.type == "FileNotFoundError"
        assert error.message == "[Errno 2] No such file: 'x.txt'"
        assert str(error) == f"FileNotFoundError: {error.message}"
        if tracebacks:
            assert "test_rpc_connection.py" in error.traceback
            assert "in plain" in error.traceback
        else:
            assert error.traceback is None
        with call_failed() as caught:
            await acc.plain("own")
        assert caught.value.type == f"{__name__}.OwnError"
        with failing(rpc.Fault, 2) as caught:
            await acc.plain("fault")
        assert (caught.value.message, caught.value.type) == ("no such log", None)
        assert (caught.value.traceback is not None) == tracebacks
    logged = [record for record in caplog.records if record.name == "ipcpipes.rpc"]
    assert [record.getMessage() for record in logged] == ["Calls.plain failed"] * 2
    assert [record.exc_info[0] for record in logged if record.exc_info] == [
        FileNotFoundError,
        OwnError,
    ]


@pytest.mark.parametrize(("tasks", "kind"), [(1, "LookupError"), (2, "ExceptionGroup")])
async def test_a_group_of_one_is_what_it_holds(tasks: int, kind: str) -> None:
    async def plain(value: Any) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(fails)

    async def fails() -> None:
        raise LookupError("in a task")

    async with calling(plain=plain) as acc:
        with call_failed() as caught:
            await acc.plain(1)
        assert caught.value.type.endswith(kind)


class Stop(BaseException):
    """As KeyboardInterrupt is."""


@pytest.mark.parametrize("when", ["at once", "later", "inline"])
async def test_what_is_no_exception_ends_the_server(when: str) -> None:
    async def plain(value: Any) -> None:
        if when == "later":
            await trio.sleep(0.001)
        raise Stop

    def inline(value: Any) -> None:
        raise Stop

    with trio.fail_after(SECONDS), pytest.raises(BaseExceptionGroup) as caught:
        async with serving(Scripted(plain=plain, inline=inline)) as listener:
            async with rpc.connect(Calls, listener.endpoint) as acc:
                with comm_failure():
                    await (acc.inline if when == "inline" else acc.plain)(1)
                await trio.sleep_forever()
    leaves = _leaves(caught.value)
    assert [type(error) for error in leaves if not isinstance(error, trio.Cancelled)] == [Stop]


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


async def test_an_operation_made_with_def_runs_at_once_and_in_order() -> None:
    seen: list[int] = []

    def inline(value: int) -> int:
        seen.append(value)
        if value == 3:
            raise LookupError("three")
        return -value

    async with calling(inline=inline) as acc:
        results: list[Any] = []

        async def call(number: int) -> None:
            try:
                results.append(await acc.inline(number))
            except rpc.Fault as error:
                results.append(error.type)

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(call, number)
                await trio.testing.wait_all_tasks_blocked()
    assert seen == list(range(6))
    assert results == [0, -1, -2, "LookupError", -4, -5]


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="untouched")


async def test_context_variables_stay_in_their_calls() -> None:
    async def plain(value: str) -> list[str]:
        before = variable.get()
        variable.set(value)
        await trio.lowlevel.checkpoint()
        return [before, variable.get()]

    def inline(value: str) -> list[str]:
        before = variable.get()
        variable.set(value)
        return [before, variable.get()]

    async with calling(plain=plain, inline=inline) as acc:
        for call in (acc.plain, acc.inline, acc.plain, acc.inline):
            assert await call("mine") == ["untouched", "mine"]
    assert variable.get() == "untouched"


async def test_a_manager_knows_who_calls() -> None:
    async def plain(value: Any) -> Any:
        return rpc.current_call().peer.pid

    async with calling(plain=plain) as acc:
        assert await acc.plain(1) in (os.getpid(), None)


async def test_a_manager_that_waits_at_once_and_one_that_has_a_nursery() -> None:
    """The first step of a manager is made in the task that reads."""

    async def plain(value: int) -> int:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.001):
                nursery.start_soon(trio.sleep, 0.002)
                await trio.sleep_forever()
        await trio.to_thread.run_sync(lambda: None)
        return value

    async with calling(plain=plain) as acc:
        results: list[int] = []

        async def call(number: int) -> None:
            results.append(await acc.plain(number))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(call, number)
        assert sorted(results) == list(range(20))


# How it ends.


async def test_closing_the_listener_lets_open_calls_finish(endpoint: ipcpipes.Endpoint) -> None:
    go_on = trio.Event()
    entered = trio.Event()
    ended = trio.Event()

    async def both(numbers: Any) -> int:
        entered.set()
        await go_on.wait()
        return await echoed(numbers)

    async def serve(task_status: Any) -> None:
        await rpc.serve(Scripted(both=both, plain=given_back), endpoint, task_status=task_status)
        ended.set()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(serve)
            idle = rpc.connect(Calls, endpoint)
            async with rpc.connect(Calls, endpoint) as acc, idle:
                async with acc.both.begin() as call:
                    await entered.wait()
                    await listener.aclose()
                    while True:
                        try:
                            await acc.plain(1)
                        except rpc.ServerUnavailable:
                            break
                    assert not ended.is_set()
                    go_on.set()
                    await pushed(call.pipes["numbers"], [1, 2])
                    assert await drained(call.pipes["numbers"]) == [1, 2]
                    assert await call.complete() == 2
                await ended.wait()
                with pytest.raises((rpc.ServerUnavailable, rpc.CommFailure)):
                    await acc.plain(1)
            with pytest.raises(ipcpipes.EndpointNotFound):
                async with rpc.connect(Calls, endpoint):
                    raise AssertionError("it is served")


@pytest.mark.parametrize("answer", ["complete", "abort"])
async def test_closing_the_listener_waits_for_deferred_calls_too(
    endpoint: ipcpipes.Endpoint, answer: str
) -> None:
    kept: list[rpc.CurrentCall] = []
    ended = trio.Event()

    async def plain(value: Any) -> None:
        rpc.current_call().defer()
        kept.append(rpc.current_call())

    async def serve(task_status: Any) -> None:
        await rpc.serve(Scripted(plain=plain), endpoint, task_status=task_status)
        ended.set()

    with trio.fail_after(SECONDS / 4):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(serve)
            async with rpc.connect(Calls, endpoint) as acc, acc.plain.begin(1) as call:
                while not kept:
                    await trio.sleep(0.001)
                await listener.aclose()
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert not ended.is_set()
                if answer == "complete":
                    kept[0].complete(5)
                    assert await call.complete() == 5
                else:
                    await trio.to_thread.run_sync(kept[0].abort, 5)
                    with failing(rpc.Fault, 5):
                        await call.complete()
                await ended.wait()


async def test_calls_that_cross_the_end_were_not_begun(endpoint: ipcpipes.Endpoint) -> None:
    """A call is served, or is said not to have begun: nobody has to guess."""
    served: list[int] = []
    outcomes: dict[int, str] = {}

    async def plain(value: int) -> int:
        served.append(value)
        await trio.sleep(0.001)
        return value

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(rpc.serve, Scripted(plain=plain), endpoint)
            async with rpc.connect(Calls, endpoint) as acc, trio.open_nursery() as callers:

                async def call(number: int) -> None:
                    try:
                        await acc.plain(number)
                    except rpc.ServerUnavailable:
                        outcomes[number] = "not begun"
                    except rpc.CommFailure:
                        outcomes[number] = "lost"
                    else:
                        outcomes[number] = "done"

                for number in range(50):
                    callers.start_soon(call, number)
                    if number == 25:
                        await trio.lowlevel.checkpoint()
                        callers.start_soon(listener.aclose)
    assert set(outcomes) == set(range(50))
    done = [number for number in outcomes if outcomes[number] == "done"]
    assert sorted(served) == sorted(done)


async def test_cancelling_the_server_ends_its_calls(endpoint: ipcpipes.Endpoint) -> None:
    manager = Witness()

    async def plain(value: Any) -> None:
        with manager.watching():
            await trio.sleep_forever()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            await nursery.start(rpc.serve, Scripted(plain=plain), endpoint)
            async with rpc.connect(Calls, endpoint) as acc, acc.plain.begin(1) as call:
                await manager.began.wait()
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    with comm_failure():
                        await call.complete()
        assert isinstance(manager.error, trio.Cancelled)


async def test_calls_after_the_block_say_so() -> None:
    async with calling(plain=given_back) as acc:
        pass
    with unavailable() as caught:
        await acc.plain(1)
    assert "closed here" in caught.value.message


async def test_an_error_in_the_block_comes_out_as_it_is() -> None:
    async with serving(OtherManager()) as listener:
        with pytest.raises(LookupError, match="mine"):
            async with rpc.connect(Other, listener.endpoint):
                raise LookupError("mine")


async def test_calls_that_nobody_waits_for_are_sent_before_the_end() -> None:
    told: list[int] = []

    async def tell(value: int) -> None:
        told.append(value)

    async with serving(Scripted(tell=tell)) as listener:
        async with rpc.connect(Calls, listener.endpoint) as acc:
            for number in range(200):
                await acc.tell(number)
        with trio.fail_after(SECONDS):
            while len(told) < 200:
                await trio.sleep(0.001)
    assert told == list(range(200))


CLIENT = f"""
    {FIND_TESTS}
    from ipcpipes import rpc
    from tests.rpc_over_managers import Calls
    async with rpc.connect(Calls, sys.argv[1]) as acc, trio.open_nursery() as nursery:
        say("there")
        nursery.start_soon(lambda: acc.octets_into(data=lambda most: bytes(most)))
        nursery.start_soon(lambda: acc.octets_out(data=lambda chunk: None))
        nursery.start_soon(lambda: acc.octets_both(data=(lambda most: bytes(most), bytearray())))
"""


async def test_clients_that_are_killed_in_the_middle_of_their_pipes_leave_nothing() -> None:
    rng = random.Random(3)
    open_managers = 0

    async def counted(work: Any) -> Any:
        nonlocal open_managers
        open_managers += 1
        try:
            return await work
        finally:
            open_managers -= 1

    async def octets_into(data: Any) -> None:
        async for _ in data:
            pass

    async def octets_out(data: Any) -> None:
        while True:
            await data.push(bytes(rng.randrange(1, 300_000)))

    managers = Scripted(
        octets_into=lambda data: counted(octets_into(data)),
        octets_out=lambda data: counted(octets_out(data)),
        octets_both=lambda data: counted(octets_into(data)),
        plain=given_back,
    )
    with trio.fail_after(60):
        async with serving(managers) as listener:
            for _ in range(20):
                with python_child(CLIENT, listener.endpoint.name) as child:
                    await trio.to_thread.run_sync(child.hear)
                    while open_managers < 3:
                        await trio.sleep(0.001)
                    await trio.sleep(rng.random() * 0.01)
                    child.kill()
                while open_managers:
                    await trio.sleep(0.001)
            async with rpc.connect(Calls, listener.endpoint) as acc:
                assert await acc.plain(1) == 1


SERVER = f"""
    {FIND_TESTS}
    from ipcpipes import rpc
    from tests.rpc_over_managers import Scripted, drained
    async def octets_out(data):
        while True:
            await data.push(bytes(100_000))
    async with trio.open_nursery() as nursery:
        await nursery.start(
            rpc.serve, Scripted(octets_out=octets_out, octets_into=drained), sys.argv[1]
        )
        say("there")
"""


async def _until_it_dies(operation: rpc.ClientOperation, given: Any) -> None:
    with comm_failure():
        await operation(data=given)


def _setting(event: trio.Event) -> Any:
    return lambda chunk: event.set()


async def test_servers_that_are_killed_in_the_middle_of_their_pipes(
    endpoint: ipcpipes.Endpoint,
) -> None:
    rng = random.Random(4)
    with trio.fail_after(60):
        for _ in range(5):
            with python_child(SERVER, endpoint.name) as child:
                await trio.to_thread.run_sync(child.hear)
                async with rpc.connect(Calls, endpoint, wait=5) as acc:
                    got = trio.Event()
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_until_it_dies, acc.octets_out, _setting(got))
                        nursery.start_soon(_until_it_dies, acc.octets_into, bytes)
                        await got.wait()
                        await trio.sleep(rng.random() * 0.01)
                        child.kill()
        # What the last one has left is taken over, and cleared away.
        async with await ipcpipes.listen(endpoint):
            pass


# What it goes over.


async def all_kinds(acc: rpc.Client[Calls]) -> None:
    """A call of each kind."""
    assert await acc.plain({"a": [1, None]}) == {"a": [1, None]}
    data = os.urandom(700_000)
    got = bytearray()
    assert await acc.octets_both(data=(data, got)) == len(data)
    assert got == data
    with call_failed():
        await acc.into(numbers=range(100_000))
    async with acc.both.begin() as call:
        await pushed(call.pipes["numbers"], [1], [2])
        assert await drained(call.pipes["numbers"]) == [1, 2]
        assert await call.complete() == 2


async def _fails(numbers: Any) -> None:
    await numbers.pull()
    raise LookupError


ALL_KINDS = Scripted(plain=given_back, octets_both=echoed, both=echoed, into=_fails)


@pytest.mark.parametrize(
    "framing",
    [
        ipcpipes.ContentLength(),
        ipcpipes.LengthPrefixed(8, "big"),
        pytest.param(
            ipcpipes.NATIVE,
            marks=pytest.mark.skipif(
                sys.platform not in ("linux", "win32"), reason="no native messages here"
            ),
        ),
    ],
    ids=repr,
)
async def test_over_messages(framing: Any, endpoint: ipcpipes.Endpoint) -> None:
    with trio.fail_after(SECONDS):
        async with await ipcpipes.listen_messages(endpoint, framing=framing) as listener:
            channel = await ipcpipes.connect_messages(endpoint, framing=framing)
            async with trio.open_nursery() as nursery:
                accepted = await listener.accept()
                nursery.start_soon(rpc.serve_connection, ALL_KINDS, accepted)
                async with rpc.bind(Calls, channel) as acc:
                    await all_kinds(acc)
                    with pytest.raises(ValueError, match="through a pipe"):
                        await acc.plain(bytes(channel.max_size))


async def test_over_channels_of_trio() -> None:
    """Which hand over one message at a time."""
    to_server, from_client = trio.open_memory_channel[bytes](0)
    to_client, from_server = trio.open_memory_channel[bytes](0)

    class Stapled(trio.abc.Channel[bytes]):
        def __init__(self, sending: Any, receiving: Any) -> None:
            self.sending = sending
            self.receiving = receiving

        async def send(self, value: bytes) -> None:
            await self.sending.send(bytes(value))

        async def receive(self) -> bytes:
            return bytes(await self.receiving.receive())

        async def aclose(self) -> None:
            await self.sending.aclose()
            await self.receiving.aclose()

    client = Stapled(to_server, from_server)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve_connection, ALL_KINDS, Stapled(to_client, from_client))
        with trio.fail_after(SECONDS):
            async with rpc.bind(Calls, client) as acc:
                await all_kinds(acc)


async def test_over_a_channel_that_is_too_narrow() -> None:
    left, _ = memory_stream_pair()
    framing = ipcpipes.LengthPrefixed(2)
    with pytest.raises(ValueError, match="65,536"):
        async with rpc.bind(Calls, ipcpipes.MessageChannel(left, framing)):
            raise AssertionError("it is bound")


@pytest.mark.parametrize("serves", ["child", "parent"])
async def test_over_the_stream_of_a_child(serves: str) -> None:
    if serves == "child":
        program = f"""
            {FIND_TESTS}
            from ipcpipes import rpc
            from tests.test_rpc_connection import ALL_KINDS
            async with ipcpipes.parent_stream() as stream:
                await rpc.serve_connection(ALL_KINDS, stream)
        """
    else:
        program = f"""
            {FIND_TESTS}
            from ipcpipes import rpc
            from tests.test_rpc_connection import all_kinds
            from tests.rpc_over_managers import Calls
            async with ipcpipes.parent_stream() as stream:
                async with rpc.bind(Calls, stream) as acc:
                    await all_kinds(acc)
        """
    with trio.fail_after(SECONDS):
        async with ipcpipes.open_child(trio_program(program)) as child:
            if serves == "child":
                async with rpc.bind(Calls, child.stream) as acc:
                    await all_kinds(acc)
            else:
                await rpc.serve_connection(ALL_KINDS, child.stream)
            assert await child.wait() == 0


# trio's rules.


async def test_every_operation_is_a_checkpoint() -> None:
    async with calling(
        plain=given_back, inline=lambda value: value, tell=given_back, both=echoed, into=drained
    ) as acc:
        for call in (acc.plain, acc.inline, acc.tell):
            with trio.testing.assert_checkpoints():
                await call(1)
        for sources in ([], [1]):
            with trio.testing.assert_checkpoints():
                await acc.both(numbers=(sources, []))
        with trio.testing.assert_checkpoints():
            handle = acc.both.begin()
            await handle.__aenter__()
        numbers = handle.pipes["numbers"]
        for elements in ([1], bytes(4 * 10_000)):
            with trio.testing.assert_checkpoints():
                await numbers.push(elements)
        with trio.testing.assert_checkpoints():
            await numbers.close()
        await trio.testing.wait_all_tasks_blocked(0.01)
        for maximum in (1, None):
            with trio.testing.assert_checkpoints():
                assert len(await numbers.pull(maximum))
        while len(await numbers.pull()):
            pass
        await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.testing.assert_checkpoints():
            await handle.complete()
        await handle.__aexit__(None, None, None)


async def test_every_operation_of_a_manager_is_a_checkpoint() -> None:
    async def both(numbers: Any) -> None:
        for _ in range(3):
            with trio.testing.assert_checkpoints():
                await numbers.pull(1)
        for elements in ([1], bytes(4 * 10_000), []):
            with trio.testing.assert_checkpoints():
                await numbers.push(elements)

    async with calling(both=both) as acc:
        await acc.both(numbers=([1, 2], []))


async def test_what_is_cancelled_raises_cancelled_and_loses_nothing() -> None:
    async with calling(both=echoed) as acc:
        async with acc.both.begin() as call:
            numbers = call.pipes["numbers"]
            with trio.CancelScope() as scope:
                scope.cancel()
                for attempt in (
                    lambda: numbers.push([1]),
                    lambda: numbers.push(bytes(400_000)),
                    numbers.close,
                    call.complete,
                ):
                    with pytest.raises(trio.Cancelled):
                        await attempt()
            await pushed(numbers, [1, 2])
            await trio.testing.wait_all_tasks_blocked(0.01)
            with trio.CancelScope() as scope:
                scope.cancel()
                with pytest.raises(trio.Cancelled):
                    await numbers.pull()
            assert await drained(numbers) == [1, 2]
            assert await call.complete() == 2


async def test_connecting_can_be_cancelled_at_any_point() -> None:
    async with serving(Scripted(plain=given_back)) as listener:
        for steps in itertools.count():
            done = False
            async with trio.open_nursery() as nursery:

                async def connect() -> None:
                    nonlocal done
                    async with rpc.connect(Calls, listener.endpoint) as acc:
                        await acc.plain(1)
                        done = True

                nursery.start_soon(connect)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            if done:
                break
        async with rpc.connect(Calls, listener.endpoint) as acc:
            assert await acc.plain(1) == 1


async def test_a_call_can_be_cancelled_at_any_step() -> None:
    async with calling(both=echoed, inline=lambda _: open_calls()) as acc:
        for steps in itertools.count():
            done = False
            async with trio.open_nursery() as nursery:

                async def call() -> None:
                    nonlocal done
                    got: list[int] = []
                    assert await acc.both(numbers=(range(3000), got)) == 3000
                    assert len(got) == 3000
                    done = True

                nursery.start_soon(call)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            if done:
                break
        with trio.fail_after(SECONDS):
            while await acc.inline(0):
                await trio.sleep(0.001)


async def test_no_task_is_left() -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    async with serving(ALL_KINDS) as listener:
        async with rpc.connect(Calls, listener.endpoint) as acc:
            await all_kinds(acc)
        with trio.fail_after(SECONDS):
            # The server's own: the listener's, and none of a connection.
            while trio.lowlevel.current_statistics().tasks_living > before + 1:
                await trio.sleep(0.001)
    assert trio.lowlevel.current_statistics().tasks_living == before
