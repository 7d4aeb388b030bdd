"""The timeout of a client that waits for the answer to its bind, under both drivers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import rpc
from ipcpipes.rpc import blocking
from ipcpipes.rpc.wire.format import BIND_TIMEOUT
from ipcpipes.testing import memory_stream_pair, unique_endpoint

from .rpc_blocking_pairs import Calls
from .threads import at_most, stream_pair

Attempt = Callable[..., Awaitable[None]]


async def _connect(endpoint: Any, **options: Any) -> None:
    async with rpc.connect(Calls, endpoint, **options):
        raise AssertionError("there is no server")


async def _connect_in_a_thread(endpoint: Any, **options: Any) -> None:
    def connect() -> None:
        with blocking.connect(Calls, endpoint, **options):
            raise AssertionError("there is no server")

    await trio.to_thread.run_sync(connect)


both = pytest.mark.parametrize("connect", [_connect, _connect_in_a_thread])


@both
async def test_a_silent_server_is_abandoned_after_the_timeout(connect: Attempt) -> None:
    async with await ipcpipes.listen(unique_endpoint()) as listener:
        with at_most(9), pytest.raises(rpc.BindTimeout, match=r"within 0\.05 s") as caught:
            await connect(listener.endpoint, bind_timeout=0.05)
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, rpc.CommFailure)


@both
@pytest.mark.parametrize(("seconds", "error"), [(-1, ValueError), ("1", TypeError)])
async def test_a_wrong_timeout_is_refused_before_connecting(
    connect: Attempt, seconds: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="bind_timeout must be"):
        await connect(unique_endpoint(), bind_timeout=seconds)


@pytest.mark.parametrize("door", [rpc.connect, rpc.bind, blocking.connect, blocking.bind])
def test_the_default_is_ten_seconds_everywhere(door: Callable[..., Any]) -> None:
    assert inspect.signature(door).parameters["bind_timeout"].default == BIND_TIMEOUT == 10


async def test_the_default_applies_under_trio(autojump_clock: trio.testing.MockClock) -> None:
    here, there = memory_stream_pair()
    began = trio.current_time()
    async with there:
        with pytest.raises(rpc.BindTimeout):
            async with rpc.bind(Calls, here):
                pass
    assert trio.current_time() - began == pytest.approx(BIND_TIMEOUT)


async def test_an_infinite_timeout_waits_until_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    here, there = memory_stream_pair()
    async with there:
        with trio.move_on_after(100_000) as scope:
            async with rpc.bind(Calls, here, bind_timeout=math.inf):
                pass
    assert scope.cancelled_caught


def test_bind_has_the_same_timeout() -> None:
    here, there = stream_pair()
    with there, at_most(9), pytest.raises(rpc.BindTimeout):
        with blocking.bind(Calls, here, bind_timeout=0.05):
            pass
