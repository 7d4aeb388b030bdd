"""Raises exceptions where signal handlers can raise them: after any call, at any depth.

The interpreter runs signal handlers when a function of Python begins, when a function of C has
returned, and at the end of each round of a loop. It calls the profiler at the first two of these,
in any thread and on any system. So an exception of the profiler is like one of a signal handler,
at a moment that the test chooses.

Two moments are left out. One is the beginning of a generator expression: the interpreter also
begins it to close it when it is no longer needed, and ignores what is raised then. The other is a
``with`` statement whose ``__enter__`` is C and has just returned. No handler may run there, since
``__exit__`` would not follow. CPython 3.14 calls the profiler there, and runs handlers too, which
is a fault of its own (https://github.com/python/cpython/issues/148874).
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


class Interruption(BaseException):
    """Like ``KeyboardInterrupt``, not a subclass of ``Exception``."""


def interrupted(
    at: int, operation: Callable[[], object], error: type[BaseException] = Interruption
) -> str | None:
    """Runs the operation and interrupts it at a step in the code of ipcpipes.

    Args:
        at: the step, counted from 1.

    Returns:
        The place of the interruption; ``None`` if the operation has fewer steps.
    """
    left = at
    where: str | None = None

    def look(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal left, where
        if event not in ("call", "c_return") or frame.f_code.co_name == "__del__":
            return
        if event == "c_return" and argument.__name__ == "__enter__":
            return
        if event == "call" and frame.f_code.co_name == "<genexpr>":
            return
        module: str = frame.f_globals.get("__name__", "")
        if not module.startswith("ipcpipes."):
            return
        left -= 1
        if left == 0:
            step = f", after {argument.__name__}" if event == "c_return" else ", at its beginning"
            where = f"{module}.{frame.f_code.co_name}, line {frame.f_lineno}{step}"
            raise error

    gc.disable()
    previous = sys.getprofile()
    try:
        try:
            sys.setprofile(look)
            operation()
        finally:
            sys.setprofile(previous)
            gc.enable()
    except error:
        assert where is not None
        return where
    assert where is None, f"the exception was swallowed: {where}"
    return None
