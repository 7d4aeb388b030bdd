"""Clients that violate the protocol right after they bind, at servers of both drivers."""

from __future__ import annotations

import logging
from contextlib import suppress

import msgspec
import pytest
import trio

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc._trio.transport import joined
from ipcpipes.rpc.wire.format import Bind, Kind, encode

from .rpc_both_drivers import DRIVERS, connected, served

UUID = "7c1d3a52-0d39-4f8e-8c40-0b8f3c9f2e60"


class Adder(rpc.Interface, uuid=UUID, version=(1, 0)):
    @rpc.operation
    def add(self, a: int, b: int) -> int: ...  # type: ignore[empty-body]


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
