"""Fills and empties the pipes of a client that have an argument, without an event loop."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from ..core.call_pipes import Push
from ..core.client import Feeds
from ..core.feeding import Step, emptying, most_of, pieces_of
from ..definition.operations import Pipe
from ..errors import BadStubData
from ..wire.chunks import chunk_of
from .call_driver import CallDriver

__all__ = ["Drain", "Feed", "PipePump", "pumps_of"]

# How often a slow source is interrupted to see whether the call has failed. A look after each piece
# would cost a system call for each.
_LOOK = 0.05  # seconds


class PipePump:
    """Fills or empties a pipe in its turn. It can stop at a deadline and continue later."""

    def __init__(self, driver: CallDriver, pipe: Pipe) -> None:
        self._driver = driver
        self._pipe = pipe

    def run(self, until: float | None) -> bool:
        """Moves elements until the deadline. Returns whether the pipe has come to its end."""
        raise NotImplementedError

    def close(self) -> None:
        """Releases the resources of the pump, which does not run again. The user's source or sink
        stays open.
        """


class Feed(PipePump):
    """Fills a pipe from a source."""

    def __init__(self, driver: CallDriver, pipe: Pipe, source: Any) -> None:
        super().__init__(driver, pipe)
        self._pieces = pieces_of(source, pipe, time.monotonic)
        self._error: BaseException | None = None
        self._is_lost = False
        self._push: Push | None = None
        self._looked = time.monotonic()

    def run(self, until: float | None) -> bool:
        driver, index = self._driver, self._pipe.index
        while True:
            if self._push is None or self._push.done:
                self._next()
                if self._push is None:
                    return driver.end(index, until)
            if time.monotonic() - self._looked > _LOOK:
                driver.link.look()
                self._looked = time.monotonic()
            if not driver.put(index, self._push, until):
                return False

    def _next(self) -> None:
        """Sets the next push, or ``None`` at the end of the source."""
        # A generator that has raised an exception is at its end, which would look like the end of
        # the source.
        if self._error is not None:
            raise self._error
        if self._is_lost:
            raise BadStubData(
                f"filling {self._driver.name(self._pipe.index)} was interrupted, and the last "
                "chunk of its source is lost"
            )
        self._is_lost = True  # until the chunk is stored: a signal handler may raise before
        try:
            piece = _go_on(self._pieces)
        except Exception as error:
            self._error = error
            raise
        stride = self._pipe.element.stride
        self._push = None if piece is None else Push(piece, len(piece) // stride)
        self._is_lost = False

    def close(self) -> None:
        self._pieces.close()


class Drain(PipePump):
    """Empties a pipe into a sink. A push function gets an empty chunk at the end."""

    def __init__(self, driver: CallDriver, pipe: Pipe, sink: Any) -> None:
        super().__init__(driver, pipe)
        self._most = most_of(sink, pipe.element)
        self._sink = sink

    def run(self, until: float | None) -> bool:
        driver, pipe = self._driver, self._pipe
        while True:
            octets = driver.take(pipe.index, self._most, until)
            if octets is None:
                return False
            _go_on(emptying(self._sink, chunk_of(octets, pipe.element), pipe.element))
            del driver.taken[pipe.index]
            if not octets:
                return True


def _go_on(steps: Generator[memoryview | Step, Any, None]) -> memoryview | None:
    """Calls the user's functions up to the next chunk; ``None`` at the end."""
    result = None
    while True:
        try:
            piece = steps.send(result)
        except StopIteration:
            return None
        if not isinstance(piece, Step):
            return piece
        result = piece.function(piece.argument)


def pumps_of(driver: CallDriver, given: Feeds) -> dict[tuple[bool, int], PipePump]:
    """Makes the pumps of the pipes that have an argument, by their turns."""
    pumps: dict[tuple[bool, int], PipePump] = {}
    for pipe, (source, sink) in given.items():
        assert isinstance(pipe, Pipe)
        if pipe.into:
            pumps[True, pipe.index] = Feed(driver, pipe, source)
        if pipe.out:
            pumps[False, pipe.index] = Drain(driver, pipe, sink)
    return pumps
