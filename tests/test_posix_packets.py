"""Sockets of sequenced packets: native messages on Linux."""

from __future__ import annotations

import errno
import socket
import sys
import threading
from pathlib import Path

import pytest

import ipcpipes
from ipcpipes import NATIVE, Endpoint

if sys.platform == "win32":
    pytest.skip("about sockets", allow_module_level=True)

from ipcpipes._os.posix import calls as posix_calls

from .channels import connected, has_native


@has_native
async def test_unwanted_descriptors_are_dropped(short_tmp: Path) -> None:
    path = short_tmp / "s"
    async with await ipcpipes.listen_messages(path, framing=NATIVE) as listener:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(str(path))
            async with await listener.accept() as server:
                before = set(Path("/proc/self/fd").iterdir())
                socket.send_fds(client, [b"with descriptors"], [client.fileno()] * 5)
                socket.send_fds(client, [b""], [client.fileno()])
                assert await server.receive() == b"with descriptors"
                assert await server.receive() == b""
                assert set(Path("/proc/self/fd").iterdir()) == before


@has_native
async def test_plain_seqpacket_socket_can_be_the_client(short_tmp: Path) -> None:
    path = short_tmp / "s"
    async with await ipcpipes.listen_messages(path, framing=NATIVE) as listener:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.connect(str(path))
        async with await listener.accept() as server:
            for message in (b"", b"abc", b"", b""):
                client.send(message)
            client.close()
            assert [message async for message in server] == [b"", b"abc", b"", b""]


@has_native
async def test_messages_arrive_if_peer_closes_without_reading() -> None:
    left, right = await connected(NATIVE)()
    async with left:
        await right.send_many([b"one", b"two"])
        await left.send(b"never read")
        await right.aclose()
        assert [message async for message in left] == [b"one", b"two"]


@has_native
async def test_message_sent_just_before_close_arrives() -> None:
    # Linux checks for a packet and then for the end, not for both at once.
    go = threading.Event()
    sockets: list[socket.socket] = []

    def send_and_close() -> None:
        for number in range(3000):
            go.wait()
            go.clear()
            for _ in range(number % 100):
                pass
            sockets[0].send(b"last words")
            sockets[0].close()

    thread = threading.Thread(target=send_and_close)
    thread.start()
    for _ in range(3000):
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sockets[:] = [left]
        assert posix_calls.set_options(right.fileno(), 65_536, True) == 0
        go.set()
        while (size := posix_calls.next_packet_size(right.fileno(), False)) == -errno.EAGAIN:
            pass
        right.close()
        assert size == len(b"last words")
        while left.fileno() != -1:
            pass
    thread.join()


async def test_error_without_seqpacket_names_the_alternative(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    for door in (ipcpipes.connect_messages, ipcpipes.listen_messages):
        with pytest.raises(ipcpipes.NotSupported, match=r"LengthPrefixed\(\)"):
            await door(endpoint, framing=NATIVE)
