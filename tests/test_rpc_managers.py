"""The exceptions of managers, and the tasks and threads that managers run in."""

from __future__ import annotations

import contextvars
import logging
import os
import sys
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc

from .rpc_over_links import SECONDS, call_failed, calling, comm_failure, failing, serving
from .rpc_over_managers import Calls, Scripted

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup


def no_text() -> Exception:
    class NoText(Exception):
        def __str__(self) -> str:
            raise RuntimeError("there is no text")

    return NoText()


ODD_ERRORS: dict[str, Any] = {
    "without a text": no_text,
    "with half a character": lambda: ValueError("\udc80"),
    "with a long text": lambda: ValueError("x" * 10**6),
    "a fault with a huge code": lambda: rpc.Fault("x", code=2**70),
    "a fault with no code": lambda: rpc.Fault("x", code="abc"),  # type: ignore[arg-type]
    "a fault with code 0": lambda: rpc.Fault("x", code=0),
    "a fault with no text": lambda: rpc.Fault(123),  # type: ignore[arg-type]
    "a fault with half a character": lambda: rpc.Fault("\udc80"),
    "a group": lambda: ExceptionGroup("several", [ValueError("1"), LookupError("2")]),
    "recursion": lambda: RecursionError("deep"),
    "memory": lambda: MemoryError(),
    "stop": lambda: StopAsyncIteration("now"),
}


@pytest.mark.parametrize("tracebacks", [False, True])
@pytest.mark.parametrize("make", ODD_ERRORS.values(), ids=ODD_ERRORS)
async def test_any_exception_of_a_manager_fails_its_call_alone(
    make: Any, tracebacks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # the report of a test cannot contain a surrogate

    async def plain(value: Any) -> Any:
        if value == "bad":
            raise make()
        return value

    def inline(value: Any) -> Any:
        raise make()

    async with calling(plain=plain, inline=inline, server={"tracebacks": tracebacks}) as acc:
        for call in (partial(acc.plain, "bad"), partial(acc.inline, "bad")):
            with pytest.raises(rpc.Fault) as caught:
                await call()
            assert len(caught.value.message) < 5000
        assert await acc.plain("good") == "good"


class OwnError(Exception):
    pass


@pytest.mark.parametrize("tracebacks", [False, True])
async def test_a_client_gets_the_type_and_text_of_an_exception(
    tracebacks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def plain(value: Any) -> Any:
        if value == "own":
            raise OwnError("mine")
        if value == "fault":
            raise rpc.Fault("no such log", code=2)
        raise FileNotFoundError(2, "No such file", "x.txt")

    async with calling(plain=plain, server={"tracebacks": tracebacks}) as acc:
        with call_failed() as caught:
            await acc.plain("builtin")
        error = caught.value
        assert error.type == "FileNotFoundError"
        assert error.message == "[Errno 2] No such file: 'x.txt'"
        assert str(error) == f"FileNotFoundError: {error.message}"
        if tracebacks:
            assert "test_rpc_managers.py" in error.traceback
            assert "in plain" in error.traceback
        else:
            assert error.traceback is None
        with call_failed() as caught:
            await acc.plain("own")
        assert caught.value.type == f"{__name__}.OwnError"
        with failing(rpc.Fault, 2) as caught:
            await acc.plain("fault")
        assert (caught.value.message, caught.value.type) == ("no such log", None)
        assert (caught.value.traceback is not None) == tracebacks
    logged = [record for record in caplog.records if record.name == "ipcpipes.rpc"]
    assert [record.getMessage() for record in logged] == ["Calls.plain failed"] * 2
    assert [record.exc_info[0] for record in logged if record.exc_info] == [
        FileNotFoundError,
        OwnError,
    ]


@pytest.mark.parametrize(("tasks", "kind"), [(1, "LookupError"), (2, "ExceptionGroup")])
async def test_a_group_of_one_exception_is_unwrapped(tasks: int, kind: str) -> None:
    async def plain(value: Any) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(tasks):
                nursery.start_soon(fails)

    async def fails() -> None:
        raise LookupError("in a task")

    async with calling(plain=plain) as acc:
        with call_failed() as caught:
            await acc.plain(1)
        assert caught.value.type.endswith(kind)


class Stop(BaseException):
    """Not an ``Exception``, like KeyboardInterrupt."""


@pytest.mark.parametrize("when", ["at once", "later", "inline"])
async def test_a_base_exception_ends_the_server(when: str) -> None:
    async def plain(value: Any) -> None:
        if when == "later":
            await trio.sleep(0.001)
        raise Stop

    def inline(value: Any) -> None:
        raise Stop

    with trio.fail_after(SECONDS), pytest.raises(BaseExceptionGroup) as caught:
        async with serving(Scripted(plain=plain, inline=inline)) as listener:
            async with rpc.connect(Calls, listener.endpoint) as acc:
                with comm_failure():
                    await (acc.inline if when == "inline" else acc.plain)(1)
                await trio.sleep_forever()
    leaves = _leaves(caught.value)
    assert [type(error) for error in leaves if not isinstance(error, trio.Cancelled)] == [Stop]


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


async def test_an_operation_made_with_def_runs_at_once_and_in_order() -> None:
    seen: list[int] = []

    def inline(value: int) -> int:
        seen.append(value)
        if value == 3:
            raise LookupError("three")
        return -value

    async with calling(inline=inline) as acc:
        results: list[Any] = []

        async def call(number: int) -> None:
            try:
                results.append(await acc.inline(number))
            except rpc.Fault as error:
                results.append(error.type)

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(call, number)
                await trio.testing.wait_all_tasks_blocked()
    assert seen == list(range(6))
    assert results == [0, -1, -2, "LookupError", -4, -5]


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="untouched")


async def test_context_variables_stay_in_their_calls() -> None:
    async def plain(value: str) -> list[str]:
        before = variable.get()
        variable.set(value)
        await trio.lowlevel.checkpoint()
        return [before, variable.get()]

    def inline(value: str) -> list[str]:
        before = variable.get()
        variable.set(value)
        return [before, variable.get()]

    async with calling(plain=plain, inline=inline) as acc:
        for call in (acc.plain, acc.inline, acc.plain, acc.inline):
            assert await call("mine") == ["untouched", "mine"]
    assert variable.get() == "untouched"


async def test_a_manager_knows_its_peer() -> None:
    async def plain(value: Any) -> Any:
        return rpc.current_call().peer.pid

    async with calling(plain=plain) as acc:
        assert await acc.plain(1) in (os.getpid(), None)


async def test_managers_can_wait_at_once_and_use_nurseries() -> None:
    """The first step of a manager runs in the task that reads from the connection."""

    async def plain(value: int) -> int:
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.001):
                nursery.start_soon(trio.sleep, 0.002)
                await trio.sleep_forever()
        await trio.to_thread.run_sync(lambda: None)
        return value

    async with calling(plain=plain) as acc:
        results: list[int] = []

        async def call(number: int) -> None:
            results.append(await acc.plain(number))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(call, number)
        assert sorted(results) == list(range(20))


async def test_a_plain_method_that_iterates_a_pipe_gets_advice() -> None:
    class Plain(Scripted):
        def into(self, numbers: Any) -> int:  # type: ignore[override]  # which is the mistake
            return sum(len(chunk) for chunk in numbers)

    with trio.fail_after(SECONDS):
        async with serving(Plain()) as listener, rpc.connect(Calls, listener.endpoint) as acc:
            with call_failed() as caught:
                await acc.into(numbers=rpc.feed([1, 2]))
    assert caught.value.type == "TypeError"
    assert "pull from numbers with 'async for'" in caught.value.message
