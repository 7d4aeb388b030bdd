"""What only the blocking driver has: managers without a loop, and what its calls go over."""

from __future__ import annotations

import array
from typing import Any

import pytest

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .rpc_blocking_pairs import Calls, Manager, everything, served
from .threads import Worker, channel_pair, framings, stream_pair


def test_an_async_source_is_refused() -> None:
    with served() as client:
        with pytest.raises(TypeError, match="asynchronous"):
            client.into(_asynchronous())
        assert client.plain(1) == 1


async def _asynchronous() -> Any:
    yield 1


def test_managers_that_cannot_be_served_are_refused() -> None:
    class Asynchronous(Manager):
        async def plain(self, value: Any) -> Any: ...

    with pytest.raises(TypeError, match="plain is implemented by an async"):
        blocking.serve(Asynchronous(), unique_endpoint())
    with pytest.raises(TypeError, match="no manager"):
        blocking.serve([], unique_endpoint())
    with pytest.raises(TypeError, match="the same uuid"):
        blocking.serve([Manager(), Manager()], unique_endpoint())


def test_options_of_a_listener_are_refused_beside_a_listener() -> None:
    with streams.listen(unique_endpoint()) as listener:
        with pytest.raises(TypeError, match="a listener has its own access"):
            blocking.serve(Manager(), listener, backlog=7)


@pytest.mark.parametrize("framing", [None, *framings()], ids=str)
def test_calls_over_each_kind_of_connection(framing: Any) -> None:
    here, there = stream_pair() if framing is None else channel_pair(framing)
    server = Worker(blocking.serve_connection, Manager(everything), there)
    with blocking.bind(Calls, here) as client:
        numbers = array.array("i", range(100_000))
        assert client.into(blocking.feed(numbers)) == list(numbers)
    server.result()


class _Foreign:
    """The least that a stream of another library has."""

    def __init__(self, stream: Any) -> None:
        self.send_all = stream.send_all
        self.receive_some = stream.receive_some
        self.close = stream.close


def test_calls_over_a_foreign_stream() -> None:
    here, there = stream_pair()
    server = Worker(blocking.serve_connection, Manager(everything), _Foreign(there))
    with blocking.bind(Calls, _Foreign(here)) as client:
        assert client.into(blocking.feed(range(100_000))) == list(range(100_000))
    server.result()


def test_bind_refuses_what_is_not_a_connection() -> None:
    with pytest.raises(TypeError, match="a blocking stream or a blocking message channel"):
        with blocking.bind(Calls, object()):  # type: ignore[arg-type]
            pass


def test_a_manager_that_exits_its_thread_ends_the_server() -> None:
    def manager(value: Any) -> None:
        raise SystemExit("enough")

    with pytest.raises(SystemExit, match="enough"):
        with served(manager) as client, pytest.raises(rpc.CommFailure):
            client.plain(1)
