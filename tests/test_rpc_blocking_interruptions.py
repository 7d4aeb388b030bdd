"""Blocking calls that time out, or that an exception of a signal handler interrupts at any step."""

from __future__ import annotations

import array
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .interruptions import Interruption, interrupted
from .rpc_blocking_pairs import Calls, Gate, Manager, everything, served
from .threads import Worker, at_most, channel_pair, stream_pair

BEGIN: str | None = "not begun"


class Alarm(Exception):
    """A signal handler's own."""


LARGE = array.array("i", range(100_000))
SMALL = array.array("i", range(100))
both_transports = pytest.mark.parametrize("pair", [stream_pair, channel_pair])
Client = Any


@contextmanager
def bound(manager: Manager, pair: Callable[[], tuple[Any, Any]]) -> Iterator[Client]:
    here, there = pair()
    server = Worker(blocking.serve_connection, manager, there)
    try:
        with blocking.bind(Calls, here) as client:
            yield client
    finally:
        server.result()


# Timeouts beside operations of other threads


@pytest.mark.parametrize(
    ("owner", "step", "timeout"),
    [
        pytest.param("duplex", "receive", None, id="plain"),  # ask() itself takes the answer
        pytest.param("transport", "_feed", 30, id="general"),
    ],
)
def test_a_timeout_does_not_disturb_a_receiving_thread(
    owner: str, step: str, timeout: float | None
) -> None:
    with served(_answer_all_but("late")) as client, at_most(20):
        transport = client._link.transport
        patched = transport if owner == "transport" else transport.duplex
        does = getattr(patched, step)
        inside, outside = Gate(), Gate()

        def do_slowly(*arguments: Any) -> Any:
            setattr(patched, step, does)
            done = does(*arguments)
            inside.open()
            outside.wait()
            return done

        setattr(patched, step, do_slowly)
        receiving = Worker(client.plain.with_options(timeout=timeout), "first")
        inside.wait()
        with pytest.raises(rpc.CallCancelled):
            client.plain.with_options(timeout=0.05)("late")
        outside.open()
        assert receiving.result() == "first"
        assert client.plain("second") == "second"


def test_a_timeout_does_not_disturb_a_sending_thread() -> None:
    with bound(Manager(_answer_all_but("late")), channel_pair) as client, at_most(20):
        channel = client._link.transport._channel
        send_many = channel.send_many
        inside, outside = Gate(), Gate()

        def send_slowly(frames: Any) -> None:
            channel.send_many = send_many
            inside.open()
            outside.wait()
            send_many(frames)

        channel.send_many = send_slowly
        sending = Worker(client.plain, "first")
        inside.wait()
        with pytest.raises(rpc.CallCancelled):
            client.plain.with_options(timeout=0.05)("late")
        outside.open()
        assert sending.result() == "first"
        assert client.plain("second") == "second"


def _answer_all_but(late: str) -> Callable[[Any], Any]:
    """A manager that answers at once, except ``late``: that call waits until it is given up."""

    def answer(value: Any) -> Any:
        while value == late and not rpc.current_call().test_cancel():
            threading.Event().wait(0.001)
        return value

    return answer


# Interruptions


def _push_by_hand(client: Client) -> None:
    with client.into.begin() as call:
        for _ in range(3):
            call.pipes["numbers"].push(SMALL)
        call.pipes["numbers"].close()
        call.complete()


def _pull_by_hand(client: Client) -> None:
    with client.out.begin() as call:
        everything(call.pipes["numbers"])
        call.complete()


def _notified(client: Client) -> None:
    with client.into.with_options(notify=lambda event: None).begin(SMALL) as call:
        call.complete()


OPERATIONS: dict[str, Callable[[Client], object]] = {
    "plain": lambda client: client.plain("given"),
    "limited": lambda client: client.limited(),
    "small": lambda client: client.into(SMALL),
    "large": lambda client: client.into(LARGE),
    "generated": lambda client: client.into(SMALL[i : i + 7] for i in range(0, 100, 7)),
    "out": lambda client: client.out([]),
    "push": _push_by_hand,
    "pull": _pull_by_hand,
    "notified": _notified,
}


class Recorder(Manager):
    """Records the elements that it receives, also of calls that are given up."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[list[int]] = []
        self.gate = threading.Event()

    def plain(self, value: Any) -> Any:
        if value == "later":
            assert self.gate.wait(30)
        return value

    def into(self, numbers: Any) -> Any:
        received: list[int] = []
        self.received.append(received)
        for chunk in numbers:
            received += chunk
        return len(received)

    def out(self, numbers: Any) -> None:
        for first in range(0, 3000, 1000):
            numbers.push(array.array("i", range(first, first + 1000)))
        numbers.close()

    def check(self) -> None:
        """Checks that each element came once, up to the point where the call was given up."""
        for received in self.received:
            assert received in (
                list(LARGE[: len(received)]),
                [*SMALL, *SMALL, *SMALL][: len(received)],
            )


@pytest.mark.parametrize(
    ("name", "pair", "error"),
    [
        *((name, stream_pair, Interruption) for name in OPERATIONS),
        *((name, channel_pair, Interruption) for name in ("plain", "large", "pull")),
        # The library uses TimeoutError and ValueError itself.
        *((name, stream_pair, TimeoutError) for name in ("limited", "small", "pull")),
        *((name, stream_pair, ValueError) for name in ("plain", "generated", "push", "pull")),
        *((name, stream_pair, Alarm) for name in ("plain", "small", "out", "pull", "notified")),
    ],
)
def test_an_interrupted_call_sends_nothing_twice(
    name: str, pair: Any, error: type[BaseException]
) -> None:
    """The exception is raised unchanged. The connection works afterwards, or its failure says that
    it was interrupted; the same holds for calls of other threads.
    """
    manager = Recorder()
    step, where = 0, BEGIN
    connections = went_on = 0
    while where is not None:
        connections += 1
        manager.gate.clear()
        with bound(manager, pair) as client, at_most(60):
            assert client.into(SMALL) == len(SMALL)  # imports and caches are warm
            other = Worker(client.plain, "later")
            try:
                while where is not None:
                    step += 1
                    where = interrupted(step, partial(OPERATIONS[name], client), error)
                    assert client.plain(step) == step
                    assert client.into(SMALL) == len(SMALL)
                    went_on += 1
                manager.gate.set()
                assert other.result() == "later"
                while client._link.session.calls:  # calls that were given up end, too
                    client.plain("again")
            except rpc.RpcError as failure:
                assert "interrupted" in str(failure), where
                manager.gate.set()
                with pytest.raises(rpc.RpcError, match="interrupted"):
                    other.result()
            finally:
                manager.gate.set()
        manager.check()
    # Most connections of streams go on. Over a channel, a pull breaks up to half of them.
    assert 2 * went_on > connections


@pytest.mark.parametrize("error", [Alarm, ValueError, TimeoutError])
@pytest.mark.parametrize("name", ["plain", "limited", "small", "push", "notified"])
def test_exception_of_a_handler_is_not_an_error_of_the_call(
    name: str, error: type[Exception]
) -> None:
    """No thread but this one receives, so that the steps are the same each time."""
    step, where = 0, BEGIN
    while where is not None:
        with bound(Recorder(), stream_pair) as client, at_most(60):
            OPERATIONS[name](client)  # all that is lazy has been done
            client.tell(0)
            went_on = True
            while where is not None and went_on:
                step += 1
                where = interrupted(step, partial(OPERATIONS[name], client), error)
                try:
                    client.plain(step)
                except rpc.RpcError as failure:
                    assert "interrupted" in str(failure), where
                    went_on = False


@pytest.mark.parametrize("error", [Interruption, ValueError])
@pytest.mark.parametrize("operation", ["tell", "begin"])
def test_call_interrupted_at_its_beginning_breaks_no_connection(
    operation: str, error: type[BaseException]
) -> None:
    def begin() -> None:
        if operation == "tell":
            client.tell("given")
        else:
            client.plain.begin("given").__enter__()  # and left to itself

    with bound(Recorder(), stream_pair) as client, at_most(60):
        begin()  # all that is lazy has been done
        step, where = 0, BEGIN
        while where is not None:
            step += 1
            where = interrupted(step, begin, error)
            assert client.plain(step) == step, where


@both_transports
def test_an_interrupted_pull_loses_no_elements_silently(pair: Any) -> None:
    manager = Recorder()
    failed = 0
    step, where = 0, BEGIN

    def pull(pipe: Any, received: list[int]) -> None:
        received.extend(pipe.pull(10))

    while where is not None:
        step += 1
        received: list[int] = []
        try:
            with bound(manager, pair) as client, at_most(60):
                with client.out.begin() as call:
                    pipe = call.pipes["numbers"]
                    pull(pipe, received)
                    where = interrupted(step, partial(pull, pipe, received))
                    received += everything(pipe)
                    call.complete()
        except rpc.RpcError as error:
            assert "interrupted" in str(error), where
            failed += isinstance(error, rpc.BadStubData)
        else:
            assert received == list(range(3000)), where
    assert failed


@pytest.mark.parametrize("direction", ["filled", "emptied"])
def test_an_interrupted_completion_can_be_repeated_or_fails(direction: str) -> None:
    """The call has a source or a sink."""
    manager = Recorder()
    outcomes: set[type[Exception] | None] = set()
    step, where = 0, BEGIN
    while where is not None:
        step += 1
        found: list[int] = []
        try:
            with bound(manager, stream_pair) as client, at_most(60):
                if direction == "filled":
                    call = client.into.begin(SMALL[i : i + 7] for i in range(0, 100, 7))
                else:
                    call = client.out.begin(found)
                with call:
                    where = interrupted(step, call.complete)
                    if where is not None:
                        call.complete()
        except rpc.InvalidAsyncHandle as error:  # the call was over already
            outcomes.add(type(error))
        except rpc.RpcError as error:
            assert "interrupted" in str(error), where
            outcomes.add(type(error))
        else:
            assert direction == "filled" or found == list(range(3000)), where
            outcomes.add(None)
        manager.check()
    assert {None, rpc.BadStubData} <= outcomes


@pytest.mark.parametrize("begins", [False, True], ids=["before", "after"])
def test_an_interruption_while_accepting_ends_the_server(
    begins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interruption comes before or after the thread of the client has begun."""
    start = threading.Thread.start

    def start_and_raise(thread: threading.Thread) -> None:
        if begins or thread.name != "ipcpipes rpc":
            start(thread)
        if thread.name == "ipcpipes rpc":
            raise Interruption

    with streams.listen(unique_endpoint()) as listener:
        with streams.connect(listener.endpoint) as client, at_most(20):
            monkeypatch.setattr(threading.Thread, "start", start_and_raise)
            with pytest.raises(Interruption):
                blocking.serve(Manager(), listener)
            assert client.receive_some() == b""
