"""The signals that end a program, and its exit status then."""

from __future__ import annotations

import signal
import threading

__all__ = ["exit_status", "require_main_thread", "signals_to_end"]

# The signals with Python's default handlers. Any other handler is the program's own.
_DEFAULTS = {
    "SIGINT": signal.default_int_handler,
    "SIGTERM": signal.SIG_DFL,
    "SIGBREAK": signal.SIG_DFL,  # Windows: Ctrl-Break, and the console is closed
}


def signals_to_end() -> list[signal.Signals]:
    """The signals that end this program. A signal that the program ignores (nohup, the background
    of a script) or handles itself is not one of them.
    """
    return [
        signal.Signals(getattr(signal, name))
        for name, default in _DEFAULTS.items()
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == default
    ]


def exit_status(number: signal.Signals) -> int:
    """The status as shells report it: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + number


def require_main_thread(instead: str) -> None:
    """Raises:
    RuntimeError: this is not the main thread; Python handles signals only in the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            f"run works in the main thread only, which receives the signals; {instead}"
        )
