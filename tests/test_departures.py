"""Clients that leave are not errors of the server; other errors of its handlers still are."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import Endpoint, rpc
from ipcpipes.child.group.worker import Worker as GroupWorker
from ipcpipes.testing import memory_stream_pair, unique_endpoint

from .rpc_blocking_pairs import everything, served
from .rpc_over_links import SECONDS, calling, serving
from .rpc_over_managers import Calls, Scripted, drained, given_back

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

Handler = Callable[[Any], Awaitable[object]]


class Server:
    """One of the ways to serve clients with a handler each.

    Attributes:
        began: a handler has.
        ended: how often one has.
    """

    def __init__(self, kind: str, endpoint: Endpoint) -> None:
        self.kind = kind
        self.endpoint = endpoint
        self.began = trio.Event()
        self.ended = 0

    async def run(self, handler: Handler, *, task_status: Any) -> None:
        async def counted(connection: Any) -> None:
            self.began.set()
            try:
                await handler(connection)
            finally:
                self.ended += 1

        if self.kind == "worker":
            listener = await ipcpipes.listen(self.endpoint)
            messages = ipcpipes.MessageChannel(memory_stream_pair()[0])
            task_status.started()
            await GroupWorker(0, messages, listener, 0).serve(counted)
        else:
            serve: Any = ipcpipes.serve if self.kind == "bytes" else ipcpipes.serve_messages
            options = {"framing": ipcpipes.NATIVE} if self.kind == "native" else {}
            await serve(counted, self.endpoint, task_status=task_status, **options)

    async def connect(self) -> Any:
        if self.kind in ("bytes", "worker"):
            return await ipcpipes.connect(self.endpoint)
        options: Any = {"framing": ipcpipes.NATIVE} if self.kind == "native" else {}
        return await ipcpipes.connect_messages(self.endpoint, **options)


KINDS = ["bytes", "messages", "worker"]
if sys.platform in ("linux", "win32"):
    KINDS.append("native")


async def send(connection: Any, data: bytes = b"x" * 1000) -> None:
    await (connection.send if hasattr(connection, "send") else connection.send_all)(data)


async def send_until_it_breaks(connection: Any) -> None:
    while True:
        await send(connection)


async def in_a_nursery(connection: Any) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_until_it_breaks, connection)


async def in_two_nurseries(connection: Any) -> None:
    try:
        await send_until_it_breaks(connection)
    except trio.BrokenResourceError as error:
        raise ExceptionGroup("two", [error, ExceptionGroup("one", [error])]) from None


async def receive_past_the_end(connection: Any) -> None:
    if hasattr(connection, "receive"):
        while True:
            await connection.receive()
    else:
        await send_until_it_breaks(connection)


async def run(
    kind: str, endpoint: Endpoint, handler: Handler, caplog: pytest.LogCaptureFixture
) -> list[logging.LogRecord]:
    """The log records after a client has left such a handler."""
    caplog.set_level(logging.DEBUG, "ipcpipes")
    server = Server(kind, endpoint)
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run, handler)
            client = await server.connect()
            await server.began.wait()  # a client that leaves earlier has no handler
            await client.aclose()
            while not caplog.records:
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
    assert server.ended == 1
    return caplog.records


@pytest.mark.parametrize(
    "handler", [send_until_it_breaks, in_a_nursery, in_two_nurseries, receive_past_the_end]
)
@pytest.mark.parametrize("kind", KINDS)
async def test_client_that_leaves_is_one_log_line(
    kind: str, handler: Handler, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    (record,) = await run(kind, endpoint, handler, caplog)
    assert (record.levelno, record.exc_info) == (logging.INFO, None)
    assert "\n" not in record.getMessage()
    assert endpoint.name in record.getMessage()


async def use_another(_: Any) -> None:
    one, other = memory_stream_pair()
    await other.aclose()
    await one.send_all(b"x")


async def use_another_of_ours(_: Any) -> None:
    listener = await ipcpipes.listen(unique_endpoint())
    stream = await ipcpipes.connect(listener.endpoint)
    await (await listener.accept()).aclose()
    async with listener, stream:
        await send_until_it_breaks(stream)


async def use_another_beside(connection: Any) -> None:
    errors: list[Exception] = []
    for attempt in (send_until_it_breaks, use_another):
        try:
            await attempt(connection)
        except trio.BrokenResourceError as error:
            errors.append(error)
    raise ExceptionGroup("both", errors)


async def raise_its_own(_: Any) -> None:
    raise trio.BrokenResourceError("mine")


@pytest.mark.parametrize(
    "handler", [use_another, use_another_of_ours, use_another_beside, raise_its_own]
)
@pytest.mark.parametrize("kind", KINDS)
async def test_error_of_another_connection_is_logged_as_error(
    kind: str, handler: Handler, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    (record,) = await run(kind, endpoint, handler, caplog)
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[0] in (trio.BrokenResourceError, ExceptionGroup)


async def test_client_that_breaks_the_framing_is_a_warning(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ipcpipes")

    async def handler(channel: Any) -> None:
        await channel.receive()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            await nursery.start(ipcpipes.serve_messages, handler, endpoint)
            async with await ipcpipes.connect(endpoint) as client:
                await client.send_all(b"\xff\xff\xff\xff")
                while not caplog.records:
                    await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    assert "too large" in record.getMessage()


@pytest.mark.skipif(sys.platform == "win32", reason="streams do not carry handles")
async def test_client_with_too_many_descriptors_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server("bytes", unique_endpoint())

    async def handler(stream: ipcpipes.Stream) -> None:
        await stream.receive_descriptors(None, 1)

    caplog.set_level(logging.INFO, logger="ipcpipes")
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: server.run(handler, task_status=task_status))
        async with await server.connect() as stream:
            await stream.send_descriptors(b"x", [0, 0])
            assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "more descriptors at once than max_descriptors allows" in record.getMessage()


async def test_client_that_leaves_inside_a_message_is_one_line(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ipcpipes")

    async def handler(channel: Any) -> None:
        await channel.receive()

    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            await nursery.start(ipcpipes.serve_messages, handler, endpoint)
            async with await ipcpipes.connect(endpoint) as client:
                await client.send_all(b"\x05\0\0\0abc")
            while not caplog.records:
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.INFO, None)


# Calls.


@pytest.mark.parametrize("grouped", [False, True])
async def test_managers_client_that_leaves_is_one_line(
    grouped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "ipcpipes.rpc")
    began = trio.Event()

    async def into(numbers: Any) -> None:
        began.set()
        if not grouped:
            await drained(numbers)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drained, numbers)

    with trio.fail_after(SECONDS):
        async with serving(Scripted(into=into)) as listener:
            stream = await ipcpipes.connect(listener.endpoint)
            async with rpc.bind(Calls, stream) as client, rpc.operation_of(client.into).begin():
                await began.wait()
                await stream.aclose()
            while not caplog.records:
                await trio.sleep(0.001)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.DEBUG, None)
    assert "Calls.into has ended" in record.getMessage()


def test_thread_managers_client_that_leaves_is_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "ipcpipes.rpc")
    began = threading.Event()

    def into(numbers: Any) -> list[Any]:
        began.set()
        return everything(numbers)

    with served(into) as client:
        client.into.begin().__enter__()
        assert began.wait(SECONDS)
        client._link.close(rpc.CommFailure("gone"))
    (record,) = caplog.records
    assert (record.levelno, record.exc_info) == (logging.DEBUG, None)


async def test_failed_call_of_a_manager_is_logged_as_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The manager is also a client, and its connection to another server ends."""
    caplog.set_level(logging.DEBUG, "ipcpipes.rpc")
    began = trio.Event()

    async def into(numbers: Any) -> None:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rpc.serve_connection, Scripted(into=drained), theirs)
            async with rpc.bind(Calls, ours) as other, rpc.operation_of(other.into).begin() as call:
                began.set()
                try:
                    await numbers.pull()
                except rpc.CommFailure:
                    with trio.CancelScope(shield=True):
                        await theirs.aclose()
                        await call.complete()

    with trio.fail_after(SECONDS):
        async with serving(Scripted(into=into)) as listener:
            stream = await ipcpipes.connect(listener.endpoint)
            async with rpc.bind(Calls, stream) as client, rpc.operation_of(client.into).begin():
                await began.wait()
                await stream.aclose()
            while not [one for one in caplog.records if one.levelno == logging.ERROR]:
                await trio.sleep(0.001)
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.exc_info is not None


async def test_cancelled_manager_is_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "ipcpipes.rpc")
    began = trio.Event()

    async def plain(_: Any) -> None:
        began.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise rpc.CallCancelled("the client did not wait") from None

    async with calling(plain=plain, inline=given_back) as acc:
        async with acc.plain.begin(1):
            await began.wait()
        with trio.fail_after(SECONDS):
            while not caplog.records:
                await trio.sleep(0.001)
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]
