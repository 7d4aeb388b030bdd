"""Peers that send unwanted descriptors and urgent bytes: none stays open, and others are served."""

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
    """Sends the data with as many descriptors as possible."""
    numbers = array.array("i", [0] * MOST)
    assert peer.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)]) == len(data)


def intruder(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, kind)
    peer.connect(str(path))
    return peer


@pytest.mark.parametrize("driver", ["trio", "blocking"])
async def test_stream_drops_descriptors_and_keeps_bytes(short_tmp: Path, driver: str) -> None:
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
async def test_channel_drops_descriptors_and_keeps_messages(
    short_tmp: Path, driver: str, framing: Any, kind: socket.SocketKind
) -> None:
    """Reading the size of a native message takes no descriptor either."""
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


async def test_rpc_server_drops_descriptors(short_tmp: Path) -> None:
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
                    # The descriptors come with the second half of a length.
                    await stream.send_all(struct.pack("<I", 16)[:2])
                    with socket.socket(fileno=os.dup(stream._number)) as peer:
                        smuggle(peer, struct.pack("<I", 16)[2:])
                    await stream.send_all(struct.pack("<BBHIQ", Kind.PING, 0, 0, 0, 0))
                    assert (await raw.receive()).kind is Kind.PONG
                    assert open_descriptors() == before, number
            async with rpc.connect(Calls, path) as client:
                assert await client.plain("others") == "others"
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET], ids=lambda k: k.name)
async def test_queued_descriptors_of_a_closed_peer_are_dropped(
    short_tmp: Path, kind: socket.SocketKind
) -> None:
    """Neither accepting nor closing without a read takes the descriptors."""
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
async def test_urgent_bytes_arrive_in_order(short_tmp: Path, driver: str) -> None:
    """Urgent bytes (MSG_OOB) do not delay a receiver with a deadline, and nothing is lost."""
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
                        pytest.skip("this system has no urgent bytes for such sockets")
                    assert await server.receive_some() == b"!"
                    peer.send(b"ab!", socket.MSG_OOB)
                    peer.send(b"?", socket.MSG_OOB)
                    peer.send(b"cd")
                    while len(got) < 6:
                        got += await server.receive_some()
    assert got == b"ab!?cd"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell the program")
async def test_executable_is_none_without_free_descriptors(short_tmp: Path) -> None:
    """A client that takes all descriptors of the server cannot pass for another program."""
    async with await ipcpipes.listen(short_tmp / "s") as listener:
        async with await ipcpipes.connect(short_tmp / "s"), await listener.accept() as server:
            with socket.socket(fileno=os.dup(server._number)) as look:
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
