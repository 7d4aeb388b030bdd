"""A trio program that ends in order when it is told to."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import trio

from .child.nursery import unseen_nursery
from .ending import exit_status, require_main_thread, signals_to_end
from .errors import consists_of

__all__ = ["run"]

ResultT = TypeVar("ResultT")


def run(main: Callable[..., Awaitable[ResultT]], *args: object) -> ResultT:
    """Runs ``main(*args)`` as :func:`trio.run` does, and ends it in order when it is told to::

        ipcpipes.run(ipcpipes.serve, handler, "hello")

    Ctrl-C, SIGTERM, and on Windows Ctrl-Break and the closing of the console tell it to end. Then
    ``main`` is cancelled, so that everything is closed and no socket file stays behind, and the
    program exits: without a traceback, and with the status that shells have for it, 130 after
    Ctrl-C, 143 after SIGTERM, 149 after Ctrl-Break.

    The first signal asks, a second one insists: while ``main`` is being closed, the signals do what
    they do without ``run``. A second Ctrl-C is a KeyboardInterrupt in ``main`` (and still no
    traceback), a second SIGTERM ends the process at once.

    A signal that the program ignores, or has a handler of its own for, is left alone, so that
    ``nohup`` and :func:`trio.open_signal_receiver` do what they should.

    Args:
        main: an async function.
        args: its arguments; :func:`functools.partial` gives it others.

    Returns:
        What ``main`` returns.

    Raises:
        SystemExit: the program was told to end; ``code`` is the exit status.
        RuntimeError: this is not the main thread; your program's mistake.
        And all that ``main`` raises, as it is, also while it is closed.
    """
    require_main_thread("elsewhere, use trio.run")
    told: list[signal.Signals] = []
    try:
        # Before trio puts a handler of its own.
        result: ResultT = trio.run(_until_told, main, args, signals_to_end(), told)
    except BaseException as error:
        # Before the signals are received, or the second one.
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
    async with unseen_nursery() as nursery:
        if numbers:
            await nursery.start(_cancel_when_told, nursery.cancel_scope, numbers, told)
        result = await main(*args)
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
