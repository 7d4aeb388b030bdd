"""When a program is told to end, and what its exit status says then."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

__all__ = ["exit_status", "is_interrupt", "require_main_thread", "signals_to_end"]

# With what Python does about them by itself: another handler is the program's own.
_DEFAULTS = {
    "SIGINT": signal.default_int_handler,
    "SIGTERM": signal.SIG_DFL,
    "SIGBREAK": signal.SIG_DFL,  # Windows: Ctrl-Break, and the console is closed
}


def signals_to_end() -> list[signal.Signals]:
    """Those that tell this program to end. One that it ignores (nohup, the background of a script),
    or handles itself, does not.
    """
    return [
        signal.Signals(getattr(signal, name))
        for name, default in _DEFAULTS.items()
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == default
    ]


def exit_status(number: signal.Signals) -> int:
    """As shells have it: 130 after Ctrl-C, 143 after SIGTERM."""
    return 128 + number


def is_interrupt(error: BaseException) -> bool:
    """Whether it is a KeyboardInterrupt and nothing else, in groups of nurseries too."""
    return all(isinstance(each, KeyboardInterrupt) for each in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    # Not isinstance: Python 3.10 has no BaseExceptionGroup, only trio's backport of it.
    inner: tuple[BaseException, ...] | None = getattr(error, "exceptions", None)
    if inner is None:
        yield error
    else:
        for each in inner:
            yield from _causes(each)


def require_main_thread(instead: str) -> None:
    """Raises:
    RuntimeError: this is another thread, where Python has no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(f"run is for the main thread, which gets the signals; {instead}")
