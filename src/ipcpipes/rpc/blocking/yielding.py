"""Sends what a manager yields, without an event loop."""

from __future__ import annotations

import inspect
from typing import Any

from ..definition.streams import Stream
from .call_driver import CallDriver
from .streams import OutStream

__all__ = ["send_yielded"]


def send_yielded(driver: CallDriver, stream: Stream, values: Any) -> None:
    """Sends what a manager yields. The next value may take long, so each is sent at once.

    Raises:
        TypeError: the manager has not returned an iterable.
        And what the manager and :meth:`OutStream.send` raise.
    """
    end: OutStream[Any] = OutStream(driver, stream)
    iterator = iter(values)
    try:
        for value in iterator:
            end.send(value)
    finally:
        # Without this, a generator would go on to exist until the garbage collector finds it.
        if inspect.isgenerator(iterator):
            iterator.close()
