"""Sends what a manager yields, without an event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core.current import current_call
from ..definition.streams import Stream
from .call_driver import CallDriver
from .streams import OutStream

__all__ = ["sending"]


def sending(method: Callable[..., Any], stream: Stream) -> Callable[..., Any]:
    """Returns a method that runs a manager's method, and sends what it yields. The next value may
    take long, so each is sent at once.
    """

    def send(*arguments: Any) -> None:
        iterator = iter(method(*arguments))
        driver = current_call()._call.owner
        assert isinstance(driver, CallDriver)
        end: OutStream[Any] = OutStream(driver, stream)
        try:
            for value in iterator:
                end.send(value)
        finally:
            # Without this, a generator, or the iterator of another call, would go on to exist until
            # the garbage collector finds it.
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    return send
