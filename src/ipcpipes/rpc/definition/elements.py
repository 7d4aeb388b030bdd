"""The elements of pipes: values of a fixed size, and their layout in memory and on the wire.

The layout is NDR's (C706, chapter 14): little-endian; the position of each scalar, counted from the
first byte of the pipe, is a multiple of its size.
"""

from __future__ import annotations

import enum
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar, TypeAlias, get_args, get_origin, get_type_hints

import msgspec

from ...errors import NotSupported
from ..errors import BadElement, BrokenRule
from .parameters import unaliased

__all__ = [
    "Element",
    "Length",
    "Structure",
    "boolean",
    "byte",
    "checked_boolean",
    "element_of",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]

if sys.byteorder != "little":
    raise NotSupported("ipcpipes.rpc needs a little-endian processor: it does not convert elements")

LARGEST = 60 * 1024
"""The largest size of one element, in bytes. An element and its count must fit into the smallest
frame that an end may choose. They must also fit into half of the smallest credit, because the
receiver grants credit only in amounts of half the window or more.
"""


@dataclass(frozen=True)
class Element:
    """The layout of one element in memory.

    Attributes:
        name: the name that error messages and the protocol show.
        size: in bytes.
        alignment: the position of an element is a multiple of this: 1, 2, 4 or 8.
        format: in the notation of :mod:`struct`: one letter for a scalar; several letters with the
            padding for a structure.
        structure: the class of its values; ``None`` for scalars.
    """

    name: str
    size: int
    alignment: int
    format: str
    structure: type[Structure] | None = None

    @cached_property
    def stride(self) -> int:
        """The distance from one element to the next. There is no padding after the last one."""
        return -(-self.size // self.alignment) * self.alignment


# For a type checker these are int, float and bool.
byte: TypeAlias = Annotated[int, Element("byte", 1, 1, "B"), msgspec.Meta(ge=0, le=255)]
"""An ``int``, 0 to 255: one byte. A pipe of it also takes files and bytes-like objects."""
int8: TypeAlias = Annotated[int, Element("int8", 1, 1, "b"), msgspec.Meta(ge=-(2**7), le=2**7 - 1)]
"""An ``int``, -2**7 to 2**7 - 1: one byte."""
int16: TypeAlias = Annotated[
    int, Element("int16", 2, 2, "h"), msgspec.Meta(ge=-(2**15), le=2**15 - 1)
]
"""An ``int``, -2**15 to 2**15 - 1: 2 bytes."""
int32: TypeAlias = Annotated[
    int, Element("int32", 4, 4, "i"), msgspec.Meta(ge=-(2**31), le=2**31 - 1)
]
"""An ``int``, -2**31 to 2**31 - 1: 4 bytes."""
int64: TypeAlias = Annotated[
    int, Element("int64", 8, 8, "q"), msgspec.Meta(ge=-(2**63), le=2**63 - 1)
]
"""An ``int``, -2**63 to 2**63 - 1: 8 bytes."""
uint8: TypeAlias = Annotated[int, Element("uint8", 1, 1, "B"), msgspec.Meta(ge=0, le=2**8 - 1)]
"""An ``int``, 0 to 2**8 - 1: one byte."""
uint16: TypeAlias = Annotated[int, Element("uint16", 2, 2, "H"), msgspec.Meta(ge=0, le=2**16 - 1)]
"""An ``int``, 0 to 2**16 - 1: 2 bytes."""
uint32: TypeAlias = Annotated[int, Element("uint32", 4, 4, "I"), msgspec.Meta(ge=0, le=2**32 - 1)]
"""An ``int``, 0 to 2**32 - 1: 4 bytes."""
# uint64 needs no upper limit, because MessagePack has no larger integers.
uint64: TypeAlias = Annotated[int, Element("uint64", 8, 8, "Q"), msgspec.Meta(ge=0)]
"""An ``int``, 0 to 2**64 - 1: 8 bytes."""
float32: TypeAlias = Annotated[float, Element("float32", 4, 4, "f")]
"""A ``float``, rounded to 4 bytes (IEEE 754 binary32)."""
float64: TypeAlias = Annotated[float, Element("float64", 8, 8, "d")]
"""A ``float``: 8 bytes (IEEE 754 binary64)."""
boolean: TypeAlias = Annotated[bool, Element("boolean", 1, 1, "?")]
"""A ``bool``: one byte."""

_SCALARS: list[object] = [
    *(byte, int8, int16, int32, int64, uint8, uint16, uint32, uint64),
    *(float32, float64, boolean),
]

# An enumeration has the layout of [v1_enum], 32 bits. MIDL's plain enum has 16 bits, and MIDL does
# not allow it in a pipe.
_ENUM = Element("enum", 4, 4, "i")


def Length(length: int) -> msgspec.Meta:  # noqa: N802  # it is used like a type
    """Makes a list an array of fixed length: ``Annotated[list[rpc.float32], rpc.Length(3)]``.

    Args:
        length: 1 or more.
    """
    if type(length) is not int or length < 1:
        raise ValueError(f"an array has 1 element or more, not {length!r}")
    return msgspec.Meta(min_length=length, max_length=length)


class Structure(msgspec.Struct):
    """The base class of structures in pipes. The fields are scalars, arrays of fixed length, and
    structures of these.

    >>> class Sample(rpc.Structure):
    ...     time: rpc.int64
    ...     channels: Annotated[list[rpc.float32], rpc.Length(4)]
    >>> Sample(time=0, channels=[0.0, 0.0, 0.0, 0.0])

    It is a :class:`msgspec.Struct`, and can also be a parameter or a result.
    """

    _rpc_names: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # The fields are read later, when an interface has a pipe of this structure. If their types
        # are text (from __future__ import annotations), the local names of the function around the
        # class statement are gone by then. So the names that the text uses are kept.
        texts = [one for one in vars(cls).get("__annotations__", {}).values() if type(one) is str]
        frame = sys._getframe(1)
        if texts and frame.f_locals is not frame.f_globals:
            around = frame.f_locals
            cls._rpc_names = {
                name: around[name] for text in texts for name in _names_in(text) if name in around
            }


def _names_in(text: str) -> tuple[str, ...]:
    try:
        return compile(text, "<annotation>", "eval").co_names
    except SyntaxError:
        return ()  # field_types raises the error


def field_types(structure: type[Structure]) -> dict[str, Any]:
    """Returns the types of the structure's fields.

    Raises:
        Exception: an annotation cannot be evaluated.
    """
    names: dict[str, Any] = {}
    for base in reversed(structure.__mro__):
        names |= getattr(base, "_rpc_names", {})
    names[structure.__name__] = structure  # it may refer to itself, which is refused later
    return get_type_hints(structure, localns=names, include_extras=True)


def checked_boolean(value: object) -> bool:
    """Returns the value as a ``bool``. Values such as 5 or "no" are refused, as probable mistakes.

    Raises:
        ValueError: the value is not a boolean.
    """
    # NumPy's booleans are neither bool nor int.
    is_boolean = isinstance(value, int) or str(getattr(value, "dtype", None)) == "bool"
    if is_boolean and value in (0, 1):
        return bool(value)
    raise ValueError(f"a boolean is True or False, or 1 or 0, not {value!r}")


def element_of(annotation: object) -> Element:
    """Returns the element for a type.

    Raises:
        BrokenRule: no pipe can carry the type.
    """
    annotation = unaliased(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Structure):
        return layout_of(annotation).element
    if isinstance(annotation, type) and issubclass(annotation, enum.IntEnum):
        if not all(-(2**31) <= member < 2**31 for member in annotation):
            raise BrokenRule("elements", f"{annotation.__name__} has values beyond 32 bits")
        return _ENUM
    if get_origin(annotation) is Annotated:
        base, *notes = get_args(annotation)
        elements = [note for note in notes if isinstance(note, Element)]
        # The annotation is compared as a whole, because other metadata beside the Element would
        # have no effect; it is refused below.
        if annotation in _SCALARS:
            return elements[0]
        if isinstance(base, type) and issubclass(base, enum.IntEnum):
            raise BrokenRule(
                "elements",
                f"an enumeration has 32 bits ([v1_enum]) and no other size; use {base.__name__} "
                "as it is",
            )
        if elements or (isinstance(base, type) and issubclass(base, Structure)):
            raise BrokenRule(
                "no transmit_as", "an element has one fixed representation; remove the annotation"
            )
    raise BrokenRule("elements", _why_not(annotation))


def _why_not(annotation: object) -> str:
    """Returns why a type cannot be an element, and what to use instead."""
    from types import NoneType, UnionType
    from typing import Union

    origin = get_origin(annotation)
    shown = getattr(annotation, "__name__", None) or str(annotation)
    if annotation in (int, float, bool):
        wide = {int: "rpc.int64", float: "rpc.float64", bool: "rpc.boolean"}[annotation]
        return f"{shown} has no fixed size; use a type such as {wide}"
    if annotation in (None, NoneType):
        return "void cannot be an element; remove the parameter"
    if origin in (Union, UnionType):
        if NoneType in get_args(annotation):
            return (
                "an optional value is a pointer; use a structure with a boolean that says whether "
                "it is set"
            )
        return "a union cannot be an element; use a structure with a field for each arm"
    if annotation in (bytes, bytearray, memoryview, str):
        return (
            f"{shown} is a conformant array, its size is not fixed; use a pipe of rpc.byte, or a "
            "structure with an array of rpc.Length(n)"
        )
    if _fixed_array(annotation) is not None:
        return "a bare array cannot be an element; wrap it in an rpc.Structure"
    if origin is Annotated and get_origin(get_args(annotation)[0]) is list:
        lengths = [one for one in get_args(annotation)[1:] if isinstance(one, msgspec.Meta)]
        if len(lengths) > 1:
            return "an array has one length; remove the other rpc.Length"
    if origin in (list, tuple, set, frozenset, dict) or annotation in (list, tuple, set, dict):
        return (
            f"{shown} is a conformant or varying array, its size is not fixed; use the pipe "
            "itself for it, or a structure with an array of rpc.Length(n)"
        )
    if isinstance(annotation, type) and any(
        hasattr(annotation, name)
        for name in ("fileno", "aclose", "receive_some", "_rpc_definition")
    ):
        return f"{shown} is a handle, which is not valid in another process"
    return (
        f"{shown} is a pointer, or has no fixed size; use a type of ipcpipes.rpc or a "
        "subclass of rpc.Structure"
    )


def _fixed_array(annotation: object) -> tuple[object, int] | None:
    """Returns the type and the number of the items of a list with a :func:`Length`, or ``None``."""
    if get_origin(annotation) is not Annotated:
        return None
    base, *notes = get_args(annotation)
    if get_origin(base) is not list or len(get_args(base)) != 1 or len(notes) != 1:
        return None
    note = notes[0]
    if not isinstance(note, msgspec.Meta) or note.min_length is None:
        return None
    return (get_args(base)[0], note.min_length) if note.min_length == note.max_length else None


@dataclass(frozen=True)
class Layout:
    """Converts structures, and the fields of structures, to scalars and back.

    Attributes:
        element: the layout of the values in memory; its ``structure`` is set for structures only.
        flatten: appends the scalars of a value to a list.
        build: makes a value from the next scalars.
        numpy: a typestr for NumPy; for a structure, a name, a format and an offset for each field.
            It is not a list of fields, because a list would need a name for each gap, and that name
            could equal the name of a field: NumPy's own are "f1" and so on.
        shape: the shape of an array; empty for other values.
    """

    element: Element
    flatten: Callable[[Any, list[Any]], None]
    build: Callable[[Iterator[Any]], Any]
    numpy: Any
    shape: tuple[int, ...] = ()

    @cached_property
    def _packer(self) -> struct.Struct:
        return struct.Struct("<" + self.element.format)

    @property
    def array_description(self) -> dict[str, Any]:
        """The description for NumPy's dtype of an array of such structures."""
        return {**self.numpy, "itemsize": self.element.stride}

    def pack_into(self, memory: bytearray, position: int, value: object) -> None:
        """Raises:
        TypeError: the value is not an instance of this structure, or the value of an array field
            has no length.
        ValueError: a field does not fit.
        """
        scalars: list[Any] = []
        try:
            self.flatten(value, scalars)
            self._packer.pack_into(memory, position, *scalars)
        except (struct.error, ValueError, OverflowError) as error:
            raise ValueError(f"{value!r} does not fit its structure: {error}") from None

    def unpack_from(self, memory: memoryview, position: int) -> Any:
        """Raises:
        BadStubData: the memory does not hold a valid structure: a value is not a member of its
            enumeration, or ``__post_init__`` of the class refuses it.
        """
        try:
            return self.build(iter(self._packer.unpack_from(memory, position)))
        except Exception as error:
            assert self.element.structure is not None
            name, place = self.element.structure.__name__, position // self.element.stride
            raise BadElement(
                f"element {place:,} of this chunk is not a valid {name}: {error}"
            ) from error


@cache
def layout_of(structure: type[Structure]) -> Layout:
    """Returns the layout of a structure, which is computed once.

    Raises:
        BrokenRule: no pipe can carry the type of a field.
    """
    layout = _structure_layout(structure)
    if layout.element.size > LARGEST:
        raise BrokenRule(
            "elements",
            f"{structure.__name__} has {layout.element.size:,} bytes, above {LARGEST:,}; use a "
            "pipe of its parts",
        )
    return layout


def _structure_layout(
    structure: type[Structure], within: tuple[type[Structure], ...] = ()
) -> Layout:
    if structure in within:
        raise BrokenRule(
            "elements", f"{structure.__name__} would contain itself, which needs a pointer"
        )
    try:
        hints = field_types(structure)
    except Exception as error:
        raise BrokenRule(
            "elements", f"the fields of {structure.__name__} cannot be understood: {error}"
        ) from None
    names = structure.__struct_fields__
    if not names:
        raise BrokenRule("elements", f"{structure.__name__} has no fields; add one")
    parts: list[Layout] = []
    formats: list[Any] = []
    offsets: list[int] = []
    size, letters, alignment = 0, "", 1
    for name in names:
        try:
            part = _layout(hints[name], (*within, structure))
        except BrokenRule as error:
            text = f"its field {structure.__name__}.{name}: {error.text}"
            raise BrokenRule(error.rule, text) from None
        gap = -size % part.element.alignment
        if gap:
            letters += f"{gap}x"
        letters += part.element.format
        formats.append((part.numpy, part.shape) if part.shape else part.numpy)
        offsets.append(size + gap)
        size += gap + part.element.size
        alignment = max(alignment, part.element.alignment)
        parts.append(part)

    def flatten(value: Any, scalars: list[Any]) -> None:
        if not isinstance(value, structure):
            raise TypeError(f"an element is a {structure.__name__}, not {value!r}")
        for name, part in zip(names, parts, strict=True):
            part.flatten(getattr(value, name), scalars)

    has_only_positional = structure.__match_args__ == names

    def build(scalars: Iterator[Any]) -> Any:
        values = [part.build(scalars) for part in parts]
        if has_only_positional:
            return structure(*values)
        return structure(**dict(zip(names, values, strict=True)))

    described = {"names": names, "formats": formats, "offsets": offsets, "itemsize": size}
    fields = ", ".join(f"{n}: {part.element.name}" for n, part in zip(names, parts, strict=True))
    return Layout(
        Element(f"{{{fields}}}", size, alignment, letters, structure), flatten, build, described
    )


def _layout(annotation: object, within: tuple[type[Structure], ...]) -> Layout:
    annotation = unaliased(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Structure):
        return _structure_layout(annotation, within)
    array = _fixed_array(annotation)
    return _scalar_layout(annotation) if array is None else _array_layout(*array, within)


_NUMPY = {**dict.fromkeys("bhiq", "i"), **dict.fromkeys("BHIQ", "u"), "f": "f", "d": "f", "?": "b"}


def _scalar_layout(kind: Any) -> Layout:
    element = element_of(kind)
    order = "|" if element.size == 1 else "<"
    typestr = f"{order}{_NUMPY[element.format]}{element.size}"
    if element is _ENUM:  # both ends refuse other numbers than those of the members
        return Layout(
            element,
            lambda value, scalars: scalars.append(kind(value)),
            lambda scalars: kind(next(scalars)),
            typestr,
        )
    if element.format == "?":
        return Layout(
            element, lambda value, scalars: scalars.append(checked_boolean(value)), next, typestr
        )
    return Layout(element, lambda value, scalars: scalars.append(value), next, typestr)


def _array_layout(annotation: object, length: int, within: tuple[type[Structure], ...]) -> Layout:
    part = _layout(annotation, within)
    item = part.element
    gap = -item.size % item.alignment
    size = length * item.size + (length - 1) * gap
    if size > LARGEST:
        raise BrokenRule("elements", f"an array of {size:,} bytes is above {LARGEST:,}")
    if len(item.format) == 1:
        letters = f"{length}{item.format}"
    else:
        letters = (f"{gap}x" * bool(gap)).join([item.format] * length)

    def flatten(value: Sequence[Any], scalars: list[Any]) -> None:
        if len(value) != length:
            raise ValueError(f"an array of {length} elements, not {len(value)}")
        for each in value:
            part.flatten(each, scalars)

    def build(scalars: Iterator[Any]) -> Any:
        return [part.build(scalars) for _ in range(length)]

    element = Element(f"{item.name}[{length}]", size, item.alignment, letters)
    # In NumPy, every item of an array has padding, also the last one, so such an array is opaque
    # bytes.
    numpy, shape = (f"|V{size}", ()) if gap else (part.numpy, (length, *part.shape))
    return Layout(element, flatten, build, numpy, shape)
