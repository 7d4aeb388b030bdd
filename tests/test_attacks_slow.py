"""Peers that announce much and send little: bytes that have not arrived take no memory.

The announced messages have 3 GiB together; the server may use a hundredth of that.
"""

from __future__ import annotations

import struct
from contextlib import AsyncExitStack, suppress

import pytest
import trio

import ipcpipes
from ipcpipes import ContentLength, Endpoint, LengthPrefixed, rpc
from ipcpipes.rpc.wire.format import FRAGMENT, MAX_FRAME, Kind, encode

from .attacked import attacked, state, until, until_again
from .rpc_over_links import FIND_TESTS, RawClient
from .rpc_over_managers import Calls

SECONDS = 60
PEERS = 200
ALLOWED = 32 * 2**20
LARGEST = LengthPrefixed().max_size

MESSAGES = """
async def echo(channel):
    with contextlib.suppress(trio.BrokenResourceError):
        async for message in channel:
            await channel.send(message)

serve = functools.partial(
    ipcpipes.serve_messages, echo, name, framing=getattr(ipcpipes, sys.argv[2])())
"""
CALLS = f"""
{FIND_TESTS}
from ipcpipes import rpc
from tests.rpc_over_managers import Scripted, drained, given_back
serve = functools.partial(
    rpc.serve, Scripted(plain=given_back, octets_into=drained), name)
"""


async def trickle(streams: list[ipcpipes.Stream]) -> None:
    """Each stream sends three bytes, one by one."""
    for _ in range(3):
        for stream in streams:
            await stream.send_all(b"x")


@pytest.mark.parametrize(
    ("framing", "announcement"),
    [
        (LengthPrefixed(), struct.pack("<I", LARGEST)),
        (ContentLength(), b"Content-Length: %d\r\n\r\n" % LARGEST),
        (ContentLength(), b"Content-Length: %d\r\n" % LARGEST),
    ],
    ids=["length", "header", "half a header"],
)
async def test_announced_messages_allocate_no_memory(
    endpoint: Endpoint, framing: ipcpipes.Framing, announcement: bytes
) -> None:
    """Also after a large message has arrived, which can change how the next one is allocated. Other
    clients are served meanwhile.
    """
    with trio.fail_after(SECONDS):
        async with attacked(MESSAGES, endpoint, type(framing).__name__) as server:
            idle = await state(server)
            async with await ipcpipes.connect_messages(endpoint, framing=framing) as client:
                await client.send(bytes(LARGEST))
                assert len(await client.receive()) == LARGEST
            before = await until_again(server, idle)
            async with AsyncExitStack() as stack:
                slow = []
                for _ in range(PEERS):
                    stream = await ipcpipes.connect(endpoint, wait=SECONDS)
                    slow.append(await stack.enter_async_context(stream))
                    await stream.send_all(announcement)
                await trickle(slow)
                async with await ipcpipes.connect_messages(
                    endpoint, framing=framing, wait=SECONDS
                ) as client:
                    await client.send(b"others")
                    assert await client.receive() == b"others"
                during = await until(server, PEERS)
            after = await until_again(server, before)
    assert during.memory - before.memory <= ALLOWED
    assert after.logged == 0


@pytest.mark.parametrize("bound", [False, True], ids=["unbound", "bound"])
@pytest.mark.parametrize("kind", [Kind.BIND, Kind.REQUEST, Kind.PIPE], ids=lambda kind: kind.name)
async def test_announced_frames_allocate_no_memory(
    endpoint: Endpoint, kind: Kind, bound: bool
) -> None:
    length = 16 + FRAGMENT if kind is Kind.PIPE else MAX_FRAME
    with trio.fail_after(SECONDS):
        async with attacked(CALLS, endpoint) as server:
            before = await state(server)
            async with AsyncExitStack() as stack:
                slow = []
                for _ in range(PEERS):
                    stream = await ipcpipes.connect(endpoint, wait=SECONDS)
                    slow.append(await stack.enter_async_context(stream))
                    if bound:
                        raw = RawClient(stream)
                        assert (await raw.bind()).kind is Kind.BIND_ACK
                        if kind is Kind.PIPE:
                            await raw.request(1, "octets_into")
                    await stream.send_all(struct.pack("<I", length) + encode(kind, 1))
                await until(server, PEERS)
                await trickle_until_left(slow)
                async with rpc.connect(Calls, endpoint) as client:
                    assert await client.plain("others") == "others"
                during = await state(server)
            after = await until_again(server, before)
    # A connection and a call take a few KiB.
    assert during.memory - before.memory <= ALLOWED
    # A part of a pipe is processed before the rest has come, so it is refused.
    is_refused = kind is Kind.PIPE and not bound
    assert after.logged == after.warnings == (PEERS if is_refused else 0)


async def trickle_until_left(streams: list[ipcpipes.Stream]) -> None:
    """Like trickle, but the server may have found the fault and closed the connection."""
    for stream in streams:
        with suppress(trio.BrokenResourceError):
            await trickle([stream])


async def test_server_is_cancelled_inside_a_message(endpoint: Endpoint) -> None:
    """It does not wait for the rest of the message, and the peer gets the end of the stream."""

    async def receive(channel: ipcpipes.abc.MessageChannel) -> None:
        await channel.receive()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:

            async def serve(task_status: trio.TaskStatus[object]) -> None:
                await ipcpipes.serve_messages(receive, endpoint, task_status=task_status)

            await nursery.start(serve)
            stream = await ipcpipes.connect(endpoint)
            await stream.send_all(struct.pack("<I", LARGEST) + b"abc")
            nursery.cancel_scope.cancel()
        async with stream:
            assert await stream.receive_some() == b""
