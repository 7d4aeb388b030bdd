"""Foreign, silent and broken peers at the beginning of a connection."""

from __future__ import annotations

import logging
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
import trio
import trio.testing

from ipcpipes import rpc
from ipcpipes.rpc.wire.format import BIND_TIMEOUT, Kind, encode
from ipcpipes.testing import memory_stream_pair

from .rpc_over_links import (
    SECONDS,
    RawClient,
    calling_in_memory,
    comm_failure,
    failing,
    raw_calling,
)
from .rpc_over_managers import Calls, OtherManager, given_back

GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "nothing": b"",
    "an empty frame": struct.pack("<I", 0),
    "a short frame": struct.pack("<I", 3) + b"abc",
    "an unknown kind": struct.pack("<I", 16) + bytes(16),
    "a request": struct.pack("<I", 16) + encode(Kind.REQUEST, 1),
    "an answer": struct.pack("<I", 16) + encode(Kind.BIND_ACK),
    "a shutdown": struct.pack("<I", 16) + encode(Kind.SHUTDOWN),
    "no body": struct.pack("<I", 16) + encode(Kind.BIND),
    "another body": struct.pack("<I", 17) + encode(Kind.BIND, 0, b"\xc0"),
    "a deep body": struct.pack("<I", 100_016) + encode(Kind.BIND, 0, b"\x91" * 100_000),
    "a deep rest": struct.pack("<I", 100_022)
    + encode(Kind.BIND, 0, b"\x81\xa4deep" + b"\x91" * 100_000),
    "half a frame": struct.pack("<I", 1000) + b"half",
    "too large a frame": struct.pack("<I", 2**31),
}


@pytest.mark.parametrize("octets", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_instead_of_a_bind_ends_the_connection(
    octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with raw_calling() as (raw, _):
        await raw.channel.stream.send_all(octets)
        if octets[4:] in (b"", b"half"):
            await raw.channel.aclose()
        else:
            await raw.at_end()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("said", [b"", struct.pack("<I", 100) + b"half"], ids=["nothing", "half"])
async def test_a_silent_client_is_disconnected(
    said: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    left, right = memory_stream_pair()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rpc.serve_connection, OtherManager(), right)
        if said:
            await left.send_all(said)
        assert await left.receive_some(1) == b""
    assert trio.current_time() - began == pytest.approx(BIND_TIMEOUT)
    await left.aclose()


async def test_the_bind_timeout_ends_with_the_bind(autojump_clock: trio.testing.MockClock) -> None:
    async with calling_in_memory(plain=given_back) as acc:
        await trio.sleep(10 * BIND_TIMEOUT)
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
async def test_connecting_to_a_foreign_server_fails(said: bytes, kind: type[rpc.RpcError]) -> None:
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
    """A client, and a raw end of its connection, with which the test plays the server."""
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
            yield rpc.client_of(acc), raw


BAD_ANSWERS = {
    "a fault of another shape": (Kind.FAULT, b"\xc0"),
    "a fault without a number": (
        Kind.FAULT,
        msgspec.msgpack.encode({"code": "x", "message": "y"}),
    ),
    "a deep fault": (Kind.FAULT, b"\x91" * 100_000),
    "a pipe that the operation lacks": (Kind.PIPE, bytes(4)),
    "credit for a pipe that the operation lacks": (Kind.CREDIT, b""),
    "a cancel": (Kind.CANCEL, b""),
    "another bind": (Kind.BIND, b""),
    "a request": (Kind.REQUEST, b""),
}


@pytest.mark.parametrize(("kind", "body"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
async def test_a_malformed_answer_fails_all_open_calls(kind: Kind, body: bytes) -> None:
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
async def test_a_result_that_is_not_messagepack_fails_its_call_alone(body: bytes) -> None:
    with trio.fail_after(SECONDS):
        async with bound_by_hand() as (acc, raw), trio.open_nursery() as nursery:

            async def call() -> None:
                with failing(rpc.BadStubData, 1783):
                    await acc.plain(1)

            nursery.start_soon(call)
            assert (await raw.receive()).kind is Kind.REQUEST
            await raw.send(Kind.RESPONSE, 1, body=body)
            while acc._link.session.calls:
                await trio.sleep(0.001)
            assert acc._link.session.failure is None
