"""Signals that interrupt the main thread at random steps, with a handler that raises."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Interrupted", "Interrupter"]

# Sends a signal to the process of this number whenever it reads a delay.
_OUTSIDE = """
import os, signal, sys, time
for line in sys.stdin:
    time.sleep(float(line))
    os.kill(int(sys.argv[1]), signal.SIGINT)
"""


class Interrupted(BaseException):
    """The exception of the handler. Like ``KeyboardInterrupt``, it is not an ``Exception``."""


class Interrupter:
    """Interrupts operations of the main thread, each at most once.

    >>> with Interrupter(outside=True) as interrupter:
    ...     try:
    ...         with interrupter.after(0.001):
    ...             operation()
    ...     except Interrupted:
    ...         ...

    Args:
        outside: another process sends SIGINT, as Ctrl-C does; otherwise a thread of this process
            does. Windows has the thread only.
    """

    def __init__(self, *, outside: bool) -> None:
        self._outside: subprocess.Popen[str] | None = None
        self._delays: queue.SimpleQueue[float | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._wants_outside = outside and sys.platform != "win32"
        self._is_armed = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        self._previous = signal.signal(signal.SIGINT, self._handle)
        if self._wants_outside:
            self._outside = subprocess.Popen(
                (sys.executable, "-c", _OUTSIDE, str(os.getpid())), stdin=subprocess.PIPE, text=True
            )
        else:
            self._thread = threading.Thread(target=self._send, name="interrupter")
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._outside is not None:
            assert self._outside.stdin is not None
            self._outside.stdin.close()
            self._outside.wait()
        if self._thread is not None:
            self._delays.put(None)
            self._thread.join()
        signal.signal(signal.SIGINT, self._previous)

    def after(self, seconds: float) -> _Armed:
        """Returns a context manager that interrupts its block after so many seconds, if it takes
        that long. :class:`Interrupted` may also be raised at its very beginning or end.
        """
        return _Armed(self, seconds)

    def begin(self, seconds: float) -> None:
        self._is_armed = True
        if self._outside is not None:
            assert self._outside.stdin is not None
            self._outside.stdin.write(f"{seconds}\n")
            self._outside.stdin.flush()
        else:
            self._delays.put(seconds)

    def end(self) -> None:
        self._is_armed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # A late signal, between two blocks, interrupts nothing.
        if self._is_armed:
            self._is_armed = False
            raise Interrupted

    def _send(self) -> None:
        main = threading.main_thread().ident
        assert main is not None
        while (seconds := self._delays.get()) is not None:
            time.sleep(seconds)
            if sys.platform == "win32":
                signal.raise_signal(signal.SIGINT)  # the handler runs in the main thread
            else:
                signal.pthread_kill(main, signal.SIGINT)


class _Armed:
    def __init__(self, interrupter: Interrupter, seconds: float) -> None:
        self._interrupter = interrupter
        self._seconds = seconds

    def __enter__(self) -> None:
        self._interrupter.begin(self._seconds)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._interrupter.end()
