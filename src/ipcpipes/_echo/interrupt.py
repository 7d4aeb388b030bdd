"""Ctrl-C as a cancellation, so that everything is closed and every process is waited for."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from .failure import causes

__all__ = ["INTERRUPTED", "run"]

INTERRUPTED = 130
"""The exit status after Ctrl-C: 128 and the number of SIGINT, as shells have it."""


def run(command: Callable[[], Awaitable[None]]) -> int:
    """Runs ``command`` until it returns (0) or Ctrl-C is pressed (130).

    Raises:
        Everything that ``command`` raises.
    """
    try:
        return trio.run(_until_interrupted, command)
    except BaseException as error:
        # The first instants and the last ones are not under the receiver below.
        if any(isinstance(each, KeyboardInterrupt) for each in causes(error)):
            return INTERRUPTED
        raise


async def _until_interrupted(command: Callable[[], Awaitable[None]]) -> int:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Started in the background of a script, which ignores SIGINT: so do we.
        await command()
        return 0
    # KeyboardInterrupt can strike between any two lines, also in a `finally`; a cancellation
    # comes at checkpoints only. The receiver outlives the nursery, so that pressing Ctrl-C
    # again while things are being closed does not cut that short.
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        pressed = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_watch, signals, nursery.cancel_scope, pressed)
                await command()
                nursery.cancel_scope.cancel()
        except Exception:
            # Ctrl-C went to the whole pipeline: that its other processes end is no failure.
            if not pressed.is_set():
                raise
    return INTERRUPTED if pressed.is_set() else 0


async def _watch(signals: AsyncIterator[int], scope: trio.CancelScope, pressed: trio.Event) -> None:
    async for _ in signals:
        pressed.set()
        scope.cancel()
        return
