"""Listening: names that are never taken over, limits, and an accept that survives errors."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import socket
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Endpoint
from ipcpipes.testing import check_listener, unique_endpoint

from .children import SECONDS, python_child, several_children
from .conftest import WINDOWS
from .pairs import receive_exactly


async def make_listener() -> tuple[Any, Any]:
    listener = await ipcpipes.listen(unique_endpoint(), backlog=4)
    return listener, lambda: ipcpipes.connect(listener.endpoint)


async def make_limited_listener() -> tuple[Any, Any]:
    listener = await ipcpipes.listen(unique_endpoint(), max_instances=4)
    return listener, lambda: ipcpipes.connect(listener.endpoint)


async def test_listener_conformance() -> None:
    await check_listener(make_listener)
    await check_listener(make_limited_listener)


# A live name is never taken


@pytest.mark.wine_differs("FILE_FLAG_FIRST_PIPE_INSTANCE is ignored there")
async def test_live_name_is_not_taken(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint) as listener:
        with pytest.raises(ipcpipes.EndpointInUse, match="in use by") as caught:
            await ipcpipes.listen(endpoint)
        error = caught.value
        assert isinstance(error, OSError)
        assert error.errno == errno.EADDRINUSE
        assert error.holder_pid == (None if WINDOWS else os.getpid())
        assert listener.address in str(error)
        async with await ipcpipes.connect(endpoint), await listener.accept():
            pass
    async with await ipcpipes.listen(endpoint):
        pass


@pytest.mark.wine_differs("FILE_FLAG_FIRST_PIPE_INSTANCE is ignored there")
async def test_name_is_held_until_its_process_is_killed(endpoint: Endpoint) -> None:
    with python_child(
        """
        listener = await ipcpipes.listen(sys.argv[1])
        say("ready")
        await trio.sleep_forever()
        """,
        endpoint.name,
    ) as child:
        assert child.hear() == "ready"
        with pytest.raises(ipcpipes.EndpointInUse) as caught:
            await ipcpipes.listen(endpoint)
        assert caught.value.holder_pid == (None if WINDOWS else child.pid)
        child.kill()
        async with await ipcpipes.listen(endpoint) as listener:
            async with await ipcpipes.connect(endpoint), await listener.accept():
                pass


@pytest.mark.wine_differs("FILE_FLAG_FIRST_PIPE_INSTANCE is ignored there")
@pytest.mark.parametrize("left_behind", [False, True])
async def test_one_of_racing_processes_gets_the_name(endpoint: Endpoint, left_behind: bool) -> None:
    if sys.platform != "win32" and left_behind:
        async with await ipcpipes.listen(endpoint) as listener:
            path = listener.address
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(path)
    program = """
        say("here")
        hear()
        try:
            listener = await ipcpipes.listen(sys.argv[1])
        except ipcpipes.EndpointInUse:
            say("lost")
        else:
            say("won")
            await hear_async()
            await listener.aclose()
        """
    with several_children(program, endpoint.name, 4) as children:
        for child in children:
            assert child.hear() == "here"
        for child in children:
            child.say("go")
        results = [child.hear() for child in children]
        assert sorted(results) == ["lost", "lost", "lost", "won"]
        async with await ipcpipes.connect(endpoint):
            pass
        for child, result in zip(children, results, strict=True):
            if result == "won":
                child.say("done")
            assert child.wait() == 0


@pytest.mark.wine_differs("FILE_FLAG_FIRST_PIPE_INSTANCE is ignored there")
async def test_one_of_racing_tasks_gets_the_name(endpoint: Endpoint) -> None:
    winners = []

    async def race() -> None:
        with contextlib.suppress(ipcpipes.EndpointInUse):
            winners.append(await ipcpipes.listen(endpoint))

    for _ in range(50):
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(race)
        (winner,) = winners
        winners.clear()
        await winner.aclose()


# Bad input, before anything is made


@pytest.mark.parametrize(
    "options",
    [
        {"access": "everyone"},
        {"max_instances": "1"},
        {"max_instances": True},
        {"max_instances": 1.0},
        {"backlog": "1"},
        {"backlog": None},
        {"buffer_size": "1"},
    ],
)
async def test_wrong_types_are_refused(options: Any, endpoint: Endpoint) -> None:
    with pytest.raises(TypeError, match="must be"):
        await ipcpipes.listen(endpoint, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"max_instances": 0},
        {"max_instances": -1},
        {"backlog": 0},
        {"backlog": 4097},
        {"buffer_size": 0},
        {"buffer_size": 2**31},
        {"direction": "in"},
    ],
)
async def test_values_out_of_range_are_refused(options: Any, endpoint: Endpoint) -> None:
    with pytest.raises(ValueError, match="must be"):
        await ipcpipes.listen(endpoint, **options)


# max_instances and backlog


async def test_max_instances_limits_open_connections(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint, max_instances=2) as listener:
        clients = [await ipcpipes.connect(endpoint) for _ in range(2)]
        servers = [await listener.accept() for _ in range(2)]
        assert listener.connection_count == 2
        for _ in range(3):
            with pytest.raises(ipcpipes.EndpointBusy, match="no room") as caught:
                await ipcpipes.connect(endpoint)
            assert isinstance(caught.value, ConnectionRefusedError)

        accepted = []
        async with trio.open_nursery() as nursery:

            async def accept() -> None:
                accepted.append(await listener.accept())

            async def wait_for_room() -> None:
                clients.append(await ipcpipes.connect(endpoint, wait=30))

            nursery.start_soon(accept)
            nursery.start_soon(wait_for_room)
            await trio.sleep(0.05)
            assert not accepted
            assert len(clients) == 2
            await servers[0].aclose()
        assert listener.connection_count == 2
        with pytest.raises(ipcpipes.EndpointBusy):
            await ipcpipes.connect(endpoint)
        await clients[2].send_all(b"in")
        assert await receive_exactly(accepted[0], 2) == b"in"
        for stream in (*clients, *servers, *accepted):
            await stream.aclose()
        assert listener.connection_count == 0
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await stack.enter_async_context(await ipcpipes.connect(endpoint))
                await stack.enter_async_context(await listener.accept())


async def test_max_instances_counts_unaccepted_clients(
    endpoint: Endpoint,
) -> None:
    async with await ipcpipes.listen(endpoint, max_instances=2), AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(await ipcpipes.connect(endpoint))
        with pytest.raises(ipcpipes.EndpointBusy):
            await ipcpipes.connect(endpoint)


async def test_max_instances_holds_under_load(endpoint: Endpoint) -> None:
    limit, now, highest, served = 3, 0, 0, 0

    async def handler(stream: Any) -> None:
        nonlocal now, highest, served
        now += 1
        highest = max(highest, now)
        await stream.send_all(await receive_exactly(stream, 1))
        await stream.receive_some()
        now -= 1
        served += 1

    async def client() -> None:
        async with await ipcpipes.connect(endpoint, wait=60) as stream:
            await stream.send_all(b"x")
            assert await receive_exactly(stream, 1) == b"x"

    async with trio.open_nursery() as server:
        listener = await server.start(
            lambda task_status: ipcpipes.serve(
                handler, endpoint, max_instances=limit, task_status=task_status
            )
        )
        async with trio.open_nursery() as clients:
            for _ in range(60):
                clients.start_soon(client)
        while listener.connection_count:
            await trio.sleep(0.001)
        server.cancel_scope.cancel()
    assert served == 60
    assert highest == limit


async def test_many_clients_wait_for_a_slow_accepter(endpoint: Endpoint) -> None:
    # No client has wait=: there is room for each at once.
    crowd = 200
    async with await ipcpipes.listen(endpoint) as listener, AsyncExitStack() as stack:
        clients: list[Any] = []

        async def client() -> None:
            clients.append(await ipcpipes.connect(endpoint))

        async with trio.open_nursery() as nursery:
            for _ in range(crowd):
                nursery.start_soon(client)
        for number, stream in enumerate(clients):
            stack.push_async_exit(stream)
            await stream.send_all(b"%3d" % number)
        seen = set()
        for number in range(crowd):
            if number % 50 == 0:
                await trio.sleep(0.01)
            server = await stack.enter_async_context(await listener.accept())
            seen.add(await receive_exactly(server, 3))
        assert len(seen) == crowd
        assert listener.connection_count == crowd


async def test_many_processes_wait_for_a_slow_accepter(endpoint: Endpoint) -> None:
    program = """
        say("here")
        hear()
        streams = []
        async with trio.open_nursery() as nursery:
            async def client():
                streams.append(await ipcpipes.connect(sys.argv[1]))
            for _ in range(50):
                nursery.start_soon(client)
        for stream in streams:
            await stream.send_all(b"x")
        say("in")
        await hear_async()
        for stream in streams:
            await stream.aclose()
        """
    async with await ipcpipes.listen(endpoint) as listener, AsyncExitStack() as stack:
        with several_children(program, endpoint.name, 4) as children:
            for child in children:
                assert child.hear() == "here"
            for child in children:
                child.say("go")
            for _ in range(200):
                server = await stack.enter_async_context(await listener.accept())
                await trio.sleep(0.001)
                assert await receive_exactly(server, 1) == b"x"
            for child in children:
                assert child.hear() == "in"
                child.say("done")
                assert child.wait() == 0


async def test_clients_beyond_the_backlog_get_busy(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint, backlog=3), AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(await ipcpipes.connect(endpoint))
        with pytest.raises(ipcpipes.EndpointBusy):
            await ipcpipes.connect(endpoint)


# Accept survives


async def test_clients_gone_before_accept_are_skipped(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint) as listener:
        for _ in range(20):
            await (await ipcpipes.connect(endpoint)).aclose()
        async with await ipcpipes.connect(endpoint) as client:
            await client.send_all(b"here")
            async with await listener.accept() as server:
                assert await receive_exactly(server, 4) == b"here"
                assert listener.connection_count == 1


async def test_killed_clients_are_skipped(endpoint: Endpoint) -> None:
    async with await ipcpipes.listen(endpoint) as listener:
        with python_child(
            """
            streams = [await ipcpipes.connect(sys.argv[1]) for _ in range(5)]
            say("in")
            await trio.sleep_forever()
            """,
            endpoint.name,
        ) as child:
            assert child.hear() == "in"
            child.kill()
        async with await ipcpipes.connect(endpoint) as client:
            await client.send_all(b"here")
            async with await listener.accept() as server:
                assert await receive_exactly(server, 4) == b"here"


async def test_accept_does_not_starve_other_tasks(endpoint: Endpoint) -> None:
    """The clients come until they are told to stop, which an accept that starves others would
    never let happen.
    """
    with python_child(
        """
        say("here")
        hear()
        async with trio.open_nursery() as nursery:
            async def stop():
                await hear_async()
                nursery.cancel_scope.cancel()
            nursery.start_soon(stop)
            while True:
                try:
                    await (await ipcpipes.connect(sys.argv[1])).aclose()
                except ipcpipes.EndpointBusy:
                    pass
        say("stopped")
        """,
        endpoint.name,
    ) as child:
        assert child.hear() == "here"
        async with await ipcpipes.listen(endpoint, backlog=2) as listener:
            child.say("go")

            async def accept() -> None:
                while True:
                    await (await listener.accept()).aclose()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(accept)
                for _ in range(100):
                    await trio.sleep(0.001)
                child.say("stop")
                assert child.hear() == "stopped"
                nursery.cancel_scope.cancel()
        assert child.wait() == 0


async def test_closing_wakes_accept_that_waits_for_room(endpoint: Endpoint) -> None:
    listener = await ipcpipes.listen(endpoint, max_instances=1)
    async with await ipcpipes.connect(endpoint), await listener.accept():
        async with trio.open_nursery() as nursery:

            async def accept() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await listener.accept()

            nursery.start_soon(accept)
            await trio.testing.wait_all_tasks_blocked()
            await listener.aclose()


# Children


async def test_children_inherit_neither_name_nor_connection(endpoint: Endpoint) -> None:
    """A child that inherits every inheritable handle keeps neither the name nor a connection."""
    async with await ipcpipes.listen(endpoint) as listener:
        client = await ipcpipes.connect(endpoint)
        server = await listener.accept()
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            close_fds=False,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        with child:
            assert child.stdout.readline().strip() == b"up"
            await client.aclose()
            with trio.fail_after(SECONDS):
                assert await server.receive_some() == b""
            await server.aclose()
            await listener.aclose()
            with pytest.raises(FileNotFoundError):
                await ipcpipes.connect(endpoint)
            async with await ipcpipes.listen(endpoint):
                pass
            child.stdin.close()


async def test_forgotten_listener_warns_and_releases_name(endpoint: Endpoint) -> None:
    listener = await ipcpipes.listen(endpoint)
    assert repr(listener.address) in repr(listener)
    with pytest.warns(ResourceWarning, match="unclosed <ipcpipes Listener"):
        del listener
        gc.collect()
    async with await ipcpipes.listen(endpoint) as listener:
        pass
    assert "closed" in repr(listener)
