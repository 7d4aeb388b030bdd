"""What a client may give for a pipe parameter, and how its elements get into the pipe and out."""

from __future__ import annotations

import inspect
import io
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import trio

from ..definition.elements import Element
from ..definition.operations import Pipe
from ..errors import PipeAppMemory
from ..wire.chunks import PIECE, Cutter, Structures, bytes_of, cut

__all__ = ["PipeControl", "check_given", "drain", "feed"]

# An iterable's elements are sent when there are so many bytes of them, or so much time has passed.
BATCH = 32 * 1024
BATCH_DELAY = 0.001  # seconds

Given: TypeAlias = Any


@dataclass(frozen=True)
class PipeControl:
    """MIDL's pipe control structure, for who wants to choose the memory.

    Attributes:
        pull: ``pull(buffer)`` fills a writable memoryview of elements and returns how many, 0 at
            the end. It may be an async function. For pipes towards the server.
        push: ``push(chunk)`` is given a memoryview of the elements that have come, and once, at the
            end, an empty one. It may be an async function. For pipes towards the client.
            Structures are octets here, in both functions.
        alloc: ``alloc(size)`` returns writable memory, of which as many whole elements are used as
            fit, up to ``size`` bytes; ``None`` allocates.
    """

    pull: Callable[[memoryview], Any] | None = None
    push: Callable[[memoryview], Any] | None = None
    alloc: Callable[[int], Any] | None = None


def check_given(pipe: Pipe, given: Given) -> tuple[Given, Given]:
    """(what fills it, what it is emptied into).

    Raises:
        TypeError: it can be neither.
    """
    source = sink = given
    if pipe.into and pipe.out and not isinstance(given, PipeControl):
        if not isinstance(given, tuple) or len(given) != 2:
            raise TypeError(
                f"the pipe {pipe.name} goes in both directions; give (source, sink), not {given!r}"
            )
        source, sink = given
    if pipe.into:
        _check_source(pipe, source)
    if pipe.out:
        _check_sink(pipe, sink)
    return source, sink


def _check_source(pipe: Pipe, source: Given) -> None:
    if isinstance(source, PipeControl):
        if source.pull is None:
            raise TypeError(f"the control of the pipe {pipe.name} needs a pull function")
        return
    if isinstance(source, str) or not (
        is_memory(source)
        or callable(source)
        or hasattr(source, "read")
        or isinstance(source, Iterable)
        or hasattr(source, "__aiter__")
    ):
        raise TypeError(
            f"the pipe {pipe.name} is filled from memory, a file, an iterable or a pull function, "
            f"not from {source!r}"
        )
    if isinstance(source, io.TextIOBase):
        raise TypeError(f"the pipe {pipe.name} is filled from a binary file; open it with 'rb'")


def _check_sink(pipe: Pipe, sink: Given) -> None:
    if isinstance(sink, PipeControl):
        if sink.push is None:
            raise TypeError(f"the control of the pipe {pipe.name} needs a push function")
        return
    if not (callable(sink) or hasattr(sink, "write") or hasattr(sink, "extend")):
        raise TypeError(
            f"the pipe {pipe.name} is emptied into a file, a list, a bytearray or a push function, "
            f"not into {sink!r}"
        )
    if isinstance(sink, io.TextIOBase):
        raise TypeError(f"the pipe {pipe.name} is emptied into a binary file; open it with 'wb'")


def is_memory(value: object) -> bool:
    """Whether it is elements that lie in memory."""
    if isinstance(value, Structures):
        return True
    try:
        memoryview(value).release()  # type: ignore[arg-type]
    except (TypeError, BufferError):
        return False
    return True


# Into the pipe.


async def feed(end: Any, source: Given, pipe: Pipe) -> None:
    """Pushes what the source has, to its end, and closes the pipe.

    Args:
        end: of the pipe; no more is asked for at a time than its range allows in a chunk.

    Raises:
        InvalidBound: so many elements make no chunks of the pipe's range.
        And what the source or the pipe raises.
    """
    element = pipe.element
    size = PIECE if pipe.range is None else min(PIECE, pipe.range.high * element.stride)
    if is_memory(source):
        await _push_all(end, cut(bytes_of(source, element), pipe))
        await end.close()
        return
    cutter = Cutter(pipe)
    if isinstance(source, PipeControl):
        await _from_control(end, source, element, size, cutter)
    elif hasattr(source, "read"):
        await _from_file(end, source, size // element.stride * element.stride, element, cutter)
    elif hasattr(source, "__aiter__"):
        await _from_async_iterable(end, source, element, cutter)
    elif isinstance(source, Iterable):
        await _from_iterable(end, source, Batch(element, size, trio.current_time), cutter)
    else:
        most = size // element.stride
        while len(elements := await _called(source, most)):
            await _push_all(end, cutter.add(bytes_of(elements, element)))
    await _push_all(end, cutter.rest())
    await end.close()


async def _push_all(end: Any, chunks: Iterable[memoryview]) -> None:
    for octets in chunks:
        await end.push(octets)


async def _called(function: Callable[..., Any], *arguments: object) -> Any:
    result = function(*arguments)
    return await result if inspect.isawaitable(result) else result


def room_for(control: PipeControl, size: int, element: Element) -> memoryview:
    """Memory of the user's, or else ours, of whole elements."""
    memory: Any = bytearray(size) if control.alloc is None else control.alloc(size)
    octets = memoryview(memory).cast("B")[:size]
    whole = len(octets) // element.stride * element.stride
    if not whole:
        raise PipeAppMemory(
            f"alloc({size:,}) gave {len(octets):,} bytes, less than one {element.name}"
        )
    return octets[:whole]


async def _from_control(
    end: Any, control: PipeControl, element: Element, size: int, cutter: Cutter
) -> None:
    assert control.pull is not None
    while True:
        octets = room_for(control, size, element)
        view = octets if element.structure else octets.cast(element.format)  # type: ignore[call-overload]
        count = await _called(control.pull, view)
        octets = put(octets, count, element)
        if not octets:
            return
        await _push_all(end, cutter.add(octets))


def put(room: memoryview, count: object, element: Element) -> memoryview:
    """What the pull function of a control has put there, going by what it has returned.

    Raises:
        ValueError: that cannot be.
    """
    most = len(room) // element.stride
    if type(count) is not int or not 0 <= count <= most:
        raise ValueError(f"pull returned {count!r}; it is 0 to {most}, the elements it has put")
    return room[: count * element.stride]


async def _from_file(end: Any, file: Any, size: int, element: Element, cutter: Cutter) -> None:
    inline = isinstance(file, io.BytesIO) or inspect.iscoroutinefunction(file.read)
    whole = WholeElements(element)
    while True:
        if inline:
            data = await _called(file.read, size)
        else:
            # Reading from a disk may take its time, and the others go on meanwhile.
            data = await trio.to_thread.run_sync(file.read, size)
        if not data:
            break
        await _push_all(end, cutter.add(whole.of(data)))
    whole.at_end()


class WholeElements:
    """The elements in what is read from a file, which may be cut anywhere."""

    def __init__(self, element: Element) -> None:
        self._stride = element.stride
        self._rest = b""

    def of(self, data: Any) -> memoryview:
        """Those that are whole now.

        Raises:
            TypeError: it is text.
        """
        if isinstance(data, str):
            raise TypeError("a pipe is filled from a binary file; open it with 'rb'")
        if self._rest:
            data = self._rest + data
        whole = len(data) // self._stride * self._stride
        self._rest = data[whole:]
        return memoryview(data)[:whole]

    def at_end(self) -> None:
        """Raises:
        ValueError: an element was begun, and not finished.
        """
        if self._rest:
            raise ValueError(
                f"the file ends inside an element: {len(self._rest)} bytes of {self._stride} are "
                "left"
            )


def is_chunk(item: object) -> bool:
    """Whether what an iterable has given is several elements."""
    return isinstance(item, (list, tuple)) or is_memory(item)


class Batch:
    """Small things on their way to becoming a chunk: single elements, or small chunks of them.

    Args:
        size: octets of a chunk at most.
        clock: the time in seconds.
    """

    def __init__(self, element: Element, size: int, clock: Callable[[], float]) -> None:
        self.element = element
        self._size = min(size, BATCH)
        self._clock = clock
        self._items: list[Any] = []
        self._most = max(self._size // element.stride, 1)
        self._octets = bytearray()
        self._since = 0.0

    def add(self, item: object) -> bool:
        """Takes an element or a chunk; whether it is time to send what there is."""
        if not self._items and not self._octets:
            self._since = self._clock()
        if is_chunk(item):
            self._pack()
            self._octets += bytes_of(item, self.element)
        else:
            self._items.append(item)
        return (
            len(self._octets) >= self._size
            or len(self._items) >= self._most
            or self._clock() - self._since > BATCH_DELAY
        )

    def _pack(self) -> None:
        if self._items:
            self._octets += bytes_of(self._items, self.element)
            self._items = []

    def take(self) -> memoryview:
        self._pack()
        octets, self._octets = self._octets, bytearray()
        return memoryview(octets)


def is_large(item: object) -> bool:
    """Whether it is so much that it needs no company."""
    return type(item) is not int and is_memory(item) and memoryview(item).nbytes >= BATCH  # type: ignore[arg-type]


async def _from_iterable(end: Any, source: Iterable[Any], batch: Batch, cutter: Cutter) -> None:
    iterator: Iterator[Any] = iter(source)
    try:
        for item in iterator:
            if is_large(item):
                await _push_all(end, cutter.add(batch.take()))
                await _push_all(end, cutter.add(bytes_of(item, batch.element)))
            elif batch.add(item):
                await _push_all(end, cutter.add(batch.take()))
        await _push_all(end, cutter.add(batch.take()))
    finally:
        if inspect.isgenerator(iterator):
            iterator.close()


async def _from_async_iterable(end: Any, source: Any, element: Element, cutter: Cutter) -> None:
    iterator: AsyncIterator[Any] = source.__aiter__()
    try:
        async for item in iterator:
            # The next one may be long in coming, and so none waits for company here.
            octets = bytes_of(item if is_chunk(item) else [item], element)
            await _push_all(end, cutter.add(octets))
    finally:
        if inspect.isasyncgen(iterator):
            await iterator.aclose()


# Out of the pipe.


async def drain(end: Any, sink: Given, element: Element) -> None:
    """Pulls to the end, into the sink. A push function hears of the end by an empty chunk."""
    if isinstance(sink, PipeControl):
        await _into_control(end, sink, element)
    elif hasattr(sink, "write"):
        await _into_file(end, sink)
    elif hasattr(sink, "extend"):
        async for chunk in end:
            octets = isinstance(sink, bytearray) and isinstance(chunk, Structures)
            sink.extend(chunk.memory if octets else chunk)
    else:
        while True:
            chunk = await end.pull()
            await _called(sink, chunk)
            if not len(chunk):
                return


async def _into_file(end: Any, file: Any) -> None:
    inline = isinstance(file, io.BytesIO) or inspect.iscoroutinefunction(file.write)
    async for chunk in end:
        octets = memoryview(bytes(chunk)) if isinstance(chunk, Structures) else chunk.cast("B")
        while octets:
            if inline:
                written = await _called(file.write, octets)
            else:
                written = await trio.to_thread.run_sync(file.write, octets)
            # An unbuffered file may take a part of it.
            octets = octets[len(octets) if written is None else written :]


async def _into_control(end: Any, control: PipeControl, element: Element) -> None:
    assert control.push is not None
    empty = memoryview(b"") if element.structure else memoryview(b"").cast(element.format)  # type: ignore[call-overload]
    while True:
        chunk = await end.pull(PIECE // element.stride or 1)
        octets = chunk.memory if isinstance(chunk, Structures) else chunk.cast("B")
        if not octets:
            await _called(control.push, empty)
            return
        size = len(octets)
        while octets:
            room = room_for(control, size, element)
            count = min(len(room), len(octets))
            room[:count] = octets[:count]
            octets = octets[count:]
            view = room[:count]
            await _called(
                control.push,
                view if element.structure else view.cast(element.format),  # type: ignore[call-overload]
            )
