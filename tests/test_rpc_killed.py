"""Peers that are killed in the middle of their pipes leave nothing behind."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import trio
import trio.testing

import ipcpipes
from ipcpipes import rpc

from .children import python_child
from .rpc_over_links import FIND_TESTS, comm_failure, serving
from .rpc_over_managers import Calls, Scripted, given_back

CLIENT = f"""
    {FIND_TESTS}
    from ipcpipes import rpc
    from tests.rpc_over_managers import Calls
    async with rpc.connect(Calls, sys.argv[1]) as acc, trio.open_nursery() as nursery:
        say("there")
        nursery.start_soon(lambda: acc.octets_into(data=lambda most: bytes(most)))
        nursery.start_soon(lambda: acc.octets_out(data=lambda chunk: None))
        nursery.start_soon(lambda: acc.octets_both(data=(lambda most: bytes(most), bytearray())))
"""


async def test_killed_clients_end_their_managers() -> None:
    rng = random.Random(3)
    open_managers = 0

    async def counted(work: Any) -> Any:
        nonlocal open_managers
        open_managers += 1
        try:
            return await work
        finally:
            open_managers -= 1

    async def octets_into(data: Any) -> None:
        async for _ in data:
            pass

    async def octets_out(data: Any) -> None:
        while True:
            await data.push(bytes(rng.randrange(1, 300_000)))

    managers = Scripted(
        octets_into=lambda data: counted(octets_into(data)),
        octets_out=lambda data: counted(octets_out(data)),
        octets_both=lambda data: counted(octets_into(data)),
        plain=given_back,
    )
    with trio.fail_after(60):
        async with serving(managers) as listener:
            for _ in range(20):
                with python_child(CLIENT, listener.endpoint.name) as child:
                    await trio.to_thread.run_sync(child.hear)
                    while open_managers < 3:
                        await trio.sleep(0.001)
                    await trio.sleep(rng.random() * 0.01)
                    child.kill()
                while open_managers:
                    await trio.sleep(0.001)
            async with rpc.connect(Calls, listener.endpoint) as acc:
                assert await acc.plain(1) == 1


SERVER = f"""
    {FIND_TESTS}
    from ipcpipes import rpc
    from tests.rpc_over_managers import Scripted, drained
    async def octets_out(data):
        while True:
            await data.push(bytes(100_000))
    async with trio.open_nursery() as nursery:
        await nursery.start(
            rpc.serve, Scripted(octets_out=octets_out, octets_into=drained), sys.argv[1]
        )
        say("there")
"""


async def _until_it_dies(operation: Callable[..., Awaitable[Any]], given: Any) -> None:
    with comm_failure():
        await operation(data=given)


def _setting(event: trio.Event) -> Any:
    return lambda chunk: event.set()


async def test_killed_servers_fail_the_calls(
    endpoint: ipcpipes.Endpoint,
) -> None:
    rng = random.Random(4)
    with trio.fail_after(60):
        for _ in range(5):
            with python_child(SERVER, endpoint.name) as child:
                await trio.to_thread.run_sync(child.hear)
                async with rpc.connect(Calls, endpoint, wait=5) as acc:
                    got = trio.Event()
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_until_it_dies, acc.octets_out, _setting(got))
                        nursery.start_soon(_until_it_dies, acc.octets_into, bytes)
                        await got.wait()
                        await trio.sleep(rng.random() * 0.01)
                        child.kill()
        # What the last one has left is taken over, and cleared away.
        async with await ipcpipes.listen(endpoint):
            pass
