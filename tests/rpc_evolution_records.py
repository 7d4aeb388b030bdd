"""Changes of records, which are arguments and results."""

# The annotations are not text, so that they may use what stands in the functions.
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import msgspec

from ipcpipes import rpc

from .rpc_evolution import (
    HAS_RUN,
    NOT_RUN,
    Call,
    Change,
    Served,
    change,
    fails,
    next_uuid,
    silent,
    works,
)


def values(
    uuid: str,
    old: Any,
    new: Any,
    returned: tuple[Any, Any],
    new_client: list[Call],
    old_client: list[Call],
) -> Change:
    """A change of a type, as a parameter and as a result.

    Args:
        returned: what the old and the new manager return.
    """

    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def put(self, value: old) -> str: ...
        @rpc.operation
        def get(self) -> old: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def put(self, value: new) -> str: ...
        @rpc.operation
        def get(self) -> new: ...

    before, after = returned
    return Change(Served(Old, get=before), Served(New, get=after), new_client, old_client)


def put_fails(value: Any, text: str) -> Call:
    return fails(rpc.BadStubData, NOT_RUN, text, "put", value)


def get_fails(text: str) -> Call:
    return fails(rpc.BadStubData, HAS_RUN, text, "get")


# Records with the fields that the rows need. The names of the classes are not sent.


@dataclass
class DataName:
    name: str


@dataclass
class DataNameKeep:
    name: str
    keep: bool = False


@dataclass
class DataNameSize:
    name: str
    size: int


@dataclass
class DataSizeName:
    size: int
    name: str


class StructName(msgspec.Struct):
    name: str


class StructNameKeep(msgspec.Struct):
    name: str
    keep: bool = False


class StructNameSize(msgspec.Struct):
    name: str
    size: int


class StructSizeName(msgspec.Struct):
    size: int
    name: str


class DictName(TypedDict):
    name: str


class DictNameKeep(DictName, total=False):
    keep: bool


class DictNameSize(TypedDict):
    name: str
    size: int


class StructureName(rpc.Structure):
    name: rpc.int32


class StructureNameKeep(rpc.Structure):
    name: rpc.int32
    keep: rpc.boolean = False


class TupleName(NamedTuple):
    name: str


class TupleNameKeep(NamedTuple):
    name: str
    keep: bool = False


class TupleNameSize(NamedTuple):
    name: str
    size: int


class TupleSizeName(NamedTuple):
    size: int
    name: str


@change("add a field with a default")
def _(uuid: str) -> list[Change]:
    def of(uuid: str, old: Any, new: Any, name: Any = "a") -> Change:
        return values(
            uuid,
            old,
            new,
            (old(name), new(name, True)),
            [
                works(repr(old(name)), "put", new(name)),
                silent(repr(old(name)), "put", new(name, True)),
                works(new(name), "get"),
            ],
            [works(repr(new(name)), "put", old(name)), works(old(name), "get")],
        )

    second = next_uuid(uuid)
    return [
        of(uuid, DataName, DataNameKeep),
        of(second, StructName, StructNameKeep),
        of(next_uuid(second), StructureName, StructureNameKeep, 7),
    ]


@change("add an optional key to a `TypedDict`")
def _(uuid: str) -> Change:
    return values(
        uuid,
        DictName,
        DictNameKeep,
        ({"name": "a"}, {"name": "a", "keep": True}),
        [
            works("{'name': 'a'}", "put", {"name": "a"}),
            silent("{'name': 'a'}", "put", {"name": "a", "keep": True}),
            works({"name": "a"}, "get"),
        ],
        [works("{'name': 'a'}", "put", {"name": "a"}), works({"name": "a"}, "get")],
    )


@change("add a field with a default to a `NamedTuple`")
def _(uuid: str) -> Change:
    return values(
        uuid,
        TupleName,
        TupleNameKeep,
        (TupleName("a"), TupleNameKeep("a")),
        [
            put_fails(TupleNameKeep("a"), "Expected `array` of length 1, got 2 - at `value`"),
            works(TupleNameKeep("a"), "get"),
        ],
        [
            works("TupleNameKeep(name='a', keep=False)", "put", TupleName("a")),
            get_fails("Expected `array` of length 1, got 2"),
        ],
    )


@change("add a field with a default to a `Struct` with `forbid_unknown_fields=True`")
def _(uuid: str) -> Change:
    class Old(msgspec.Struct, forbid_unknown_fields=True):
        name: str

    class New(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
        name: str
        keep: bool = False

    return values(
        uuid,
        Old,
        New,
        (Old("a"), New("a", True)),
        [
            works("Old(name='a')", "put", New("a")),
            put_fails(New("a", True), "Object contains unknown field `keep`"),
            works(New("a"), "get"),
        ],
        [
            works("New(name='a', keep=False)", "put", Old("a")),
            get_fails("Object contains unknown field `keep`"),
        ],
    )


@change("add a field without a default")
def _(uuid: str) -> list[Change]:
    missing = "Object missing required field `size`"

    def of(uuid: str, old: Any, new: Any) -> Change:
        return values(
            uuid,
            old,
            new,
            (old(name="a"), new(name="a", size=1)),
            [silent(repr(old(name="a")), "put", new(name="a", size=1)), get_fails(missing)],
            [put_fails(old(name="a"), missing), works(old(name="a"), "get")],
        )

    second = next_uuid(uuid)
    return [
        of(uuid, DataName, DataNameSize),
        of(second, StructName, StructNameSize),
        of(next_uuid(second), DictName, DictNameSize),
    ]


@change("remove a field without a default")
def _(uuid: str) -> list[Change]:
    missing = "Object missing required field `size`"

    def of(uuid: str, old: Any, new: Any) -> Change:
        return values(
            uuid,
            old,
            new,
            (old(name="a", size=1), new(name="a")),
            [put_fails(new(name="a"), missing), works(new(name="a"), "get")],
            [silent(repr(new(name="a")), "put", old(name="a", size=1)), get_fails(missing)],
        )

    second = next_uuid(uuid)
    return [
        of(uuid, DataNameSize, DataName),
        of(second, StructNameSize, StructName),
        of(next_uuid(second), DictNameSize, DictName),
    ]


@change("remove a field with a default")
def _(uuid: str) -> list[Change]:
    def of(uuid: str, old: Any, new: Any) -> Change:
        return values(
            uuid,
            old,
            new,
            (old("a", True), new("a")),
            [works(repr(old("a")), "put", new("a")), works(new("a"), "get")],
            [
                works(repr(new("a")), "put", old("a")),
                silent(repr(new("a")), "put", old("a", True)),
                works(old("a"), "get"),
            ],
        )

    return [
        of(uuid, DataNameKeep, DataName),
        of(next_uuid(uuid), StructNameKeep, StructName),
    ]


@change("rename a field without a default")
def _(uuid: str) -> Change:
    class Title(msgspec.Struct):
        title: str

    return values(
        uuid,
        StructName,
        Title,
        (StructName("a"), Title("a")),
        [
            put_fails(Title("a"), "Object missing required field `name`"),
            get_fails("Object missing required field `title`"),
        ],
        [
            put_fails(StructName("a"), "Object missing required field `title`"),
            get_fails("Object missing required field `name`"),
        ],
    )


@change("rename a field with a default")
def _(uuid: str) -> Change:
    class Old(msgspec.Struct):
        size: int = 0

    class New(msgspec.Struct):
        length: int = 0

    return values(
        uuid,
        Old,
        New,
        (Old(5), New(5)),
        [silent(repr(Old(0)), "put", New(5)), silent(New(0), "get")],
        [silent(repr(New(0)), "put", Old(5)), silent(Old(0), "get")],
    )


@change('rename a field, with `msgspec.field(name="old")`')
def _(uuid: str) -> Change:
    class Title(msgspec.Struct):
        title: str = msgspec.field(name="name")

    return values(
        uuid,
        StructName,
        Title,
        (StructName("a"), Title("a")),
        [works("StructName(name='a')", "put", Title("a")), works(Title("a"), "get")],
        [works("Title(title='a')", "put", StructName("a")), works(StructName("a"), "get")],
    )


@change("reorder fields")
def _(uuid: str) -> list[Change]:
    def of(uuid: str, old: Any, new: Any) -> Change:
        before, after = old(name="a", size=1), new(name="a", size=1)
        return values(
            uuid,
            old,
            new,
            (before, after),
            [works(repr(before), "put", after), works(after, "get")],
            [works(repr(after), "put", before), works(before, "get")],
        )

    return [
        of(uuid, DataNameSize, DataSizeName),
        of(next_uuid(uuid), StructNameSize, StructSizeName),
    ]


@change("reorder fields of different types in a `NamedTuple`")
def _(uuid: str) -> Change:
    before, after = TupleNameSize("a", 1), TupleSizeName(1, "a")
    return values(
        uuid,
        TupleNameSize,
        TupleSizeName,
        (before, after),
        [put_fails(after, "Expected `str`, got `int`"), get_fails("Expected `int`, got `str`")],
        [put_fails(before, "Expected `int`, got `str`"), get_fails("Expected `str`, got `int`")],
    )


@change("reorder fields of the same type in a `NamedTuple`")
def _(uuid: str) -> Change:
    class Copy(NamedTuple):
        source: str
        target: str

    class Into(NamedTuple):
        target: str
        source: str

    return values(
        uuid,
        Copy,
        Into,
        (Copy("from", "to"), Into("to", "from")),
        [
            silent("Copy(source='to', target='from')", "put", Into("to", "from")),
            silent(Into("from", "to"), "get"),
        ],
        [
            silent("Into(target='from', source='to')", "put", Copy("from", "to")),
            silent(Copy("to", "from"), "get"),
        ],
    )


@change("rename the class of a record")
def _(uuid: str) -> Change:
    return values(
        uuid,
        DataName,
        StructName,
        (DataName("a"), StructName("a")),
        [works("DataName(name='a')", "put", StructName("a")), works(StructName("a"), "get")],
        [works("StructName(name='a')", "put", DataName("a")), works(DataName("a"), "get")],
    )


class Circle(msgspec.Struct, tag=True):
    radius: int


class Square(msgspec.Struct, tag=True):
    side: int


@change("add a class to a union of tagged `Struct`s")
def _(uuid: str) -> Change:
    return values(
        uuid,
        Circle,
        Circle | Square,
        (Circle(1), Square(1)),
        [
            works("Circle(radius=1)", "put", Circle(1)),
            put_fails(Square(1), "Invalid value 'Square'"),
            works(Circle(1), "get"),
        ],
        [works("Circle(radius=1)", "put", Circle(1)), get_fails("Invalid value 'Square'")],
    )
