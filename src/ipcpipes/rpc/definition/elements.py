"""What a pipe can carry: elements of a fixed size, and how they lie in memory and on the wire.

The layout is NDR's (C706, chapter 14): little-endian, each scalar at a multiple of its own size
from where the pipe's octets begin.
"""

from __future__ import annotations

import enum
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeAlias, get_args, get_origin, get_type_hints

import msgspec

from ...errors import NotSupported
from ..errors import BadElement
from .parameters import unaliased

__all__ = [
    "Element",
    "IllegalElement",
    "Length",
    "Structure",
    "boolean",
    "byte",
    "element_of",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "truth_of",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]

if sys.byteorder != "little":
    raise NotSupported("ipcpipes.rpc hands out what has come as it is, which is little-endian")

LARGEST = 60 * 1024
"""Bytes of one element. With its count it has to fit into the smallest frame there may be, and into
half of the smallest credit, below which none is given back."""


@dataclass(frozen=True)
class Element:
    """How one element lies in memory.

    Attributes:
        name: what messages and the protocol call it.
        size: octets of one.
        alignment: what its position is a multiple of: 1, 2, 4 or 8.
        format: what :mod:`struct` calls it: one letter for a scalar, and for a structure letters
            with its padding.
        structure: the class of its values, ``None`` for scalars.
    """

    name: str
    size: int
    alignment: int
    format: str
    structure: type[Structure] | None = None

    @property
    def stride(self) -> int:
        """From one element to the next. There is no padding after the last one."""
        return -(-self.size // self.alignment) * self.alignment


class IllegalElement(Exception):
    """A type that no pipe can carry: (rule, what it is and what to take instead)."""


# For a type checker they are what their values are.
byte: TypeAlias = Annotated[int, Element("byte", 1, 1, "B"), msgspec.Meta(ge=0, le=255)]
int8: TypeAlias = Annotated[int, Element("int8", 1, 1, "b"), msgspec.Meta(ge=-(2**7), le=2**7 - 1)]
int16: TypeAlias = Annotated[
    int, Element("int16", 2, 2, "h"), msgspec.Meta(ge=-(2**15), le=2**15 - 1)
]
int32: TypeAlias = Annotated[
    int, Element("int32", 4, 4, "i"), msgspec.Meta(ge=-(2**31), le=2**31 - 1)
]
int64: TypeAlias = Annotated[
    int, Element("int64", 8, 8, "q"), msgspec.Meta(ge=-(2**63), le=2**63 - 1)
]
uint8: TypeAlias = Annotated[int, Element("uint8", 1, 1, "B"), msgspec.Meta(ge=0, le=2**8 - 1)]
uint16: TypeAlias = Annotated[int, Element("uint16", 2, 2, "H"), msgspec.Meta(ge=0, le=2**16 - 1)]
uint32: TypeAlias = Annotated[int, Element("uint32", 4, 4, "I"), msgspec.Meta(ge=0, le=2**32 - 1)]
# MessagePack itself ends where this does.
uint64: TypeAlias = Annotated[int, Element("uint64", 8, 8, "Q"), msgspec.Meta(ge=0)]
float32: TypeAlias = Annotated[float, Element("float32", 4, 4, "f")]
float64: TypeAlias = Annotated[float, Element("float64", 8, 8, "d")]
boolean: TypeAlias = Annotated[bool, Element("boolean", 1, 1, "?")]

_SCALARS: list[object] = [
    byte,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
    float32,
    float64,
    boolean,
]

# [v1_enum]: a plain enum of MIDL has 16 bits, and no pipe can carry it.
_ENUM = Element("enum", 4, 4, "i")


def Length(length: int) -> msgspec.Meta:  # noqa: N802  # used as a type is
    """Makes a list an array of so many elements: ``Annotated[list[rpc.float32], rpc.Length(3)]``.

    Args:
        length: 1 or more.
    """
    if type(length) is not int or length < 1:
        raise ValueError(f"an array has 1 element or more, not {length!r}")
    return msgspec.Meta(min_length=length, max_length=length)


class Structure(msgspec.Struct):
    """The base of structures that a pipe can carry: fixed scalars, arrays, and structures of them.

    >>> class Sample(rpc.Structure):
    ...     time: rpc.int64
    ...     channels: Annotated[list[rpc.float32], rpc.Length(4)]
    >>> Sample(time=0, channels=[0.0, 0.0, 0.0, 0.0])

    It is a :class:`msgspec.Struct`, so that it can be a parameter or a result too.
    """

    _rpc_names: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Its fields are looked at when an interface has a pipe of it. Where their types are text
        # (from __future__ import annotations), nobody knows by then what the names in it were in
        # the function that the class statement stands in.
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
        return ()  # which is said where the type is asked for


def hints_of(structure: type[Structure]) -> dict[str, Any]:
    """The types of its fields.

    Raises:
        Exception: an annotation means nothing.
    """
    names: dict[str, Any] = {}
    for base in reversed(structure.__mro__):
        names |= getattr(base, "_rpc_names", {})
    names[structure.__name__] = structure  # for who tells that it would hold itself
    return get_type_hints(structure, localns=names, include_extras=True)


def truth_of(value: object) -> bool:
    """A boolean that somebody has given: 5 or "no" would be one by a mistake.

    Raises:
        ValueError: it is none.
    """
    # NumPy's are neither bool nor int.
    is_one = isinstance(value, int) or str(getattr(value, "dtype", None)) == "bool"
    if is_one and value in (0, 1):
        return bool(value)
    raise ValueError(f"a boolean is True or False, or 1 or 0, not {value!r}")


def element_of(annotation: object) -> Element:
    """The element that a type stands for.

    Raises:
        IllegalElement: no pipe can carry it.
    """
    annotation = unaliased(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Structure):
        return layout_of(annotation).element
    if isinstance(annotation, type) and issubclass(annotation, enum.IntEnum):
        if not all(-(2**31) <= member < 2**31 for member in annotation):
            raise IllegalElement("elements", f"{annotation.__name__} has values beyond 32 bits")
        return _ENUM
    if get_origin(annotation) is Annotated:
        base, *notes = get_args(annotation)
        elements = [note for note in notes if isinstance(note, Element)]
        # Whatever else is noted beside it would be lost on the way.
        if annotation in _SCALARS:
            return elements[0]
        if isinstance(base, type) and issubclass(base, enum.IntEnum):
            raise IllegalElement(
                "elements",
                f"an enumeration has 32 bits ([v1_enum]) and no other size; take {base.__name__} "
                "as it is",
            )
        if elements or (isinstance(base, type) and issubclass(base, Structure)):
            raise IllegalElement(
                "no transmit_as", "an element has one representation; leave the annotation out"
            )
    raise IllegalElement("elements", _why_not(annotation))


def _why_not(annotation: object) -> str:
    """For each kind of type that somebody may try: what it is, and what to take instead."""
    from types import NoneType, UnionType
    from typing import Union

    origin = get_origin(annotation)
    shown = getattr(annotation, "__name__", None) or str(annotation)
    if annotation in (int, float, bool):
        wide = {int: "rpc.int64", float: "rpc.float64", bool: "rpc.boolean"}[annotation]
        return f"{shown} has no fixed size; take a type such as {wide}"
    if annotation in (None, NoneType):
        return "void is no element; leave the parameter out"
    if origin in (Union, UnionType):
        if NoneType in get_args(annotation):
            return "an optional value is a pointer; take a structure with a boolean that says so"
        return "a union is no element; take a structure with a field for each arm"
    if annotation in (bytes, bytearray, memoryview, str):
        return (
            f"{shown} is a conformant array, its size is not fixed; take a pipe of rpc.byte, or a "
            "structure with an array of rpc.Length(n)"
        )
    if _fixed_array(annotation) is not None:
        return "a bare array is no element; wrap it in an rpc.Structure"
    if origin is Annotated and get_origin(get_args(annotation)[0]) is list:
        lengths = [one for one in get_args(annotation)[1:] if isinstance(one, msgspec.Meta)]
        if len(lengths) > 1:
            return "an array has one length; leave the other rpc.Length out"
    if origin in (list, tuple, set, frozenset, dict) or annotation in (list, tuple, set, dict):
        return (
            f"{shown} is a conformant or varying array, its size is not fixed; take the pipe "
            "itself for it, or a structure with an array of rpc.Length(n)"
        )
    if isinstance(annotation, type) and any(
        hasattr(annotation, name)
        for name in ("fileno", "aclose", "receive_some", "_rpc_definition")
    ):
        return f"{shown} is a handle, which means nothing to another process"
    return (
        f"{shown} is a pointer, or nothing that has a fixed size; take a type of ipcpipes.rpc or a "
        "subclass of rpc.Structure"
    )


def _fixed_array(annotation: object) -> tuple[object, int] | None:
    """(what it holds, how many), for a list with a :func:`Length`."""
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
    """A structure's element, and how its values become scalars and back."""

    element: Element
    name: str
    packer: struct.Struct
    flatten: Callable[[Any, list[Any]], None]
    build: Callable[[Iterator[Any]], Any]
    array_description: dict[str, Any]
    """What NumPy makes a dtype of: a name, a format and an offset for each field. A list of fields
    would need a name for each gap too, and NumPy's own are such as "f1"."""

    def pack_into(self, memory: bytearray, position: int, value: object) -> None:
        """Raises:
        TypeError: it is no such structure, or an array in it none.
        ValueError: one of its values does not fit.
        """
        scalars: list[Any] = []
        try:
            self.flatten(value, scalars)
            self.packer.pack_into(memory, position, *scalars)
        except (struct.error, ValueError, OverflowError) as error:
            raise ValueError(f"{value!r} does not fit its structure: {error}") from None

    def unpack_from(self, memory: memoryview, position: int) -> Any:
        """Raises:
        BadStubData: what lies there is no such structure: one of its values is no member of its
            enumeration, or its own ``__post_init__`` refuses it.
        """
        try:
            return self.build(iter(self.packer.unpack_from(memory, position)))
        except Exception as error:
            place = position // self.element.stride
            raise BadElement(
                f"element {place:,} of this chunk is no {self.name}: {error}"
            ) from error


_layouts: dict[type[Structure], Layout] = {}


def layout_of(structure: type[Structure]) -> Layout:
    """The layout of a structure, found once.

    Raises:
        IllegalElement: one of its fields is of a type that no pipe can carry.
    """
    layout = _layouts.get(structure)
    if layout is None:
        layout = _layouts[structure] = _lay_out(structure)
    return layout


@dataclass(frozen=True)
class _Part:
    """One field, or what an array holds: where it begins is the concern of who contains it."""

    size: int
    alignment: int
    format: str
    description: str
    flatten: Callable[[Any, list[Any]], None]
    build: Callable[[Iterator[Any]], Any]
    numpy: Any  # a typestr, or what describes a structure
    shape: tuple[int, ...] = ()


def _lay_out(structure: type[Structure]) -> Layout:
    part = _structure_part(structure)
    if part.size > LARGEST:
        raise IllegalElement(
            "elements",
            f"{structure.__name__} has {part.size:,} bytes, above {LARGEST:,}; take a pipe of what "
            "it consists of",
        )
    element = Element(part.description, part.size, part.alignment, part.format, structure)
    packer = struct.Struct("<" + part.format)
    description = {**part.numpy, "itemsize": element.stride}
    return Layout(element, structure.__name__, packer, part.flatten, part.build, description)


def _padding(position: int, alignment: int) -> int:
    return -position % alignment


def _structure_part(structure: type[Structure], within: tuple[type[Structure], ...] = ()) -> _Part:
    if structure in within:
        raise IllegalElement(
            "elements", f"{structure.__name__} would hold itself; that takes a pointer"
        )
    try:
        hints = hints_of(structure)
    except Exception as error:
        raise IllegalElement(
            "elements", f"the fields of {structure.__name__} cannot be understood: {error}"
        ) from None
    names = structure.__struct_fields__
    if not names:
        raise IllegalElement("elements", f"{structure.__name__} is empty; give it a field")
    parts = []
    formats: list[Any] = []
    offsets: list[int] = []
    size, letters, alignment = 0, "", 1
    for name in names:
        try:
            part = _part(hints[name], (*within, structure))
        except IllegalElement as error:
            rule, text = error.args
            raise IllegalElement(rule, f"its field {structure.__name__}.{name}: {text}") from None
        gap = _padding(size, part.alignment)
        if gap:
            letters += f"{gap}x"
        letters += part.format
        formats.append((part.numpy, part.shape) if part.shape else part.numpy)
        offsets.append(size + gap)
        size += gap + part.size
        alignment = max(alignment, part.alignment)
        parts.append(part)

    def flatten(value: Any, scalars: list[Any]) -> None:
        if not isinstance(value, structure):
            raise TypeError(f"an element is a {structure.__name__}, not {value!r}")
        for name, part in zip(names, parts, strict=True):
            part.flatten(getattr(value, name), scalars)

    def build(scalars: Iterator[Any]) -> Any:
        return structure(*[part.build(scalars) for part in parts])

    def build_by_name(scalars: Iterator[Any]) -> Any:
        return structure(
            **{name: part.build(scalars) for name, part in zip(names, parts, strict=True)}
        )

    if structure.__match_args__ != names:  # some are keyword-only
        build = build_by_name
    described = {"names": names, "formats": formats, "offsets": offsets, "itemsize": size}
    fields = ", ".join(f"{n}: {p.description}" for n, p in zip(names, parts, strict=True))
    return _Part(size, alignment, letters, f"{{{fields}}}", flatten, build, described)


def _part(annotation: object, within: tuple[type[Structure], ...]) -> _Part:
    annotation = unaliased(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Structure):
        return _structure_part(annotation, within)
    array = _fixed_array(annotation)
    if array is not None:
        return _array_part(*array, within)
    element = element_of(annotation)
    build: Callable[[Iterator[Any]], Any] = next
    flatten: Callable[[Any, list[Any]], None] = _flatten_scalar
    if element.format == "?":
        flatten = _flatten_boolean
    if isinstance(annotation, type) and element is _ENUM:
        build, flatten = _of_members(annotation)
    size, letter = element.size, element.format
    typestr = f"{'|' if size == 1 else '<'}{_NUMPY.get(letter, 'u')}{size}"
    return _Part(size, element.alignment, letter, element.name, flatten, build, typestr)


def _of_members(
    enumeration: type,
) -> tuple[Callable[[Iterator[Any]], Any], Callable[[Any, list[Any]], None]]:
    """How members are made of their numbers, and the reverse; neither end takes other numbers."""

    def build(scalars: Iterator[Any]) -> Any:
        return enumeration(next(scalars))

    def flatten(value: Any, scalars: list[Any]) -> None:
        scalars.append(enumeration(value))

    return build, flatten


_NUMPY = {**dict.fromkeys("bhiq", "i"), "f": "f", "d": "f", "?": "b"}


def _flatten_scalar(value: Any, scalars: list[Any]) -> None:
    scalars.append(value)


def _flatten_boolean(value: Any, scalars: list[Any]) -> None:
    scalars.append(truth_of(value))


def _array_part(annotation: object, length: int, within: tuple[type[Structure], ...]) -> _Part:
    part = _part(annotation, within)
    gap = _padding(part.size, part.alignment)
    size = length * part.size + (length - 1) * gap
    if size > LARGEST:
        raise IllegalElement("elements", f"an array of {size:,} bytes is above {LARGEST:,}")
    if len(part.format) == 1:
        letters = f"{length}{part.format}"
    else:
        letters = (f"{gap}x" * bool(gap)).join([part.format] * length)

    def flatten(value: Sequence[Any], scalars: list[Any]) -> None:
        if len(value) != length:
            raise ValueError(f"an array of {length} elements, not {len(value)}")
        for item in value:
            part.flatten(item, scalars)

    def build(scalars: Iterator[Any]) -> Any:
        return [part.build(scalars) for _ in range(length)]

    # NumPy has no array whose last item lacks its padding.
    numpy, shape = (f"|V{size}", ()) if gap else (part.numpy, (length, *part.shape))
    description = f"{part.description}[{length}]"
    return _Part(size, part.alignment, letters, description, flatten, build, numpy, shape)
