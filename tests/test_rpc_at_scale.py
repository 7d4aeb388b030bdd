"""Many connections, peers that are killed, and more data than memory (Linux)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import rpc
from ipcpipes.testing import unique_endpoint

if sys.platform != "linux":
    pytest.skip("reads /proc, and sets limits of Linux", allow_module_level=True)

import resource

SECONDS = 200  # far longer than a loaded machine takes, so that only a hang runs into it
MIB = 2**20

INTERFACE = """
from ipcpipes import rpc

class Flow(rpc.Interface, uuid="3b0f0f5c-5a7e-4f6c-9b6e-0c8d5d1f7a21", version=(1, 0)):
    @rpc.operation
    async def sink(self, data: rpc.InPipe[rpc.byte]) -> int:
        raise NotImplementedError

    @rpc.operation
    async def source(self, data: rpc.OutPipe[rpc.byte]) -> int:
        raise NotImplementedError

    @rpc.operation
    async def echo(self, number: int) -> int:
        raise NotImplementedError
"""
namespace: dict[str, Any] = {"__name__": __name__}
exec(INTERFACE, namespace)
Flow: Any = namespace["Flow"]


class FlowManager(Flow):  # type: ignore[misc]  # exec() makes it, also in the programs
    """Counts how its calls end."""

    def __init__(self) -> None:
        self.received = 0
        self.ends: list[str] = []

    async def sink(self, data: rpc.InPipe[int]) -> int:
        try:
            async for chunk in data:
                self.received += len(chunk)
        except BaseException as error:
            self.ends.append(type(error).__name__)
            raise
        self.ends.append("returned")
        return self.received

    async def source(self, data: rpc.OutPipe[int]) -> int:
        try:
            while True:
                await data.push(bytes(64 * 1024))
        except BaseException as error:
            self.ends.append(type(error).__name__)
            raise

    async def echo(self, number: int) -> int:
        await trio.lowlevel.checkpoint()
        return number


@asynccontextmanager
async def serving(manager: rpc.Interface) -> AsyncIterator[ipcpipes.Endpoint]:
    async with trio.open_nursery() as nursery:
        listener = await nursery.start(partial(rpc.serve, manager, unique_endpoint()))
        yield listener.endpoint
        nursery.cancel_scope.cancel()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def many_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 4096), max(before[1], 4096)))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_thousand_connections_with_ten_calls_each() -> None:
    answers: list[int] = []
    connected = 0
    all_connected = trio.Event()

    async def client(endpoint: ipcpipes.Endpoint, number: int) -> None:
        nonlocal connected
        async with rpc.connect(Flow, endpoint, wait=SECONDS, bind_timeout=SECONDS) as flow:
            connected += 1
            if connected == 1000:
                all_connected.set()
            await all_connected.wait()
            async with trio.open_nursery() as nursery:
                for each in range(10):
                    nursery.start_soon(call, flow, number * 10 + each)

    async def call(flow: Any, number: int) -> None:
        answers.append(await flow.echo(number))

    before = descriptors()
    with many_descriptors(), trio.fail_after(SECONDS):
        async with serving(FlowManager()) as endpoint, trio.open_nursery() as nursery:
            for number in range(1000):
                nursery.start_soon(client, endpoint, number)
    assert sorted(answers) == list(range(10_000))
    assert descriptors() == before


# This process has imported everything, so its forks start fast. Each line is one write, so that
# lines of two processes do not mix.
FORKS = (
    INTERFACE
    + """
import os, signal, sys, trio

class Endless(Flow):
    async def sink(self, data):
        async for chunk in data:
            pass

    async def source(self, data):
        while True:
            await data.push(bytes(64 * 1024))

    async def echo(self, number):
        return number

def endless():
    while True:
        yield bytes(64 * 1024)

async def client(endpoint, operation):
    async with rpc.connect(Flow, endpoint, wait=30) as flow:
        os.write(1, b"up\\n")
        if operation == "sink":
            await flow.sink(data=endless())
        else:
            await flow.source(data=lambda chunk: None)

async def server(endpoint, operation):
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.serve, Endless(), endpoint)
        os.write(1, b"up\\n")

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    role, endpoint, operation = line.split()
    pid = os.fork()
    if pid == 0:
        trio.run({"client": client, "server": server}[role], endpoint, operation)
        os._exit(0)
    os.write(1, f"{pid}\\n".encode())
"""
)


class Forks:
    """Clients and servers in processes of their own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", FORKS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    async def start(self, role: str, endpoint: str, operation: str) -> int:
        """Starts a client or server. Returns its pid when it is connected, or listens."""
        return await trio.to_thread.run_sync(self._start, role, endpoint, operation)

    def _start(self, *words: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        said = {self._process.stdout.readline().strip() for _ in range(2)}
        said.remove("up")
        return int(said.pop())

    def close(self) -> None:
        """Kills all of them, also those that a failed test has left."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory for sockets; tmp_path is too long for one."""
    with tempfile.TemporaryDirectory(prefix="ipc", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def forks() -> Iterator[Forks]:
    made = Forks()
    yield made
    made.close()


@pytest.mark.parametrize("operation", ["sink", "source"])
async def test_killed_clients_leave_no_calls_and_no_descriptors(
    forks: Forks, place: Path, operation: str
) -> None:
    manager = FlowManager()
    path = str(place / "socket")
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.serve, manager, path)
        before = descriptors()
        with trio.fail_after(SECONDS):
            for turn in range(50):
                pid = await forks.start("client", path, operation)
                await trio.sleep(random.random() * 0.01)
                os.kill(pid, signal.SIGKILL)
                # A client that had not begun its call yet has no manager.
                while descriptors() != before:
                    await trio.sleep(0.001)
                assert len(manager.ends) <= turn + 1
        nursery.cancel_scope.cancel()
    assert set(manager.ends) == {"CommFailure"}
    assert len(manager.ends) >= 10


@pytest.mark.parametrize("operation", ["sink", "source"])
async def test_killed_servers_fail_the_calls_of_their_clients(
    forks: Forks, place: Path, operation: str
) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(64 * 1024)

    before = descriptors()
    with trio.fail_after(SECONDS):
        for turn in range(50):
            # A path for each turn: a killed process releases its resources one after the other.
            path = str(place / f"{turn}")
            pid = await forks.start("server", path, operation)

            async def kill(pid: int = pid) -> None:
                await trio.sleep(random.random() * 0.01)
                os.kill(pid, signal.SIGKILL)

            async with (
                rpc.connect(Flow, path, wait=SECONDS) as flow,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(kill)
                with pytest.raises(rpc.CommFailure):
                    if operation == "sink":
                        await flow.sink(data=endless())
                    else:
                        await flow.source(data=lambda chunk: None)
    assert descriptors() == before


RELAY = (
    INTERFACE
    + """
import resource, sys, trio
resource.setrlimit(resource.RLIMIT_AS, (200 * 2**20, 200 * 2**20))

class Relay(Flow):
    async def sink(self, data):
        async with rpc.connect(Flow, sys.argv[2]) as onward:
            return await onward.sink(data=data)

    async def source(self, data):
        raise NotImplementedError

    async def echo(self, number):
        return number

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.serve, Relay(), sys.argv[1])
        print("up", flush=True)

trio.run(main)
"""
)


async def test_four_gigabytes_pass_a_process_of_two_hundred_megabytes(place: Path) -> None:
    manager = FlowManager()
    first, last = str(place / "first"), str(place / "last")
    chunk = bytes(MIB)
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.serve, manager, last)
        relay = await nursery.start(
            partial(
                trio.run_process,
                [sys.executable, "-c", RELAY, first, last],
                capture_stderr=True,
                check=False,
            )
        )
        with trio.fail_after(SECONDS):
            async with rpc.connect(Flow, first, wait=SECONDS) as flow:
                assert await flow.sink(data=(chunk for _ in range(4096))) == 4096 * MIB
                status = Path(f"/proc/{relay.pid}/status").read_text()
        relay.terminate()
        nursery.cancel_scope.cancel()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    assert peak < 200 * 1024  # KiB


async def test_a_client_that_does_not_read_buffers_at_most_its_credit() -> None:
    """The client begins calls and never pulls from their pipes."""
    manager = FlowManager()
    async with serving(manager) as endpoint:
        async with rpc.connect(Flow, endpoint, credit=128 * 1024) as flow:
            handles = [flow.source.begin() for _ in range(20)]
            for handle in handles:
                await handle.__aenter__()
            await trio.testing.wait_all_tasks_blocked()
            session = flow._link.session
            waiting = [call.incoming[0].reader.waiting for call in session.calls.values()]
            for handle in handles:
                await handle.__aexit__(None, None, None)
    assert len(waiting) == 20
    assert 0 < max(waiting) <= 128 * 1024
