"""After its listener was closed, a server ends within its grace, whatever its clients do."""

from __future__ import annotations

import functools
import inspect
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

import ipcpipes
from ipcpipes import Endpoint, blocking as streams, rpc
from ipcpipes.options import DEFAULT_GRACE
from ipcpipes.rpc import blocking

from .rpc_blocking_pairs import Calls, Manager
from .rpc_over_links import SECONDS, RawClient

DRIVERS = ["trio", "blocking"]
SHORT = 0.2  # seconds of grace


class Server:
    """An RPC server with either driver.

    Attributes:
        endpoint: where it listens.
        ended: set when ``serve`` has returned.
    """

    def __init__(self, driver: str, endpoint: Endpoint) -> None:
        self.driver = driver
        self.endpoint = endpoint
        self.ended = trio.Event()
        self._listener: Any = None

    async def run(
        self, manager: rpc.Interface, options: dict[str, Any], *, task_status: Any
    ) -> None:
        if self.driver == "trio":
            async with trio.open_nursery() as nursery:
                serve = functools.partial(rpc.serve, manager, self.endpoint, **options)

                async def go_on(*, task_status: Any) -> None:
                    await serve(task_status=task_status)
                    self.ended.set()

                self._listener = await nursery.start(go_on)
                task_status.started()
        else:
            self._listener = streams.listen(self.endpoint)
            task_status.started()
            in_thread = functools.partial(blocking.serve, manager, self._listener, **options)
            await trio.to_thread.run_sync(in_thread)
            self.ended.set()

    async def close(self) -> None:
        if self.driver == "trio":
            await self._listener.aclose()
        else:
            self._listener.close()


async def start(
    nursery: trio.Nursery,
    driver: str,
    endpoint: Endpoint,
    does: Callable[[Any], Any],
    **options: Any,
) -> Server:
    server = Server(driver, endpoint)
    await nursery.start(server.run, Manager(does), options)
    return server


async def deaf_client(endpoint: Endpoint) -> RawClient:
    """A client that has asked for more than it reads."""
    client = RawClient(await ipcpipes.connect(endpoint))
    await client.bind(Calls)
    for number in range(1, 9):
        await client.request(number, "plain", number)
    return client


@pytest.mark.parametrize("driver", DRIVERS)
async def test_clients_that_read_no_answers_do_not_delay_the_end(
    driver: str, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []

    def does(value: int) -> bytes:
        asked.append(value)
        return bytes(2 * 2**20)

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            server = await start(nursery, driver, endpoint, does, grace=SHORT)
            # Several: the waiting times for them do not add up.
            clients = [await deaf_client(endpoint) for _ in range(3)]
            while len(asked) < 3:
                await trio.sleep(0.001)
            await server.close()
            await server.ended.wait()
            for client in clients:
                await client.channel.aclose()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "had not finished 0.2 s after the listener was closed" in record.getMessage()


@pytest.mark.parametrize("driver", DRIVERS)
async def test_unfinished_call_is_ended(driver: str, endpoint: Endpoint) -> None:
    began = trio.Event()
    told: list[bool] = []
    token = trio.lowlevel.current_trio_token()

    def does(_: Any) -> None:
        call = rpc.current_call()
        token.run_sync_soon(began.set)
        if driver == "trio":
            call.defer()  # never answered
            return
        until = time.monotonic() + SECONDS
        while not call.test_cancel() and time.monotonic() < until:
            time.sleep(0.001)
        told.append(True)

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            server = await start(nursery, driver, endpoint, does, grace=SHORT)
            async with (
                rpc.connect(Calls, endpoint) as client,
                rpc.operation_of(client.plain).begin(1) as call,
            ):
                await began.wait()
                await server.close()
                with pytest.raises(rpc.CommFailure):
                    await call.complete()
                await server.ended.wait()
    assert told == ([] if driver == "trio" else [True])


@pytest.mark.parametrize("driver", DRIVERS)
async def test_idle_server_ends_at_once(
    driver: str, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            server = await start(nursery, driver, endpoint, lambda value: value, grace=math.inf)
            async with rpc.connect(Calls, endpoint) as client:
                assert await client.plain(1) == 1
                await server.close()
                await server.ended.wait()
    assert caplog.records == []


@pytest.mark.parametrize("messages", [False, True])
async def test_handlers_that_do_not_finish_are_cancelled(
    messages: bool, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    cancelled: list[bool] = []
    at_work = trio.Event()

    async def handler(_: Any) -> None:
        at_work.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append(True)
            raise

    serve: Any = ipcpipes.serve_messages if messages else ipcpipes.serve
    connect: Any = ipcpipes.connect_messages if messages else ipcpipes.connect
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(functools.partial(serve, handler, endpoint, grace=SHORT))
            async with await connect(endpoint):
                await at_work.wait()
                await listener.aclose()
                # The nursery ends when serve has returned.
                while not cancelled:
                    await trio.sleep(0.001)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert endpoint.name in record.getMessage()


@pytest.mark.parametrize("messages", [False, True])
async def test_infinite_grace_lets_handlers_finish(messages: bool, endpoint: Endpoint) -> None:
    finish = trio.Event()
    at_work = trio.Event()

    async def handler(connection: Any) -> None:
        at_work.set()
        await finish.wait()
        await (connection.send if messages else connection.send_all)(b"finished")

    serve: Any = ipcpipes.serve_messages if messages else ipcpipes.serve
    connect: Any = ipcpipes.connect_messages if messages else ipcpipes.connect
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            listener = await nursery.start(
                functools.partial(serve, handler, endpoint, grace=math.inf)
            )
            async with await connect(endpoint) as client:
                await at_work.wait()
                await listener.aclose()
                await trio.testing.wait_all_tasks_blocked(0.01)
                finish.set()
                receive = client.receive if messages else client.receive_some
                assert await receive() == b"finished"


SERVERS: list[Any] = [ipcpipes.serve, ipcpipes.serve_messages, rpc.serve, blocking.serve]


@pytest.mark.parametrize("serve", SERVERS)
def test_default_grace_is_the_same_everywhere(serve: Any) -> None:
    assert inspect.signature(serve).parameters["grace"].default == DEFAULT_GRACE == 5.0


@pytest.mark.parametrize("serve", SERVERS)
@pytest.mark.parametrize(
    ("grace", "error"),
    [("5", TypeError), (None, TypeError), (-1, ValueError), (math.nan, ValueError)],
)
async def test_bad_grace_is_refused(
    serve: Any, grace: Any, error: type[Exception], endpoint: Endpoint
) -> None:
    async def handler(_: Any) -> None: ...

    first = Manager() if "rpc" in serve.__module__ else handler
    with pytest.raises(error, match="grace must be"):
        result = serve(first, endpoint, grace=grace)
        if inspect.isawaitable(result):
            await result
    with pytest.raises(ipcpipes.EndpointNotFound):
        await ipcpipes.connect(endpoint)
