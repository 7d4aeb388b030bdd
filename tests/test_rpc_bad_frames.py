"""Malformed frames end their own connection, and no other."""

from __future__ import annotations

import logging
import random
import struct
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes.rpc.wire.format import Kind, encode

from .rpc_drivers import Driver
from .rpc_over_links import SECONDS, RawClient, Witness
from .rpc_over_managers import Calls, drained, given_back, pushed
from .rpc_waiting import Event

_NUMBERS = {name: n for n, name in enumerate(Calls._rpc_definition.operations)}
_INTO = encode(Kind.REQUEST, 1, b"\x90", number=_NUMBERS["into"])
MALFORMED = {
    "another bind": [encode(Kind.BIND)],
    "a bind's answer": [encode(Kind.BIND_ACK)],
    "an answer": [_INTO, encode(Kind.RESPONSE, 1)],
    "a fault": [_INTO, encode(Kind.FAULT, 1)],
    "too short": [b"abc"],
    "empty": [b""],
    "an unknown kind": [encode(Kind.PING).replace(b"\x0b", b"\x63", 1)],
    "a call out of turn": [encode(Kind.REQUEST, 2, b"\x90")],
    "a call twice": [_INTO, _INTO],
    "a pipe of no call": [encode(Kind.PIPE, 1, bytes(4))],
    "a pipe of call 0": [_INTO, encode(Kind.PIPE, 0, bytes(4))],
    "a pipe that the operation lacks": [_INTO, encode(Kind.PIPE, 1, bytes(4), number=1)],
    "after the end of a pipe": [_INTO, encode(Kind.PIPE, 1, bytes(8))],
    "beyond the credit": [_INTO, *[encode(Kind.PIPE, 1, b"\xff" * 700_000)] * 3],
    "credit for a pipe of the other direction": [_INTO, encode(Kind.CREDIT, 1, amount=1)],
    "cancelling an unknown call": [encode(Kind.CANCEL, 1)],
    "giving up an unknown call": [encode(Kind.ORPHANED, 7)],
    "a shutdown without a body": [encode(Kind.SHUTDOWN)],
    "a deep shutdown": [encode(Kind.SHUTDOWN, 0, b"\x91" * 100_000)],
}


@pytest.mark.parametrize("frames", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_frames_end_only_their_connection(
    driver: Driver, frames: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    manager = Witness()

    async def into(numbers: Any) -> None:
        with manager.watching():
            await go_on.wait()

    go_on = Event()
    async with driver.raw_calling(into=into) as (raw, _):
        await raw.bind()
        await raw.channel.send_many(frames)
        await raw.at_end()
        if driver.serves_in_threads:  # a thread cannot be cancelled
            go_on.set()
        if _INTO in frames and manager.began.is_set():
            with trio.fail_after(SECONDS):
                await manager.ended.wait()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


BAD_CALLS = {
    "an unknown operation": encode(Kind.REQUEST, 1, b"\x90", number=999),
    "no arguments": encode(Kind.REQUEST, 1, b"", number=_NUMBERS["plain"]),
    "too few": encode(Kind.REQUEST, 1, b"\x90", number=_NUMBERS["plain"]),
    "too many": encode(Kind.REQUEST, 1, b"\x92\x01\x01", number=_NUMBERS["plain"]),
    "of another type": encode(Kind.REQUEST, 1, b"\x91\xa1x", number=_NUMBERS["both_value"]),
    "a map": encode(Kind.REQUEST, 1, b"\x80", number=_NUMBERS["plain"]),
    "invalid MessagePack": encode(Kind.REQUEST, 1, b"\xc1\xc1", number=_NUMBERS["plain"]),
    "invalid UTF-8": encode(Kind.REQUEST, 1, b"\x91\xa1\xff", number=_NUMBERS["plain"]),
    "deep": encode(Kind.REQUEST, 1, b"\x91" * 100_000, number=_NUMBERS["plain"]),
    "long": encode(Kind.REQUEST, 1, b"\xdd\xff\xff\xff\xff", number=_NUMBERS["plain"]),
    "no answer is wanted": encode(Kind.REQUEST, 1, b"\x91\x01", number=_NUMBERS["tell"]),
}


@pytest.mark.parametrize("request_", BAD_CALLS.values(), ids=BAD_CALLS)
async def test_a_wrong_request_fails_its_call_and_not_the_connection(
    driver: Driver,
    request_: bytes,
) -> None:
    async with driver.raw_calling() as (raw, _):
        await raw.bind()
        await raw.channel.send(request_)
        answer = await raw.receive()
        assert (answer.kind, answer.call) == (Kind.FAULT, 1)
        await raw.request(2, "plain", 5)
        answer = await raw.receive()
        assert (answer.kind, bytes(answer.body)) == (Kind.RESPONSE, b"\x05")


async def test_random_garbage_harms_no_other_client(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
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

    managers = driver.manager(plain=given_back, into=drained, out=out)
    with trio.fail_after(SECONDS):
        async with driver.serving(managers) as listener:
            async with driver.connect(Calls, listener.endpoint) as acc:
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
