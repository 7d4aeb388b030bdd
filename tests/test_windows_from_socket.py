"""Endpoint.from_socket on Windows: the handles of named pipes."""

from __future__ import annotations

import os
import sys

import pytest
import trio

import ipcpipes
from ipcpipes import AccessPolicy, Endpoint, blocking
from ipcpipes.testing import unique_endpoint

from .pairs import stream_pair as trio_pair
from .test_handing_over import close
from .test_inherited_endpoints import DOORS, MESSAGE_DOORS, close_number, copy, drivers, left_alone
from .threads import channel_pair, stream_pair

if sys.platform != "win32":
    pytest.skip("about handles", allow_module_level=True)


@drivers
def test_either_end_of_a_named_pipe(driver: str) -> None:
    for takes_client in (False, True):
        client, server = stream_pair()
        ours, theirs = (client, server) if takes_client else (server, client)
        number = copy(ours._number)
        where = Endpoint.from_socket(number)
        with ours, theirs:
            with left_alone(number), pytest.raises(ipcpipes.NotAnEndpoint, match="leave framing"):
                MESSAGE_DOORS[driver](where, framing=ipcpipes.NATIVE)
            stream = DOORS[driver](where, server=AccessPolicy.current_user())
            assert stream._server_end is not takes_client
            if driver == "blocking":
                stream.send_all(b"hello")
                assert theirs.receive_some() == b"hello"
            close(stream)


def test_a_blocking_stream_goes_on_after_it_was_detached() -> None:
    client, server = stream_pair()
    with client:
        client.send_all(b"before")
        number = server.detach()
        assert not os.get_handle_inheritable(number)
        with pytest.raises(trio.ClosedResourceError, match="was detached"):
            server.receive_some()
        server.close()
        with blocking.connect(Endpoint.from_socket(number)) as again:
            assert again.receive_some() == b"before"
            again.send_all(b"hello")
            assert client.receive_some() == b"hello"
        assert client.receive_some() == b""


def test_the_listener_does_not_count_it_any_more() -> None:
    with blocking.listen(unique_endpoint(), max_instances=1) as listener:
        with blocking.connect(listener.endpoint) as first:
            number = listener.accept().detach()
            assert listener.connection_count == 0
            with blocking.connect(listener.endpoint, wait=10), listener.accept(timeout=10):
                pass
            close_number(number)
            assert first.receive_some() == b""


def test_a_blocking_channel_goes_on_under_trio() -> None:
    client, server = channel_pair()
    with client:
        client.send(b"request")
        assert server.receive() == b"request"
        where = Endpoint.from_socket(server.detach())

        async def go_on() -> None:
            async with await ipcpipes.connect_messages(where) as again:
                await again.send(b"reply")

        trio.run(go_on)
        assert client.receive() == b"reply"


async def test_no_connection_leaves_trio() -> None:
    client, server = await trio_pair()
    async with client, server:
        with pytest.raises(ipcpipes.NotSupported, match="completion port"):
            server.detach()
        await server.send_all(b"it is as it was")
        assert await client.receive_some() == b"it is as it was"
