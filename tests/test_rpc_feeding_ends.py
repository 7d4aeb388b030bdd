"""Sources while they wait, and after their call has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio
import trio.testing

from ipcpipes import rpc

from .rpc_drivers import Driver
from .rpc_over_links import (
    SECONDS,
    Witness,
    calling,
)
from .rpc_over_managers import drained


@pytest.mark.parametrize("end", ["manager", "cancelled", "own", "connection"])
async def test_an_async_generator_is_closed_however_the_call_ends(end: str) -> None:
    generator = Witness()
    number = 0

    async def numbers() -> AsyncIterator[int]:
        nonlocal number
        with generator.watching():
            while True:
                number += 1
                yield number
                await trio.lowlevel.checkpoint()
                if end == "own" and number > 10:
                    raise LookupError("own")

    async def into(pipe: Any) -> None:
        await pipe.pull()
        if end == "manager":
            raise rpc.Fault("enough")
        if end == "connection":
            owner: Any = rpc.current_call()._call.owner
            await owner.link.transport.aclose()
        await drained(pipe)

    async with calling(into=into) as acc:
        with trio.move_on_after(0.02 if end == "cancelled" else SECONDS):
            with pytest.raises((rpc.Fault, LookupError, rpc.CommFailure, trio.Cancelled)) as caught:
                await acc.into(numbers=numbers())
            if isinstance(caught.value, trio.Cancelled):
                raise caught.value
        assert generator.ended.is_set(), "the call closes it, not the garbage collector"
        if end == "own":
            assert isinstance(caught.value, LookupError)


async def test_a_generator_is_closed_when_the_call_ends(driver: Driver) -> None:
    generator = Witness()

    def numbers() -> Iterator[int]:
        with generator.watching():
            while True:
                yield 1

    async def into(pipe: Any) -> None:
        raise rpc.Fault("enough")

    async with driver.calling(into=into) as acc:
        with pytest.raises(rpc.Fault, match="enough"):
            await acc.into(numbers=numbers())
    assert isinstance(generator.error, GeneratorExit)


async def test_the_answer_ends_a_source_that_waits_forever() -> None:
    async def into(pipe: Any) -> None:
        await pipe.pull()
        raise rpc.Fault("enough")

    async def numbers() -> AsyncIterator[int]:
        yield 1
        await trio.sleep_forever()

    async def pull(most: int) -> list[int]:
        if most_seen:
            await trio.sleep_forever()
        most_seen.append(most)
        return [1]

    most_seen: list[int] = []
    async with calling(into=into) as acc:
        for source in (numbers(), pull):
            with trio.fail_after(60), pytest.raises(rpc.Fault, match="enough"):
                await acc.into(numbers=source)


async def test_an_element_is_sent_while_its_source_waits() -> None:
    """Elements are not held back for a full chunk."""
    came = trio.Event()

    async def into(pipe: Any) -> list[int]:
        first = list(await pipe.pull())
        came.set()
        return first + await drained(pipe)

    async def numbers() -> AsyncIterator[int]:
        yield 1
        with trio.fail_after(60):
            await came.wait()
        yield 2

    async with calling(into=into) as acc:
        assert await acc.into(numbers=numbers()) == [1, 2]
