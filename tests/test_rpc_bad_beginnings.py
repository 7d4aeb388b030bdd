"""Clients that violate the protocol right after they bind, at servers of both drivers."""

from __future__ import annotations

import logging
import struct
import threading
from contextlib import suppress

import msgspec
import pytest
import trio

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc._trio.transport import joined
from ipcpipes.rpc.wire.format import Bind, Kind, encode
from ipcpipes.testing import unique_endpoint

from .children import SECONDS
from .rpc_both_drivers import DRIVERS, connected, served

UUID = "7c1d3a52-0d39-4f8e-8c40-0b8f3c9f2e60"
HALF_A_FRAME = struct.pack("<I", 100) + b"half"


class Adder(rpc.Interface, uuid=UUID, version=(1, 0)):
    @rpc.operation
    def add(self, a: int, b: int) -> int: ...


class AdderManager(Adder):
    def add(self, a: int, b: int) -> int:
        return a + b


@pytest.mark.parametrize("server", DRIVERS)
def test_a_violation_right_after_a_bind_ends_only_its_connection(
    server: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The server logs no error, and serves other clients."""
    bind = Bind(1, UUID, (1, 0), 2**20, 2**20)
    frames = [
        encode(Kind.BIND, 0, msgspec.msgpack.encode(bind)),
        encode(Kind.PIPE, 9, b"for an unknown call"),
    ]
    with served(server, AdderManager()) as endpoint:
        for _ in range(20):
            with streams.connect(endpoint) as stream, suppress(trio.BrokenResourceError):
                stream.send_all(joined(frames))
                while stream.receive_some():
                    pass
        with connected("blocking", Adder, endpoint) as adder:
            assert adder.call("add", 1, 2) == 3
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("server", DRIVERS)
def test_a_client_of_another_kind_is_logged(server: str, caplog: pytest.LogCaptureFixture) -> None:
    with served(server, AdderManager()) as endpoint:
        with streams.connect_messages(endpoint) as channel:
            channel.send(b"hello")
            with pytest.raises(trio.EndOfChannel):
                channel.receive()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "a client was disconnected: a frame has 5 bytes; allowed are 16 to 16,777,216; "
        "it may not be a client of ipcpipes.rpc"
    )


@pytest.mark.parametrize("server", DRIVERS)
def test_a_client_that_dies_inside_a_frame_is_not_logged(
    server: str, caplog: pytest.LogCaptureFixture
) -> None:
    with served(server, AdderManager()) as endpoint:
        with streams.connect(endpoint) as stream:
            stream.send_all(HALF_A_FRAME)
    assert not caplog.records


@pytest.mark.parametrize("client", DRIVERS)
def test_a_server_that_dies_inside_a_frame_is_a_failure_of_the_connection(client: str) -> None:
    endpoint = unique_endpoint()

    def serve(listener: streams.Listener[streams.Stream]) -> None:
        with listener.accept() as stream:
            stream.receive_some()
            stream.send_all(HALF_A_FRAME)

    with streams.listen(endpoint) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with pytest.raises(rpc.CommFailure, match=r"^the connection ended inside a frame$"):
            with connected(client, Adder, endpoint):
                pass
        thread.join(SECONDS)
