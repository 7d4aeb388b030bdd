"""Between a user's elements and octets, with as little copying as there can be."""

from __future__ import annotations

import reprlib
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from ..definition.elements import Element, Structure, layout_of, truth_of
from ..errors import InvalidBound

if TYPE_CHECKING:
    from ..definition.operations import Pipe
    from ..definition.parameters import Range

__all__ = ["Cutter", "Structures", "chunk_of", "cut", "octets_of"]

# What struct and the buffer protocol call numbers, by kind: sizes differ from system to system for
# some of them, and the item's size is compared anyway.
_KINDS = {
    **dict.fromkeys("bhilqn", "signed"),
    **dict.fromkeys("BHILQNP", "unsigned"),
    **dict.fromkeys("efd", "float"),
    "?": "boolean",
}
_OCTETS = ("B", "b", "c")

# Octets of a chunk, where its pipe has no range, and of what is copied at a time where it has one.
PIECE = 256 * 1024
# Octets that are held back of a source that does not say where it ends.
HELD = 4 * 1024 * 1024


class Structures(Sequence[Structure]):
    """Structures that have come, each made when it is asked for.

    Attributes:
        memory: what they lie in, one after the other, each with its padding.
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
                raise ValueError("a chunk is cut without steps")
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
        """For NumPy, which so makes a structured array over the same memory. It looks here only
        where there is no ``__buffer__`` (PEP 688), which would give it plain octets.
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


def chunk_of(octets: memoryview, element: Element) -> Any:
    """Octets as what a user gets, read-only, since other chunks may lie in the same memory.

    Returns:
        Memory of the element's type, or :class:`Structures`.
    """
    octets = octets.toreadonly()
    if element.structure is not None:
        return Structures(octets, element)
    return octets if element.format == "B" else octets.cast(element.format)  # type: ignore[call-overload]


def octets_of(elements: object, element: Element) -> memoryview:
    """A user's elements as octets, each with its padding; memory is used as it is.

    Raises:
        TypeError, ValueError, OverflowError: they are no such elements.
    """
    if isinstance(elements, Structures):
        elements = elements.memory
    elif isinstance(elements, str):
        raise TypeError(f"a pipe of {element.name} takes no str; encode it")
    try:
        view = memoryview(elements)  # type: ignore[arg-type]
    except TypeError:
        pass
    else:
        return _memory(view, element)
    if isinstance(elements, Structure) or not isinstance(elements, Iterable):
        raise TypeError(
            f"a pipe of {element.name} takes memory or an iterable of elements, not {elements!r}"
        )
    return _pack(elements, element)


def _memory(view: memoryview, element: Element) -> memoryview:
    if not view.c_contiguous:
        raise TypeError("the elements must be contiguous memory")
    letter = view.format.lstrip("@=<")
    if letter not in _OCTETS:
        fits = view.itemsize == element.stride and (
            element.structure is not None or _KINDS.get(letter) == _KINDS[element.format]
        )
        if not fits:
            raise TypeError(
                f"memory of format {view.format!r}, {view.itemsize} bytes each, given to a pipe of "
                f"{element.name}; convert it"
            )
    octets = view.cast("B") if view.nbytes else memoryview(b"")
    if len(octets) % element.stride:
        raise ValueError(
            f"{len(octets):,} bytes are no whole number of {element.name}, {element.stride} bytes "
            "each"
        )
    return octets


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
        # An array would make an infinity of what is too large.
        return memoryview(struct.pack(f"<{len(values)}{letter}", *values))
    except struct.error:
        return _pack_numbers(values, letter)  # which says what is wrong with them


def _pack_booleans(values: Sequence[Any], letter: str) -> memoryview:
    try:
        octets = bytes(values)
    except (TypeError, ValueError):
        octets = None
    if octets is None or octets.translate(None, b"\0\1"):
        octets = bytes(map(truth_of, values))
    return memoryview(octets)


_Pack = Callable[[Sequence[Any], str], memoryview]
_PACKERS: dict[str, _Pack] = {"f": _pack_floats, "?": _pack_booleans}


def _of_element(
    values: Sequence[Any], element: Element, pack: _Pack, error: Exception
) -> Exception:
    """The same error, saying which of the values it is about."""
    for place, value in enumerate(values):
        try:
            pack([value], element.format)
        except (TypeError, ValueError, OverflowError) as found:
            # Its class itself may take other arguments.
            kinds = (TypeError, OverflowError, ValueError)
            kind = next(one for one in kinds if isinstance(found, one))
            shown = reprlib.repr(value)
            return kind(f"element {place:,} is {shown}, which is no {element.name}: {found}")
    return error


# From a source to chunks.


def cut(octets: memoryview, pipe: Pipe) -> Iterator[memoryview]:
    """Cuts all that goes into a pipe, as evenly as it can be where the pipe has a range.

    Raises:
        InvalidBound: so many elements make no chunks of that range; nothing was cut.
    """
    stride = pipe.element.stride
    count = len(octets) // stride
    if not count:
        return
    chunks = _chunks_for(count, pipe)
    least, larger = divmod(count, chunks)
    start = 0
    for place in range(chunks):
        end = start + (least + (place < larger)) * stride
        yield octets[start:end]
        start = end


def _chunks_for(count: int, pipe: Pipe) -> int:
    """Into how many chunks so many elements are cut.

    Raises:
        InvalidBound: there is no such number.
    """
    limits = pipe.range
    if limits is None:
        return 1
    # The fewest that there may be have the most room.
    chunks = -(-count // limits.high)
    if not _can_be_cut(count, limits):
        fewer, more = (chunks - 1) * limits.high, chunks * limits.low
        cure = f"{fewer:,} or {more:,}" if fewer else f"{more:,}"
        elements = "element" if count == 1 else "elements"
        raise InvalidBound(
            f"{count:,} {elements} for the pipe {pipe.name} cannot be cut into chunks of "
            f"{limits.low:,} to {limits.high:,}; give it {cure}"
        )
    return chunks


def _can_be_cut(count: int, limits: Range) -> bool:
    return -(-count // limits.high) * limits.low <= count


class Cutter:
    """Cuts what a source gives, little by little, into chunks that the pipe's range allows.

    Where the source ends is not known before. So that what comes last can be cut whatever it is,
    some elements are held back: of chunks of 10 to 100 it is 10, of chunks of 10 to 12 it is 50,
    above which any number can be cut; and at most :data:`HELD` octets, or one chunk.

    What is cut is the source's own memory where nothing has to be held back, and else a copy.
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
            # k chunks have k * low to k * high elements; from this k on there is no gap before
            # what k + 1 have.
            chunks = -(-(limits.low - 1) // (limits.high - limits.low))
            self._reserve = min(chunks * limits.low, max(limits.high, HELD // self._stride))

    def add(self, octets: memoryview) -> Iterator[memoryview]:
        """Takes whole elements; what can go now. All of it has to be taken."""
        if self._low <= 1:
            step = self._most * self._stride
            for start in range(0, len(octets), step):
                yield octets[start : start + step]
            return
        self._total += len(octets) // self._stride
        for start in range(0, len(octets), PIECE):
            self._held += octets[start : start + PIECE]
            yield from self._ready()

    def _ready(self) -> Iterator[memoryview]:
        held = self._held
        while True:
            count = min(len(held) // self._stride - self._reserve, self._most)
            if count < self._low:
                return
            size = count * self._stride
            octets = held[:size]
            del held[:size]
            yield memoryview(octets)

    def rest(self) -> Iterator[memoryview]:
        """What goes at the end of the source.

        Raises:
            InvalidBound: it makes no chunks of the pipe's range.
        """
        limits = self._pipe.range
        left = len(self._held) // self._stride
        if limits is not None and not _can_be_cut(left, limits):
            _chunks_for(self._total, self._pipe)  # says so where all of it could not be, either
            raise InvalidBound(
                f"{self._total:,} elements have come for the pipe {self._pipe.name}, and the last "
                f"{left:,} make no chunks of {limits.low:,} to {limits.high:,}; give it memory, "
                "which is cut as a whole"
            )
        yield from cut(memoryview(self._held), self._pipe)
