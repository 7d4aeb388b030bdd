"""Windows: waits until one of several objects may be ready, without an event loop.

A pipe cannot be waited for itself. So a read of no bytes is begun on each pipe: it ends when there
is something to read, and takes nothing.
"""

from __future__ import annotations

import _winapi
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ....errors import NotSupported
from .. import calls
from ..opened import Opened
from . import stream as streams

assert sys.platform == "win32" or not TYPE_CHECKING

# WaitForMultipleObjects takes 64; the interpreter adds one for Ctrl-C.
_MOST_EVENTS = 63


def wait_for_any(objects: Iterable[Any], milliseconds: int | None) -> None:
    """Waits until one of the objects may be ready or closed; ``None`` waits without a limit. It may
    return earlier, so that Python's signal handlers run.

    Args:
        objects: the caller has their turns. ``_watched`` of each returns events, and the pipe on
            which a read has to be begun, if there is one.

    Raises:
        NotSupported: there are too many objects.
    """
    events: list[int] = []
    pipes: list[streams.Pipe] = []
    opened = Opened()  # stays empty: the handles of processes are there already
    for one in objects:
        found, pipe = one._watched(opened)
        events.extend(found)
        if pipe is not None:
            pipes.append(pipe)
    if len(events) > _MOST_EVENTS:
        raise NotSupported(
            "on Windows one thread can wait for 31 streams and channels, or for 63 listeners and "
            "children; divide them among several threads, or use trio"
        )
    longest = streams.longest_wait()
    wait = longest if milliseconds is None else min(longest, milliseconds)
    handles = [pipe._require_open() for pipe in pipes]
    operations = [calls.new_operation() for _ in pipes]
    memory = calls.new_buffer("char[]", 1)
    results = map(calls.abandon, handles, operations)
    codes: list[int] = []
    try:
        for pipe, handle, operation in zip(pipes, handles, operations, strict=True):
            code = calls.transfer(
                handle, operation, memory, 0, False, pipe._received, pipe._closing, 0
            )
            if code != calls.WAIT_TIMEOUT:
                return
        with suppress(InterruptedError):  # Ctrl-C; the signal handler runs next
            _winapi.WaitForMultipleObjects(events, False, wait)
    finally:
        # This is one step. If a signal handler raised in the middle, the system might write to the
        # memory of an operation that no longer exists.
        codes.extend(results)
        for pipe, code in zip(pipes, codes, strict=True):
            pipe._note_empty_read(code)
