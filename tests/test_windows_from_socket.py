"""Endpoint.from_socket on Windows: the handles of named pipes."""

from __future__ import annotations

import sys

import pytest

import ipcpipes
from ipcpipes import AccessPolicy, Endpoint

from .test_handing_over import close
from .test_inherited_endpoints import DOORS, MESSAGE_DOORS, copy, drivers, left_alone
from .threads import stream_pair

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
