"""Arguments and results (behaviour 48), and those that are refused."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc
from ipcpipes.rpc.core.call import Call

from .rpc_drivers import Driver
from .rpc_over_links import bad_stub_data, calling, no_calls_left, serving
from .rpc_over_managers import echoed, given_back, pushed
from .rpc_waiting import until


async def test_48_arguments_go_in_at_entry_and_results_out_at_return(driver: Driver) -> None:
    async def both_value(numbers: Any, value: int) -> int:
        entered = value
        return entered + await echoed(numbers)

    got: list[int] = []
    async with driver.calling(both_value=both_value) as acc:
        assert await acc.both_value(numbers=([1, 2], got), value=40) == 42
        assert got == [1, 2]
        assert await acc.both_value(([], []), 40) == 40


async def test_wrong_argument_types_never_reach_the_manager(driver: Driver) -> None:
    async with driver.calling() as acc:
        with bad_stub_data() as caught:
            await acc.both_value(numbers=([], []), value="no number")
        assert "`value`" in caught.value.message
        with bad_stub_data():
            await acc.into_value(numbers=[], value=5)


async def test_a_result_of_a_wrong_type_is_bad_stub_data() -> None:
    async def both_value(numbers: Any, value: int) -> Any:
        await echoed(numbers)
        return "no number"

    async with calling(both_value=both_value) as acc:
        with bad_stub_data() as caught:
            await acc.both_value(numbers=([], []), value=1)
        assert "result of Calls.both_value" in caught.value.message


class Undeclared(rpc.Interface, uuid="0c6ff8f5-0f3f-4b6a-9d37-4f1b9f9d5a31", version=(1, 0)):
    @rpc.operation
    def count(self): ...  # type: ignore[no-untyped-def]


class UndeclaredManager(Undeclared):
    def count(self) -> Any:
        return 5


async def test_a_result_that_was_not_declared_is_bad_stub_data(driver: Driver) -> None:
    async with driver.serving(UndeclaredManager()) as listener:
        async with driver.connect(Undeclared, listener.endpoint) as client:
            with bad_stub_data() as caught:
                await client.count()
    assert caught.value.message.endswith("; the operation declares no result: -> TYPE")


def _endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


CANNOT_BE_SENT = {
    "an object": object(),
    "a number of 65 bits": 2**64,
    "text that is not Unicode": "\udc80",
    "itself": _endless(),
}


@pytest.mark.parametrize("value", CANNOT_BE_SENT.values(), ids=CANNOT_BE_SENT)
async def test_a_result_that_cannot_be_sent_fails_its_call_alone(value: Any) -> None:
    async def plain(_: Any) -> Any:
        return value

    async with calling(plain=plain, inline=lambda given: value if given == 1 else given) as acc:
        with bad_stub_data():
            await acc.plain(1)
        with bad_stub_data():
            await acc.inline(1)
        assert await acc.inline(2) == 2


@pytest.mark.parametrize("value", CANNOT_BE_SENT.values(), ids=CANNOT_BE_SENT)
async def test_an_argument_that_cannot_be_sent_is_named(value: Any) -> None:
    async with calling(plain=given_back) as acc:
        with pytest.raises((TypeError, ValueError, OverflowError, RecursionError)) as caught:
            await acc.plain(value)
        if not isinstance(caught.value, RecursionError):
            assert "value" in str(caught.value)
        assert await acc.plain(1) == 1


class Odd(rpc.Structure):
    """A class with a check of its own, which raises an unusual error."""

    number: rpc.int32

    def __post_init__(self) -> None:
        if self.number == 13:
            raise LookupError("thirteen")


class Empty(rpc.Structure):
    """A class with a faulty check."""

    number: rpc.int32

    def __post_init__(self) -> None:
        next(iter(()))


class Odds(rpc.Interface, uuid="6bb0f4a7-6dd8-4b7f-9d4b-1c9e2d8e3f02", version=(1, 0)):
    @rpc.operation
    async def take(self, odd: Odd) -> int:
        raise NotImplementedError

    @rpc.operation
    async def give(self) -> Empty:
        raise NotImplementedError


class OddsManager(Odds):
    async def take(self, odd: Odd) -> int:
        return odd.number

    async def give(self) -> Any:
        return {"number": 1}


async def test_a_result_whose_type_raises_stop_iteration_is_no_result() -> None:
    async with serving(OddsManager()) as listener:
        async with rpc.connect(Odds, listener.endpoint) as odds:
            with bad_stub_data():
                await odds.give()


async def test_an_error_of_a_type_fails_its_call_alone() -> None:
    async with serving(OddsManager()) as listener:
        async with rpc.connect(Odds, listener.endpoint) as odds:
            with bad_stub_data() as caught:
                await odds.take({"number": 13})  # type: ignore[arg-type]  # the server checks it
            assert "thirteen" in caught.value.message
            assert await odds.take({"number": 14}) == 14  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "named", "words"),
    [
        ((), {}, "is missing the argument 'value'"),
        ((1, 2), {}, "takes 1 arguments, and 2 were given"),
        ((), {"other": 1}, "no parameter 'other'"),
        ((1,), {"value": 1}, "got 'value' twice"),
    ],
)
async def test_a_call_with_wrong_arguments_is_refused(
    arguments: tuple[Any, ...], named: dict[str, Any], words: str
) -> None:
    async with calling() as acc:
        with pytest.raises(TypeError, match=words):
            await acc.plain(*arguments, **named)
        with pytest.raises(TypeError, match=words):
            acc.plain.begin(*arguments, **named)


async def test_a_missing_pipe_argument_is_named() -> None:
    async with calling() as acc:
        with pytest.raises(
            TypeError, match=r"missing the required pipe argument 'second'.*begin\(\)"
        ):
            await acc.into_into(first=[])


async def test_a_maybe_call_returns_at_once_and_reports_nothing(driver: Driver) -> None:
    told: list[Any] = []

    async def tell(value: Any) -> None:
        told.append(value)
        if value == "bad":
            raise LookupError("the client gets no error")

    values = [1, 2, "bad", "last"]
    async with driver.calling(tell=tell, plain=given_back) as acc:
        for value in values:
            assert await acc.tell(value) is None
        await until(lambda: len(told) == len(values))
        assert set(told) == set(values) if driver.serves_in_threads else told == values
        assert await acc.plain(1) == 1
        with pytest.raises(TypeError, match="call it instead of begin"):
            acc.tell.begin(1)


async def test_a_finished_call_frees_its_values() -> None:
    """Reference counting frees them. The garbage collector does not know how large they are."""

    async def out(numbers: Any) -> None:
        await pushed(numbers, [1, 2])

    def bodies() -> int:
        return sum(type(one) is Call and bool(one.body) for one in gc.get_objects())

    gc.collect()
    gc.disable()
    before = bodies()  # failures of other tests may keep some
    try:
        async with calling(plain=trio.sleep, inline=lambda value: value, out=out) as acc:
            assert await acc.inline(bytes(10**6)) == bytes(10**6)
            assert await acc.plain(0.01) is None
            numbers: list[int] = []
            await acc.out(numbers=numbers)
            assert numbers == [1, 2]
            async with acc.out.begin() as call:
                assert await call.pipes["numbers"].pull()
            await no_calls_left(acc)
            del call
            assert bodies() == before
    finally:
        gc.enable()
