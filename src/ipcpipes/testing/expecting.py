"""Checks of one call, for the kits. They do not need a test framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import trio
import trio.testing

ErrorT = TypeVar("ErrorT", bound=BaseException)
ResultT = TypeVar("ResultT")


async def raises(
    kind: type[ErrorT], function: Callable[..., Awaitable[object]], *args: Any
) -> ErrorT:
    """Calls ``function(*args)`` and returns its exception, which has to be a ``kind``."""
    try:
        await function(*args)
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


async def checkpoints(function: Callable[..., Awaitable[ResultT]], *args: Any) -> ResultT:
    """Returns the result of ``function(*args)``, which has to be a checkpoint."""
    with trio.testing.assert_checkpoints():
        return await function(*args)


async def cancels(function: Callable[..., Awaitable[object]], *args: Any) -> None:
    """Calls ``function(*args)`` in a cancelled scope. It has to raise Cancelled, even if it does
    not have to wait.
    """
    with trio.CancelScope() as scope:
        scope.cancel()
        await function(*args)
    assert scope.cancelled_caught, "a cancelled call must raise Cancelled, also if it need not wait"
