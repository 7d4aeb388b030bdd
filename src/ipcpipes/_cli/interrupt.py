"""Turns Ctrl-C and SIGTERM into a cancellation, so that everything is closed and every process is
waited for.

This is not :func:`ipcpipes.run`: closing has time limits of its own here, so a second signal is not
needed; and errors that other processes of a pipeline cause when they end are not failures.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import trio

from ..ending import exit_status, signals_to_end
from ..errors import single_errors

__all__ = ["run"]


def run(command: Callable[[], Awaitable[None]]) -> int:
    """Runs ``command`` until it returns (0), or Ctrl-C is pressed (130), or SIGTERM comes (143).

    Raises:
        Everything that ``command`` raises.
    """
    try:
        # The signals are looked up before trio installs a handler of its own.
        return trio.run(_until_interrupted, command, signals_to_end())
    except BaseException as error:
        # The first instants and the last ones are not under the receiver below.
        if any(isinstance(each, KeyboardInterrupt) for each in single_errors(error)):
            return exit_status(signal.SIGINT)
        raise


async def _until_interrupted(
    command: Callable[[], Awaitable[None]], numbers: Sequence[signal.Signals]
) -> int:
    if not numbers:
        # Started in the background of a script, which ignores SIGINT: so do we.
        await command()
        return 0
    # KeyboardInterrupt can strike between any two lines, also in a `finally`; a cancellation
    # comes at checkpoints only. The receiver outlives the nursery, so that pressing Ctrl-C
    # again while things are being closed does not cut that short.
    with trio.open_signal_receiver(*numbers) as signals:
        pressed: list[int] = []
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_watch, signals, nursery.cancel_scope, pressed)
                await command()
                nursery.cancel_scope.cancel()
        except Exception:
            # Ctrl-C went to the whole pipeline: that its other processes end is no failure.
            if not pressed:
                raise
    return exit_status(signal.Signals(pressed[0])) if pressed else 0


async def _watch(signals: AsyncIterator[int], scope: trio.CancelScope, pressed: list[int]) -> None:
    async for number in signals:
        pressed.append(number)
        scope.cancel()
        return
