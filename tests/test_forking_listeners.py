"""Forked children can accept beside their parent, and cannot take its listeners or their places."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import blocking
from ipcpipes.testing import unique_endpoint

from .conftest import WINDOWS
from .descriptors import is_closed

if WINDOWS:
    pytest.skip("Windows has no fork", allow_module_level=True)
assert sys.platform != "win32" or not TYPE_CHECKING

from ipcpipes._os.posix import calls as posix_calls

from .forking import ForkedChild, in_forked_child


def test_close_in_a_forked_child_does_not_free_a_place() -> None:
    with (
        blocking.listen(unique_endpoint(), max_instances=1) as listener,
        blocking.connect(listener.endpoint),
        listener.accept() as server,
    ):
        assert in_forked_child(server.close) == "None"
        with pytest.raises(ipcpipes.EndpointBusy):  # the listener is still full
            blocking.connect(listener.endpoint)
        assert listener.connection_count == 1
        server.close()
        with blocking.connect(listener.endpoint) as other:
            with listener.accept(timeout=10) as second:
                other.send_all(b"x")
                assert second.receive_some() == b"x"


@pytest.mark.parametrize("max_instances", [None, 1])
def test_listener_survives_close_in_a_forked_child(
    max_instances: int | None,
) -> None:
    with (
        blocking.listen(unique_endpoint(), max_instances=max_instances) as listener,
        blocking.connect(listener.endpoint),
        listener.accept() as server,
    ):
        accepted: list[blocking.Stream] = []
        thread = threading.Thread(target=lambda: accepted.append(listener.accept()))
        thread.start()
        with pytest.raises(trio.BusyResourceError):
            while True:
                listener.accept(timeout=0)
        assert in_forked_child(listener.close) == "None"
        if max_instances is not None:
            with pytest.raises(ipcpipes.EndpointBusy):
                blocking.connect(listener.endpoint)
        assert thread.is_alive()
        server.close()
        with blocking.connect(listener.endpoint):
            thread.join()
            accepted[0].close()


def test_arrived_clients_stay_with_the_parent() -> None:
    """Clients that were taken out of a full queue but not accepted yet."""
    with (
        blocking.listen(unique_endpoint()) as listener,
        blocking.connect(listener.endpoint) as client,
    ):
        fd = posix_calls.accept(listener._fd)
        listener._early.numbers.append(fd)
        child = ForkedChild(lambda: (len(listener._early.numbers), is_closed(fd)), stays=True)
        assert child.said == "(0, True)"
        with listener.accept() as server:
            client.send_all(b"x")
            assert server.receive_some() == b"x"
        assert client.receive_some(timeout=10) == b""
        child.end()


def test_a_client_that_a_wait_has_accepted_stays_with_the_parent() -> None:
    with (
        blocking.listen(unique_endpoint()) as listener,
        blocking.connect(listener.endpoint) as client,
    ):
        assert blocking.wait([listener], timeout=10) == [listener]
        kept = listener._kept
        assert kept is not None
        number = kept.fileno()
        child = ForkedChild(lambda: (listener._kept, is_closed(number)), stays=True)
        assert child.said == "(None, True)"
        with listener.accept(timeout=0) as server:
            client.send_all(b"x")
            assert server.receive_some() == b"x"
        assert client.receive_some(timeout=10) == b""
        child.end()


async def test_a_client_that_a_wait_of_trio_has_accepted_stays_with_the_parent() -> None:
    async with (
        await ipcpipes.listen(unique_endpoint()) as listener,
        await ipcpipes.connect(listener.endpoint) as client,
    ):
        assert await ipcpipes.wait([listener]) == [listener]
        kept = listener._kept
        assert kept is not None
        number = kept.fileno()
        child = ForkedChild(lambda: (listener._kept, is_closed(number)), stays=True)
        assert child.said == "(None, True)"
        async with await listener.accept() as server:
            await client.send_all(b"x")
            assert await server.receive_some() == b"x"
        assert await client.receive_some() == b""
        child.end()


@pytest.mark.parametrize("max_instances", [None, 2])
def test_forked_child_and_parent_can_both_accept(max_instances: int | None) -> None:
    """As in a pre-forking server."""

    def serve() -> str:
        with listener.accept(timeout=10) as stream:
            stream.send_all(b"from %d" % os.getpid())
        return "served"

    with blocking.listen(unique_endpoint(), max_instances=max_instances) as listener:
        with blocking.connect(listener.endpoint) as client:
            assert in_forked_child(serve) == "'served'"
            assert client.receive_some() != b"from %d" % os.getpid()
        with blocking.connect(listener.endpoint) as client:
            assert serve() == "served"
            assert client.receive_some() == b"from %d" % os.getpid()


async def test_trio_close_in_a_forked_child_does_not_free_a_place() -> None:
    async with await ipcpipes.listen(unique_endpoint(), max_instances=1) as listener:
        client = await ipcpipes.connect(listener.endpoint)
        server = await listener.accept()
        async with client, server:
            assert in_forked_child(server._close) == "None"
            assert in_forked_child(listener._close) == "None"
            with pytest.raises(ipcpipes.EndpointBusy):
                await ipcpipes.connect(listener.endpoint)
            assert listener.connection_count == 1
