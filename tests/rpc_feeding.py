"""Sources for the tests of pipes."""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator, Iterator
from typing import Any

import trio
import trio.testing

from .rpc_over_managers import pushed

NUMBERS = list(range(-5, 2000))


def generated(items: Any) -> Iterator[Any]:
    yield from items


async def generated_slowly(items: Any) -> AsyncIterator[Any]:
    for item in items:
        await trio.lowlevel.checkpoint()
        yield item


async def all_numbers(numbers: Any) -> None:
    await pushed(numbers, NUMBERS[:3], array("i", NUMBERS[3:]))
