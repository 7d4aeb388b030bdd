"""A group whose workers serve remote calls: they drain in order."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Endpoint, rpc

from . import programs
from .processes import SECONDS, is_alive
from .rpc_over_links import unavailable
from .rpc_over_managers import Calls, Scripted, given_back
from .test_worker_group import running

SERVER = programs.trio_program("""
from ipcpipes import rpc

class Pids(rpc.Interface, uuid="7d2a1f0c-6c83-4d6e-9a51-0a6f4f0f7c22", version=(1, 0)):
    @rpc.operation
    async def pid(self, seconds: float = 0) -> int: ...

class Manager(Pids):
    async def pid(self, seconds=0):
        await trio.sleep(seconds)
        return os.getpid()

async with ipcpipes.group_worker() as worker:
    await worker.serve(lambda stream: rpc.serve_connection(Manager(), stream))
""")
# Long enough that no wait of a test's can be this one.
GRACE = 10 * SECONDS


class Pids(rpc.Interface, uuid="7d2a1f0c-6c83-4d6e-9a51-0a6f4f0f7c22", version=(1, 0)):
    @rpc.operation
    async def pid(self, seconds: float = 0) -> Any: ...


async def test_idle_rpc_client_does_not_delay_a_roll_over(endpoint: Endpoint) -> None:
    async with running(SERVER, 2, endpoint=endpoint, grace=GRACE) as group:
        with trio.fail_after(SECONDS):
            async with rpc.connect(Pids, endpoint, wait=SECONDS) as first:
                old = await first.pid()
                async with rpc.connect(Pids, endpoint, wait=SECONDS):  # and says nothing
                    before = group.pids
                    await group.roll_over()
                    with pytest.raises(rpc.ServerUnavailable):
                        await first.pid()
            async with rpc.connect(Pids, endpoint, wait=SECONDS) as again:
                assert await again.pid() in group.pids.values()
        assert old in before.values()
        assert not is_alive(old)


async def test_open_call_completes_in_a_roll_over(endpoint: Endpoint) -> None:
    answers: list[int] = []

    async def call(client: Any, seconds: float) -> None:
        answers.append(await client.pid(seconds))

    async with running(SERVER, 1, endpoint=endpoint, grace=GRACE) as group:
        with trio.fail_after(SECONDS):
            async with rpc.connect(Pids, endpoint, wait=SECONDS) as client:
                old = await client.pid()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(call, client, 1.0)
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    await group.roll_over()
        assert answers == [old]


async def test_stop_does_not_wait_for_idle_rpc_clients(endpoint: Endpoint) -> None:
    with trio.fail_after(SECONDS):
        async with running(SERVER, 1, endpoint=endpoint, grace=GRACE) as group:
            async with rpc.connect(Pids, endpoint, wait=SECONDS) as client:
                pid = await client.pid()
                group.stop()
                while is_alive(pid):
                    await trio.sleep(0.01)


# serve_connection alone


async def serving_until(finishing: trio.Event, client: Any, server: Any) -> None:
    await rpc.serve_connection(Scripted(plain=given_back), server, finishing=finishing)


async def test_finishing_connection_begins_no_new_calls() -> None:
    finishing = trio.Event()
    left, right = ipcpipes.testing.memory_stream_pair()
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving_until, finishing, left, right)
            async with rpc.bind(Calls, left) as client:
                assert await client.plain(1) == 1
                finishing.set()
                with unavailable():
                    while True:
                        await client.plain(2)


async def test_late_rpc_client_fails_at_its_first_call() -> None:
    finishing = trio.Event()
    finishing.set()
    left, right = ipcpipes.testing.memory_stream_pair()
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving_until, finishing, left, right)
            async with rpc.bind(Calls, left) as client:
                with pytest.raises(rpc.ServerUnavailable):
                    await client.plain(1)


async def test_without_finishing_only_the_client_ends_it() -> None:
    left, right = ipcpipes.testing.memory_stream_pair()
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving_until, trio.Event(), left, right)
            async with rpc.bind(Calls, left) as client:
                assert await client.plain(1) == 1
