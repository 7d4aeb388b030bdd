"""Endpoint.inherited on Windows: duplex pipes and message-type pipes."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import Endpoint, blocking
from ipcpipes._os import blocking as system
from ipcpipes.testing import unique_endpoint

from .inheriting import inheriting_child
from .test_handing_over import close
from .test_inherited_endpoints import (
    DOORS,
    MESSAGE_DOORS,
    close_number,
    copy,
    drivers,
    left_alone,
)
from .threads import stream_pair

if sys.platform != "win32":
    pytest.skip("about handles", allow_module_level=True)


def pair() -> tuple[Any, int]:
    """Returns a stream, and the inheritable number of the other end."""
    client, server = stream_pair()
    with client:
        return server, copy(client._number)


USERS = {
    "trio": """
        import trio, ipcpipes
        async def main():
            async with await ipcpipes.connect(ipcpipes.Endpoint.inherited(sys.argv[1])) as stream:
                async for data in stream:
                    await stream.send_all(data.upper())
        trio.run(main)
        """,
    "blocking": """
        from ipcpipes import Endpoint, blocking
        with blocking.connect(Endpoint.inherited(sys.argv[1])) as stream:
            for data in stream:
                stream.send_all(data.upper())
        """,
}


@pytest.mark.parametrize("user", USERS)
def test_child_takes_over_a_duplex_pipe(user: str) -> None:
    server, number = pair()
    with inheriting_child(USERS[user], str(number)) as child:
        close_number(number)
        with server:
            server.send_all(b"hello")
            assert server.receive_some() == b"HELLO"
        assert child.wait() == 0


@drivers
def test_duplex_pipe_can_be_used_in_one_direction(driver: str) -> None:
    for direction in ("send", "receive"):
        server, number = pair()
        with server:
            stream = DOORS[driver](Endpoint.inherited(number), direction=direction)
            assert hasattr(stream, "send_all") is (direction == "send")
            close(stream)


@drivers
def test_framing_must_match_the_type_of_the_pipe(driver: str) -> None:
    server, number = pair()
    where = Endpoint.inherited(number)
    with server:
        with left_alone(number), pytest.raises(ipcpipes.NotAnEndpoint, match="leave framing"):
            MESSAGE_DOORS[driver](where, framing=ipcpipes.NATIVE)
        close_number(number)
    with blocking.listen_messages(
        unique_endpoint(), framing=ipcpipes.NATIVE, backlog=1
    ) as listener:
        client = system.connect(listener.endpoint, kind="messages", buffer_size=None, waited=0.0)
        with client:
            number = copy(client._number)
        where = Endpoint.inherited(number)
        with listener.accept():
            for door in (DOORS[driver], MESSAGE_DOORS[driver]):
                with left_alone(number), pytest.raises(ipcpipes.NotAnEndpoint, match="NATIVE"):
                    door(where)
            channel = MESSAGE_DOORS[driver](where, framing=ipcpipes.NATIVE)
            if isinstance(channel, ipcpipes.abc.MessageChannel):
                trio.run(channel.aclose)
            else:
                channel.close()
