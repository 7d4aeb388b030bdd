"""Streams of values, in both directions and in both drivers."""

from __future__ import annotations

from contextlib import aclosing, suppress
from typing import Any

import pytest
import trio

from ipcpipes import rpc

from .rpc_drivers import Driver
from .rpc_streaming import Note, streaming
from .rpc_waiting import Event, until_cancelled

MIB = 2**20


async def listed(stream: Any) -> list[Any]:
    return [value async for value in stream]


async def summed(numbers: Any) -> int:
    return sum(await listed(numbers))


async def sent(stream: Any, values: Any) -> None:
    for value in values:
        await stream.send(value)


# To the server


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 1000, 70_000])
async def test_values_reach_the_manager_in_their_order(driver: Driver, count: int) -> None:
    async def into(numbers: Any) -> bool:
        return await listed(numbers) == [*range(count)]

    async with streaming(driver, into=into) as acc:
        assert await acc.into(range(count))
        assert await acc.into(numbers=iter(range(count)))


async def test_values_are_records(driver: Driver) -> None:
    async def notes_into(notes: Any) -> list[str]:
        return [f"{note.number}{note.text}" async for note in notes]

    async with streaming(driver, notes_into=notes_into) as acc:
        assert await acc.notes_into([Note(1, "a"), {"number": 2}, Note(3)]) == ["1a", "2", "3"]


async def test_a_manager_need_not_receive_everything(driver: Driver) -> None:
    closed = []

    def endless() -> Any:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    async def into(numbers: Any) -> int:
        found: list[int] = [await numbers.receive(), await numbers.receive()]
        return sum(found)

    async with streaming(driver, into=into) as acc:
        assert await acc.into(endless()) == 2
        assert closed == [True]


async def test_a_manager_leaves_a_stream_and_goes_on(driver: Driver) -> None:
    async def two(first: Any, second: Any) -> list[Any]:
        value = await first.receive()
        await first.aclose()
        await first.aclose()
        with pytest.raises(trio.ClosedResourceError, match="the stream first was closed here"):
            await first.receive()
        return [value, *await listed(second)]

    async with streaming(driver, two=two) as acc:
        assert await acc.two(iter([1] * 100_000), ["a", "b"]) == [1, "a", "b"]
        async with acc.two.begin() as call:
            await call.streams["first"].send(5)
            with pytest.raises(rpc.StreamStopped, match="the server needs no more values of the"):
                while True:
                    await call.streams["first"].send(6)
            await call.streams["second"].send("c")
            await call.streams["second"].aclose()
            assert await call.complete() == [5, "c"]


async def test_streams_of_a_call_have_no_turns(driver: Driver) -> None:
    async def two(first: Any, second: Any) -> list[Any]:
        found = [await second.receive(), await first.receive(), await second.receive()]
        return [*found, *await listed(first), *await listed(second)]

    async with streaming(driver, two=two) as acc:
        assert await acc.two([1, 2], ["a", "b", "c"]) == ["a", 1, "b", 2, "c"]
        async with acc.two.begin() as call:
            first, second = call.streams["first"], call.streams["second"]
            await second.send_many(["a", "b"])
            await first.send(1)
            await first.aclose()
            await second.aclose()
            assert await call.complete() == ["a", 1, "b"]


async def test_a_client_waits_for_a_slow_manager(driver: Driver) -> None:
    may_receive = Event()
    many = 20

    async def octets(into: Any, out: Any) -> int:
        await may_receive.wait()
        return len(await listed(into))

    async with streaming(driver, octets=octets) as acc:
        async with acc.octets.begin() as call:
            count = 0
            with suppress(trio.WouldBlock):
                while count < many:
                    call.streams["into"].send_nowait(bytes(MIB))
                    count += 1
            # The first window, what is sent, and one value more.
            assert 1 <= count <= 4
            may_receive.set()
            await call.streams["into"].send_many([bytes(MIB)] * many)
            await call.streams["into"].aclose()
            assert await call.complete() == count + many


async def test_a_value_may_be_larger_than_the_credit(driver: Driver) -> None:
    async def octets(into: Any, out: Any) -> None:
        async for value in into:
            await out.send(value)

    limits = {"credit": 131_072}
    async with streaming(driver, client=limits, server=limits, octets=octets) as acc:
        values = [bytes([each]) * 4 * MIB for each in range(5)]
        found: list[bytes] = []
        await acc.octets([b"", *values, b"small"], found)
        assert found == [b"", *values, b"small"]


async def test_a_value_that_is_too_large_is_refused(driver: Driver) -> None:
    async def octets(into: Any, out: Any) -> list[Any]:
        with pytest.raises(ValueError, match=r"a value of the stream out has 65,5\d\d bytes, and"):
            await out.send(bytes(65_536 - 16))
        await out.send(bytes(65_536 - 16 - 5 - 5))
        return [len(value) async for value in into]

    limits = {"max_frame": 65_536}
    async with streaming(driver, client=limits, server=limits, octets=octets) as acc:
        async with acc.octets.begin() as call:
            into, out = call.streams["into"], call.streams["out"]
            assert len(await out.receive()) == 65_510
            with pytest.raises(ValueError, match="the server takes frames of at most 65,536"):
                await into.send(bytes(65_536))
            await into.send(b"abc")
            await into.aclose()
            assert await call.complete() == [3]


async def test_a_value_that_cannot_be_sent_is_refused_alone(driver: Driver) -> None:
    async with streaming(driver, into=summed) as acc:
        async with acc.into.begin() as call:
            numbers = call.streams["numbers"]
            for wrong, text in ((object(), "object is not a type"), (2**64, "an integer must be")):
                with pytest.raises((TypeError, OverflowError), match=text):
                    await numbers.send(wrong)
                with pytest.raises((TypeError, OverflowError), match=text):
                    numbers.send_nowait(wrong)
            await numbers.send(7)
            await numbers.aclose()
            assert await call.complete() == 7
        with pytest.raises(TypeError, match="object is not a type that can be sent"):
            await acc.into([1, object()])


async def test_an_exception_of_a_source_ends_the_call(driver: Driver) -> None:
    def broken() -> Any:
        yield 1
        raise LookupError("the source is broken")

    async with streaming(driver, into=summed) as acc:
        with pytest.raises(LookupError, match="the source is broken"):
            await acc.into(broken())


async def test_values_of_a_wrong_type_fail_the_call(driver: Driver) -> None:
    found: list[Any] = []

    async def into(numbers: Any) -> None:
        found.clear()
        async for number in numbers:
            found.append(number)

    async with streaming(driver, into=into) as acc:
        text = "a value of the stream numbers is not of its type: Expected `int`, got `str`"
        with pytest.raises(rpc.BadStubData, match=text):
            await acc.into([1, 2, "three", 4])
        assert found == [1, 2]


async def test_a_wrong_value_fails_the_call_even_if_the_manager_goes_on(driver: Driver) -> None:
    async def into(numbers: Any) -> str:
        for _ in range(3):
            with pytest.raises(rpc.BadStubData):
                await numbers.receive()
        return "fine"

    async with streaming(driver, into=into) as acc:
        with pytest.raises(rpc.BadStubData, match="numbers is not of its type"):
            await acc.into(["one"])


# To the client


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 1000, 70_000])
async def test_values_reach_the_client_in_their_order(driver: Driver, count: int) -> None:
    async def out(numbers: Any) -> int:
        await numbers.send_many(range(count))
        return count

    async with streaming(driver, out=out) as acc:
        found: list[int] = []
        assert await acc.out(found) == count
        assert found == [*range(count)]
        found = []
        assert await acc.out(numbers=found.append) == count
        assert found == [*range(count)]


async def test_the_end_of_a_stream_may_come_before_the_end_of_the_call(driver: Driver) -> None:
    may_return = Event()

    async def out(numbers: Any) -> str:
        await numbers.send(1)
        await numbers.aclose()
        await numbers.aclose()
        with pytest.raises(trio.ClosedResourceError, match="the stream numbers was closed here"):
            await numbers.send(2)
        with pytest.raises(trio.ClosedResourceError, match="the stream numbers was closed here"):
            numbers.send_nowait(2)
        await may_return.wait()
        return "done"

    async with streaming(driver, out=out) as acc:
        async with acc.out.begin() as call:
            assert await listed(call.streams["numbers"]) == [1]
            with pytest.raises(trio.EndOfChannel, match="the stream numbers has ended"):
                await call.streams["numbers"].receive()
            may_return.set()
            assert await call.complete() == "done"


async def test_a_client_leaves_a_stream_and_gets_the_result(driver: Driver) -> None:
    async def out(numbers: Any) -> str:
        with pytest.raises(
            rpc.StreamStopped, match="the client needs no more values of the stream"
        ):
            while True:
                await numbers.send(1)
        with pytest.raises(BrokenPipeError):
            numbers.send_nowait(1)
        return "left"

    async with streaming(driver, out=out) as acc:
        async with acc.out.begin() as call:
            numbers = call.streams["numbers"]
            assert await numbers.receive() == 1
            await numbers.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await numbers.receive()
            assert await call.complete() == "left"


async def test_a_manager_that_is_stopped_has_returned_or_failed(driver: Driver) -> None:
    async def endless(numbers: Any) -> None:
        while True:
            await numbers.send(1)

    async with streaming(driver, out=endless, out_only=endless) as acc:
        async with acc.out_only.begin() as call:
            await call.streams["numbers"].aclose()
            assert await call.complete() is None
        async with acc.out.begin() as call:  # a result cannot be invented
            await call.streams["numbers"].aclose()
            with pytest.raises(rpc.StreamStopped, match="the other end needs no more values"):
                await call.complete()


async def test_a_manager_waits_for_a_slow_client(driver: Driver) -> None:
    count = 0

    async def octets(into: Any, out: Any) -> None:
        nonlocal count
        for _ in range(20):
            await out.send(bytes(MIB))
            count += 1

    async with streaming(driver, octets=octets) as acc:
        async with acc.octets.begin() as call:
            await call.streams["into"].aclose()
            await driver.heard(acc, lambda: count)
            # The first window, what is sent, and one value more.
            assert await driver.stopped(lambda: count) <= 5
            assert len(await listed(call.streams["out"])) == 20
            await call.complete()


async def test_values_before_a_failure_arrive(driver: Driver) -> None:
    async def out(numbers: Any) -> None:
        await numbers.send_many([1, 2])
        raise rpc.Fault("no more", code=5)

    async with streaming(driver, out=out) as acc:
        found: list[int] = []
        with pytest.raises(rpc.Fault, match="no more"):
            await acc.out(found)
        assert found == [1, 2]
        async with acc.out.begin() as call:
            numbers = call.streams["numbers"]
            assert [await numbers.receive(), await numbers.receive()] == [1, 2]
            with pytest.raises(rpc.Fault, match="no more"):
                await numbers.receive()
            with pytest.raises(rpc.Fault, match="no more"):
                await call.complete()


async def test_a_manager_that_sends_a_wrong_type(driver: Driver) -> None:
    async def out(numbers: Any) -> None:
        await numbers.send_many([1, 2, "three", 4])

    async with streaming(driver, out=out) as acc:
        text = "a value of the stream numbers is not of its type: Expected `int`, got `str`"
        found: list[int] = []
        with pytest.raises(rpc.BadStubData, match=text):
            await acc.out(found)
        assert found == [1, 2]
        async with acc.out.begin() as call:
            numbers = call.streams["numbers"]
            assert [await numbers.receive(), await numbers.receive()] == [1, 2]
            with pytest.raises(rpc.BadStubData, match=text):
                await numbers.receive()
            with pytest.raises(rpc.BadStubData, match=text):
                await call.complete()


async def test_an_exception_of_a_sink_ends_the_call(driver: Driver) -> None:
    async def out(numbers: Any) -> None:
        while True:
            await numbers.send(1)

    def broken(value: int) -> None:
        raise LookupError(f"no place for {value}")

    async with streaming(driver, out=out) as acc:
        with pytest.raises(LookupError, match="no place for 1"):
            await acc.out(broken)


# Both directions


async def answered(asked: Any, answers: Any) -> int:
    count = 0
    async for one in asked:
        await answers.send(one.upper())
        count += 1
    return count


async def test_both_directions_go_on_at_the_same_time(driver: Driver) -> None:
    async with streaming(driver, chat=answered) as acc:
        async with acc.chat.begin() as call:
            for word in ("how", "are", "you"):
                await call.streams["asked"].send(word)
                assert await call.streams["answers"].receive() == word.upper()
            await call.streams["asked"].aclose()
            assert await listed(call.streams["answers"]) == []
            assert await call.complete() == 3


async def test_sources_and_sinks_move_at_the_same_time(driver: Driver) -> None:
    # More than all windows: each direction waits for the other one many times.
    async with streaming(
        driver, client={"credit": 131_072}, server={"credit": 131_072}, chat=answered
    ) as acc:
        words = ("x" * 10_000 for _ in range(400))
        found: list[str] = []
        assert await acc.chat(words, found) == 400
        assert found == ["X" * 10_000] * 400


async def test_what_has_an_argument_moves_while_the_rest_is_driven_by_hand(driver: Driver) -> None:
    async with streaming(driver, chat=answered) as acc:
        async with acc.chat.begin(["a", "b", "c"]) as call:
            assert await listed(call.streams["answers"]) == ["A", "B", "C"]
            assert await call.complete() == 3


# Operations that yield


async def counted(count: int) -> Any:
    for number in range(count):
        yield number


@pytest.mark.parametrize("count", [0, 1, 20_000])
async def test_an_operation_yields(driver: Driver, count: int) -> None:
    async with streaming(driver, numbers=counted) as acc:
        assert await listed(acc.numbers(count)) == [*range(count)]
        assert await listed(acc.numbers(count=count)) == [*range(count)]


async def test_leaving_the_loop_ends_the_call(driver: Driver) -> None:
    ended = Event()

    async def numbers(count: int) -> Any:
        try:
            while True:
                yield count
        finally:
            ended.set()

    async with streaming(driver, numbers=numbers) as acc:
        async for number in acc.numbers(3):
            assert number == 3
            break
        await ended.wait()


async def test_closing_the_iterator_ends_the_call(driver: Driver) -> None:
    ended = Event()

    async def numbers(count: int) -> Any:
        try:
            while True:
                yield count
        finally:
            ended.set()

    async with streaming(driver, numbers=numbers) as acc:
        async with aclosing(acc.numbers(3)) as found:
            assert await found.__anext__() == 3
        await ended.wait()
        with pytest.raises(StopAsyncIteration):
            await found.__anext__()
        await found.aclose()


async def test_an_iterator_that_was_not_begun_calls_nothing(driver: Driver) -> None:
    async with streaming(driver) as acc:
        found = acc.numbers(3)
        await found.aclose()
        with pytest.raises(StopAsyncIteration):
            await found.__anext__()


async def test_a_manager_that_fails_while_it_yields(driver: Driver) -> None:
    async def numbers(count: int) -> Any:
        yield 1
        raise rpc.Fault("no more", code=5)

    async with streaming(driver, numbers=numbers) as acc:
        found = acc.numbers(3)
        assert await found.__anext__() == 1
        with pytest.raises(rpc.Fault, match="no more"):
            await found.__anext__()
        with pytest.raises(StopAsyncIteration):
            await found.__anext__()


async def test_an_operation_yields_while_it_receives(driver: Driver) -> None:
    async def upper(words: Any) -> Any:
        async for word in words:
            yield word.upper()

    async with streaming(driver, upper=upper) as acc:
        assert await listed(acc.upper(["a", "b"])) == ["A", "B"]
        assert await listed(acc.upper(word for word in ["a", "b"])) == ["A", "B"]
        async with acc.upper.begin() as call:
            for word in ("x", "y"):
                await call.streams["words"].send(word)
                assert await call.streams["return"].receive() == word.upper()
            await call.streams["words"].aclose()
            assert await listed(call.streams["return"]) == []
            assert await call.complete() is None


async def test_an_exception_of_a_source_ends_an_iteration(driver: Driver) -> None:
    def broken() -> Any:
        yield "a"
        raise LookupError("the source is broken")

    async def upper(words: Any) -> Any:
        async for word in words:
            yield word.upper()

    async with streaming(driver, upper=upper) as acc:
        with pytest.raises(LookupError, match="the source is broken"):
            await listed(acc.upper(broken()))


async def test_a_call_that_yields_has_a_timeout(driver: Driver) -> None:
    async def numbers(count: int) -> Any:
        yield 1
        await until_cancelled()

    async with streaming(driver, numbers=numbers) as acc:
        found = acc.numbers.with_options(timeout=0.1)(3)
        with pytest.raises(rpc.CallTimedOut, match=r"Streams\.numbers took longer than its 0\.1 s"):
            await listed(found)


async def test_arguments_are_checked_before_the_iteration(driver: Driver) -> None:
    async with streaming(driver, numbers=counted) as acc:
        with pytest.raises(TypeError, match="is missing the argument 'count'"):
            acc.numbers()
        with pytest.raises(TypeError, match="missing the required stream argument 'words'"):
            acc.upper()


# Ends


async def test_a_cancelled_call_ends_the_streams_of_its_manager(driver: Driver) -> None:
    found: list[type[BaseException]] = []
    ended = Event()

    async def chat(asked: Any, answers: Any) -> None:
        try:
            await listed(asked)
        except BaseException as error:
            found.append(type(error))
            raise
        finally:
            ended.set()

    async with streaming(driver, chat=chat) as acc:
        async with acc.chat.begin() as call:
            await call.streams["asked"].send("hello")
        await ended.wait()
        assert found == [rpc.CallCancelled]
        with pytest.raises(rpc.InvalidAsyncHandle):
            await call.streams["asked"].send("too late")
        with pytest.raises(rpc.InvalidAsyncHandle):
            await call.streams["answers"].receive()
