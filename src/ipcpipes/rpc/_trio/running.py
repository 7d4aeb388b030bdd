"""Starts a coroutine in the current task; if it has to wait, another task takes over the rest."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any

import trio

__all__ = ["Suspended", "started"]


class Suspended:
    """A coroutine that was begun in this task and has to wait. The task belongs to it from now on.

    The coroutine has told trio that this task waits, so no other task can continue it. The task has
    to await :meth:`finish` before it awaits anything else, and before the coroutine can be woken.

    Attributes:
        on_cancelled: is called if the scope of the task was cancelled, and the coroutine with it.
    """

    on_cancelled: Callable[[], None] = staticmethod(lambda: None)

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], message: Any, context: Context
    ) -> None:
        self._coroutine = coroutine
        self._message = message
        self._context = context

    async def finish(self) -> None:
        """Runs the coroutine to its end."""
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
    """Runs a coroutine until it waits. Returns ``None`` if it has ended without waiting.

    No new task is used for this, because it would begin one pass of the scheduler later, which is
    most of the time of a short call.

    Args:
        context: the context of the coroutine, here and afterwards.
    """
    try:
        message = context.run(coroutine.send, None)
    except StopIteration:
        return None
    return Suspended(coroutine, message, context)
