"""The signals that end a program, and the exit status after each."""

from __future__ import annotations

import inspect
import signal
import threading
from contextvars import ContextVar

__all__ = [
    "exit_status",
    "record_end",
    "require_function",
    "require_main_thread",
    "signals_that_ended",
    "signals_to_end",
]

signals_that_ended: ContextVar[list[signal.Signals] | None] = ContextVar(
    "ipcpipes_signals_that_ended", default=None
)
"""Under ``ipcpipes.run``: the signals that have told the program to end."""

# The signals with Python's default handlers. Any other handler is the program's own.
_DEFAULTS = {
    "SIGINT": signal.default_int_handler,
    "SIGTERM": signal.SIG_DFL,
    "SIGBREAK": signal.SIG_DFL,  # Windows: Ctrl-Break, and the console is closed
}


def signals_to_end() -> list[signal.Signals]:
    """Returns the signals that end this program. A signal that the program ignores (nohup, the
    background of a script) or handles itself is not one of them.
    """
    return [
        signal.Signals(getattr(signal, name))
        for name, default in _DEFAULTS.items()
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == default
    ]


def exit_status(number: signal.Signals) -> int:
    """Returns the status as shells report it: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + number


def record_end(number: signal.Signals) -> None:
    """Called by a part of the program that receives the signals itself, such as a group of workers.
    Under ``ipcpipes.run``, it makes the exit status that of the first such signal.
    """
    if (told := signals_that_ended.get()) is not None:
        told.append(number)


def require_function(main: object) -> None:
    """Raises:
    TypeError: ``main`` is not a function. A coroutine is closed, so that Python does not warn that
        it was never awaited.
    """
    if inspect.iscoroutine(main):
        main.close()
        raise TypeError("pass the function, not the coroutine: run(main), not run(main())")
    if not callable(main):
        raise TypeError(f"main must be a function, not {main!r}")


def require_main_thread(instead: str) -> None:
    """Raises:
    RuntimeError: this is not the main thread; Python handles signals only in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            f"run works only in the main thread, which receives the signals; {instead}"
        )
