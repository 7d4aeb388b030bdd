"""Between a user's elements and octets, with as little copying as there can be."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from .elements import Element, Structure, layout_of

__all__ = ["Structures", "chunk_of", "octets_of"]

# What struct and the buffer protocol call numbers, by kind: sizes differ from system to system for
# some of them, and the item's size is compared anyway.
_KINDS = {
    **dict.fromkeys("bhilqn", "signed"),
    **dict.fromkeys("BHILQNP", "unsigned"),
    **dict.fromkeys("efd", "float"),
    "?": "boolean",
}
_OCTETS = ("B", "b", "c")


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
    """Octets as what a user gets: memory of the element's type, or :class:`Structures`."""
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
        if element.format == "?":
            return memoryview(bytes(map(bool, elements)))
        return memoryview(array(element.format, elements)).cast("B")
    layout = layout_of(element.structure)
    memory = bytearray()
    for value in elements:
        memory += bytes(element.stride)
        layout.pack_into(memory, len(memory) - element.stride, value)
    return memoryview(memory)
