"""Sources and sinks of a client's pipe: which ones are allowed, how a source is cut into chunks,
and how chunks are stored in a sink.

The generators here do not call a user's function that may wait. They yield a :class:`Step`; the
driver calls the function and sends back its result.
"""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from ..definition.elements import Element
from ..definition.operations import Flow, Operation, Pipe
from ..errors import PipeAppMemory
from ..wire.chunks import PIECE, Cutter, Structures, bytes_of, cut

__all__ = [
    "Pieces",
    "PipeControl",
    "Step",
    "check_given",
    "emptying",
    "is_asynchronous",
    "is_chunk",
    "most_of",
    "pieces_of",
    "require_all_flows",
]

# An iterable's elements are sent when there are BATCH bytes of them, or when BATCH_DELAY has
# passed.
BATCH = 32 * 1024
BATCH_DELAY = 0.001  # seconds

Given: TypeAlias = Any


@dataclass(frozen=True)
class PipeControl:
    """MIDL's pipe control structure: the user's functions fill, empty and allocate the memory of a
    pipe.

    Attributes:
        pull: ``pull(buffer)`` fills a writable memoryview of elements and returns how many it has
            written, 0 at the end. It may be an async function. It is for pipes towards the server.
        push: ``push(chunk)`` gets a memoryview of the elements that have arrived, and an empty
            memoryview once at the end. It may be an async function. It is for pipes towards the
            client. In both functions, structures are bytes.
        alloc: ``alloc(size)`` returns writable memory. As many whole elements as fit into it are
            used, up to ``size`` bytes. If ``alloc`` is ``None``, the library allocates the memory.
    """

    pull: Callable[[memoryview], Any] | None = None
    push: Callable[[memoryview], Any] | None = None
    alloc: Callable[[int], Any] | None = None


class Step(NamedTuple):
    """A call of a user's function, for the driver.

    Attributes:
        may_block: the function reads or writes a file, which may block.
    """

    function: Callable[..., Any]
    argument: Any
    may_block: bool = False


Pieces: TypeAlias = "Generator[memoryview | Step, Any, None]"
"""Yields the chunks of a pipe as bytes, and steps whose results are sent back."""


def check_given(pipe: Pipe, given: Given) -> tuple[Given, Given]:
    """Splits what was given for a pipe into (source, sink).

    Raises:
        TypeError: ``given`` cannot be a source or sink for this pipe.
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


def require_all_flows(operation: Operation, given: Mapping[Flow, Given]) -> None:
    """Raises:
    TypeError: nothing was given for a pipe or a stream.
    """
    for flow in operation.flows.values():
        if flow not in given:
            word = "pipe" if isinstance(flow, Pipe) else "stream"
            raise TypeError(
                f"{operation}() is missing the required {word} argument {flow.name!r}; give a "
                f"source or a sink for it, or use begin() to drive the {word} yourself"
            )


def _check_source(pipe: Pipe, source: Given) -> None:
    if isinstance(source, PipeControl):
        if source.pull is None:
            raise TypeError(f"the control of the pipe {pipe.name} needs a pull function")
        return
    if isinstance(source, str) or not (
        _is_memory(source)
        or callable(source)
        or hasattr(source, "read")
        or isinstance(source, Iterable)
        or hasattr(source, "__aiter__")
    ):
        raise TypeError(
            f"the pipe {pipe.name} is filled from memory, a file, an iterable or a pull function, "
            f"not from {source!r}"
        )
    if hasattr(source, "read") and hasattr(source, "encoding"):  # also a wrapper of a text file
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
    if hasattr(sink, "write") and hasattr(sink, "encoding"):
        raise TypeError(f"the pipe {pipe.name} is emptied into a binary file; open it with 'wb'")


def is_asynchronous(given: Given) -> bool:
    """Whether a source or a sink needs an event loop."""
    functions = [given, getattr(given, "read", None), getattr(given, "write", None)]
    if isinstance(given, PipeControl):
        functions = [given.pull, given.push, given.alloc]
    return any(map(inspect.iscoroutinefunction, functions)) or (
        hasattr(given, "__aiter__") and not isinstance(given, Iterable)
    )


def _is_memory(value: object) -> bool:
    """Whether ``value`` is memory that holds elements."""
    if isinstance(value, Structures):
        return True
    try:
        memoryview(value).release()  # type: ignore[arg-type]
    except (TypeError, BufferError):
        return False
    return True


# Into the pipe


def pieces_of(source: Given, pipe: Pipe, clock: Callable[[], float]) -> Pieces:
    """Yields the chunks of a source that is not an asynchronous iterable.

    Args:
        clock: returns the time in seconds.

    Raises:
        InvalidBound: this number of elements cannot be divided into chunks that the pipe's range
            allows.
        And what the source raises.
    """
    element = pipe.element
    # Each request asks for at most as many elements as the range allows in one chunk.
    size = PIECE if pipe.range is None else min(PIECE, pipe.range.high * element.stride)
    if _is_memory(source):
        yield from cut(bytes_of(source, element), pipe)
        return
    cutter = Cutter(pipe)
    if isinstance(source, PipeControl):
        yield from _from_control(source, element, size, cutter)
    elif hasattr(source, "read"):
        yield from _from_file(source, size // element.stride * element.stride, element, cutter)
    elif isinstance(source, Iterable):
        yield from _from_iterable(source, element, size, clock, cutter)
    else:
        step = Step(source, size // element.stride)
        while len(elements := (yield step)):
            yield from cutter.add(bytes_of(elements, element))
    yield from cutter.rest()


def _room_for(control: PipeControl, size: int, element: Element) -> memoryview:
    """Returns memory for whole elements: the user's if it has ``alloc``, otherwise new memory."""
    memory: Any = bytearray(size) if control.alloc is None else control.alloc(size)
    octets = memoryview(memory).cast("B")[:size]
    whole = len(octets) // element.stride * element.stride
    if not whole:
        raise PipeAppMemory(
            f"alloc({size:,}) gave {len(octets):,} bytes, less than one {element.name}"
        )
    return octets[:whole]


def _typed(octets: memoryview, element: Element) -> memoryview:
    return octets if element.structure else octets.cast(element.format)  # type: ignore[call-overload]


def _from_control(control: PipeControl, element: Element, size: int, cutter: Cutter) -> Pieces:
    assert control.pull is not None
    while True:
        room = _room_for(control, size, element)
        most = len(room) // element.stride
        count = yield Step(control.pull, _typed(room, element))
        if type(count) is not int or not 0 <= count <= most:
            raise ValueError(
                f"pull returned {count!r}; it must return how many elements it has written, "
                f"0 to {most}"
            )
        if not count:
            return
        yield from cutter.add(room[: count * element.stride])


def _from_file(file: Any, size: int, element: Element, cutter: Cutter) -> Pieces:
    stride = element.stride
    rest = b""  # a read may end inside an element
    step = Step(file.read, size, not isinstance(file, io.BytesIO))
    while data := (yield step):
        if isinstance(data, str):
            raise TypeError("a pipe is filled from a binary file; open it with 'rb'")
        if rest:
            data = rest + data
        whole = len(data) // stride * stride
        rest = data[whole:]
        yield from cutter.add(memoryview(data)[:whole])
    if rest:
        raise ValueError(f"the file ends inside an element: {len(rest)} bytes of {stride} are left")


def is_chunk(item: object) -> bool:
    """Whether an item of an iterable holds several elements."""
    return isinstance(item, (list, tuple)) or _is_memory(item)


def _from_iterable(
    source: Iterable[Any], element: Element, size: int, clock: Callable[[], float], cutter: Cutter
) -> Pieces:
    """Collects single elements and small chunks until they make a chunk that is worth sending."""
    size = min(size, BATCH)
    most = max(size // element.stride, 1)
    octets = bytearray()
    items: list[Any] = []  # single elements, which follow the octets
    since = 0.0
    iterator = iter(source)
    try:
        for item in iterator:
            if not octets and not items:
                since = clock()
            if is_chunk(item):
                if items:
                    octets += bytes_of(items, element)
                    items = []
                chunk = bytes_of(item, element)
                if len(chunk) >= BATCH:  # a large chunk is not copied, and does not wait for more
                    yield from cutter.add(memoryview(octets))
                    yield from cutter.add(chunk)
                    octets = bytearray()
                    continue
                octets += chunk
            else:
                items.append(item)
            if len(octets) >= size or len(items) >= most or clock() - since > BATCH_DELAY:
                octets += bytes_of(items, element)
                yield from cutter.add(memoryview(octets))
                octets, items = bytearray(), []
        octets += bytes_of(items, element)
        yield from cutter.add(memoryview(octets))
    finally:
        if inspect.isgenerator(iterator):
            iterator.close()


# Out of the pipe


def most_of(sink: Given, element: Element) -> int | None:
    """Returns how many elements to pull at a time for this sink; ``None`` for no limit."""
    return (PIECE // element.stride or 1) if isinstance(sink, PipeControl) else None


def emptying(sink: Given, chunk: Any, element: Element) -> Generator[Step, Any, None]:
    """Puts a chunk into the sink. A push function gets an empty chunk at the end of the pipe."""
    if isinstance(sink, PipeControl):
        yield from _into_control(sink, chunk, element)
    elif hasattr(sink, "write"):
        octets = memoryview(bytes(chunk)) if isinstance(chunk, Structures) else chunk.cast("B")
        while octets:
            written = yield Step(sink.write, octets, not isinstance(sink, io.BytesIO))
            # An unbuffered file may write only a part.
            octets = octets[len(octets) if written is None else written :]
    elif hasattr(sink, "extend"):
        octets = isinstance(sink, bytearray) and isinstance(chunk, Structures)
        sink.extend(chunk.memory if octets else chunk)
    else:
        yield Step(sink, chunk)


def _into_control(control: PipeControl, chunk: Any, element: Element) -> Generator[Step, Any, None]:
    assert control.push is not None
    octets = chunk.memory if isinstance(chunk, Structures) else chunk.cast("B")
    size = len(octets)
    if not size:
        yield Step(control.push, _typed(memoryview(b""), element))
    while octets:
        room = _room_for(control, size, element)
        count = min(len(room), len(octets))
        room[:count] = octets[:count]
        octets = octets[count:]
        yield Step(control.push, _typed(room[:count], element))
