"""Runs a program without an event loop that shuts down cleanly on a signal."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Callable
from typing import Any, TypeVar

from ..ending import exit_status, require_function, require_main_thread, signals_to_end

ResultT = TypeVar("ResultT")


def run(main: Callable[..., ResultT], *args: object) -> ResultT:
    """Calls ``main(*args)``, and shuts the program down cleanly on a signal::

        blocking.run(serve, "hello")

    This is :func:`ipcpipes.run` without an event loop: Ctrl-C, SIGTERM and Ctrl-Break raise
    KeyboardInterrupt in ``main``, in the main thread. The ``with`` blocks of ``main`` then close
    their resources, and closing a listener or a connection wakes other threads that wait there.
    As usual, the interpreter waits for your threads that are not daemon threads.

    Args:
        main: a function.
        args: its arguments.

    Returns:
        What ``main`` returns.

    Raises:
        SystemExit: a signal ended the program; ``code`` is the exit status.
        RuntimeError: this is not the main thread.
        TypeError: ``main`` is not a function, or is an async function.
        And everything that ``main`` raises, also while it is being closed.
    """
    require_function(main)
    require_main_thread("elsewhere, call the function itself")
    received: list[signal.Signals] = []
    handlers = {number: signal.getsignal(number) for number in signals_to_end()}

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def interrupt(number: int, frame: Any) -> None:
        received.append(signal.Signals(number))
        restore()
        raise KeyboardInterrupt

    try:
        try:
            for number in handlers:
                signal.signal(number, interrupt)
            result = main(*args)
        finally:
            restore()
    except KeyboardInterrupt:
        received.append(signal.SIGINT)
    if received:
        raise SystemExit(exit_status(received[0]))
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError(f"{main!r} is an async function; use ipcpipes.run")
    return result
