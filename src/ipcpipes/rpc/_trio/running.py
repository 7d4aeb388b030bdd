"""Starts a coroutine in the current task; if it has to wait, another task takes over the rest."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any

import trio

__all__ = ["Suspended", "started"]


class Suspended:
    """A coroutine that was begun in this task and waits for something: the task is now its own.

    What it has told trio it waits for is known by this task, so that no other can go on with it.
    :meth:`finish` has to be awaited before anything else is, and before anything can wake it.

    Attributes:
        on_cancelled: to be called when the task's scope was cancelled, and the coroutine with it.
    """

    on_cancelled: Callable[[], None] = staticmethod(lambda: None)

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], message: Any, context: Context
    ) -> None:
        self._coroutine = coroutine
        self._message = message
        self._context = context

    async def finish(self) -> None:
        """Goes on with it to its end."""
        trio.lowlevel.current_task().context = self._context
        await self._go_on()

    @types.coroutine
    def _go_on(self) -> Generator[Any, Any, None]:
        coroutine, message = self._coroutine, self._message
        try:
            while True:
                try:
                    value = yield message
                except BaseException as error:
                    message = coroutine.throw(error)
                else:
                    message = coroutine.send(value)
        except StopIteration:
            pass


def started(coroutine: Coroutine[Any, Any, None], context: Context) -> Suspended | None:
    """Runs it up to where it waits; ``None`` when it did not have to.

    That is most of a short call's time: a task for it would begin one pass of the scheduler later.

    Args:
        context: what it runs in, here and afterwards.
    """
    try:
        message = context.run(coroutine.send, None)
    except StopIteration:
        return None
    return Suspended(coroutine, message, context)
