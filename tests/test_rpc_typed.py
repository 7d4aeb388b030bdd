"""What type checkers need and calls do not: the functions that return what they take, and the pipe
types of the blocking driver in an interface.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Annotated, Any

import pytest

from ipcpipes import rpc
from ipcpipes.rpc import blocking

from .rpc_both_drivers import DRIVERS, BothClients, connected, served
from .rpc_defining import GIVEN, UUID, refused, returning, taken
from .rpc_drivers import Client as TrioFace
from .rpc_pairs import definition

MODULES: dict[str, Any] = {"trio": rpc, "blocking": blocking}
PIPES = ["InPipe", "OutPipe", "InOutPipe"]
each_driver = pytest.mark.parametrize("driver", DRIVERS)
each_pipe = pytest.mark.parametrize("name", PIPES)


def other(driver: str) -> str:
    (found,) = set(DRIVERS) - {driver}
    return found


# Sources and sinks


@each_driver
@pytest.mark.parametrize(
    "source", [b"data", [1, 2], iter([1]), io.BytesIO(), len, rpc.PipeControl(pull=len), None]
)
def test_feed_returns_the_source(driver: str, source: Any) -> None:
    assert MODULES[driver].feed(source) is source


@each_driver
@pytest.mark.parametrize(
    "sink", [bytearray(), [], io.BytesIO(), len, rpc.PipeControl(push=print), None]
)
def test_drain_returns_the_sink(driver: str, sink: Any) -> None:
    assert MODULES[driver].drain(sink) is sink


@each_driver
def test_exchange_returns_the_source_and_the_sink(driver: str) -> None:
    source, sink = [1, 2], bytearray()
    given = MODULES[driver].exchange(source, sink)
    assert type(given) is tuple
    assert given[0] is source
    assert given[1] is sink
    assert len(given) == 2


# Clients


class Numbers(rpc.Interface, uuid=UUID, version=(1, 0)):
    """With the pipe types of trio."""

    @rpc.operation
    def total(self, numbers: rpc.InPipe[rpc.int32]) -> int:
        raise NotImplementedError

    @rpc.operation
    def count(self, most: int, numbers: rpc.OutPipe[rpc.int32]) -> None: ...
    @rpc.operation
    def negate(self, numbers: Annotated[rpc.InOutPipe[rpc.int32], rpc.Range(1, 9)]) -> None: ...


class NumbersInThreads(rpc.Interface, uuid=UUID, version=(1, 0)):
    """The same with the pipe types of the blocking driver."""

    @rpc.operation
    def total(self, numbers: blocking.InPipe[rpc.int32]) -> int:
        raise NotImplementedError

    @rpc.operation
    def count(self, most: int, numbers: blocking.OutPipe[rpc.int32]) -> None: ...
    @rpc.operation
    def negate(
        self, numbers: Annotated[blocking.InOutPipe[rpc.int32], rpc.Range(1, 9)]
    ) -> None: ...


def total_in_threads(self: Any, numbers: Any) -> int:
    return sum(sum(chunk) for chunk in numbers)


def count_in_threads(self: Any, most: int, numbers: Any) -> None:
    numbers.push(range(most))
    numbers.close()


def negate_in_threads(self: Any, numbers: Any) -> None:
    received = [number for chunk in numbers for number in chunk]
    numbers.push([-number for number in received])
    numbers.close()


async def total_in_tasks(self: Any, numbers: Any) -> int:
    return sum([sum(chunk) async for chunk in numbers])


async def count_in_tasks(self: Any, most: int, numbers: Any) -> None:
    await numbers.push(range(most))
    await numbers.close()


async def negate_in_tasks(self: Any, numbers: Any) -> None:
    received = [number async for chunk in numbers for number in chunk]
    await numbers.push([-number for number in received])
    await numbers.close()


METHODS: dict[str, dict[str, Any]] = {
    "trio": {"total": total_in_tasks, "count": count_in_tasks, "negate": negate_in_tasks},
    "blocking": {"total": total_in_threads, "count": count_in_threads, "negate": negate_in_threads},
}


def manager_of(interface: Any, driver: str) -> Any:
    return type("Manager", (interface,), METHODS[driver])()


def bare(acc: BothClients) -> Any:
    """The client, without what gives it the face of a trio client."""
    return acc.client.blocking if isinstance(acc.client, TrioFace) else acc.client


@each_driver
def test_a_client_and_its_operations_are_returned(driver: str) -> None:
    module = MODULES[driver]
    with (
        served(driver, manager_of(Numbers, driver)) as endpoint,
        connected(driver, Numbers, endpoint) as acc,
    ):
        client = bare(acc)
        assert type(client) is module.Client
        assert module.client_of(client) is client
        operation = client.total
        assert module.operation_of(operation) is operation
        chosen = operation.with_options(timeout=5)
        assert module.operation_of(chosen) is chosen


@each_driver
def test_anything_else_is_not_a_client_or_an_operation(driver: str) -> None:
    with (
        served(driver, manager_of(Numbers, driver)) as endpoint,
        connected(driver, Numbers, endpoint) as acc,
        connected(other(driver), Numbers, endpoint) as others,
    ):
        mine, theirs = bare(acc), bare(others)
        for wrong in (theirs, mine.total, manager_of(Numbers, driver), Numbers, None, 5):
            no_client(driver, wrong)
        text = f"{theirs.total!r} is of the other driver; use operation_of() of that driver"
        said(text, MODULES[driver].operation_of, theirs.total)
        for wrong in (
            mine,
            manager_of(Numbers, driver).total,
            Numbers.total,
            len,
            None,
        ):
            no_operation(driver, wrong)


def no_client(driver: str, wrong: object) -> None:
    expected = f"{wrong!r} is not a client; give what connect() or bind() returned"
    said(expected, MODULES[driver].client_of, wrong)


def no_operation(driver: str, wrong: object) -> None:
    expected = f"{wrong!r} is not an operation; give an attribute of a client"
    said(expected, MODULES[driver].operation_of, wrong)


def said(expected: str, function: Callable[[object], object], wrong: object) -> None:
    with pytest.raises(TypeError) as caught:
        function(wrong)
    assert str(caught.value) == expected


# The pipe types of the blocking driver


def test_the_pipe_types_of_both_drivers_are_the_same_on_the_wire() -> None:
    in_tasks, in_threads = (definition(one).operations for one in (Numbers, NumbersInThreads))
    assert [(one.name, one.signature_of_pipes) for one in in_threads.values()] == [
        (one.name, one.signature_of_pipes) for one in in_tasks.values()
    ]
    for name in in_tasks:
        assert in_threads[name].pipes == in_tasks[name].pipes


@pytest.mark.parametrize("client", DRIVERS)
@pytest.mark.parametrize("server", DRIVERS)
@pytest.mark.parametrize(
    ("theirs", "ours"), [(Numbers, NumbersInThreads), (NumbersInThreads, Numbers)]
)
def test_calls_between_interfaces_with_the_pipe_types_of_each_driver(
    theirs: Any, ours: Any, server: str, client: str
) -> None:
    manager = manager_of(theirs, server)
    with served(server, manager) as endpoint, connected(client, ours, endpoint) as acc:
        assert acc.call("total", [1, 2, 3]) == 6
        counted: list[int] = []
        acc.call("count", 4, counted)
        assert counted == [0, 1, 2, 3]
        negated: list[int] = []
        acc.call("negate", ([1, -2], negated))
        assert negated == [-1, 2]


@each_pipe
@pytest.mark.parametrize("subscripted", [False, True])
def test_a_pipe_type_of_the_blocking_driver_has_no_subclasses(name: str, subscripted: bool) -> None:
    base: Any = getattr(blocking, name)
    base = base[rpc.int32] if subscripted else base
    with pytest.raises(rpc.DefinitionError) as caught:

        class Mine(base):  # type: ignore[misc]
            pass

    assert str(caught.value) == (
        "class Mine: a pipe type has no subclasses; annotate the parameter with "
        "Annotated[rpc.InPipe[...], rpc.PipeName(...)] to name it (rule: only a parameter)"
    )


@each_pipe
def test_a_pipe_type_of_the_blocking_driver_is_a_parameter_by_itself(name: str) -> None:
    pipe: Any = getattr(blocking, name)
    refused(taken, pipe, "elements", f"write {name}[rpc.byte]")
    refused(taken, pipe[rpc.int32] | None, "never optional", "remove None")
    refused(taken, list[pipe[rpc.int32]], "only a parameter", "make it a parameter of its own")
    refused(taken, pipe[rpc.int32] | int, "only a parameter", "make it a parameter of its own")
    refused(taken, rpc.InPipe[pipe[rpc.int32]], "only a parameter", "cannot carry pipes")
    refused(taken, pipe[rpc.InPipe[rpc.int32]], "only a parameter", "cannot carry pipes")
    refused(returning, pipe[rpc.int32], "only a parameter", "use a parameter of rpc.OutPipe")
    refused(returning, pipe, "only a parameter", "use a parameter of rpc.OutPipe")


@each_pipe
def test_a_pipe_of_the_blocking_driver_is_no_annotation(name: str) -> None:
    async def work(self: object, given: object) -> None: ...

    work.__annotations__["given"] = getattr(blocking, name)(None, None)
    with pytest.raises(rpc.DefinitionError) as caught:

        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            work_ = rpc.operation(work)

    assert str(caught.value) == (
        f"{GIVEN.replace('work', 'work_')}: the annotation is an instance of a pipe; use its type "
        "(rule: by reference)"
    )
