"""Lengths at the limits, announced over real connections to both drivers.

A length equal to the limit is accepted. A larger one is refused when it has arrived, before any of
its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Literal

import pytest
import trio

import ipcpipes
from ipcpipes import Endpoint, LengthPrefixed, blocking, rpc
from ipcpipes.rpc import blocking as rpc_blocking
from ipcpipes.rpc.wire.format import HEAD, LEAST_FRAME, Kind, encode

from . import drivers
from .rpc_blocking_pairs import Calls as BlockingCalls, Manager
from .rpc_over_links import RawClient
from .rpc_over_managers import Calls, Scripted
from .threads import Worker

SECONDS = 60
MAX_SIZE = 200
ABOVE = [MAX_SIZE + 1, 255, 256, 2**15, 2**16 - 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1]
ABOVE += [2**32, 2**63 - 1, 2**63, 2**64 - 1]


@pytest.mark.parametrize("byteorder", ["little", "big"])
@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("driver", ["trio", "blocking"])
async def test_announced_message_lengths_at_the_limits(
    endpoint: Endpoint,
    driver: str,
    width: Literal[1, 2, 4, 8],
    byteorder: Literal["little", "big"],
) -> None:
    """A message of max_size arrives; for a larger length the error has both sizes in one line."""
    framing = LengthPrefixed(width, byteorder, MAX_SIZE)
    door: Any = ipcpipes if driver == "trio" else drivers
    announced = [size for size in ABOVE if size < 2 ** (8 * width)]
    with trio.fail_after(SECONDS):
        async with await door.listen_messages(endpoint, framing=framing) as listener:
            for size in announced:
                async with await ipcpipes.connect(endpoint) as peer:
                    async with await listener.accept() as channel:
                        largest = MAX_SIZE.to_bytes(width, byteorder) + bytes(MAX_SIZE)
                        await peer.send_all(largest + size.to_bytes(width, byteorder))
                        assert await channel.receive() == bytes(MAX_SIZE)
                        with pytest.raises(trio.BrokenResourceError) as caught:
                            await channel.receive()
                        assert str(caught.value) == (
                            f"a message of {size:,} bytes is too large: "
                            f"the limit is max_size, {MAX_SIZE} bytes"
                        )
                        assert type(caught.value.__cause__) is ipcpipes.MessageTooLarge


def a_request(interface: Any, length: int) -> bytes:
    """Returns a frame of this length: the call "plain" with bytes."""
    number = list(interface._rpc_definition.operations).index("plain")
    octets = length - HEAD.size - 6  # the list of arguments, and how many octets (bin 32)
    body = b"\x91\xc6" + struct.pack(">I", octets) + bytes(octets)
    return struct.pack("<I", length) + encode(Kind.REQUEST, 1, body, number=number)


async def measured(value: Any) -> int:
    return len(value)


@asynccontextmanager
async def served_with_trio(endpoint: Endpoint) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        manager = Scripted(plain=measured)
        await nursery.start(partial(rpc.serve, manager, endpoint, max_frame=LEAST_FRAME))
        yield
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def served_by_threads(endpoint: Endpoint) -> AsyncIterator[None]:
    with blocking.listen(endpoint) as listener:
        manager = Manager(len)
        server = Worker(partial(rpc_blocking.serve, manager, listener, max_frame=LEAST_FRAME))
        yield
    await drivers.in_thread(server.result)


@pytest.mark.parametrize("announced", [LEAST_FRAME + 1, 2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize(
    ("served", "interface"),
    [(served_with_trio, Calls), (served_by_threads, BlockingCalls)],
    ids=["trio", "blocking"],
)
async def test_announced_frame_lengths_at_the_limits(
    endpoint: Endpoint, served: Any, interface: Any, announced: int
) -> None:
    """The largest call is answered. A larger one ends its connection, and others are served."""
    with trio.fail_after(SECONDS):
        async with served(endpoint):
            async with await ipcpipes.connect(endpoint, wait=SECONDS) as stream:
                raw = RawClient(stream)
                assert (await raw.bind(interface)).kind is Kind.BIND_ACK
                await stream.send_all(a_request(interface, LEAST_FRAME))
                assert (await raw.receive()).kind is Kind.RESPONSE
                await stream.send_all(struct.pack("<I", announced))
                await raw.at_end()
            async with await ipcpipes.connect(endpoint) as stream:
                raw = RawClient(stream)
                assert (await raw.bind(interface)).kind is Kind.BIND_ACK
                await stream.send_all(a_request(interface, 1000))
                assert (await raw.receive()).kind is Kind.RESPONSE
