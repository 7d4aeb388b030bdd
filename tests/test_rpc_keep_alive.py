"""keep_alive: pings to silent peers, and when a connection counts as lost."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc
from ipcpipes.testing import memory_stream_pair

from .rpc_over_links import GatedStream, Witness, calling_in_memory, comm_failure
from .rpc_over_managers import Calls, Scripted, given_back


@pytest.mark.parametrize("end", ["client", "server"])
async def test_keep_alive_detects_a_frozen_peer(
    end: str, autojump_clock: trio.testing.MockClock
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
                **(options if end == "client" else {}),
            )
        )
        frozen = gates[end]
        other = options if end == "server" else {}
        async with rpc.bind(Calls, gates["client"], **other) as acc:
            async with rpc.operation_of(acc.into).begin() as call:
                await manager.began.wait()
                await trio.sleep(100)  # both are there, and have nothing to say
                assert not manager.ended.is_set()
                began = trio.current_time()
                frozen.reading = frozen.writing = trio.Event()
                if end == "server":
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


class SlowStream(trio.abc.Stream):
    """A stream that takes so many bytes a second."""

    def __init__(self, stream: trio.abc.Stream, rate: float) -> None:
        self._stream = stream
        self._rate = rate

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep(len(data) / self._rate)
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self._stream.aclose()


@pytest.mark.parametrize("end", ["client", "server"])
async def test_time_while_this_process_was_stopped_does_not_count(
    end: str, mock_clock: trio.testing.MockClock
) -> None:
    """As after a debugger, or a laptop that was closed: the other end did not run either."""
    left, right = memory_stream_pair()
    gates = {"client": GatedStream(left), "server": GatedStream(right)}
    other = gates["server" if end == "client" else "client"]
    options: dict[str, Any] = {"keep_alive": 4.0}

    async def go_on(seconds: int) -> None:
        for _ in range(2 * seconds):
            mock_clock.jump(0.5)
            await trio.testing.wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(
                rpc.serve_connection,
                Scripted(plain=given_back),
                gates["server"],
                **(options if end == "server" else {}),
            )
        )
        async with rpc.bind(Calls, gates["client"], **(options if end == "client" else {})) as acc:
            assert await acc.plain(1) == 1
            await go_on(4)
            other.reading = trio.Event()
            await go_on(5)  # the other end was asked, and does not answer yet
            for _ in range(3):
                mock_clock.jump(1000)
                await trio.testing.wait_all_tasks_blocked()
            other.reading.set()
            await go_on(20)
            assert await acc.plain(2) == 2
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("end", ["client", "server"])
async def test_received_data_is_read_before_the_timeout_is_checked(
    end: str, mock_clock: trio.testing.MockClock
) -> None:
    """After a step of this program that took long: the answer lies there when the time is over."""
    left, right = memory_stream_pair()
    gates = {"client": GatedStream(left), "server": GatedStream(right)}
    sessions: dict[str, Any] = {}
    options: dict[str, Any] = {"keep_alive": 4.0}

    async def plain(value: Any) -> Any:
        sessions["server"] = rpc.current_call()._call.session
        if value == "busy":
            gates[end].reading = trio.Event()  # after the receive that waits now
        return value

    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(
                rpc.serve_connection,
                Scripted(plain=plain),
                gates["server"],
                **(options if end == "server" else {}),
            )
        )
        async with rpc.bind(Calls, gates["client"], **(options if end == "client" else {})) as acc:
            sessions["client"] = rpc.client_of(acc)._link.session
            assert await acc.plain("busy") == "busy"
            while not sessions[end].pings:
                mock_clock.jump(0.5)
                await trio.testing.wait_all_tasks_blocked()
            for _ in range(7):
                mock_clock.jump(0.5)
                await trio.testing.wait_all_tasks_blocked()
            assert sessions[end].pings == 1
            gates[end].reading.set()
            mock_clock.jump(0.5)
            await trio.testing.wait_all_tasks_blocked()
            assert sessions[end].failure is None
            assert await acc.plain(2) == 2
        nursery.cancel_scope.cancel()


async def test_a_long_answer_in_transit_keeps_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """What the client is asked lies behind it, and its answer cannot come before."""
    left, right = memory_stream_pair()

    async def plain(value: Any) -> bytes:
        return bytes(value)

    async with trio.open_nursery() as nursery:
        slow = SlowStream(right, 100_000)
        nursery.start_soon(
            partial(rpc.serve_connection, Scripted(plain=plain), slow, keep_alive=5.0)
        )
        async with rpc.bind(Calls, left) as acc:
            assert await acc.plain(8 * 2**20) == bytes(8 * 2**20)  # 84 s
        nursery.cancel_scope.cancel()


async def test_an_answer_that_is_not_read_ends_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    left, right = memory_stream_pair()
    gated = GatedStream(right)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(rpc.serve_connection, Scripted(plain=given_back), gated, keep_alive=5.0)
        )
        async with rpc.bind(Calls, left) as acc:
            gated.writing = trio.Event()
            began = trio.current_time()
            with comm_failure():
                await acc.plain(1)
            assert 5 <= trio.current_time() - began <= 15
