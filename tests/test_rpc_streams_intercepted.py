"""Interceptors and metadata of operations with streams, and of those that yield."""

from __future__ import annotations

from typing import Any

import pytest

from ipcpipes import rpc

from .rpc_drivers import Driver
from .rpc_streaming import streaming
from .test_rpc_streams import answered, counted, listed


async def test_an_interceptor_of_the_server_sees_all_that_is_yielded(driver: Driver) -> None:
    noted: list[Any] = []

    async def note(call: Any, proceed: Any) -> Any:
        noted.append(("begins", call.operation, call.arguments))
        result = await proceed(call)
        noted.append(("ends", result, rpc.current_call().operation))
        return result

    async def numbers(count: int) -> Any:
        for number in range(count):
            noted.append(number)
            yield number

    async with streaming(
        driver, server={"interceptors": driver.interceptors(note)}, numbers=numbers
    ) as acc:
        assert await listed(acc.numbers(2)) == [0, 1]
        seen = noted[:]
    assert seen == [("begins", "numbers", {"count": 2}), 0, 1, ("ends", None, "numbers")]


async def test_an_interceptor_of_the_server_refuses_an_iteration(driver: Driver) -> None:
    async def refuse(call: Any, proceed: Any) -> Any:
        if call.operation == "numbers":
            raise rpc.Fault("not today", code=77)
        return await proceed(call)

    async with streaming(
        driver, server={"interceptors": driver.interceptors(refuse)}, numbers=counted
    ) as acc:
        with pytest.raises(rpc.Fault, match="not today"):
            await listed(acc.numbers(3))


async def test_interceptors_of_both_ends_see_a_call_with_streams(driver: Driver) -> None:
    noted: list[str] = []

    def noting(name: str) -> Any:
        async def note(call: Any, proceed: Any) -> Any:
            noted.append(f"{name} {sorted(call.arguments)}")
            return await proceed(call)

        return note

    options = {
        name: {"interceptors": driver.interceptors(noting(name))} for name in ("client", "server")
    }
    async with streaming(driver, **options, chat=answered) as acc:
        found: list[str] = []
        assert await acc.chat(["a", "b"], found) == 2
        assert found == ["A", "B"]
        assert noted[:2] == ["client ['answers', 'asked']", "server ['answers', 'asked']"]


async def test_metadata_of_an_iteration(driver: Driver) -> None:
    async def numbers(count: int) -> Any:
        token = rpc.current_call().metadata.get("token")
        for number in range(count):
            yield token if number == 1 else number

    async with streaming(driver, client={"metadata": {"token": 5}}, numbers=numbers) as acc:
        assert await listed(acc.numbers(3)) == [0, 5, 2]
        changed = acc.numbers.with_options(metadata={"token": 6})
        assert await listed(changed(3)) == [0, 6, 2]
