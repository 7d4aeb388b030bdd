"""Converts a user's elements to bytes and back, and cuts them into chunks, with few copies."""

from __future__ import annotations

import reprlib
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from ..definition.elements import Element, Structure, checked_boolean, layout_of
from ..errors import InvalidBound

if TYPE_CHECKING:
    from ..definition.operations import Pipe
    from ..definition.parameters import Range

__all__ = ["Cutter", "Structures", "bytes_of", "chunk_of", "cut"]

# The format letters of struct and of the buffer protocol, by kind of number. The sizes of some of
# them differ between systems, so the size of the items is compared separately.
_KINDS = {
    **dict.fromkeys("bhilqn", "signed"),
    **dict.fromkeys("BHILQNP", "unsigned"),
    **dict.fromkeys("efd", "float"),
    "?": "boolean",
}
_BYTE_FORMATS = ("B", "b", "c")

# The most bytes of one chunk if the pipe has no range; of one copying step if the pipe has a range.
PIECE = 256 * 1024
# The most bytes that are held back from a source of unknown length; see Cutter.
HELD = 4 * 1024 * 1024


class Structures(Sequence[Structure]):
    """A sequence of received structures. Each structure is made when it is read.

    Attributes:
        memory: the bytes of the structures, one after the other, each with its padding.
    """

    def __init__(self, memory: memoryview, element: Element) -> None:
        assert element.structure is not None
        self.memory = memory
        self._element = element
        self._layout = layout_of(element.structure)

    def __len__(self) -> int:
        return len(self.memory) // self._element.stride

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Structures: ...
    def __getitem__(self, index: int | slice) -> Any:
        stride = self._element.stride
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise ValueError("a slice of a chunk has no step")
            return Structures(
                self.memory[start * stride : max(start, stop) * stride], self._element
            )
        position = range(len(self))[index] * stride
        return self._layout.unpack_from(self.memory, position)

    def __iter__(self) -> Iterator[Any]:
        for position in range(0, len(self.memory), self._element.stride):
            yield self._layout.unpack_from(self.memory, position)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # like a list

    def __bytes__(self) -> bytes:
        return bytes(self.memory)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """NumPy uses this to make a structured array over the same memory. The class must not have
        a ``__buffer__`` method (PEP 688), because NumPy would prefer it, and would see plain bytes.
        """
        return {
            "version": 3,
            "shape": (len(self),),
            "typestr": f"|V{self._element.stride}",
            "descr": self._layout.array_description,
            "data": self.memory,
        }

    def __repr__(self) -> str:
        return f"<{len(self)} x {self._element.name}>"


def chunk_of(data: memoryview, element: Element) -> Any:
    """Makes a chunk for the user: memory of the element's type, or :class:`Structures`.

    The chunk is read-only, because other chunks may be in the same memory.
    """
    data = data.toreadonly()
    if element.structure is not None:
        return Structures(data, element)
    return data if element.format == "B" else data.cast(element.format)  # type: ignore[call-overload]


def bytes_of(elements: object, element: Element) -> memoryview:
    """Returns a user's elements as bytes, each with its padding. Elements that are in memory are
    not copied.

    Raises:
        TypeError, ValueError, OverflowError: they are not elements of this type.
    """
    if type(elements) is bytes and len(elements) % element.stride == 0:
        return memoryview(elements)  # the common case, for speed
    if isinstance(elements, Structures):
        elements = elements.memory
    elif isinstance(elements, str):
        raise TypeError(f"a pipe of {element.name} does not accept str; encode it")
    try:
        view = memoryview(elements)  # type: ignore[arg-type]
    except TypeError:
        pass
    else:
        return _memory(view, element)
    if isinstance(elements, Structure) or not isinstance(elements, Iterable):
        raise TypeError(
            f"a pipe of {element.name} accepts memory or an iterable of elements, not {elements!r}"
        )
    return _pack(elements, element)


def _memory(view: memoryview, element: Element) -> memoryview:
    if not view.c_contiguous:
        raise TypeError("the elements must be contiguous memory")
    letter = view.format.lstrip("@=<")
    if letter not in _BYTE_FORMATS:
        fits = view.itemsize == element.stride and (
            element.structure is not None or _KINDS.get(letter) == _KINDS[element.format]
        )
        if not fits:
            raise TypeError(
                f"memory of format {view.format!r}, {view.itemsize} bytes each, given to a pipe of "
                f"{element.name}; convert it"
            )
    data = view.cast("B") if view.nbytes else memoryview(b"")
    if len(data) % element.stride:
        raise ValueError(
            f"{len(data):,} bytes are not a whole number of {element.name}, "
            f"{element.stride} bytes each"
        )
    return data


def _pack(elements: Iterable[Any], element: Element) -> memoryview:
    if element.structure is None:
        values = elements if isinstance(elements, (list, tuple)) else list(elements)
        pack = _PACKERS.get(element.format, _pack_numbers)
        try:
            return pack(values, element.format)
        except (TypeError, ValueError, OverflowError) as error:
            raise _of_element(values, element, pack, error) from None
    layout = layout_of(element.structure)
    memory = bytearray()
    for value in elements:
        memory += bytes(element.stride)
        layout.pack_into(memory, len(memory) - element.stride, value)
    return memoryview(memory)


def _pack_numbers(values: Sequence[Any], letter: str) -> memoryview:
    return memoryview(array(letter, values)).cast("B")


def _pack_floats(values: Sequence[Any], letter: str) -> memoryview:
    try:
        # An array would convert a number that is too large to infinity.
        return memoryview(struct.pack(f"<{len(values)}{letter}", *values))
    except struct.error:
        return _pack_numbers(values, letter)  # raises the error, with a reason


def _pack_booleans(values: Sequence[Any], letter: str) -> memoryview:
    try:
        data = bytes(values)
    except (TypeError, ValueError):
        data = None
    if data is None or data.translate(None, b"\0\1"):
        data = bytes(map(checked_boolean, values))
    return memoryview(data)


_Pack = Callable[[Sequence[Any], str], memoryview]
_PACKERS: dict[str, _Pack] = {"f": _pack_floats, "?": _pack_booleans}


def _of_element(
    values: Sequence[Any], element: Element, pack: _Pack, error: Exception
) -> Exception:
    """Returns the error with the index and the value of the element that caused it."""
    for place, value in enumerate(values):
        try:
            pack([value], element.format)
        except (TypeError, ValueError, OverflowError) as found:
            # The error's own class may take other arguments.
            kinds = (TypeError, OverflowError, ValueError)
            kind = next(one for one in kinds if isinstance(found, one))
            shown = reprlib.repr(value)
            return kind(
                f"element {place:,} is {shown}, which is not a valid {element.name}: {found}"
            )
    return error


# Cutting into chunks.


def cut(data: memoryview, pipe: Pipe) -> Iterator[memoryview]:
    """Cuts all elements of a pipe into chunks: one if the pipe has no range, else as evenly as
    possible.

    Raises:
        InvalidBound: this number of elements cannot be cut into chunks of the pipe's range. Nothing
            was cut.
    """
    stride = pipe.element.stride
    count = len(data) // stride
    if not count:
        return
    chunks = _chunks_for(count, pipe)
    least, larger = divmod(count, chunks)
    start = 0
    for place in range(chunks):
        end = start + (least + (place < larger)) * stride
        yield data[start:end]
        start = end


def _chunks_for(count: int, pipe: Pipe) -> int:
    """Returns the number of chunks for ``count`` elements.

    Raises:
        InvalidBound: no number of chunks fits the range.
    """
    limits = pipe.range
    if limits is None:
        return 1
    # With the fewest chunks, each chunk has the most elements, and so reaches the lower limit if it
    # can.
    chunks = -(-count // limits.high)
    if not _can_be_cut(count, limits):
        fewer, more = (chunks - 1) * limits.high, chunks * limits.low
        cure = f"{fewer:,} or {more:,}" if fewer else f"{more:,}"
        elements = "element" if count == 1 else "elements"
        raise InvalidBound(
            f"{count:,} {elements} for the pipe {pipe.name} cannot be cut into chunks of "
            f"{limits.low:,} to {limits.high:,}; pass {cure}"
        )
    return chunks


def _can_be_cut(count: int, limits: Range) -> bool:
    return -(-count // limits.high) * limits.low <= count


class Cutter:
    """Cuts the elements of a source of unknown length into chunks that the pipe's range allows.

    Some elements are held back, so that the last ones can be cut, however many there are. For
    chunks of 10 to 100, 10 elements are held back; for chunks of 10 to 12, 50, because every number
    from 50 on can be cut. At most :data:`HELD` bytes, or one chunk, are held back.

    If nothing must be held back, the chunks are the source's own memory; else they are copies.
    """

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._stride = pipe.element.stride
        self._most = max(PIECE // self._stride, 1)
        self._low = 1
        self._reserve = 0
        self._held = bytearray()
        self._total = 0
        limits = pipe.range
        if limits is None:
            return
        self._low = limits.low
        if limits.low <= 1:
            self._most = min(self._most, limits.high)
            return
        self._most = limits.high
        if limits.low < limits.high:
            # k chunks hold k * low to k * high elements. From this k on, there is no gap between
            # the numbers that k and k + 1 chunks hold.
            chunks = -(-(limits.low - 1) // (limits.high - limits.low))
            self._reserve = min(chunks * limits.low, max(limits.high, HELD // self._stride))

    def add(self, data: memoryview) -> Iterator[memoryview]:
        """Takes whole elements, and yields the chunks that are ready. The caller must take all of
        them.
        """
        if self._low <= 1:
            step = self._most * self._stride
            for start in range(0, len(data), step):
                yield data[start : start + step]
            return
        self._total += len(data) // self._stride
        for start in range(0, len(data), PIECE):
            self._held += data[start : start + PIECE]
            yield from self._ready()

    def _ready(self) -> Iterator[memoryview]:
        held = self._held
        while True:
            count = min(len(held) // self._stride - self._reserve, self._most)
            if count < self._low:
                return
            size = count * self._stride
            data = held[:size]
            del held[:size]
            yield memoryview(data)

    def rest(self) -> Iterator[memoryview]:
        """Yields the last chunks, at the end of the source.

        Raises:
            InvalidBound: the last elements cannot be cut into chunks of the pipe's range.
        """
        limits = self._pipe.range
        left = len(self._held) // self._stride
        if limits is not None and not _can_be_cut(left, limits):
            _chunks_for(self._total, self._pipe)  # raises, if the total cannot be cut either
            raise InvalidBound(
                f"the last {left:,} of {self._total:,} elements for the pipe {self._pipe.name} "
                f"cannot be cut into chunks of {limits.low:,} to {limits.high:,}; pass memory, "
                "which is cut as a whole"
            )
        yield from cut(memoryview(self._held), self._pipe)
