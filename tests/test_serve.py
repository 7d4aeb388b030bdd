"""serve: one handler for each client, and a server that survives their errors."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Endpoint

from .pairs import receive_exactly

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


async def echo(stream: Any) -> None:
    while data := await stream.receive_some():
        await stream.send_all(data)


async def test_each_client_has_its_handler(endpoint: Endpoint) -> None:
    async with trio.open_nursery() as nursery:
        listener = await nursery.start(ipcpipes.serve, echo, endpoint)
        assert listener.endpoint == endpoint
        clients = [await ipcpipes.connect(endpoint) for _ in range(10)]
        for number, client in enumerate(clients):
            await client.send_all(b"%d" % number)
        for number, client in reversed(list(enumerate(clients))):
            assert await receive_exactly(client, 1) == b"%d" % number
        assert listener.connection_count == 10
        for client in clients:
            await client.aclose()
        while listener.connection_count:
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    with pytest.raises(FileNotFoundError):
        await ipcpipes.connect(endpoint)


@pytest.mark.parametrize(
    "error", [RuntimeError("boom"), ExceptionGroup("two", [ValueError("a"), OSError("b")])]
)
async def test_failing_handler_is_logged_and_server_continues(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    async def handler(stream: Any) -> None:
        if await stream.receive_some() == b"fail":
            raise error
        await stream.send_all(b"well")

    async with trio.open_nursery() as nursery:
        await nursery.start(ipcpipes.serve, handler, endpoint)
        async with await ipcpipes.connect(endpoint) as client:
            await client.send_all(b"fail")
            assert await client.receive_some() == b""
        async with await ipcpipes.connect(endpoint) as client:
            await client.send_all(b"go on")
            assert await client.receive_some() == b"well"
        nursery.cancel_scope.cancel()
    (record,) = caplog.records
    assert record.name == "ipcpipes"
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert endpoint.name in record.getMessage()


async def test_a_handler_that_is_not_async_is_named(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(stream: Any) -> None:
        pass

    async with trio.open_nursery() as nursery:
        await nursery.start(ipcpipes.serve, handler, endpoint)
        async with await ipcpipes.connect(endpoint) as client:
            assert await client.receive_some() == b""
        nursery.cancel_scope.cancel()
    (record,) = caplog.records
    assert record.exc_info is not None
    assert f"{handler!r} is not async; define it with 'async def'" in str(record.exc_info[1])


async def test_base_exception_ends_the_server(endpoint: Endpoint) -> None:
    async def handler(stream: Any) -> None:
        raise SystemExit(3)

    async def client() -> None:
        async with await ipcpipes.connect(endpoint, wait=10) as stream:
            assert await stream.receive_some() == b""

    with pytest.raises(BaseException) as caught:  # noqa: PT011
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client)
            await ipcpipes.serve(handler, endpoint)
    error = caught.value
    while not isinstance(error, SystemExit):
        (error,) = error.exceptions  # type: ignore[attr-defined]
    assert error.code == 3


async def test_cancelling_serve_closes_everything(endpoint: Endpoint) -> None:
    closed = []

    async def handler(stream: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            closed.append(stream)

    async with trio.open_nursery() as nursery:
        await nursery.start(ipcpipes.serve, handler, endpoint)
        clients = [await ipcpipes.connect(endpoint) for _ in range(3)]
        await trio.testing.wait_all_tasks_blocked(0.02)
        nursery.cancel_scope.cancel()
    assert len(closed) == 3
    for client in clients:
        assert await client.receive_some() == b""
        await client.aclose()


async def test_closing_the_listener_lets_handlers_finish(endpoint: Endpoint) -> None:
    finish = trio.Event()

    async def handler(stream: Any) -> None:
        await finish.wait()
        await stream.send_all(b"finished")

    async with trio.open_nursery() as nursery:
        listener = await nursery.start(ipcpipes.serve, handler, endpoint)
        async with await ipcpipes.connect(endpoint) as client:
            while not listener.connection_count:
                await trio.sleep(0.001)
            await listener.aclose()
            finish.set()
            assert await receive_exactly(client, 8) == b"finished"


async def test_serve_raises_what_listen_raises(endpoint: Endpoint) -> None:
    with pytest.raises(ipcpipes.InvalidEndpoint):
        await ipcpipes.serve(echo, "a b")
    with pytest.raises(TypeError, match="access"):
        await ipcpipes.serve(echo, endpoint, access="me")  # type: ignore[call-overload]


async def test_serve_accepts_the_options_of_listen(endpoint: Endpoint) -> None:
    got = []

    async def handler(stream: Any) -> None:
        got.append(await stream.receive_some())

    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: ipcpipes.serve(
                handler,
                endpoint,
                access=ipcpipes.AccessPolicy.everyone(),
                max_instances=1,
                direction="receive",
                backlog=1,
                buffer_size=10_000,
                task_status=task_status,
            )
        )
        for _ in range(3):
            async with await ipcpipes.connect(endpoint, wait=10, direction="send") as client:
                await client.send_all(b"data")
        while len(got) < 3:
            await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert got == [b"data"] * 3
