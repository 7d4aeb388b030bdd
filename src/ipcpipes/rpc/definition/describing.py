"""Descriptions of the types of an interface, for programs that do not have its classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec
from msgspec import inspect

from .type_parts import RECORDS, parts_of

__all__ = [
    "FieldDescription",
    "JsonKind",
    "TypeDescription",
    "described_types",
    "json_kinds",
    "takes_bytes",
]

JsonKind = Literal["string", "number", "boolean", "null", "array", "object"]


class FieldDescription(msgspec.Struct):
    """One field: its name on the wire, and its type as text. An ``optional`` field can be omitted;
    its value is then ``default``, if that is not ``None``.
    """

    name: str
    type: str
    optional: bool = False
    default: Any = None

    def __str__(self) -> str:
        text = f"{self.name}: {self.type}"
        if not self.optional:
            return text
        return f"{text} (optional)" if self.default is None else f"{text} = {self.default!r}"


class TypeDescription(msgspec.Struct):
    """A class that parameters or results use. An enumeration has ``choices``. All other classes
    have ``fields``, which are sent as an object, or as an array in the order of the fields.
    """

    name: str
    kind: Literal["choices", "object", "array"]
    fields: list[FieldDescription] = []
    choices: list[Any] = []

    def __str__(self) -> str:
        if self.kind == "choices":
            return f"{self.name} = " + " | ".join(map(_json, self.choices))
        fields = ", ".join(map(str, self.fields))
        return f"{self.name} = " + (f"{{{fields}}}" if self.kind == "object" else f"[{fields}]")


def described_types(annotations: Iterable[Any]) -> list[TypeDescription]:
    """Describes the classes in these types, each once, in the order of their first occurrence."""
    found: dict[type, TypeDescription] = {}
    for each in inspect.multi_type_info(annotations):
        _describe(each, found)
    return list(found.values())


def json_kinds(annotation: Any) -> list[JsonKind]:
    """Returns the kinds of JSON values that a value of this type can be. The list is empty if the
    value can be of any kind, or can only be bytes, for which JSON has no kind.
    """
    kinds: set[JsonKind] = set()
    for each in _alternatives(inspect.type_info(annotation)):
        if isinstance(each, (inspect.AnyType, inspect.CustomType, inspect.RawType)):
            return []
        kinds |= _kinds_of(each)
    return sorted(kinds)


def takes_bytes(annotation: Any) -> bool:
    """Whether a value of this type can be bytes."""
    return any(map(_is_bytes, _alternatives(inspect.type_info(annotation))))


def _is_bytes(each: inspect.Type) -> bool:
    return isinstance(each, (inspect.BytesType, inspect.ByteArrayType, inspect.MemoryViewType))


_KINDS: dict[type[inspect.Type], JsonKind] = {
    inspect.NoneType: "null",
    inspect.BoolType: "boolean",
    inspect.IntType: "number",
    inspect.FloatType: "number",
    inspect.ListType: "array",
    inspect.SetType: "array",
    inspect.FrozenSetType: "array",
    inspect.VarTupleType: "array",
    inspect.TupleType: "array",
    inspect.NamedTupleType: "array",
    inspect.DictType: "object",
    inspect.TypedDictType: "object",
    inspect.DataclassType: "object",
}


def _kinds_of(each: inspect.Type) -> set[JsonKind]:
    if isinstance(each, inspect.StructType):
        return {"array" if each.array_like else "object"}
    if isinstance(each, (inspect.EnumType, inspect.LiteralType)):
        return {"string" if isinstance(value, str) else "number" for value in _choices(each)}
    if _is_bytes(each):
        return set()
    # Times and UUIDs are strings in JSON.
    return {_KINDS.get(type(each), "string")}


def _alternatives(each: inspect.Type) -> Iterator[inspect.Type]:
    if isinstance(each, inspect.Metadata):
        yield from _alternatives(each.type)
    elif isinstance(each, inspect.UnionType):
        for one in each.types:
            yield from _alternatives(one)
    else:
        yield each


def _choices(each: inspect.EnumType | inspect.LiteralType) -> list[Any]:
    if isinstance(each, inspect.LiteralType):
        return list(each.values)
    return [member.value for member in each.cls]


def _describe(each: inspect.Type, found: dict[type, TypeDescription]) -> None:
    if isinstance(each, inspect.EnumType):
        name = each.cls.__name__
        found.setdefault(each.cls, TypeDescription(name, "choices", choices=_choices(each)))
    elif isinstance(each, RECORDS):
        if each.cls in found:
            return
        fields = [_field(field) for field in each.fields]
        if isinstance(each, inspect.StructType) and each.tag is not None:
            fields.insert(0, FieldDescription(str(each.tag_field), _json(each.tag)))
        kind: Literal["array", "object"] = "array" if _kinds_of(each) == {"array"} else "object"
        # The class is added before its fields are searched, because a field may have the same type.
        found[each.cls] = TypeDescription(each.cls.__name__, kind, fields)
    for inner in parts_of(each):
        _describe(inner, found)


def _field(field: inspect.Field) -> FieldDescription:
    default = None if field.default is msgspec.NODEFAULT else field.default
    if default is None and field.default_factory in (list, dict, set, tuple, str, bytes):
        default = field.default_factory()
    return FieldDescription(
        field.encode_name, _text(field.type), not field.required, msgspec.to_builtins(default)
    )


_TEXTS: dict[type[inspect.Type], str] = {
    inspect.NoneType: "None",
    inspect.DateTimeType: "datetime",
    inspect.TimeDeltaType: "timedelta",
    inspect.FrozenSetType: "frozenset",
    inspect.VarTupleType: "tuple",
    inspect.UUIDType: "UUID",
    inspect.DecimalType: "Decimal",
    inspect.AnyType: "Any",
    inspect.RawType: "Raw",
}


def _text(each: inspect.Type) -> str:
    """Returns the type in Python's notation."""
    if isinstance(each, inspect.Metadata):
        return _text(each.type)
    if isinstance(each, inspect.UnionType):
        return " | ".join(map(_text, each.types))
    if isinstance(each, inspect.LiteralType):
        return " | ".join(map(_json, each.values))
    cls = getattr(each, "cls", None)
    if isinstance(cls, type):
        return cls.__name__
    name = _TEXTS.get(type(each)) or type(each).__name__.removesuffix("Type").lower()
    inner = [_text(one) for one in parts_of(each)]
    if isinstance(each, inspect.VarTupleType):
        inner.append("...")
    return f"{name}[{', '.join(inner)}]" if inner else name


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
