"""Peers that are silent: whether somebody asks if they are there."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc
from ipcpipes.testing import memory_stream_pair

from .rpc_over_links import GatedStream, Witness, calling_in_memory, comm_failure
from .rpc_over_managers import Calls, Scripted


@pytest.mark.parametrize("who", ["client", "server"])
async def test_keep_alive_finds_a_peer_that_is_frozen(
    who: str, autojump_clock: trio.testing.MockClock
) -> None:
    left, right = memory_stream_pair()
    gates = {"client": GatedStream(left), "server": GatedStream(right)}
    manager = Witness()

    async def into(numbers: Any) -> None:
        with manager.watching():
            await numbers.pull()

    options: dict[str, Any] = {"keep_alive": 5.0}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(
                rpc.serve_connection,
                Scripted(into=into),
                gates["server"],
                **(options if who == "client" else {}),
            )
        )
        frozen = gates[who]
        other = options if who == "server" else {}
        async with rpc.bind(Calls, gates["client"], **other) as acc:
            async with acc.into.begin() as call:
                await manager.began.wait()
                await trio.sleep(100)  # both are there, and have nothing to say
                assert not manager.ended.is_set()
                began = trio.current_time()
                frozen.reading = frozen.writing = trio.Event()
                if who == "server":
                    with comm_failure() as caught:
                        await call.complete()
                    assert "silent for 10 s" in caught.value.message
                else:
                    await manager.raised(rpc.CommFailure)
                assert 5 <= trio.current_time() - began <= 15
                frozen.reading.set()
            nursery.cancel_scope.cancel()


async def test_without_keep_alive_a_peer_may_be_silent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def plain(value: Any) -> Any:
        await trio.sleep(80_000)
        return value

    async with calling_in_memory(plain=plain, client={"keep_alive": 3600}) as acc:
        assert await acc.plain(1) == 1
