"""serve(handler_nursery=): handlers that outlive the server, in both functions that serve."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import ipcpipes
from ipcpipes import Endpoint

from .processes import SECONDS

SERVE: dict[str, tuple[Any, Any]] = {
    "streams": (ipcpipes.serve, ipcpipes.connect),
    "messages": (ipcpipes.serve_messages, ipcpipes.connect_messages),
}


class Handlers:
    """Handlers that answer one request when they are told to."""

    def __init__(self) -> None:
        self.begun = trio.Event()
        self.may_answer = trio.Event()
        self.was_cancelled = False

    async def __call__(self, connection: Any) -> None:
        receive = getattr(connection, "receive", None) or connection.receive_some
        send = getattr(connection, "send", None) or connection.send_all
        request = await receive()
        self.begun.set()
        try:
            await self.may_answer.wait()
        except trio.Cancelled:
            self.was_cancelled = True
            raise
        await send(request)


@asynccontextmanager
async def client_of(way: str, endpoint: Endpoint) -> AsyncIterator[tuple[Any, Callable[[], Any]]]:
    async with await SERVE[way][1](endpoint) as client:
        send = getattr(client, "send", None) or client.send_all
        await send(b"request")
        yield client, getattr(client, "receive", None) or client.receive_some


async def has_ended(receive: Callable[[], Any]) -> bool:
    try:
        return not await receive()
    except trio.EndOfChannel:
        return True


@pytest.mark.parametrize("way", SERVE)
@pytest.mark.parametrize("end", ["cancel", "close"])
async def test_handlers_outlive_the_server(way: str, end: str, endpoint: Endpoint) -> None:
    handler = Handlers()
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as handlers:
            async with trio.open_nursery() as nursery:

                async def serve(task_status: Any) -> None:
                    await SERVE[way][0](
                        handler,
                        endpoint,
                        handler_nursery=handlers,
                        grace=0,
                        task_status=task_status,
                    )

                listener = await nursery.start(serve)
                async with client_of(way, endpoint) as (_, receive):
                    await handler.begun.wait()
                    if end == "cancel":
                        nursery.cancel_scope.cancel()
                        with trio.CancelScope(shield=True):
                            handler.may_answer.set()
                            assert await receive() == b"request"
                    else:
                        await listener.aclose()
                        while nursery.child_tasks:
                            await trio.sleep(0.001)  # the server has ended
                        handler.may_answer.set()
                        assert await receive() == b"request"
            assert not handler.was_cancelled
            with pytest.raises(FileNotFoundError):
                await SERVE[way][1](endpoint)


@pytest.mark.parametrize("way", SERVE)
async def test_the_nursery_cancels_its_handlers(way: str, endpoint: Endpoint) -> None:
    handler = Handlers()
    with trio.fail_after(SECONDS):
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as handlers:

                async def serve(task_status: Any) -> None:
                    await SERVE[way][0](
                        handler, endpoint, handler_nursery=handlers, task_status=task_status
                    )

                await nursery.start(serve)
                async with client_of(way, endpoint) as (_, receive):
                    await handler.begun.wait()
                    handlers.cancel_scope.cancel()
                    with trio.CancelScope(shield=True):
                        assert await has_ended(receive)
            assert handler.was_cancelled
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("way", SERVE)
async def test_a_nursery_that_has_ended_ends_the_server(way: str, endpoint: Endpoint) -> None:
    async with trio.open_nursery() as handlers:
        pass
    with trio.fail_after(SECONDS):
        with pytest.raises(BaseException) as caught:  # noqa: PT011
            async with trio.open_nursery() as nursery:

                async def serve(task_status: Any) -> None:
                    await SERVE[way][0](
                        Handlers(), endpoint, handler_nursery=handlers, task_status=task_status
                    )

                await nursery.start(serve)
                async with await SERVE[way][1](endpoint):
                    await trio.sleep_forever()
    error = caught.value
    while not isinstance(error, RuntimeError):
        (error,) = error.exceptions  # type: ignore[attr-defined]
    assert "closed" in str(error)
    with pytest.raises(FileNotFoundError):
        await SERVE[way][1](endpoint)
