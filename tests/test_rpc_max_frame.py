"""max_frame is a limit of the end that receives, for each direction by itself."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.rpc.wire.format import LEAST_FRAME
from ipcpipes.testing import memory_stream_pair, unique_endpoint

from .rpc_both_drivers import DRIVERS, connected, served
from .rpc_over_links import bad_stub_data
from .threads import Worker

MIB = 2**20
HINT = "send large values through a pipe"


class Octets(rpc.Interface, uuid="3f7c8a53-7e0e-4f42-9d9f-1b5a1d8b6c55", version=(1, 0)):
    """Takes and gives much."""

    @rpc.operation
    def count(self, data: bytes) -> int: ...
    @rpc.operation
    def make(self, size: int) -> bytes: ...


class OctetsManager(Octets):
    def count(self, data: bytes) -> int:
        return len(data)

    def make(self, size: int) -> bytes:
        return bytes(size)


BOTH = pytest.mark.parametrize(
    ("server", "client"), [(server, client) for server in DRIVERS for client in DRIVERS]
)


@BOTH
def test_a_client_with_a_small_limit_can_send_large_values(server: str, client: str) -> None:
    with (
        served(server, OctetsManager(), max_frame=3 * MIB) as endpoint,
        connected(client, Octets, endpoint, max_frame=LEAST_FRAME) as acc,
    ):
        assert acc.call("count", bytes(2 * MIB)) == 2 * MIB
        assert len(acc.call("make", 60_000)) == 60_000
        with bad_stub_data() as caught:
            acc.call("make", 100_000)
        assert caught.value.message == (
            "the result of Octets.make has 100,005 bytes, and the client takes frames of at most "
            f"65,536; {HINT}"
        )
        with pytest.raises(ValueError, match="frames of at most 3,145,728") as refused:
            acc.call("count", bytes(4 * MIB))
        assert "and the server takes" in str(refused.value)


@BOTH
def test_a_server_with_a_small_limit_can_send_large_values(server: str, client: str) -> None:
    with (
        served(server, OctetsManager(), max_frame=LEAST_FRAME) as endpoint,
        connected(client, Octets, endpoint, max_frame=3 * MIB) as acc,
    ):
        assert len(acc.call("make", 2 * MIB)) == 2 * MIB
        assert acc.call("count", bytes(60_000)) == 60_000
        with pytest.raises(ValueError, match="the arguments of") as refused:
            acc.call("count", bytes(100_000))
        assert str(refused.value) == (
            "the arguments of Octets.count have 100,006 bytes, and the server takes frames of "
            f"at most 65,536; {HINT}"
        )
        with bad_stub_data() as caught:
            acc.call("make", 4 * MIB)
        assert "and the client takes frames of at most 3,145,728" in caught.value.message


async def test_the_channel_of_this_end_limits_what_it_sends() -> None:
    left, right = memory_stream_pair()
    narrow = ipcpipes.MessageChannel(left, ipcpipes.LengthPrefixed(max_size=100_000))
    wide = ipcpipes.MessageChannel(right, ipcpipes.LengthPrefixed(max_size=MIB))
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rpc.serve_connection, OctetsManager(), wide)
            async with rpc.bind(Octets, narrow) as typed:
                acc = rpc.client_of(typed)  # its methods are plain
                assert await acc.count(bytes(90_000)) == 90_000
                with pytest.raises(ValueError, match="have 100,006 bytes, and this end's"):
                    await acc.count(bytes(100_000))
                with bad_stub_data() as caught:
                    await acc.make(100_000)
                assert "and the client takes frames of at most 100,000" in caught.value.message


def test_the_blocking_channel_of_this_end_limits_what_it_sends() -> None:
    with streams.listen(unique_endpoint()) as listener:
        accepting = Worker(listener.accept)
        stream = streams.connect(listener.endpoint)
        theirs = accepting.result()
    narrow = streams.MessageChannel(stream, ipcpipes.LengthPrefixed(max_size=100_000))
    wide = streams.MessageChannel(theirs, ipcpipes.LengthPrefixed(max_size=MIB))
    server = Worker(blocking.serve_connection, OctetsManager(), wide)
    with blocking.bind(Octets, narrow) as acc:
        assert acc.count(bytes(90_000)) == 90_000
        with pytest.raises(ValueError, match="have 100,006 bytes, and this end's channel"):
            acc.count(bytes(100_000))
    server.result()


class SocketStream:
    """A blocking stream of another library."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def send_all(self, data: Any, *, timeout: float | None = None) -> None:
        self._sock.sendall(data)

    def receive_some(self, max_bytes: int | None = None, *, timeout: float | None = None) -> bytes:
        return self._sock.recv(max_bytes or 65_536)

    def close(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


@pytest.mark.parametrize("narrow", ["client", "server"])
def test_foreign_blocking_streams_keep_the_limits(narrow: str) -> None:
    ours, theirs = socket.socketpair()
    little: dict[str, Any] = {"max_frame": LEAST_FRAME}
    much: dict[str, Any] = {"max_frame": 3 * MIB}
    of_server, of_client = (much, little) if narrow == "client" else (little, much)
    server = Worker(blocking.serve_connection, OctetsManager(), SocketStream(theirs), **of_server)
    with blocking.bind(Octets, SocketStream(ours), **of_client) as acc:
        if narrow == "client":
            assert acc.count(bytes(2 * MIB)) == 2 * MIB
            with bad_stub_data():
                acc.make(100_000)
        else:
            assert len(acc.make(2 * MIB)) == 2 * MIB
            with pytest.raises(ValueError, match="the server takes frames of at most 65,536"):
                acc.count(bytes(100_000))
    server.result()
