"""What a client may give for a pipe, without an event loop: how its elements get in, and out."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .._trio.feeding import (
    Batch,
    PipeControl,
    WholeElements,
    check_given as _check_given,
    is_large,
    is_memory,
    put,
    room_for,
)
from ..core.call import Push
from ..definition.elements import Element
from ..definition.operations import Pipe
from ..errors import BadStubData
from ..wire.chunks import PIECE, Cutter, Structures, bytes_of, chunk_of, cut
from .call_driver import CallDriver

__all__ = ["Drain", "Feed", "PipePump", "check_given", "pumps_of"]

# A source that takes its time is asked no more when the call has failed meanwhile; looking for
# that each time would cost a system call for every piece.
_LOOK = 0.05  # seconds


def check_given(pipe: Pipe, given: Any) -> tuple[Any, Any]:
    """(what fills it, what it is emptied into).

    Raises:
        TypeError: it can be neither; or only under an event loop.
    """
    parts = _check_given(pipe, given)
    for part in parts:
        functions = [part]
        if isinstance(part, PipeControl):
            functions = [part.pull, part.push, part.alloc]
        functions += [getattr(part, name, None) for name in ("read", "write")]
        if any(map(inspect.iscoroutinefunction, functions)) or (
            hasattr(part, "__aiter__") and not isinstance(part, Iterable)
        ):
            raise TypeError(f"the pipe {pipe.name}: {part!r} is asynchronous, and there is no loop")
    return parts


class PipePump:
    """What is done for a pipe in its turn; it can stop when a time is over, and go on later."""

    def __init__(self, driver: CallDriver, pipe: Pipe) -> None:
        self._driver = driver
        self._pipe = pipe

    def run(self, until: float | None) -> bool:
        """Whether it came to the end of the pipe in time."""
        raise NotImplementedError

    def close(self) -> None:
        """It is not going on."""


class Feed(PipePump):
    """Fills a pipe from a source."""

    def __init__(self, driver: CallDriver, pipe: Pipe, source: Any) -> None:
        super().__init__(driver, pipe)
        self._pieces = _pieces(source, pipe)
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
        """The next elements to push; none at the end."""
        # A generator that has raised is at its end, and that would look like the source's.
        if self._error is not None:
            raise self._error
        if self._is_lost:
            raise BadStubData(
                f"filling {self._driver.name(self._pipe.index)} was interrupted, and the last "
                "chunk of its source is lost"
            )
        self._is_lost = True  # until the chunk is stored: a signal handler may raise before
        try:
            octets: memoryview | None = next(self._pieces, None)
        except Exception as error:
            self._error = error
            raise
        stride = self._pipe.element.stride
        self._push = None if octets is None else Push(octets, len(octets) // stride)
        self._is_lost = False

    def close(self) -> None:
        self._pieces.close()


class Drain(PipePump):
    """Empties a pipe into a sink. A push function hears of the end by an empty chunk."""

    def __init__(self, driver: CallDriver, pipe: Pipe, sink: Any) -> None:
        super().__init__(driver, pipe)
        self._most: int | None = None
        if isinstance(sink, PipeControl):
            self._most = PIECE // pipe.element.stride or 1
        self._put = _into(sink, pipe.element)

    def run(self, until: float | None) -> bool:
        driver, pipe = self._driver, self._pipe
        while True:
            octets = driver.take(pipe.index, self._most, until)
            if octets is None:
                return False
            self._put(chunk_of(octets, pipe.element))
            del driver.taken[pipe.index]
            if not octets:
                return True


def pumps_of(
    driver: CallDriver, given: dict[Pipe, tuple[Any, Any]]
) -> dict[tuple[bool, int], PipePump]:
    """What moves the pipes that something was given for, by their turns."""
    pumps: dict[tuple[bool, int], PipePump] = {}
    for pipe, (source, sink) in given.items():
        if pipe.into:
            pumps[True, pipe.index] = Feed(driver, pipe, source)
        if pipe.out:
            pumps[False, pipe.index] = Drain(driver, pipe, sink)
    return pumps


# Into the pipe.


def _pieces(source: Any, pipe: Pipe) -> Any:
    """A generator of what the source has: octets, each of them a chunk.

    Raises:
        InvalidBound: so many elements make no chunks of the pipe's range.
        And what the source raises.
    """
    element = pipe.element
    size = PIECE if pipe.range is None else min(PIECE, pipe.range.high * element.stride)
    if is_memory(source):
        yield from cut(bytes_of(source, element), pipe)
        return
    cutter = Cutter(pipe)
    if isinstance(source, PipeControl):
        yield from _from_control(source, element, size, cutter)
    elif hasattr(source, "read"):
        yield from _from_file(source, size // element.stride * element.stride, element, cutter)
    elif isinstance(source, Iterable):
        yield from _from_iterable(source, Batch(element, size, time.monotonic), cutter)
    else:
        most = size // element.stride
        while len(elements := source(most)):
            yield from cutter.add(bytes_of(elements, element))
    yield from cutter.rest()


def _from_control(
    control: PipeControl, element: Element, size: int, cutter: Cutter
) -> Iterator[memoryview]:
    assert control.pull is not None
    while True:
        octets = room_for(control, size, element)
        view = octets if element.structure else octets.cast(element.format)  # type: ignore[call-overload]
        octets = put(octets, control.pull(view), element)
        if not octets:
            return
        yield from cutter.add(octets)


def _from_file(file: Any, size: int, element: Element, cutter: Cutter) -> Iterator[memoryview]:
    whole = WholeElements(element)
    while data := file.read(size):
        yield from cutter.add(whole.of(data))
    whole.at_end()


def _from_iterable(source: Iterable[Any], batch: Batch, cutter: Cutter) -> Iterator[memoryview]:
    iterator = iter(source)
    try:
        for item in iterator:
            if is_large(item):
                yield from cutter.add(batch.take())
                yield from cutter.add(bytes_of(item, batch.element))
            elif batch.add(item):
                yield from cutter.add(batch.take())
        yield from cutter.add(batch.take())
    finally:
        if inspect.isgenerator(iterator):
            iterator.close()


# Out of the pipe.


def _into(sink: Any, element: Element) -> Callable[[Any], object]:
    """The function that takes each chunk, and at the end an empty one."""
    if isinstance(sink, PipeControl):
        return _Placing(sink, element).put
    if hasattr(sink, "write"):
        return lambda chunk: _write(sink, chunk)
    if hasattr(sink, "extend"):
        extend: Callable[[Any], object] = sink.extend
        if isinstance(sink, bytearray) and element.structure is not None:
            return lambda chunk: extend(chunk.memory)
        return extend
    function: Callable[[Any], object] = sink
    return function


def _write(file: Any, chunk: Any) -> None:
    octets = memoryview(bytes(chunk)) if isinstance(chunk, Structures) else chunk.cast("B")
    while octets:
        written = file.write(octets)
        # An unbuffered file may take a part of it.
        octets = octets[len(octets) if written is None else written :]


class _Placing:
    """Puts what has come into memory of the user's choice."""

    def __init__(self, control: PipeControl, element: Element) -> None:
        assert control.push is not None
        self._push = control.push
        self._control = control
        self._element = element

    def put(self, chunk: Any) -> None:
        octets = chunk.memory if isinstance(chunk, Structures) else chunk.cast("B")
        size = len(octets)
        if not size:
            self._push(self._typed(memoryview(b"")))
        while octets:
            room = room_for(self._control, size, self._element)
            count = min(len(room), len(octets))
            room[:count] = octets[:count]
            octets = octets[count:]
            self._push(self._typed(room[:count]))

    def _typed(self, octets: memoryview) -> memoryview:
        element = self._element
        return octets if element.structure else octets.cast(element.format)  # type: ignore[call-overload]
