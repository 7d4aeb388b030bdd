"""What the user of a call is told, and when a waiting call ends, with either driver."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.rpc.core.session import Session
from ipcpipes.rpc.core.state import Party
from ipcpipes.rpc.wire.bodies import encode_body
from ipcpipes.rpc.wire.format import Kind, Limits, Reason, encode
from ipcpipes.testing import unique_endpoint

from .rpc_both_drivers import DRIVERS, BothClients, connected, served
from .threads import Worker

SECONDS = 20.0

SENT, CAME, OVER = (
    rpc.CallEvent.SEND_COMPLETE,
    rpc.CallEvent.RECEIVE_COMPLETE,
    rpc.CallEvent.CALL_COMPLETE,
)


class Told(rpc.Interface, uuid="6a3a2a0e-9be5-4c0e-8b2b-0c3f7f0a1d55", version=(1, 0)):
    @rpc.operation
    def taken(self, numbers: rpc.InPipe[rpc.int64]) -> Any: ...

    @rpc.operation
    def given(self, count: int, numbers: rpc.OutPipe[rpc.int64]) -> Any: ...

    @rpc.operation(timeout=0.05)
    def hanging(self) -> None: ...

    @rpc.operation
    def held(self) -> Any: ...


class AsyncManager(Told):
    """Served under trio."""

    async def taken(self, numbers: Any) -> Any:
        return sum([sum(chunk) async for chunk in numbers])

    async def given(self, count: int, numbers: Any) -> Any:
        await numbers.push(range(count))
        await numbers.close()
        return count

    def hanging(self) -> None:
        if rpc.current_call().deadline != math.inf:  # or the call would never end
            rpc.current_call().defer()

    def held(self) -> Any:
        raise AssertionError("the server of that test has no manager")


class ThreadManager(AsyncManager):
    """The same in threads."""

    def taken(self, numbers: Any) -> Any:
        return sum(sum(chunk) for chunk in numbers)

    def given(self, count: int, numbers: Any) -> Any:
        numbers.push(range(count))
        numbers.close()
        return count


def manager_of(driver: str) -> AsyncManager:
    return AsyncManager() if driver == "trio" else ThreadManager()


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def in_handle(acc: BothClients, operation: Any, use: Callable[[Any], Any], *given: Any) -> None:
    """Begins a call and gives it to ``use``, a generator that yields what is awaited under trio."""

    def in_thread() -> None:
        with operation.begin(*given) as call:
            steps = use(call)
            with suppress(StopIteration):
                value = None
                while True:
                    value = steps.send(value)

    async def in_task() -> None:
        async with operation.begin(*given) as call:
            steps = use(call)
            value = None
            while True:
                try:
                    step = steps.send(value)
                except StopIteration:
                    return
                value = await step

    acc._run(in_thread if isinstance(acc.client, blocking.Client) else in_task)


def notified(driver: str, name: str, use: Callable[[Any], Any], *given: Any) -> list[Any]:
    """The notices of one call that ``use`` drives."""
    notices: list[rpc.CallEvent] = []
    with served(driver, manager_of(driver)) as endpoint:
        with connected(driver, Told, endpoint) as acc:
            operation = getattr(acc.client, name).with_options(notify=notices.append)
            in_handle(acc, operation, use, *given)
    return notices


def test_credit_is_not_told_as_something_received(driver: str) -> None:
    """The server grants credit again and again; the client receives nothing but the answer."""

    def use(call: Any) -> Any:
        for _ in range(8):
            yield call.pipes["numbers"].push(bytes(128 * 1024))
        yield call.pipes["numbers"].close()
        assert (yield call.complete()) == 0

    notices = notified(driver, "taken", use)
    assert CAME not in notices
    assert SENT in notices
    assert notices[-1:] == [OVER]
    assert notices.count(OVER) == 1


def test_the_end_of_a_pipe_is_told_once(driver: str) -> None:
    """Pulling the end is nothing that was received: what arrived was told before."""

    def use(call: Any) -> Any:
        pulled = 0
        while len(chunk := (yield call.pipes["numbers"].pull())):
            pulled += len(chunk)
        assert pulled == 3
        assert (yield call.complete()) == 3

    notices = notified(driver, "given", use, 3)
    assert 1 <= notices.count(CAME) <= 2  # the elements and the end are a frame each
    assert notices.count(OVER) == 1
    assert notices[-1] is OVER


def test_small_elements_are_told_once_they_are_sent(driver: str) -> None:
    """Without another push that sends them."""

    def use(call: Any) -> Any:
        yield call.pipes["numbers"].push([1, 2])
        yield call.pipes["numbers"].close()
        assert (yield call.complete()) == 3

    notices = notified(driver, "taken", use)
    assert notices[0] is SENT
    assert notices[-1:] == [OVER]


def test_notify_leaves_the_timeout_of_an_operation_as_it_is(driver: str) -> None:
    with served(driver, manager_of(driver)) as endpoint:
        with connected(driver, Told, endpoint) as acc:
            operation = acc.client.hanging.with_options(notify=lambda _: None)
            with pytest.raises(rpc.CallTimedOut, match=r"0\.05 s"):
                acc._run(operation)


def test_timeout_leaves_the_notify_of_an_operation_as_it_is(driver: str) -> None:
    notices: list[rpc.CallEvent] = []
    with served(driver, manager_of(driver)) as endpoint:
        with connected(driver, Told, endpoint) as acc:
            operation = acc.client.given.with_options(notify=notices.append)
            operation = operation.with_options(timeout=SECONDS)
            acc._run(partial(operation, 2, numbers=[]))
    assert notices[-1:] == [OVER]


def test_options_that_are_none_are_taken_back(driver: str) -> None:
    notices: list[rpc.CallEvent] = []
    with served(driver, manager_of(driver)) as endpoint:
        with connected(driver, Told, endpoint) as acc:
            operation = acc.client.given.with_options(notify=notices.append, timeout=SECONDS)
            operation = operation.with_options(notify=None, timeout=None)
            acc._run(partial(operation, 2, numbers=[]))
    assert not notices


def test_a_call_that_a_shutdown_has_lost_ends_at_once(driver: str) -> None:
    """While another call of the connection goes on."""
    with streams.listen_messages(unique_endpoint()) as listener:
        accepted = Worker(listener.accept)
        with_client = connected(driver, Told, listener.endpoint)
        server = Worker(_bind_one, accepted)
        with with_client as acc:
            channel, session = server.result()
            first = Worker(acc.call, "held")
            session.receive(channel.receive())  # it is read now by the first call's thread
            second = Worker(acc.call, "held")
            session.receive(channel.receive())
            _wait_until_it_waits(acc, 2)
            reason = encode_body(Reason(0, "the server is going away", 1))
            channel.send(encode(Kind.SHUTDOWN, 0, reason))
            with pytest.raises(rpc.ServerUnavailable, match="was not begun"):
                second.result()
            assert not first.is_done
            channel.send(encode(Kind.RESPONSE, 1, b"\x07"))
            assert first.result() == 7
            with pytest.raises(rpc.ServerUnavailable):
                acc.call("held")
            channel.close()


def _bind_one(accepted: Worker) -> tuple[Any, Session]:
    channel = accepted.result()
    definition = Told._rpc_definition
    session = Session(Party.SERVER, {str(definition.uuid): definition}, Limits())
    session.receive(channel.receive())
    for frame in session.take_output():
        channel.send(frame)
    return channel, session


def _wait_until_it_waits(acc: BothClients, number: int) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        call = acc.client._caller.link.session.calls.get(number)
        owner = None if call is None else call.owner
        if getattr(owner, "waiters", None) or getattr(owner, "_tasks", None):
            return
        time.sleep(0.001)
    raise AssertionError("the call does not wait")
