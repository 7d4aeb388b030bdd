"""Runs a trio program that shuts down cleanly on a signal."""

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
    console (Windows may end the process before everything is closed then). ``main`` is then
    cancelled, so that everything is closed and no socket file is left
    behind. After that the program exits without a traceback, with the status that shells use: 130
    after Ctrl-C, 143 after SIGTERM, 149 after Ctrl-Break.

    While ``main`` closes after the first signal, signals have the effect that they have without
    ``run``: a second Ctrl-C raises KeyboardInterrupt in ``main`` (still without a traceback), and a
    second SIGTERM ends the process at once.

    ``run`` does not change a signal that the program ignores or has its own handler for, so that
    ``nohup`` and :func:`trio.open_signal_receiver` work as usual. A
    :class:`~ipcpipes.WorkerGroup` receives the signals itself while it runs, and ends in order
    instead of being cancelled; when ``main`` has returned, the exit status is that of the signal.

    Args:
        main: an async function.
        args: its positional arguments; for keyword arguments use :func:`functools.partial`.

    Returns:
        The result of ``main``.

    Raises:
        SystemExit: a signal ended the program; ``code`` is the exit status.
        RuntimeError: this is not the main thread; your program's mistake.
        TypeError: ``main`` is not an async function, but for example a coroutine, ``main()``.
        And all that ``main`` raises, unchanged, also while it closes.
    """
    require_function(main)
    require_main_thread("in another thread, use trio.run")
    received: list[signal.Signals] = []
    try:
        # signals_to_end is called here, before trio installs a handler of its own.
        result: ResultT = trio.run(_run_until_signal, main, args, signals_to_end(), received)
    except BaseException as error:
        # Ctrl-C came before the signals were received, or is the second one.
        if not consists_of(error, KeyboardInterrupt):
            raise
        received.append(signal.SIGINT)
    if received:
        raise SystemExit(exit_status(received[0]))
    return result


async def _run_until_signal(
    main: Callable[..., Awaitable[ResultT]],
    args: tuple[object, ...],
    numbers: Sequence[signal.Signals],
    received: list[signal.Signals],
) -> Any:
    result: Any = None
    signals_that_ended.set(received)
    async with unseen_nursery() as nursery:
        if numbers:
            await nursery.start(_cancel_at_signal, nursery.cancel_scope, numbers, received)
        started = main(*args)
        if not inspect.isawaitable(started):
            raise TypeError(f"main must be an async function, and {main!r} returned {started!r}")
        result = await started
        nursery.cancel_scope.cancel()
    return result


async def _cancel_at_signal(
    scope: trio.CancelScope,
    numbers: Sequence[signal.Signals],
    received: list[signal.Signals],
    task_status: trio.TaskStatus[None],
) -> None:
    with trio.open_signal_receiver(*numbers) as signals:
        task_status.started()
        async for number in signals:
            received.append(signal.Signals(number))
            break
    scope.cancel()
