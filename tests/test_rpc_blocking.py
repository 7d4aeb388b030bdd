"""Calls without an event loop: arguments, pipes, what fills them and what they are emptied into."""

from __future__ import annotations

import array
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ipcpipes import blocking as streams, rpc
from ipcpipes.rpc import blocking
from ipcpipes.testing import unique_endpoint

from .rpc_blocking_pairs import Calls, Gate, Manager, Sample, everything, fails, push_all, served
from .threads import Worker, channel_pair, framings, stream_pair

# Arguments and results


def test_values_go_there_and_come_back() -> None:
    with served() as client:
        for value in (None, 7, "text", b"bytes", [1, {"a": 2.5}], "x" * 300_000):
            assert client.plain(value) == value
        assert client.limited() == 7
        assert client.limited(value=3) == 3
        assert "plain" in dir(client)
        with pytest.raises(AttributeError, match="has no operation 'other'"):
            client.other  # noqa: B018  # asking for it is the test


def test_arguments_are_checked_before_anything_is_sent() -> None:
    with served() as client:
        with pytest.raises(TypeError, match="takes 1 arguments"):
            client.plain(1, 2)
        with pytest.raises(TypeError, match="is missing the argument 'value'"):
            client.plain()
        with pytest.raises(TypeError, match="the argument value cannot be sent"):
            client.plain(object())
        with pytest.raises(TypeError, match="missing the required pipe argument 'numbers'"):
            client.into()
        with pytest.raises(TypeError, match="is filled from"):
            client.into(7)
        with pytest.raises(TypeError, match="asynchronous"):
            client.into(_asynchronous())
        assert client.plain(1) == 1


async def _asynchronous() -> Any:
    yield 1


def test_what_nobody_waits_for_arrives() -> None:
    came: list[Any] = []
    with served(came.append) as client:
        assert client.tell("first") is None
        client.plain("second")
        with pytest.raises(TypeError, match="nobody waits"):
            client.tell.begin(1)
    assert sorted(came) == ["first", "second"]


def test_an_argument_of_another_type_is_the_clients_fault() -> None:
    with served() as client, fails(rpc.BadStubData, 1783):
        client.limited("text")


def test_a_result_that_is_too_large_fails_the_call_and_no_other() -> None:
    with served(lambda size: b"x" * size, max_frame=2**16) as client:
        with fails(rpc.BadStubData, 1783):
            client.plain(2**17)
        with pytest.raises(ValueError, match="send large values through a pipe"):
            client.plain(b"x" * 2**17)
        assert len(client.plain(10)) == 10


# Pipes


@pytest.mark.parametrize(
    "source",
    [
        [5, 4, 3, 2, 1],
        (chunk for chunk in [[5, 4], [3], array.array("i", [2, 1])]),
        array.array("i", [5, 4, 3, 2, 1]),
        bytes(array.array("i", [5, 4, 3, 2, 1])),
        io.BytesIO(bytes(array.array("i", [5, 4, 3, 2, 1]))),
    ],
    ids=["elements", "chunks", "array", "bytes", "file"],
)
def test_30_sources_fill_a_pipe(source: Any) -> None:
    with served(everything) as client:
        assert client.into(source) == [5, 4, 3, 2, 1]


def test_a_pull_function_and_a_push_function(tmp_path: Path) -> None:
    def mirror(source: Any, sink: Any) -> int:
        elements = everything(source)
        push_all(sink, elements)
        return len(elements)

    rest = list(range(1000))

    def pull(most: int) -> list[int]:
        taken, rest[:] = rest[: min(most, 300)], rest[300:]
        return taken

    pushed: list[list[int]] = []
    with served(mirror) as client:
        assert client.into_out(pull, lambda chunk: pushed.append(list(chunk))) == 1000
        # Behaviours 28 and 29: once nothing, and nothing after it.
        assert [len(chunk) for chunk in pushed].count(0) == 1
        assert not pushed[-1]
        assert [one for chunk in pushed for one in chunk] == list(range(1000))
        memory = bytearray()
        client.into_out([1, 2, 3], memory)
        assert memory == bytes(array.array("i", [1, 2, 3]))
        with open(tmp_path / "sink", "wb") as file:
            client.into_out([1, 2, 3], file)
        assert (tmp_path / "sink").read_bytes() == bytes(array.array("i", [1, 2, 3]))


def test_33_a_control_gives_half_of_the_memory_and_is_called_twice() -> None:
    pushed: list[list[int]] = []
    control = blocking.PipeControl(
        push=lambda chunk: pushed.append(list(chunk)), alloc=lambda size: bytearray(size // 2)
    )
    with served(lambda pipe: push_all(pipe, range(8))) as client:
        client.out(control)
    assert pushed == [[0, 1, 2, 3], [4, 5, 6, 7], []]


def test_35_memory_for_less_than_an_element_is_a_failure() -> None:
    control = blocking.PipeControl(push=lambda chunk: None, alloc=lambda size: bytearray(3))
    with served(lambda pipe: push_all(pipe, range(8))) as client, fails(rpc.PipeAppMemory, 14):
        client.out(control)


def test_19_a_pipe_in_both_directions_is_read_and_then_written() -> None:
    def manager(pipe: Any) -> str:
        push_all(pipe, [2 * element for element in everything(pipe)])
        return "done"

    with served(manager) as client:
        sink: list[int] = []
        assert client.both(([1, 2, 3], sink)) == "done"
        assert sink == [2, 4, 6]


def test_structures_go_through_a_pipe() -> None:
    def mirror(source: Any, sink: Any) -> None:
        push_all(sink, everything(source))

    samples = [Sample(time=2**40, level=-1), Sample(time=0, level=7)]
    with served(mirror) as client:
        sink: list[Sample] = []
        client.samples(samples, sink)
        assert sink == samples


def test_36_39_a_pipe_that_is_larger_than_every_limit() -> None:
    numbers = array.array("i", range(1_000_000))
    total = sum(numbers)
    with served(lambda pipe: sum(sum(chunk) for chunk in pipe), credit=2**17) as client:
        assert client.into(numbers) == total
    with served(lambda pipe: push_all(pipe, numbers), credit=2**17) as client:
        sink = array.array("i")
        client.out(_Extending(sink))
        assert sink == numbers


class _Extending:
    """A sink with the memory of an array, which has no extend for memory."""

    def __init__(self, numbers: array.array[int]) -> None:
        self._numbers = numbers

    def extend(self, chunk: Any) -> None:
        self._numbers.frombytes(chunk.cast("B"))


def test_38_a_chunk_out_of_its_range_is_refused() -> None:
    with served(lambda pipe, value: everything(pipe)) as client:
        assert client.ranged(range(8), "x") == list(range(8))
        with fails(rpc.InvalidBound, 1734):
            client.ranged([[1]], "x")


# Order and ends


def test_16_in_pipes_come_from_left_to_right() -> None:
    with served(lambda first, second: second.pull()) as client:
        with fails(rpc.WrongPipeOrder, 1831):
            client.into_into([1], [2])


def test_18_out_pipes_come_from_left_to_right() -> None:
    with served(lambda first, second: second.push([1])) as client:
        with fails(rpc.WrongPipeOrder, 1831):
            client.out_out([], [])


def test_23_the_end_is_pulled_once() -> None:
    def manager(pipe: Any) -> Any:
        assert len(pipe.pull()) == 1
        assert len(pipe.pull()) == 0
        pipe.pull()

    with served(manager) as client, fails(rpc.PipeEmpty, 1918):
        client.into([1])


def test_24_41_nothing_is_pushed_after_the_end() -> None:
    def manager(pipe: Any) -> None:
        pipe.close()
        with pytest.raises(rpc.PipeClosed):
            pipe.push([1])

    with served(manager) as client, fails(rpc.PipeClosed, 1916):
        client.out([])


@pytest.mark.parametrize("name", ["into", "out"])
def test_25_26_a_manager_is_done_with_its_pipes(name: str) -> None:
    with served(lambda pipe: "unset") as client, fails(rpc.PipeDisciplineError, 1917):
        getattr(client, name)([])


def test_27_an_empty_pipe() -> None:
    with served(lambda pipe: [len(pipe.pull())]) as client:
        assert client.into([]) == [0]


def test_31_32_a_pull_of_so_many() -> None:
    def manager(pipe: Any) -> Any:
        pulled = [list(pipe.pull(2))]
        with pytest.raises(rpc.PipeAppMemory):
            pipe.pull(0)
        return pulled

    with served(manager) as client, fails(rpc.PipeAppMemory, 14):
        client.into([1, 2, 3])


def test_46_values_are_there_before_the_first_pull() -> None:
    with served(lambda pipe, value: [value, everything(pipe)]) as client:
        assert client.ranged([1, 2], "after the pipe") == ["after the pipe", [1, 2]]


# What goes wrong


def test_42_a_manager_chooses_what_the_client_gets(caplog: pytest.LogCaptureFixture) -> None:
    def manager(value: Any) -> None:
        if value:
            raise rpc.Fault("no such log", code=2)
        raise LookupError("not what it looked for")

    with caplog.at_level(logging.CRITICAL, "ipcpipes.rpc"), served(manager) as client:
        with pytest.raises(rpc.Fault, match="no such log") as found:
            client.plain(True)
        assert found.value.code == 2
        with pytest.raises(rpc.Fault) as found:
            client.plain(False)
        assert (found.value.type, found.value.traceback) == ("LookupError", None)


def test_tracebacks_are_sent_where_that_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL, "ipcpipes.rpc"):
        with served(lambda value: 1 // value, tracebacks=True) as client:
            with pytest.raises(rpc.Fault) as found:
                client.plain(0)
    assert "ZeroDivisionError" in (found.value.traceback or "")


def test_43_a_client_gets_what_came_before_the_failure(caplog: pytest.LogCaptureFixture) -> None:
    def manager(pipe: Any) -> None:
        pipe.push([1, 2])
        raise rpc.Fault("in the middle", code=5)

    sink: list[Any] = []
    with served(manager) as client, pytest.raises(rpc.Fault, match="in the middle"):
        client.out(lambda chunk: sink.append(list(chunk)))
    assert sink == [[1, 2]]


def test_44_a_source_that_fails_gives_the_call_up() -> None:
    told: list[Any] = []
    over = Gate()

    def manager(pipe: Any) -> None:
        try:
            everything(pipe)
        except rpc.CallCancelled as error:
            told.append((error.code, rpc.current_call().test_cancel()))
            raise
        finally:
            over.open()

    def source() -> Iterator[list[int]]:
        yield [1, 2]
        raise OSError("the disk is gone")

    with served(manager) as client:
        with pytest.raises(OSError, match="the disk is gone"):
            client.into(source())
        over.wait()  # a server that is closed looks at nothing that has come
    assert told == [(1818, True)]


def test_a_server_that_fails_at_once_is_heard_while_a_slow_source_goes_on() -> None:
    def manager(pipe: Any) -> None:
        raise rpc.Fault("not today", code=3)

    def endless() -> Iterator[int]:
        while True:
            yield 1

    with served(manager) as client, pytest.raises(rpc.Fault, match="not today"):
        client.into(endless())


# Doors


def test_a_manager_with_coroutines_needs_a_loop() -> None:
    class Asynchronous(Manager):
        async def plain(self, value: Any) -> Any: ...

    with pytest.raises(TypeError, match="plain is implemented by an async"):
        blocking.serve(Asynchronous(), unique_endpoint())
    with pytest.raises(TypeError, match="no manager"):
        blocking.serve([], unique_endpoint())
    with pytest.raises(TypeError, match="the same uuid"):
        blocking.serve([Manager(), Manager()], unique_endpoint())


def test_a_listener_has_its_options() -> None:
    with streams.listen(unique_endpoint()) as listener:
        with pytest.raises(TypeError, match="given its options"):
            blocking.serve(Manager(), listener, backlog=7)


def test_an_interface_that_is_not_served_is_said_so() -> None:
    class Other(rpc.Interface, uuid="0f5f6d2a-0d6c-6bd5-2d3c-4c4f9a5e6f5a", version=(1, 0)):
        @rpc.operation
        def go(self) -> None: ...

    with streams.listen(unique_endpoint()) as listener:
        server = Worker(blocking.serve, Manager(), listener)
        with pytest.raises(rpc.UnknownInterface, match="does not serve the interface Other"):
            with blocking.connect(Other, listener.endpoint):
                pass
        listener.close()
        server.result()


@pytest.mark.parametrize("framing", [None, *framings()], ids=str)
def test_a_connection_that_is_there(framing: Any) -> None:
    here, there = stream_pair() if framing is None else channel_pair(framing)
    server = Worker(blocking.serve_connection, Manager(everything), there)
    with blocking.bind(Calls, here) as client:
        numbers = array.array("i", range(100_000))
        assert client.into(numbers) == list(numbers)
    server.result()


class _Plain:
    """The least that a stream of somebody else's has."""

    def __init__(self, stream: Any) -> None:
        self.send_all = stream.send_all
        self.receive_some = stream.receive_some
        self.close = stream.close


def test_a_stream_of_somebody_elses() -> None:
    here, there = stream_pair()
    server = Worker(blocking.serve_connection, Manager(everything), _Plain(there))
    with blocking.bind(Calls, _Plain(here)) as client:
        assert client.into(range(100_000)) == list(range(100_000))
    server.result()


def test_what_is_no_connection_is_refused() -> None:
    with pytest.raises(TypeError, match="a blocking stream or a blocking message channel"):
        with blocking.bind(Calls, object()):  # type: ignore[arg-type]
            pass


def test_a_manager_that_ends_its_thread_ends_the_server() -> None:
    def manager(value: Any) -> None:
        raise SystemExit("enough")

    with pytest.raises(SystemExit, match="enough"):
        with served(manager) as client, pytest.raises(rpc.CommFailure):
            client.plain(1)
