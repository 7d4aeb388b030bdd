"""Unix domain sockets under stress: no free descriptors, forks, and full queues."""

from __future__ import annotations

import errno
import gc
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import Endpoint

from .children import python_child
from .pairs import receive_exactly

if sys.platform == "win32":
    pytest.skip("about Unix domain sockets", allow_module_level=True)

import resource

from ipcpipes._os.posix import calls as posix_calls


def files_of(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


async def test_forked_child_does_not_release_the_name(endpoint: Endpoint) -> None:
    program = (
        "import os, sys, trio, ipcpipes, gc, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "async def main():\n"
        "    listener = await ipcpipes.listen(sys.argv[1])\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        listener.__del__()\n"
        "        os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
        "    async with listener, await ipcpipes.connect(sys.argv[1]), await listener.accept():\n"
        "        print('alive')\n"
        "trio.run(main)\n"
    )
    result = await trio.run_process(
        [sys.executable, "-c", program, endpoint.name], capture_stdout=True
    )
    assert result.stdout.strip() == b"alive"


async def test_accept_survives_descriptor_exhaustion(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with await ipcpipes.listen(endpoint) as listener:
        client = await ipcpipes.connect(endpoint)
        spare = [os.dup(0)]
        gc.collect()
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare) + 1, hard))
        try:
            while True:
                try:
                    spare.append(os.dup(0))
                except OSError:
                    break
            with pytest.raises(OSError, match="Too many open files"):
                await ipcpipes.connect(endpoint)
            async with trio.open_nursery() as nursery:
                accepted = []

                async def accept() -> None:
                    accepted.append(await listener.accept())

                nursery.start_soon(accept)
                while not caplog.records:
                    await trio.sleep(0.01)
                assert not accepted
                for fd in spare:
                    os.close(fd)
                spare.clear()
            async with client, accepted[0] as server:
                await client.send_all(b"x")
                assert await receive_exactly(server, 1) == b"x"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in spare:
                os.close(fd)
    assert "Too many open files" in caplog.text


async def test_listen_without_descriptors_leaves_nothing(short_tmp: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for room in range(5):
        spare = [os.dup(0) for _ in range(room + 1)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare) + 1, hard))
        try:
            full = []
            while True:
                try:
                    full.append(os.dup(0))
                except OSError:
                    break
            for fd in spare[:room]:
                os.close(fd)
            listener = None
            try:
                listener = await ipcpipes.listen(short_tmp / "s")
            except OSError as error:
                assert error.errno == errno.EMFILE
                assert room < 4  # the lock, the socket, and two to check its file
            finally:
                for fd in (*full, *spare[room:]):
                    os.close(fd)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if listener is not None:
            await listener.aclose()
        assert files_of(short_tmp) == set()


async def test_forked_child_does_not_keep_a_dead_name_in_use(endpoint: Endpoint) -> None:
    program = """
        import os, gc, warnings
        warnings.simplefilter("ignore")
        listener = await ipcpipes.listen(sys.argv[1])
        pid = os.fork()
        if pid == 0:
            listener.__del__()
            say("child", os.getpid())
            import time; time.sleep(60)
            os._exit(0)
        await trio.sleep_forever()
        """
    with python_child(program, endpoint.name) as child:
        grandchild = int(child.hear().split()[1])
        child.kill()
        try:
            async with await ipcpipes.listen(endpoint):
                pass
        finally:
            os.kill(grandchild, 9)


async def test_client_ahead_of_the_plug_is_served_later(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await ipcpipes.listen(endpoint, max_instances=1) as listener:
        first = await ipcpipes.connect(endpoint)
        slipped: list[Any] = []
        connect = posix_calls.connect

        def connect_late(opened: Any, address: bytes, *, packets: bool, source: bytes = b"") -> int:
            if not slipped:
                slipped.append(socket.socket(socket.AF_UNIX))
                slipped[0].connect(address)
                slipped[0].send(b"slipped in")
            return connect(opened, address, packets=packets, source=source)

        monkeypatch.setattr(posix_calls, "connect", connect_late)
        server = await listener.accept()
        with pytest.raises(ipcpipes.EndpointBusy):
            await ipcpipes.connect(endpoint)
        await server.aclose()
        await first.aclose()
        async with await listener.accept() as later:
            assert await later.receive_some() == b"slipped in"
        slipped[0].close()


async def test_client_in_place_of_the_plug_is_kept(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint, max_instances=1) as listener:
        first = await ipcpipes.connect(endpoint)
        server = await listener.accept()
        # As if the blocker had come too late: a client has its place in the queue.
        listener._disconnect_blocker()
        os.close(posix_calls.accept(listener._fd))
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(listener.address)
            client.send(b"waited")
            listener._blocker.open(os.dup, 0)
            await server.aclose()
            await first.aclose()
            async with await listener.accept() as later:
                assert await later.receive_some() == b"waited"


async def test_dead_socket_without_descriptors_is_not_in_use(short_tmp: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(short_tmp / "s"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = [os.dup(0), os.dup(0)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare) + 1, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                spare.append(os.dup(0))
        os.close(spare.pop())
        with pytest.raises(OSError, match="Too many open files") as caught:
            await ipcpipes.listen(short_tmp / "s")
        assert caught.value.errno == errno.EMFILE
    finally:
        for fd in spare:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert files_of(short_tmp) == {"s"}


async def test_send_eof_and_send_all_exclude_each_other(endpoint: Endpoint) -> None:
    """Started at once in any order, one of them raises BusyResourceError."""
    async with await ipcpipes.listen(endpoint) as listener:
        async with await ipcpipes.connect(endpoint) as client, await listener.accept():
            busy = []

            async def attempt(operation: Callable[..., Awaitable[None]], *arguments: bytes) -> None:
                try:
                    await operation(*arguments)
                except trio.BusyResourceError:
                    busy.append(operation)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(attempt, client.send_eof)
                nursery.start_soon(attempt, client.send_all, b"x" * 10)
            assert len(busy) == 1
