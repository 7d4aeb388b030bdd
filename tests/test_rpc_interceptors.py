"""Interceptors at the client and at the server, over both drivers."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc
from ipcpipes.rpc import blocking
from ipcpipes.rpc.definition.introspection import Introspection
from ipcpipes.testing import unique_endpoint

from .rpc_drivers import Driver
from .rpc_over_links import SECONDS, call_failed, timed_out
from .rpc_over_managers import drained, given_back
from .rpc_waiting import sleep


class Store(rpc.Interface, uuid="6b0b5f5e-58f7-4b18-9a7c-7e1e5b4b5a01", version=(1, 0)):
    @rpc.operation
    def put(self, key: str, value: int = 7) -> str: ...

    @rpc.operation
    @rpc.options(idempotent=True, timeout=50)
    def get(self, key: str) -> int: ...


class StoreManager(Store):
    """Notes its calls; the next ones fail with :attr:`failures`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.failures: list[Exception] = []

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        if self.failures:
            raise self.failures.pop(0)

    def put(self, key: str, value: int = 7) -> str:
        self._note("put", key, value)
        return f"{key}={value}"

    def get(self, key: str) -> int:
        self._note("get", key)
        return len(key)


Interceptor = Callable[..., Any]


@asynccontextmanager
async def storing(
    driver: Driver,
    *,
    client: list[Interceptor] | None = None,
    server: list[Interceptor] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[Any, StoreManager]]:
    """A client of a store, with interceptors."""
    manager = StoreManager()
    with trio.fail_after(SECONDS):
        of_server = driver.interceptors(*(server or ()))
        of_client = driver.interceptors(*(client or ()))
        async with driver.serving(manager, interceptors=of_server) as listener:
            async with driver.connect(
                Store, listener.endpoint, interceptors=of_client, **options
            ) as store:
                yield store, manager
                await driver.no_calls_left(store)


def noting(noted: list[str], name: str) -> Interceptor:
    async def interceptor(call: Any, proceed: Any) -> Any:
        noted.append(f"{name} begins")
        try:
            return await proceed(call)
        finally:
            noted.append(f"{name} ends")

    return interceptor


async def test_the_first_interceptor_is_the_outermost(driver: Driver) -> None:
    noted: list[str] = []
    client = [noting(noted, "client 1"), noting(noted, "client 2")]
    server = [noting(noted, "server 1"), noting(noted, "server 2")]
    async with storing(driver, client=client, server=server) as (store, manager):
        assert await store.put("a", 1) == "a=1"
    expected = ["client 1", "client 2", "server 1", "server 2"]
    assert noted == [f"{one} begins" for one in expected] + [
        f"{one} ends" for one in reversed(expected)
    ]
    assert manager.calls == [("put", "a", 1)]


async def test_what_an_interceptor_sees(driver: Driver) -> None:
    found: list[tuple[Any, ...]] = []

    async def see(call: Any, proceed: Any) -> Any:
        of_client = isinstance(call, rpc.ClientCall)
        before = dict(call.answer_metadata)
        arguments = dict(call.arguments)
        result = await proceed(call)
        found.append(
            (
                type(call).__name__,
                (call.interface, call.operation, call.idempotent),
                arguments,
                dict(call.metadata),
                before,
                dict(call.answer_metadata),
                call.timeout if of_client else call.deadline > 0,
                call.peer.pid,
                result,
            )
        )
        return result

    async with storing(driver, client=[see], server=[see], metadata={"a": 1}) as (store, _):
        await store.put("k")
        await store.get("key")
    names = [(kind, operation) for kind, operation, *_ in found]
    assert names == [
        ("ServerCall", ("Store", "put", False)),
        ("ClientCall", ("Store", "put", False)),
        ("ServerCall", ("Store", "get", True)),
        ("ClientCall", ("Store", "get", True)),
    ]
    pid = os.getpid()
    assert found[0][2:] == ({"key": "k", "value": 7}, {"a": 1}, {}, {}, True, pid, "k=7")
    assert found[1][2:] == ({"key": "k", "value": 7}, {"a": 1}, {}, {}, None, pid, "k=7")
    assert found[2][2:] == ({"key": "key"}, {"a": 1}, {}, {}, True, pid, 3)
    assert found[3][2:] == ({"key": "key"}, {"a": 1}, {}, {}, 50, pid, 3)


async def test_an_interceptor_changes_arguments_and_results(driver: Driver) -> None:
    async def of_client(call: Any, proceed: Any) -> Any:
        call.arguments["key"] += "-client"
        return (await proceed(call)).upper()

    async def of_server(call: Any, proceed: Any) -> Any:
        call.arguments["key"] += "-server"
        call.arguments["value"] += 1
        return await proceed(call) + "!"

    async with storing(driver, client=[of_client], server=[of_server]) as (store, manager):
        assert await store.put("k") == "K-CLIENT-SERVER=8!"
    assert manager.calls == [("put", "k-client-server", 8)]


async def test_an_interceptor_changes_metadata(driver: Driver) -> None:
    seen: list[Any] = []

    async def of_client(call: Any, proceed: Any) -> Any:
        call.metadata["token"] = "s3cret"
        result = await proceed(call)
        seen.append(dict(call.answer_metadata))
        return result

    async def of_server(call: Any, proceed: Any) -> Any:
        seen.append(dict(call.metadata))
        call.answer_metadata["cost"] = 3
        return await proceed(call)

    async with storing(driver, client=[of_client], server=[of_server]) as (store, _):
        await store.put("k")
        await store.put.with_options(metadata={"a": 1})("k")
        await store.put("k")
    assert seen == [
        {"token": "s3cret"},
        {"cost": 3},
        {"a": 1, "token": "s3cret"},
        {"cost": 3},
        {"token": "s3cret"},
        {"cost": 3},
    ], "a change is for one call"


async def test_the_metadata_of_a_failed_call(driver: Driver) -> None:
    seen: list[Any] = []

    async def of_client(call: Any, proceed: Any) -> Any:
        try:
            return await proceed(call)
        except rpc.Fault:
            seen.append(dict(call.answer_metadata))
            raise

    async def of_server(call: Any, proceed: Any) -> Any:
        call.answer_metadata["retry-after"] = 2
        return await proceed(call)

    async with storing(driver, client=[of_client], server=[of_server]) as (store, manager):
        manager.failures = [ValueError("no")]
        with call_failed():
            await store.put("k")
    assert seen == [{"retry-after": 2}]


async def test_a_server_refuses_a_call(driver: Driver) -> None:
    async def require_token(call: Any, proceed: Any) -> Any:
        if call.metadata.get("token") != "s3cret":
            raise rpc.Fault("the token is wrong", code=5)
        return await proceed(call)

    async with storing(driver, server=[require_token]) as (store, manager):
        with pytest.raises(rpc.Fault, match="the token is wrong") as caught:
            await store.put("k")
        assert caught.value.code == 5
        assert manager.calls == []
        assert await store.put.with_options(metadata={"token": "s3cret"})("k") == "k=7"


async def test_an_exception_of_an_interceptor_is_one_of_the_manager(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(call: Any, proceed: Any) -> Any:
        await proceed(call)
        raise KeyError(call.operation)

    with caplog.at_level(logging.ERROR, "ipcpipes.rpc"):
        async with storing(driver, server=[fail]) as (store, manager):
            with call_failed() as caught:
                await store.put("k")
    assert caught.value.type == "KeyError"
    assert "Store.put failed" in caplog.text
    assert manager.calls == [("put", "k", 7)]


async def test_an_exception_of_an_interceptor_of_the_client_reaches_the_caller(
    driver: Driver,
) -> None:
    async def fail(call: Any, proceed: Any) -> Any:
        raise KeyError(call.operation)

    async with storing(driver, client=[fail]) as (store, manager):
        with pytest.raises(KeyError, match="put"):
            await store.put("k")
    assert manager.calls == []


async def test_an_interceptor_need_not_proceed(driver: Driver) -> None:
    async def of_client(call: Any, proceed: Any) -> Any:
        return "cached" if call.arguments["key"] == "client" else await proceed(call)

    async def of_server(call: Any, proceed: Any) -> Any:
        return "known" if call.arguments["key"] == "server" else await proceed(call)

    async with storing(driver, client=[of_client], server=[of_server]) as (store, manager):
        assert await store.put("client") == "cached"
        assert await store.put("server") == "known"
        assert await store.put("manager") == "manager=7"
    assert manager.calls == [("put", "manager", 7)]


async def test_operations_with_pipes_are_intercepted(driver: Driver) -> None:
    noted: list[Any] = []

    async def of_client(call: Any, proceed: Any) -> Any:
        noted.append(sorted(call.arguments))
        call.arguments["numbers"] = [one + 1 for one in call.arguments["numbers"]]
        return await proceed(call)

    async def of_server(call: Any, proceed: Any) -> Any:
        noted.append([name for name, one in call.arguments.items() if hasattr(one, "pull")])
        return [await proceed(call), call.arguments["value"]]

    async def into_value(numbers: Any, value: str) -> int:
        return sum(await drained(numbers))

    async with driver.calling(
        client={"interceptors": driver.interceptors(of_client)},
        server={"interceptors": driver.interceptors(of_server)},
        into_value=into_value,
    ) as acc:
        assert await acc.into_value([1, 2], "x") == [5, "x"]
        with pytest.raises(TypeError, match="numbers"):
            await acc.into_value(value="x")
    assert noted == [["numbers", "value"], ["numbers"]]


async def test_maybe_calls_are_intercepted(driver: Driver) -> None:
    noted: list[str] = []

    async def tell(value: Any) -> None:
        noted.append("manager")

    interceptors = driver.interceptors(noting(noted, "it"))
    async with driver.calling(
        client={"interceptors": interceptors}, tell=tell, plain=given_back
    ) as acc:
        assert await acc.tell(1) is None
        assert await acc.plain(1) == 1
        while "manager" not in noted:
            await driver.settle()
    assert noted.count("it begins") == 2


async def test_the_server_intercepts_deferred_calls_until_the_manager_returns(
    driver: Driver,
) -> None:
    results: list[Any] = []

    async def of_server(call: Any, proceed: Any) -> Any:
        results.append(await proceed(call))
        return "ignored"

    async def plain(value: Any) -> None:
        current = rpc.current_call()
        current.defer()
        current.complete(value)

    server = {"interceptors": driver.interceptors(of_server)}
    async with driver.calling(server=server, plain=plain) as acc:
        assert await acc.plain(3) == 3
    assert results == [None]


async def test_calls_by_hand_are_intercepted_at_the_server_only(driver: Driver) -> None:
    noted: list[str] = []
    client, server = [noting(noted, "client")], [noting(noted, "server")]
    async with storing(driver, client=client, server=server) as (store, _):
        async with store.put.begin("k") as call:
            assert await call.complete() == "k=7"
    assert noted == ["server begins", "server ends"]


async def test_introspection_is_intercepted(driver: Driver) -> None:
    async def refuse(call: Any, proceed: Any) -> Any:
        raise rpc.Fault(f"no {call.interface}")

    interceptors = driver.interceptors(refuse)
    async with driver.serving(
        StoreManager(), introspection=True, interceptors=interceptors
    ) as listener:
        async with driver.connect(Introspection, listener.endpoint) as server:
            (name,) = Introspection._rpc_definition.operations
            with pytest.raises(rpc.Fault, match="no Introspection"):
                await getattr(server, name)()


async def test_invalid_arguments_are_refused_before_interceptors(driver: Driver) -> None:
    noted: list[str] = []
    server = [noting(noted, "server")]
    async with storing(driver, client=[noting(noted, "client")], server=server) as (store, _):
        with pytest.raises(TypeError, match="missing the argument 'key'"):
            await store.put()
        assert noted == []
        with pytest.raises(rpc.BadStubData):
            await store.put(3)
    assert noted == ["client begins", "client ends"]


async def test_invalid_changes_of_an_interceptor(driver: Driver) -> None:
    changes: list[Callable[[Any], object]] = []

    async def of_client(call: Any, proceed: Any) -> Any:
        changes.pop()(call)
        return await proceed(call)

    async with storing(driver, client=[of_client]) as (store, manager):

        def drop(call: Any) -> None:
            del call.arguments["key"]

        def rename(call: Any) -> None:
            call.arguments["other"] = 1

        def hurry(call: Any) -> None:
            call.timeout = 0

        def replace(call: Any) -> None:
            call.metadata = {"A": 1}

        cases: list[tuple[Any, type[Exception], str]] = [
            (drop, TypeError, "missing the argument 'key'"),
            (rename, TypeError, "no parameter 'other'"),
            (hurry, ValueError, "timeout must be more than 0"),
            (replace, ValueError, "'A'"),
        ]
        for change, error, text in cases:
            changes.append(change)
            with pytest.raises(error, match=text):
                await store.put("k")
        assert manager.calls == []


async def test_an_interceptor_limits_the_time(driver: Driver) -> None:
    async def hurry(call: Any, proceed: Any) -> Any:
        call.timeout = 0.05
        return await proceed(call)

    async def plain(_: Any) -> None:
        await sleep(0.5)

    client = {"interceptors": driver.interceptors(hurry)}
    async with driver.calling(client=client, plain=plain) as acc:
        with timed_out():
            await acc.plain.with_options(timeout=60)(1)


async def test_options_keep_the_interceptors(driver: Driver) -> None:
    noted: list[str] = []
    async with storing(driver, client=[noting(noted, "it")]) as (store, _):
        assert await store.put.with_options(timeout=30)("k") == "k=7"
    assert noted == ["it begins", "it ends"]


# Repeating


def repeating(times: int, *errors: type[Exception]) -> Interceptor:
    async def interceptor(call: Any, proceed: Any) -> Any:
        for _ in range(times - 1):
            try:
                return await proceed(call)
            except errors:
                if not call.may_proceed:
                    raise
        return await proceed(call)

    return interceptor


async def test_an_idempotent_operation_is_repeated(driver: Driver) -> None:
    async with storing(driver, client=[repeating(3, rpc.Fault)]) as (store, manager):
        manager.failures = [OSError("busy"), OSError("busy")]
        assert await store.get("key") == 3
        assert manager.calls == [("get", "key")] * 3
        manager.failures = [OSError("busy")] * 3
        with pytest.raises(rpc.Fault, match="busy"):
            await store.get("key")
        assert len(manager.calls) == 6


async def test_another_operation_is_not_repeated(driver: Driver) -> None:
    async def insist(call: Any, proceed: Any) -> Any:
        assert call.may_proceed
        assert not call.has_begun
        first = await proceed(call)
        assert not call.may_proceed
        assert call.has_begun
        with pytest.raises(RuntimeError, match="put is not idempotent"):
            await proceed(call)
        return first

    async with storing(driver, client=[insist]) as (store, manager):
        assert await store.put("k") == "k=7"
    assert len(manager.calls) == 1


async def test_a_call_that_failed_at_the_server_is_not_repeated(driver: Driver) -> None:
    async with storing(driver, client=[repeating(3, rpc.Fault)]) as (store, manager):
        manager.failures = [OSError("busy")]
        with pytest.raises(rpc.Fault, match="busy"):
            await store.put("k")
    assert len(manager.calls) == 1


async def test_a_call_that_was_not_begun_is_repeated(driver: Driver) -> None:
    refusals = [1, 1]

    async def of_server(call: Any, proceed: Any) -> Any:
        if refusals:
            refusals.pop()
            raise rpc.Fault("too many calls", code=rpc.ServerTooBusy.default_code)
        return await proceed(call)

    client = [repeating(3, rpc.ServerTooBusy)]
    async with storing(driver, client=client, server=[of_server]) as (store, manager):
        assert await store.put("k") == "k=7"
    assert len(manager.calls) == 1


async def test_a_call_whose_argument_cannot_be_sent_is_repeated(driver: Driver) -> None:
    async def correct(call: Any, proceed: Any) -> Any:
        try:
            return await proceed(call)
        except TypeError:
            assert not call.has_begun
            call.arguments["value"] = 5
            return await proceed(call)

    async with storing(driver, client=[correct]) as (store, _):
        assert await store.put("k", object()) == "k=5"


async def test_what_is_known_belongs_to_the_last_attempt(driver: Driver) -> None:
    async def of_client(call: Any, proceed: Any) -> Any:
        with pytest.raises(rpc.Fault):
            await proceed(call)
        assert (call.has_begun, dict(call.answer_metadata)) == (True, {"a": 1})
        call.arguments["key"] = object()
        with pytest.raises(TypeError):
            await proceed(call)
        assert (call.has_begun, dict(call.answer_metadata)) == (False, {})
        return 5

    async def of_server(call: Any, proceed: Any) -> Any:
        call.answer_metadata["a"] = 1
        return await proceed(call)

    async with storing(driver, client=[of_client], server=[of_server]) as (store, manager):
        manager.failures = [OSError("busy")]
        assert await store.get("k") == 5


async def test_an_attempt_that_waits_for_its_turn_is_not_repeated(driver: Driver) -> None:
    if driver.serves_in_threads:
        pytest.skip("an interceptor without an event loop does one thing at a time")
    may_proceed: list[bool] = []
    began, go_on = trio.Event(), trio.Event()

    async def plain(_: Any) -> None:
        began.set()
        await go_on.wait()

    async def of_client(call: Any, proceed: Any) -> Any:
        if call.arguments["value"] == "first":
            return await proceed(call)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(proceed, call)
            await trio.testing.wait_all_tasks_blocked(0.01)
            may_proceed.extend((call.has_begun, call.may_proceed))
            go_on.set()
        return None

    async with driver.calling(
        client={"interceptors": [of_client]}, server={"max_calls": 1}, plain=plain
    ) as acc:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(acc.plain, "first")
            await began.wait()
            await acc.plain("second")
    assert may_proceed == [False, False]


async def test_at_the_server_an_interceptor_proceeds_once(driver: Driver) -> None:
    async def insist(call: Any, proceed: Any) -> Any:
        await proceed(call)
        return await proceed(call)

    async with storing(driver, server=[insist]) as (store, manager):
        with pytest.raises(rpc.Fault, match="an interceptor proceeds once"):
            await store.get("k")
    assert len(manager.calls) == 1


# Mistakes


async def test_an_interceptor_is_a_function(driver: Driver) -> None:
    with pytest.raises(TypeError, match="an interceptor is a function"):
        async with driver.connect(Store, unique_endpoint(), interceptors=[3]):
            pass
    with pytest.raises(TypeError, match="an interceptor is a function"):
        if driver.serves_in_threads:
            blocking.serve(StoreManager(), "nowhere", interceptors=[3])  # type: ignore[list-item]
        else:
            await rpc.serve(StoreManager(), "nowhere", interceptors=[3])  # type: ignore[list-item]


def test_without_an_event_loop_interceptors_are_not_async() -> None:
    async def interceptor(call: Any, proceed: Any) -> Any: ...

    with pytest.raises(TypeError, match="is async, and there is no event loop"):
        blocking.serve(StoreManager(), "nowhere", interceptors=[interceptor])
    with pytest.raises(TypeError, match="is async, and there is no event loop"):
        with blocking.connect(Store, "nowhere", interceptors=[interceptor]):
            pass


async def test_calls_of_interceptors_cannot_be_copied(driver: Driver) -> None:
    async def copy(call: Any, proceed: Any) -> Any:
        assert repr(call) == "<ipcpipes rpc intercepted call of Store.put>"
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            pickle.dumps(call)
        return await proceed(call)

    async with storing(driver, client=[copy], server=[copy]) as (store, _):
        assert await store.put("k") == "k=7"


async def test_clients_with_interceptors_are_clients_like_others(driver: Driver) -> None:
    async with storing(driver, client=[noting([], "it")]) as (store, _):
        assert store.has("put")
        assert not store.has("other")
        assert {"put", "get"} <= set(dir(store))
        if not driver.serves_in_threads:
            operation = rpc.operation_of(store.put)
            assert isinstance(operation, rpc.ClientOperation)
            assert repr(operation) == "<ipcpipes rpc operation Store.put>"


# Under trio only


async def test_an_intercepted_call_is_a_checkpoint(driver: Driver) -> None:
    if driver.serves_in_threads:
        pytest.skip("threads have no checkpoints")

    async def cached(call: Any, proceed: Any) -> Any:
        if call.arguments["key"] == "error":
            raise KeyError
        return "cached" if call.arguments["key"] == "cached" else await proceed(call)

    async with storing(driver, client=[cached], server=[cached]) as (store, _):
        for key in ("cached", "other"):
            with trio.testing.assert_checkpoints():
                await store.put(key)
        with trio.testing.assert_checkpoints(), pytest.raises(KeyError):
            await store.put("error")
        with trio.testing.assert_checkpoints(), pytest.raises(TypeError):
            await store.put()
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.put("cached")
        assert scope.cancelled_caught


async def test_an_interceptor_of_a_cancelled_call_is_cancelled(driver: Driver) -> None:
    if driver.serves_in_threads:
        pytest.skip("a thread cannot be cancelled")
    ended: list[str] = []

    async def note(call: Any, proceed: Any) -> Any:
        try:
            return await proceed(call)
        except trio.Cancelled:
            ended.append(type(call).__name__)
            raise

    async def plain(_: Any) -> None:
        await trio.sleep_forever()

    options = {"interceptors": [note]}
    async with driver.calling(client=options, server=options, plain=plain) as acc:
        with trio.move_on_after(0.05):
            await acc.plain(1)
        while len(ended) < 2:
            await trio.sleep(0.001)
    assert sorted(ended) == ["ClientCall", "ServerCall"]


async def test_managers_of_both_kinds_are_intercepted(driver: Driver) -> None:
    async def plain(value: Any) -> Any:
        return value + 1

    noted: list[str] = []
    server = {"interceptors": driver.interceptors(noting(noted, "it"))}
    async with driver.calling(server=server, plain=plain, inline=lambda value: value) as acc:
        assert await acc.plain(1) == 2
        assert await acc.inline(1) == 1
    assert len(noted) == 4
