"""Connecting: errors that say what to do, and waiting."""

from __future__ import annotations

import errno
import math
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
import ipcpipes.blocking
from ipcpipes import Endpoint, _os

from .children import python_child
from .conftest import WINDOWS


async def test_absent_server_is_not_found(endpoint: Endpoint) -> None:
    with pytest.raises(ipcpipes.EndpointNotFound) as caught:
        await ipcpipes.connect(endpoint)
    error = caught.value
    assert isinstance(error, FileNotFoundError)
    assert error.endpoint == endpoint
    assert error.address == error.filename
    for part in (endpoint.name, error.address, "start the server first", "wait="):
        assert part in str(error)
    assert "\n" not in str(error)


async def test_missing_directory_is_not_found(
    endpoint: Endpoint, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_tmp))  # where the directory does not exist yet
    with pytest.raises(ipcpipes.EndpointNotFound, match=r"start the server first.*waited"):
        await ipcpipes.connect(endpoint, wait=0.01)


async def test_wait_ends_with_the_last_error(endpoint: Endpoint) -> None:
    start = trio.current_time()
    with pytest.raises(FileNotFoundError, match=r"waited 0\.2 s"):
        await ipcpipes.connect(endpoint, wait=0.2)
    assert 0.2 <= trio.current_time() - start < 10


async def test_wait_accepts_any_number_of_seconds(endpoint: Endpoint) -> None:
    for wait in (10**400, math.inf, 1e308):
        with trio.move_on_after(0.01) as scope:
            await ipcpipes.connect(endpoint, wait=wait)
        assert scope.cancelled_caught


async def test_wait_finds_a_server_that_starts_later(
    endpoint: Endpoint, autojump_clock: trio.testing.MockClock
) -> None:
    listeners = []

    async def listen_later() -> None:
        await trio.sleep(100)
        listeners.append(await ipcpipes.listen(endpoint))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen_later)
        async with await ipcpipes.connect(endpoint, wait=1000):
            assert 100 <= trio.current_time() < 100.06, "found within one pause"
    await listeners[0].aclose()


async def test_waiting_pauses_between_attempts(
    endpoint: Endpoint, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0
    attempt = _os.connect

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal attempts
        attempts += 1
        return attempt(*args, **options)

    monkeypatch.setattr(_os, "connect", counted)
    with pytest.raises(FileNotFoundError):
        await ipcpipes.connect(endpoint, wait=10)
    assert 10 / 0.05 <= attempts < 10 / 0.05 + 10


async def test_endless_wait_can_be_cancelled(endpoint: Endpoint) -> None:
    with trio.move_on_after(0.1) as scope:
        await ipcpipes.connect(endpoint, wait=math.inf)
    assert scope.cancelled_caught


async def test_wait_finds_a_server_of_another_process(endpoint: Endpoint) -> None:
    with python_child(
        """
        say("here")
        hear()
        async with await ipcpipes.listen(sys.argv[1]) as listener:
            async with await listener.accept() as stream:
                await stream.send_all(b"hello")
                say("sent")
                await hear_async()
        """,
        endpoint.name,
    ) as child:
        assert child.hear() == "here"
        async with trio.open_nursery() as nursery:

            async def start_server() -> None:
                await trio.sleep(0.05)
                child.say("listen")

            nursery.start_soon(start_server)
            async with await ipcpipes.connect(endpoint, wait=30) as stream:
                assert await stream.receive_some() == b"hello"
                child.say("done")
        assert child.wait() == 0


async def test_cancelled_connect_makes_no_attempt(
    endpoint: Endpoint,
) -> None:
    async with await ipcpipes.listen(endpoint) as listener:
        with trio.CancelScope() as scope:
            scope.cancel()
            await ipcpipes.connect(endpoint)
        assert scope.cancelled_caught
        with trio.move_on_after(0.05):
            await listener.accept()
            raise AssertionError("a client had come")


@pytest.mark.parametrize("wait", [-1, -0.001, math.nan])
async def test_wait_out_of_range_is_refused(wait: float) -> None:
    with pytest.raises(ValueError, match="wait must be 0 or more seconds"):
        await ipcpipes.connect("svc", wait=wait)


@pytest.mark.parametrize(
    "options",
    [{"wait": "1"}, {"wait": None}, {"wait": True}, {"buffer_size": 1.5}, {"buffer_size": True}],
)
async def test_wrong_types_are_refused(options: Any) -> None:
    with pytest.raises(TypeError, match="must be"):
        await ipcpipes.connect("svc", **options)


@pytest.mark.parametrize(
    "options", [{"direction": "both"}, {"direction": None}, {"buffer_size": 0}]
)
async def test_values_out_of_range_are_refused(options: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        await ipcpipes.connect("svc", **options)


async def test_bad_endpoints_are_refused() -> None:
    for bad in ("", "a b", "a" * 65, "../up"):
        with pytest.raises(ipcpipes.InvalidEndpoint):
            await ipcpipes.connect(bad)
    for wrong in (None, 7, b"svc"):
        with pytest.raises(TypeError):
            await ipcpipes.connect(wrong)  # type: ignore[call-overload]
    foreign = "/run/svc.sock" if WINDOWS else r"\\.\pipe\svc"
    with pytest.raises(ValueError, match="plain name works on every system"):
        await ipcpipes.connect(foreign)
    if sys.platform != "linux":
        with pytest.raises(ipcpipes.NotSupported):
            await ipcpipes.connect(Endpoint.abstract("svc"))


async def test_many_waiting_calls_share_their_attempts(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """They leave time in their event loop for the server that is about to start in it."""
    attempts = 0
    connect = _os.connect

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal attempts
        attempts += 1
        return connect(*arguments, **options)

    monkeypatch.setattr(_os, "connect", counted)
    clients, seconds = 500, 4
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for _ in range(clients):
                nursery.start_soon(partial(ipcpipes.connect, endpoint, wait=math.inf))
    assert clients < attempts <= clients + seconds * 2000
    # Cancelled calls are not counted any more.
    attempts = 0
    with pytest.raises(ipcpipes.EndpointNotFound):
        await ipcpipes.connect(endpoint, wait=1)
    assert 20 <= attempts <= 30


async def test_many_waiting_calls_reach_a_server_in_their_loop(endpoint: Endpoint) -> None:
    """All of them connect, although a queue of 8 refuses most of them at first."""
    met = 0

    async def client() -> None:
        nonlocal met
        async with await ipcpipes.connect(endpoint, wait=math.inf) as stream:
            assert await stream.receive_some() == b"x"
            met += 1

    async def greet(stream: ipcpipes.Stream) -> None:
        await stream.send_all(b"x")

    with trio.fail_after(60):
        async with trio.open_nursery() as server, trio.open_nursery() as clients:
            for _ in range(200):
                clients.start_soon(client)
            await trio.sleep(0.1)
            server.start_soon(partial(ipcpipes.serve, greet, endpoint, backlog=8))
            while met < 200:
                await trio.sleep(0.01)
            server.cancel_scope.cancel()


async def test_late_system_error_is_an_endpoint_error(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system fails when it is asked for the server's owner; nothing is left open."""
    if sys.platform == "win32":
        from ipcpipes._os.windows import calls

        error, what = calls.winerror(1450), "owner"  # ERROR_NO_SYSTEM_RESOURCES
    else:
        from ipcpipes._os.posix import calls

        error, what = OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)), "peer_credentials"

    def refuse(*_: object) -> None:
        raise error

    async with await ipcpipes.listen(endpoint):
        with monkeypatch.context() as patch:
            patch.setattr(calls, what, refuse)
            with pytest.raises(ipcpipes.errors.EndpointError) as caught:
                await ipcpipes.connect(endpoint)
            with pytest.raises(ipcpipes.errors.EndpointError):
                ipcpipes.blocking.connect(endpoint)
    assert type(caught.value) is ipcpipes.errors.EndpointError
    assert caught.value.endpoint == endpoint
    assert endpoint.name in str(caught.value)
