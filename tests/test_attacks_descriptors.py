"""Descriptors and urgent octets that a peer sends along: none stays, and the service goes on."""

from __future__ import annotations

import array
import os
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import NATIVE, LengthPrefixed, Lines, rpc
from ipcpipes.rpc.wire.format import Kind

if sys.platform == "win32":
    pytest.skip("about descriptors sent over sockets", allow_module_level=True)

import resource

from . import drivers
from .channels import has_native
from .conftest import open_descriptors
from .rpc_over_links import RawClient
from .rpc_over_managers import Calls, Scripted, given_back

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="this system does not list descriptors"
)

SECONDS = 60
SO_PEERPIDFD = 77  # asm-generic/socket.h
MOST = 253  # at once (SCM_MAX_FD, unix(7))
TIMES = 50


def smuggle(peer: socket.socket, data: bytes) -> None:
    """Sends this with as many descriptors as go along."""
    gifts = array.array("i", [0] * MOST)
    assert peer.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, gifts)]) == len(data)


def intruder(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, kind)
    peer.connect(str(path))
    return peer


@pytest.mark.parametrize("driver", ["trio", "blocking"])
async def test_a_stream_takes_the_octets_and_no_descriptor(short_tmp: Path, driver: str) -> None:
    door: Any = ipcpipes if driver == "trio" else drivers
    path = short_tmp / "s"
    with trio.fail_after(SECONDS):
        async with await door.listen(path) as listener:
            with intruder(path) as peer:
                smuggle(peer, b"early")
                async with await listener.accept() as server:
                    assert await server.receive_some() == b"early"
                    before = open_descriptors()
                    buffer = bytearray(100)
                    for _ in range(TIMES):
                        smuggle(peer, b"x")
                        assert await server.receive_some() == b"x"
                        smuggle(peer, b"yz")
                        assert await server.receive_into(buffer) == 2
                        assert open_descriptors() == before
                    await server.send_all(b"still here")
                    assert await drivers.in_thread(peer.recv, 100) == b"still here"


@pytest.mark.parametrize("driver", ["trio", "blocking"])
@pytest.mark.parametrize(
    ("framing", "kind"),
    [
        (LengthPrefixed(), socket.SOCK_STREAM),
        (Lines(), socket.SOCK_STREAM),
        pytest.param(NATIVE, socket.SOCK_SEQPACKET, marks=has_native),
    ],
    ids=["length", "lines", "native"],
)
async def test_a_channel_takes_the_message_and_no_descriptor(
    short_tmp: Path, driver: str, framing: Any, kind: socket.SocketKind
) -> None:
    """Nor does the look at how large a native message is."""
    door: Any = ipcpipes if driver == "trio" else drivers
    path = short_tmp / "s"

    def wire(message: bytes) -> bytes:
        return message if framing == NATIVE else b"".join(map(bytes, framing.frame(message)))

    with trio.fail_after(SECONDS):
        async with await door.listen_messages(path, framing=framing) as listener:
            with intruder(path, kind) as peer:
                smuggle(peer, wire(b"early"))
                async with await listener.accept() as server:
                    assert await server.receive() == b"early"
                    before = open_descriptors()
                    for _ in range(TIMES):
                        for message in (b"x", b"a larger one" * 1000):
                            smuggle(peer, wire(message))
                            assert await server.receive() == message
                        assert open_descriptors() == before


async def test_a_server_of_calls_takes_none(short_tmp: Path) -> None:
    path = short_tmp / "s"
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            manager = Scripted(plain=given_back)

            async def serve(task_status: trio.TaskStatus[object]) -> None:
                await rpc.serve(manager, path, task_status=task_status)

            await nursery.start(serve)
            async with await ipcpipes.connect(path) as stream:
                raw = RawClient(stream)
                assert (await raw.bind()).kind is Kind.BIND_ACK
                before = open_descriptors()
                for number in range(1, TIMES):
                    # As the raw client's own octets, between two of its frames' halves.
                    await stream.send_all(struct.pack("<I", 16)[:2])
                    with socket.socket(fileno=os.dup(stream._fd)) as peer:
                        smuggle(peer, struct.pack("<I", 16)[2:])
                    await stream.send_all(struct.pack("<BBHIQ", Kind.PING, 0, 0, 0, 0))
                    assert (await raw.receive()).kind is Kind.PONG
                    assert open_descriptors() == before, number
            async with rpc.connect(Calls, path) as client:
                assert await client.plain("others") == "others"
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET], ids=lambda k: k.name)
async def test_who_leaves_descriptors_in_the_queue_and_goes_leaves_none(
    short_tmp: Path, kind: socket.SocketKind
) -> None:
    """Neither accepting nor closing without a look takes what he has sent."""
    if kind == socket.SOCK_SEQPACKET and sys.platform != "linux":
        pytest.skip("this system has no native messages")
    path = short_tmp / "s"
    with trio.fail_after(SECONDS):
        listening: Any = (
            ipcpipes.listen(path)
            if kind == socket.SOCK_STREAM
            else ipcpipes.listen_messages(path, framing=NATIVE)
        )
        async with await listening as listener:
            before = open_descriptors()
            for _ in range(TIMES):
                peer = intruder(path, kind)
                smuggle(peer, b"farewell")
                peer.close()
                await (await listener.accept()).aclose()
            assert open_descriptors() == before


@pytest.mark.parametrize("driver", ["trio", "blocking"])
async def test_urgent_octets_come_in_their_turn(short_tmp: Path, driver: str) -> None:
    """What is urgent (MSG_OOB) holds up nobody who waits with a deadline, and nothing is lost."""
    door: Any = ipcpipes if driver == "trio" else drivers
    path = short_tmp / "s"
    got = b""
    with trio.fail_after(SECONDS):
        async with await door.listen(path) as listener:
            with intruder(path) as peer:
                async with await listener.accept() as server:
                    try:
                        peer.send(b"!", socket.MSG_OOB)
                    except OSError:
                        pytest.skip("this system has no urgent octets for such sockets")
                    assert await server.receive_some() == b"!"
                    peer.send(b"ab!", socket.MSG_OOB)
                    peer.send(b"?", socket.MSG_OOB)
                    peer.send(b"cd")
                    while len(got) < 6:
                        got += await server.receive_some()
    assert got == b"ab!?cd"


@pytest.mark.skipif(sys.platform != "linux", reason="others do not tell the program")
async def test_out_of_descriptors_no_program_is_named_unseen(short_tmp: Path) -> None:
    """Who takes all descriptors, and ends, cannot have another's program taken for his."""
    async with await ipcpipes.listen(short_tmp / "s") as listener:
        async with await ipcpipes.connect(short_tmp / "s"), await listener.accept() as server:
            with socket.socket(fileno=os.dup(server._fd)) as look:
                try:
                    os.close(look.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD))
                except OSError:
                    pytest.skip("this kernel has no descriptors of peers (Linux 6.5)")
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            free = os.dup(0)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            try:
                peer = server.peer
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert (peer.pid, peer.executable) == (os.getpid(), None)
