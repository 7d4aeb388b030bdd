"""What a client may give for a pipe, without an event loop: how its elements get in, and out."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..call import Push
from ..chunks import Structures, chunk_of, octets_of
from ..definition import Pipe
from ..elements import Element
from ..feeding import (
    BATCH,
    PATIENCE,
    PIECE,
    PipeControl,
    check_given as _check_given,
    is_chunk,
    is_large,
    is_memory,
    room_for,
)
from .exchange import Exchange

__all__ = ["Drain", "Feed", "Mover", "check_given", "movers_of"]

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


class Mover:
    """What is done for a pipe in its turn; it can stop when a time is over, and go on later."""

    def __init__(self, exchange: Exchange, pipe: Pipe) -> None:
        self._exchange = exchange
        self._pipe = pipe

    def run(self, until: float | None) -> bool:
        """Whether it came to the end of the pipe in time."""
        raise NotImplementedError

    def close(self) -> None:
        """It is not going on."""


class Feed(Mover):
    """Fills a pipe from a source."""

    def __init__(self, exchange: Exchange, pipe: Pipe, source: Any) -> None:
        super().__init__(exchange, pipe)
        largest = None if pipe.range is None else pipe.range.high
        self._pieces = _pieces(source, pipe.element, largest)
        self._push: Push | None = None
        self._looked = time.monotonic()

    def run(self, until: float | None) -> bool:
        exchange, index, stride = self._exchange, self._pipe.index, self._pipe.element.stride
        while True:
            if self._push is None:
                octets = next(self._pieces, None)
                if octets is None:
                    return exchange.end(index, until)
                self._push = Push(octets, len(octets) // stride)
            if time.monotonic() - self._looked > _LOOK:
                exchange.link.look()
                self._looked = time.monotonic()
            if not exchange.put(index, self._push, until):
                return False
            self._push = None

    def close(self) -> None:
        self._pieces.close()


class Drain(Mover):
    """Empties a pipe into a sink. A push function hears of the end by an empty chunk."""

    def __init__(self, exchange: Exchange, pipe: Pipe, sink: Any) -> None:
        super().__init__(exchange, pipe)
        self._most: int | None = None
        if isinstance(sink, PipeControl):
            self._most = PIECE // pipe.element.stride or 1
        self._put = _into(sink, pipe.element)

    def run(self, until: float | None) -> bool:
        exchange, pipe = self._exchange, self._pipe
        while True:
            octets = exchange.take(pipe.index, self._most, until)
            if octets is None:
                return False
            self._put(chunk_of(octets, pipe.element))
            if not octets:
                return True


def movers_of(
    exchange: Exchange, given: dict[Pipe, tuple[Any, Any]]
) -> dict[tuple[bool, int], Mover]:
    """What moves the pipes that something was given for, by their turns."""
    movers: dict[tuple[bool, int], Mover] = {}
    for pipe, (source, sink) in given.items():
        if pipe.into:
            movers[True, pipe.index] = Feed(exchange, pipe, source)
        if pipe.out:
            movers[False, pipe.index] = Drain(exchange, pipe, sink)
    return movers


# Into the pipe.


def _pieces(source: Any, element: Element, largest: int | None) -> Any:
    """A generator of what the source has: octets, of 1 to ``largest`` elements."""
    size = PIECE if largest is None else min(PIECE, largest * element.stride)
    if is_memory(source):
        octets = octets_of(source, element)
        step = len(octets) if largest is None else largest * element.stride
        yield from _cut(octets, step or 1)
    elif isinstance(source, PipeControl):
        yield from _from_control(source, element, size)
    elif hasattr(source, "read"):
        yield from _from_file(source, size // element.stride * element.stride, element)
    elif isinstance(source, Iterable):
        yield from _from_iterable(source, element, size)
    else:
        most = size // element.stride
        while len(elements := source(most)):
            yield from _cut(octets_of(elements, element), size)


def _cut(octets: memoryview, step: int) -> Iterator[memoryview]:
    for start in range(0, len(octets), step):
        yield octets[start : start + step]


def _from_control(control: PipeControl, element: Element, size: int) -> Iterator[memoryview]:
    assert control.pull is not None
    while True:
        octets = room_for(control, size, element)
        view = octets if element.structure else octets.cast(element.format)  # type: ignore[call-overload]
        count = control.pull(view)
        most = len(octets) // element.stride
        if type(count) is not int or not 0 <= count <= most:
            raise ValueError(f"pull returned {count!r}; it is 0 to {most}, the elements it has put")
        if not count:
            return
        yield octets[: count * element.stride]


def _from_file(file: Any, size: int, element: Element) -> Iterator[memoryview]:
    rest = b""
    while data := file.read(size):
        if isinstance(data, str):
            raise TypeError("a pipe is filled from a binary file; open it with 'rb'")
        if rest:
            data = rest + data
        whole = len(data) // element.stride * element.stride
        rest = data[whole:]
        yield from _cut(memoryview(data)[:whole], size)
    if rest:
        raise ValueError(
            f"the file ends inside an element: {len(rest)} bytes of {element.stride} are left"
        )


class _Batch:
    """Small things on their way to becoming a chunk: single elements, or small chunks of them."""

    def __init__(self, element: Element, size: int) -> None:
        self._element = element
        self._size = min(size, BATCH)
        self._most = max(self._size // element.stride, 1)
        self._items: list[Any] = []
        self._octets = bytearray()
        self._since = 0.0

    def add(self, item: object) -> bool:
        """Takes an element or a chunk; whether it is time to send what there is."""
        if not self._items and not self._octets:
            self._since = time.monotonic()
        if is_chunk(item):
            self._pack()
            self._octets += octets_of(item, self._element)
        else:
            self._items.append(item)
        return (
            len(self._octets) >= self._size
            or len(self._items) >= self._most
            or time.monotonic() - self._since > PATIENCE
        )

    def _pack(self) -> None:
        if self._items:
            self._octets += octets_of(self._items, self._element)
            self._items = []

    def take(self) -> memoryview:
        self._pack()
        octets, self._octets = self._octets, bytearray()
        return memoryview(octets)


def _from_iterable(source: Iterable[Any], element: Element, size: int) -> Iterator[memoryview]:
    step = max(size // element.stride, 1) * element.stride
    batch = _Batch(element, size)
    iterator = iter(source)
    try:
        for item in iterator:
            if is_large(item, BATCH):
                yield from _cut(batch.take(), step)
                yield from _cut(octets_of(item, element), step)
            elif batch.add(item):
                yield from _cut(batch.take(), step)
        yield from _cut(batch.take(), step)
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
