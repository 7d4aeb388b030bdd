"""Forked children cannot use clients of remote calls, but they can serve accepted connections."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from ipcpipes import Endpoint, blocking, rpc
from ipcpipes.rpc import blocking as rpc_blocking
from ipcpipes.testing import unique_endpoint

from .conftest import WINDOWS

if WINDOWS:
    pytest.skip("Windows has no fork", allow_module_level=True)
assert sys.platform != "win32" or not TYPE_CHECKING


from .forking import blocking_pair, error_of, fork, in_child_of_trio, in_forked_child

CALL = error_of("connection", "ServerUnavailable") + "; this call was not begun"


class Adder(rpc.Interface, uuid="2b8ee9c5-8f0f-4d1c-9bf1-9d2f5e8a8f0e", version=(1, 0)):
    @rpc.operation
    def add(self, one: int, other: int) -> Any: ...
    @rpc.operation
    def wait(self) -> Any: ...
    @rpc.operation
    def total(self, numbers: rpc_blocking.InPipe[rpc.int32]) -> Any: ...


class Manager(Adder):
    def __init__(self) -> None:
        self.go_on = threading.Event()

    def add(self, one: int, other: int) -> int:
        return one + other

    def wait(self) -> int:
        self.go_on.wait()
        return 0

    def total(self, numbers: Any) -> int:
        return sum(sum(chunk) for chunk in numbers)


@contextmanager
def served(manager: Manager) -> Iterator[Endpoint]:
    listener = blocking.listen(unique_endpoint())
    thread = threading.Thread(target=rpc_blocking.serve, args=(manager, listener))
    thread.start()
    try:
        yield listener.endpoint
    finally:
        listener.close()
        thread.join()


def test_blocking_client_is_unavailable_in_a_forked_child() -> None:
    with served(Manager()) as endpoint, rpc_blocking.connect(Adder, endpoint) as client:
        assert client.add(1, 2) == 3
        assert in_forked_child(lambda: client.add(3, 4)) == CALL
        assert in_forked_child(lambda: client.total(numbers=rpc_blocking.feed([1]))) == CALL
        add = rpc_blocking.operation_of(client.add)
        assert in_forked_child(lambda: add.begin(3, 4).__enter__()) == CALL
        assert client.add(5, 6) == 11


def test_forked_child_can_connect_again() -> None:
    def again(endpoint: Endpoint) -> int:
        with rpc_blocking.connect(Adder, endpoint) as client:
            result: int = client.add(3, 4)
            return result

    with served(Manager()) as endpoint, rpc_blocking.connect(Adder, endpoint) as client:
        assert client.add(1, 2) == 3
        assert in_forked_child(lambda: again(endpoint)) == "7"
        assert client.add(5, 6) == 11


def test_blocking_client_in_use_fails_at_once_after_fork() -> None:
    manager = Manager()
    with served(manager) as endpoint, rpc_blocking.connect(Adder, endpoint) as client:
        threads = [threading.Thread(target=client.wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        lock = rpc_blocking.client_of(client)._link.lock
        lock.acquire()  # as a thread does in the middle of a step
        try:
            assert in_forked_child(lambda: client.add(3, 4)) == CALL
        finally:
            lock.release()
        manager.go_on.set()
        for thread in threads:
            thread.join()
        assert client.add(5, 6) == 11


def test_forked_child_does_not_close_the_parents_client() -> None:
    with served(Manager()) as endpoint:
        pid = -1
        try:
            with rpc_blocking.connect(Adder, endpoint) as client:
                with rpc_blocking.operation_of(client.total).begin() as call:
                    call.pipes["numbers"].push([1, 2])
                    pid = fork()
                    if pid == 0:
                        raise SystemExit
                    os.waitpid(pid, 0)
                    call.pipes["numbers"].push([3])
                    call.pipes["numbers"].close()
                    assert call.complete() == 6
                assert client.add(5, 6) == 11
        finally:
            if pid == 0:
                os._exit(0)


def test_accepted_connection_is_served_in_a_forked_child() -> None:
    with blocking_pair() as (connected, stream):
        results: list[int] = []

        def calls() -> None:
            with rpc_blocking.bind(Adder, connected) as client:
                results.append(client.add(1, 2))
                results.append(client.total(numbers=rpc_blocking.feed(range(10))))

        thread = threading.Thread(target=calls)
        thread.start()
        said = in_forked_child(lambda: rpc_blocking.serve_connection(Manager(), stream))
        stream.close()
        thread.join()
        assert (said, results) == ("None", [3, 45])


class AsyncManager(Manager):
    async def add(self, one: int, other: int) -> int:  # type: ignore[override]
        return one + other


async def test_trio_client_is_unavailable_in_a_forked_child(endpoint: Endpoint) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(rpc.serve, AsyncManager(), endpoint)
        async with rpc.connect(Adder, endpoint) as client:
            assert await client.add(1, 2) == 3
            assert await in_child_of_trio(client.add, 3, 4) == CALL
            assert await client.add(5, 6) == 11
        nursery.cancel_scope.cancel()
