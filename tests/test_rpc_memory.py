"""What is pushed goes from the user's memory to the system, in several steps if it has to wait."""

from __future__ import annotations

import hashlib
import random
import sys
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import rpc
from ipcpipes.rpc.wire import frames
from ipcpipes.testing import unique_endpoint

from .rpc_over_links import SECONDS, GatedStream, comm_failure

MIB = 2**20


class Digests(rpc.Interface, uuid="2d3c7e38-6d54-4f0e-a8a4-3d2e6a0a1c55", version=(1, 0)):
    """Takes much."""

    @rpc.operation
    async def digest(self, data: rpc.InPipe[rpc.byte]) -> str:
        """That of all that has come."""
        raise NotImplementedError

    @rpc.operation
    async def add(self, a: int, b: int) -> int:
        """Their sum."""
        raise NotImplementedError


class Manager(Digests):
    async def digest(self, data: rpc.InPipe[rpc.byte]) -> str:
        found = hashlib.sha256()
        async for chunk in data:
            found.update(chunk)
        return found.hexdigest()

    async def add(self, a: int, b: int) -> int:
        return a + b


@asynccontextmanager
async def gated() -> AsyncIterator[tuple[rpc.Client[Digests], GatedStream]]:
    """A client over a stream of ours, and the gate of what its server reads."""
    endpoint = unique_endpoint()
    with trio.fail_after(SECONDS):
        async with await ipcpipes.listen(endpoint) as listener, trio.open_nursery() as nursery:
            stream = await ipcpipes.connect(endpoint)
            gate = GatedStream(await listener.accept())
            nursery.start_soon(rpc.serve_connection, Manager(), gate)
            async with rpc.bind(Digests, stream) as client:
                yield rpc.client_of(client), gate
                gate.reading.set()
            nursery.cancel_scope.cancel()


def shut(gate: GatedStream) -> None:
    gate.reading = trio.Event()


async def test_a_push_cancelled_inside_a_frame_keeps_the_frame_whole() -> None:
    data = random.Random(1).randbytes(MIB)
    async with gated() as (client, gate):
        async with client.digest.begin() as call:
            await call.pipes["data"].push(b"first")
            assert await client.add(1, 2) == 3  # so that it has come
            shut(gate)
            with trio.move_on_after(0.05) as scope:
                while True:  # until the system takes no more
                    await call.pipes["data"].push(data)
            assert scope.cancelled_caught
            gate.reading.set()
            # The frame was finished; what is asked after it is answered.
            assert await client.add(3, 4) == 7
        async with client.digest.begin() as call:
            await call.pipes["data"].push(data)
            await call.pipes["data"].close()
            assert await call.complete() == hashlib.sha256(data).hexdigest()


async def test_a_push_releases_its_memory() -> None:
    random_octets = random.Random(2)
    memory = bytearray(3 * MIB)
    expected = hashlib.sha256()
    async with gated() as (client, gate), client.digest.begin() as call:
        shut(gate)
        for size in (3 * MIB, MIB, MIB // 2 + 1, 5000, 70_000):
            memory[:size] = random_octets.randbytes(size)
            expected.update(memory[:size])
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(open_after, gate, 0.02)
                    await call.pipes["data"].push(memoryview(memory)[:size])
            assert not scope.cancelled_caught
            shut(gate)
        gate.reading.set()
        await call.pipes["data"].close()
        assert await call.complete() == expected.hexdigest()
    memory += b"x"  # fails while the memory is exported


async def open_after(gate: GatedStream, seconds: float) -> None:
    await trio.sleep(seconds)
    gate.reading.set()


@pytest.mark.parametrize("seed", range(6))
async def test_cancelled_pushes_of_several_calls_keep_frames_whole(seed: int) -> None:
    draw = random.Random(seed)
    results: list[bool] = []

    async def one(client: rpc.Client[Digests], number: int) -> None:
        mine = random.Random(number)
        expected = hashlib.sha256()
        async with client.digest.begin() as call:
            for _ in range(mine.randrange(1, 6)):
                data = mine.randbytes(mine.choice([10, 4096, 5000, 100_000, MIB, 2 * MIB + 3]))
                with trio.move_on_after(mine.choice([0.001, 0.01, SECONDS])) as scope:
                    await call.pipes["data"].push(data)
                if scope.cancelled_caught:
                    return  # the number of pushed bytes is unknown
                expected.update(data)
            await call.pipes["data"].close()
            results.append(await call.complete() == expected.hexdigest())

    async def swing(gate: GatedStream) -> None:
        while True:
            shut(gate)
            await trio.sleep(draw.random() * 0.01)
            gate.reading.set()
            await trio.sleep(draw.random() * 0.005)

    async with gated() as (client, gate), trio.open_nursery() as swinging:
        swinging.start_soon(swing, gate)
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(one, client, 100 * seed + number)
        swinging.cancel_scope.cancel()
        gate.reading.set()
        assert await client.add(1, 1) == 2
    assert all(results)


async def test_a_peer_that_disappears_fails_a_push() -> None:
    with trio.fail_after(SECONDS):
        async with gated() as (client, gate):
            failed: list[BaseException] = []

            async def push(call: Any) -> None:
                with comm_failure() as caught:
                    while True:
                        await call.pipes["data"].push(bytes(MIB))
                failed.append(caught.value)

            async with client.digest.begin() as call, trio.open_nursery() as nursery:
                shut(gate)
                nursery.start_soon(push, call)
                await trio.sleep(0.02)
                await gate.aclose()
            assert failed


@pytest.mark.skipif(sys.platform == "win32", reason="a read of Windows has its memory beforehand")
async def test_a_silent_connection_holds_no_memory() -> None:
    endpoint = unique_endpoint()
    with trio.fail_after(SECONDS):
        async with await ipcpipes.listen(endpoint) as listener, trio.open_nursery() as nursery:
            stream = await ipcpipes.connect(endpoint)
            served = await listener.accept()
            nursery.start_soon(rpc.serve_connection, Manager(), served)
            tracemalloc.start()
            try:
                async with rpc.bind(Digests, stream) as client:
                    async with rpc.operation_of(client.digest).begin() as call:
                        for _ in range(8):
                            await call.pipes["data"].push(bytes(MIB))
                        await call.pipes["data"].close()
                        await call.complete()
                    await trio.testing.wait_all_tasks_blocked()
                    frames._spare.clear()  # buffers shared by all connections
                    assert tracemalloc.get_traced_memory()[0] < MIB
            finally:
                tracemalloc.stop()
