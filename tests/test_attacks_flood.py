"""Floods of silent connections: their cost is limited, and other clients are served."""

from __future__ import annotations

import sys
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest
import trio

import ipcpipes
from ipcpipes import Endpoint

from .attacked import attacked, state, until, until_again
from .children import Child

WINDOWS = sys.platform == "win32"
SECONDS = 100  # longer than any step takes, so that only a hang reaches it
if sys.platform == "win32":
    FLOOD = 100  # each is an instance of a pipe, which takes longer to make
else:
    import resource

    # As many as the limit allows, with room for other descriptors.
    FLOOD = min(2000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)

# An echo server with ``max_instances`` and a limit of descriptors; 0 is no limit.
SERVER = """
max_instances, files = (int(text) or None for text in sys.argv[2:])
if files:
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

async def echo(stream):
    # A client that has left gets no answer; serve would log the error.
    with contextlib.suppress(trio.BrokenResourceError):
        async for data in stream:
            await stream.send_all(data)

serve = functools.partial(
    ipcpipes.serve, echo, name, max_instances=max_instances, backlog=100)
"""


def flooded(
    endpoint: Endpoint, *, max_instances: int = 0, files: int = 0
) -> AbstractAsyncContextManager[Child]:
    return attacked(SERVER, endpoint, str(max_instances), str(files))


async def check_served(endpoint: Endpoint) -> None:
    async with await ipcpipes.connect(endpoint, wait=SECONDS) as client:
        for _ in range(20):
            await client.send_all(b"x")
            assert await client.receive_some() == b"x"


async def test_silent_connections_cost_little(endpoint: Endpoint) -> None:
    """Each costs a descriptor, a task and some KiB, which are freed; nothing is logged, and other
    clients are served.
    """
    with trio.fail_after(SECONDS):
        async with flooded(endpoint) as server:
            before = await state(server)
            async with AsyncExitStack() as stack:
                for _ in range(FLOOD):
                    client = await ipcpipes.connect(endpoint, wait=SECONDS)
                    await stack.enter_async_context(client)
                during = await until(server, FLOOD)
                await check_served(endpoint)
            after = await until_again(server, before)
    assert during.tasks - before.tasks <= FLOOD
    assert during.descriptors - before.descriptors <= FLOOD
    assert during.memory - before.memory <= FLOOD * 32 * 1024
    assert after.logged == 0


async def test_max_instances_limits_a_flood(endpoint: Endpoint) -> None:
    """Further clients get EndpointBusy; a client that waits is served as soon as one leaves."""
    most = 8
    with trio.fail_after(SECONDS):
        async with flooded(endpoint, max_instances=most) as server:
            before = await state(server)
            async with AsyncExitStack() as stack:
                clients = []
                for _ in range(FLOOD):
                    try:
                        client = await ipcpipes.connect(endpoint)
                    except ipcpipes.EndpointBusy:
                        continue
                    clients.append(await stack.enter_async_context(client))
                during = await until(server, most)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(check_served, endpoint)
                    with pytest.raises(ipcpipes.EndpointBusy):
                        await ipcpipes.connect(endpoint)
                    for client in clients:
                        await client.aclose()
            after = await until_again(server, before)
    assert len(clients) < FLOOD
    assert during.tasks - before.tasks <= most
    assert after.logged == 0


@pytest.mark.skipif(WINDOWS, reason="a process has no such limit there")
async def test_server_survives_a_flood_that_takes_all_descriptors(endpoint: Endpoint) -> None:
    """It logs one warning and no error, and serves its connected clients, and new ones later."""
    with trio.fail_after(SECONDS):
        async with flooded(endpoint, files=40) as server:
            before = await state(server)
            async with await ipcpipes.connect(endpoint) as early:
                await early.send_all(b"x")
                assert await early.receive_some() == b"x"
                async with AsyncExitStack() as stack:
                    for _ in range(100):
                        client = await ipcpipes.connect(endpoint, wait=SECONDS)
                        await stack.enter_async_context(client)
                    while not (during := await state(server)).logged:
                        await trio.sleep(0.01)
                    await early.send_all(b"y")
                    assert await early.receive_some() == b"y"
                await check_served(endpoint)
            after = await until_again(server, before)
    assert during.connections < 40
    assert after.logged == after.warnings == 1


async def test_closed_clients_leave_nothing_behind(endpoint: Endpoint) -> None:
    """They close before they are accepted, in the middle of a message, or after one."""
    with trio.fail_after(SECONDS):
        async with flooded(endpoint) as server:
            before = await state(server)
            for number in range(FLOOD):
                client = await ipcpipes.connect(endpoint, wait=SECONDS)
                if number % 2:
                    await client.send_all(b"x" * number)
                if number % 4 == 3:
                    await client.receive_some(1)
                await client.aclose()
            await check_served(endpoint)
            after = await until_again(server, before)
    assert after.memory - before.memory <= 16 * 2**20
    assert after.logged == 0
