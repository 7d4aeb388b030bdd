"""A trio program that shuts down cleanly on a signal."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import trio

from .connections.nursery import unseen_nursery
from .ending import (
    exit_status,
    require_function,
    require_main_thread,
    signals_that_ended,
    signals_to_end,
)
from .errors import consists_of

__all__ = ["run"]

ResultT = TypeVar("ResultT")


def run(main: Callable[..., Awaitable[ResultT]], *args: object) -> ResultT:
    """Runs ``main(*args)`` as :func:`trio.run` does, and shuts it down cleanly on a signal::

        ipcpipes.run(ipcpipes.serve, handler, "hello")

    The signals are Ctrl-C and SIGTERM, and on Windows also Ctrl-Break and the closing of the
    console. ``main`` is then cancelled, so that everything is closed and no socket file is left
    behind. After that the program exits without a traceback, with the status that shells use: 130
    after Ctrl-C, 143 after SIGTERM, 149 after Ctrl-Break.

    After the first signal, while ``main`` is being closed, signals do what they do without ``run``:
    a second Ctrl-C raises KeyboardInterrupt in ``main`` (still without a traceback), and a second
    SIGTERM ends the process at once.

    ``run`` does not change a signal that the program ignores or has its own handler for, so that
    ``nohup`` and :func:`trio.open_signal_receiver` work as usual. A
    :class:`~ipcpipes.WorkerGroup` receives the signals itself while it runs, and ends in order
    instead of being cancelled; when ``main`` has returned, the exit status is that of the signal.

    Args:
        main: an async function.
        args: its arguments; :func:`functools.partial` gives it others.

    Returns:
        What ``main`` returns.

    Raises:
        SystemExit: a signal ended the program; ``code`` is the exit status.
        RuntimeError: this is not the main thread; your program's mistake.
        TypeError: ``main`` is not an async function, but for example a coroutine, ``main()``.
        And all that ``main`` raises, unchanged, also while it is being closed.
    """
    require_function(main)
    require_main_thread("elsewhere, use trio.run")
    told: list[signal.Signals] = []
    try:
        # The signals are looked up before trio installs a handler of its own.
        result: ResultT = trio.run(_until_told, main, args, signals_to_end(), told)
    except BaseException as error:
        # Ctrl-C came before the signals were received, or is the second one.
        if not consists_of(error, KeyboardInterrupt):
            raise
        told.append(signal.SIGINT)
    if told:
        raise SystemExit(exit_status(told[0]))
    return result


async def _until_told(
    main: Callable[..., Awaitable[ResultT]],
    args: tuple[object, ...],
    numbers: Sequence[signal.Signals],
    told: list[signal.Signals],
) -> Any:
    result: Any = None
    signals_that_ended.set(told)
    async with unseen_nursery() as nursery:
        if numbers:
            await nursery.start(_cancel_when_told, nursery.cancel_scope, numbers, told)
        started = main(*args)
        if not inspect.isawaitable(started):
            raise TypeError(f"main must be an async function, and {main!r} returned {started!r}")
        result = await started
        nursery.cancel_scope.cancel()
    return result


async def _cancel_when_told(
    scope: trio.CancelScope,
    numbers: Sequence[signal.Signals],
    told: list[signal.Signals],
    task_status: trio.TaskStatus[None],
) -> None:
    with trio.open_signal_receiver(*numbers) as signals:
        task_status.started()
        async for number in signals:
            told.append(signal.Signals(number))
            break
    scope.cancel()
