"""Changes of pipes and of declared exceptions."""

# The annotations are not text, so that they may use what stands in the functions.
import enum
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from ipcpipes import rpc

from .rpc_evolution import (
    HAS_RUN,
    NOT_SENT,
    Call,
    Change,
    Served,
    change,
    fails,
    next_uuid,
    silent,
    works,
)


def pipes(uuid: str, old: Any, new: Any) -> tuple[Served, Served]:
    """Two interfaces whose operation has one pipe."""

    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def send(self, numbers: old) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def send(self, numbers: new) -> str: ...

    return Served(Old), Served(New)


def differs(text: str, *arguments: Any) -> Call:
    return fails(rpc.WrongPipeVersion, NOT_SENT, text, "send", *arguments)


@change("change the type of a pipe's elements")
def _(uuid: str) -> Change:
    return Change(
        *pipes(uuid, rpc.InPipe[rpc.int32], rpc.InPipe[rpc.int64]),
        [differs("(in int64) here and (in int32) at the server", [1])],
        [differs("(in int32) here and (in int64) at the server", [1])],
    )


@change("change the direction of a pipe")
def _(uuid: str) -> Change:
    return Change(
        *pipes(uuid, rpc.InPipe[rpc.int32], rpc.InOutPipe[rpc.int32]),
        [differs("(inout int32) here and (in int32) at the server", ([1], []))],
        [differs("(in int32) here and (inout int32) at the server", [1])],
    )


@change("add, change or remove `rpc.Range`")
def _(uuid: str) -> list[Change]:
    plain = rpc.InPipe[rpc.int32]
    ranged = Annotated[plain, rpc.Range(1, 9)]
    return [
        Change(
            *pipes(uuid, plain, ranged),
            [differs("(in int32 range(1, 9)) here and (in int32) at the server", [1])],
            [differs("(in int32) here and (in int32 range(1, 9)) at the server", [1])],
        ),
        Change(
            *pipes(next_uuid(uuid), ranged, Annotated[plain, rpc.Range(1, 99)]),
            [differs("range(1, 99)) here and (in int32 range(1, 9)) at the server", [1])],
            [differs("range(1, 9)) here and (in int32 range(1, 99)) at the server", [1])],
        ),
    ]


@change("add, change or remove `rpc.PipeName`")
def _(uuid: str) -> Change:
    plain = rpc.InPipe[rpc.int32]
    named = Annotated[plain, rpc.PipeName("NUMBERS")]
    same = [works("[1]", "send", [1])]
    return Change(*pipes(uuid, plain, named), same, same)


@change("add or remove a pipe")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def send(self, numbers: rpc.InPipe[rpc.int32]) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def send(self, numbers: rpc.InPipe[rpc.int32], log: rpc.OutPipe[rpc.byte]) -> str: ...

    return Change(
        Served(Old),
        Served(New, send=b"done"),
        [differs("(in int32, out byte) here and (in int32) at the server", [1], [])],
        [differs("(in int32) here and (in int32, out byte) at the server", [1])],
    )


@change("rename the parameter of a pipe")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def send(self, numbers: rpc.InPipe[rpc.int32]) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def send(self, values: rpc.InPipe[rpc.int32]) -> str: ...

    same = [works("[1]", "send", [1])]
    return Change(Served(Old), Served(New), same, same)


@change("move a pipe between parameters that are values")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def send(self, name: str, numbers: rpc.InPipe[rpc.int32]) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def send(self, numbers: rpc.InPipe[rpc.int32], name: str) -> str: ...

    return Change(
        Served(Old),
        Served(New),
        [works("'a', [1]", "send", [1], "a")],
        [works("[1], 'a'", "send", "a", [1])],
    )


@change("reorder pipes of the same type")
def _(uuid: str) -> Change:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def send(self, xs: rpc.InPipe[rpc.int32], ys: rpc.InPipe[rpc.int32]) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def send(self, ys: rpc.InPipe[rpc.int32], xs: rpc.InPipe[rpc.int32]) -> str: ...

    return Change(
        Served(Old, send=lambda xs, ys: f"x {xs} y {ys}"),
        Served(New, send=lambda ys, xs: f"x {xs} y {ys}"),
        [silent("x [2] y [1]", "send", [2], [1])],
        [silent("x [2] y [1]", "send", [1], [2])],
    )


class Point(rpc.Structure):
    x: rpc.int32
    y: rpc.int32


class Pixel(rpc.Structure):
    x: rpc.int32
    y: rpc.int32


class Point3(rpc.Structure):
    x: rpc.int32
    y: rpc.int32
    z: rpc.int32 = 0


class Swapped(rpc.Structure):
    y: rpc.int32
    x: rpc.int32


class Renamed(rpc.Structure):
    x: rpc.int32
    height: rpc.int32 = msgspec.field(name="y")


@change("add, remove, rename, reorder or retype a field of a pipe's structure")
def _(uuid: str) -> list[Change]:
    def of(uuid: str, new: Any, shown: str) -> Change:
        old = "{x: int32, y: int32}"
        return Change(
            *pipes(uuid, rpc.InPipe[Point], rpc.InPipe[new]),
            [differs(f"(in {shown}) here and (in {old}) at the server", [])],
            [differs(f"(in {old}) here and (in {shown}) at the server", [])],
        )

    second = next_uuid(uuid)
    return [
        of(uuid, Point3, "{x: int32, y: int32, z: int32}"),
        of(second, Swapped, "{y: int32, x: int32}"),
        # Pipes have the name of the attribute, not that of msgspec.field.
        of(next_uuid(second), Renamed, "{x: int32, height: int32}"),
    ]


@change("rename the class of a pipe's structure")
def _(uuid: str) -> Change:
    return Change(
        *pipes(uuid, rpc.InPipe[Point], rpc.InPipe[Pixel]),
        [works("[Point(x=1, y=2)]", "send", [Pixel(1, 2)])],
        [works("[Pixel(x=1, y=2)]", "send", [Point(1, 2)])],
    )


class Level(enum.IntEnum):
    LOW = 1


class Levels(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Line(rpc.Structure):
    level: Level


class Lines(rpc.Structure):
    level: Levels


def levels(uuid: str, old: Any, new: Any, pushed: Any) -> tuple[Served, Served]:
    class Old(rpc.Interface, uuid=uuid, version=(1, 0)):
        @rpc.operation
        def send(self, into: rpc.InPipe[old]) -> str: ...
        @rpc.operation
        def load(self, out: rpc.OutPipe[old]) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1)):
        @rpc.operation
        def send(self, into: rpc.InPipe[new]) -> str: ...
        @rpc.operation
        def load(self, out: rpc.OutPipe[new]) -> str: ...

    return Served(Old, load=[]), Served(New, load=[pushed])


@change("add a member to an enumeration that is a pipe's element")
def _(uuid: str) -> Change:
    return Change(
        *levels(uuid, Level, Levels, Levels.HIGH),
        [works("[2]", "send", [Levels.HIGH]), works(("Ellipsis", []), "load", sinks=1)],
        [works("[1]", "send", [Level.LOW]), works(("Ellipsis", [2]), "load", sinks=1)],
    )


@change("add a member to an enumeration in a pipe's structure")
def _(uuid: str) -> Change:
    return Change(
        *levels(uuid, Line, Lines, Lines(Levels.HIGH)),
        [
            works("[Line(level=<Level.LOW: 1>)]", "send", [Lines(Levels.LOW)]),
            fails(rpc.BadStubData, HAS_RUN, "2 is not a valid Level", "send", [Lines(Levels.HIGH)]),
        ],
        [
            works("[Lines(level=<Levels.LOW: 1>)]", "send", [Line(Level.LOW)]),
            fails(rpc.BadStubData, HAS_RUN, "2 is not a valid Level", "load", sinks=1),
        ],
    )


# Exceptions. The names of the classes are sent.


def raising(
    uuid: str, old: list[Any], new: list[Any], raised: tuple[Any, Any]
) -> tuple[Served, Served]:
    """Two interfaces that declare exceptions.

    Args:
        raised: what the old and the new manager raise.
    """

    class Old(rpc.Interface, uuid=uuid, version=(1, 0), raises=old):
        @rpc.operation
        def find(self) -> str: ...

    class New(rpc.Interface, uuid=uuid, version=(1, 1), raises=new):
        @rpc.operation
        def find(self) -> str: ...

    return Served(Old, find=raised[0]), Served(New, find=raised[1])


class NotFound(rpc.Fault):
    default_message = "there is no such book"
    default_code = 404


class Missing(rpc.Fault):
    default_message = "there is no such book"
    default_code = 404


class Titled:
    """Two versions of one exception, which have the same name."""

    @dataclass(eq=False)
    class NotFound(rpc.Fault):
        title: str

        def __post_init__(self) -> None:
            super().__init__(f"no {self.title}", code=404)


class Similar:
    @dataclass(eq=False)
    class NotFound(rpc.Fault):
        title: str
        similar: list[str] = field(default_factory=list)

        def __post_init__(self) -> None:
            super().__init__(f"no {self.title}", code=404)


class Sized:
    @dataclass(eq=False)
    class NotFound(rpc.Fault):
        title: str
        size: int

        def __post_init__(self) -> None:
            super().__init__(f"no {self.title}", code=404)


class Named:
    @dataclass(eq=False)
    class NotFound(rpc.Fault):
        name: str

        def __post_init__(self) -> None:
            super().__init__(f"no {self.name}", code=404)


def plain_fault(text: str) -> Call:
    return fails(rpc.Fault, HAS_RUN, text, "find")


def bad_fields(name: str) -> Call:
    text = f"the fields of NotFound are not of their types: Object missing required field `{name}`"
    return fails(rpc.BadStubData, HAS_RUN, text, "find")


@change("add an exception to `raises`")
def _(uuid: str) -> Change:
    return Change(
        *raising(uuid, [], [NotFound], (None, NotFound())),
        [works("", "find")],
        [plain_fault("there is no such book")],
    )


@change("remove an exception from `raises`")
def _(uuid: str) -> Change:
    return Change(
        *raising(uuid, [NotFound], [], (NotFound(), None)),
        [plain_fault("there is no such book")],
        [works("", "find")],
    )


@change("rename an exception of `raises`")
def _(uuid: str) -> Change:
    return Change(
        *raising(uuid, [NotFound], [Missing], (NotFound(), Missing())),
        [plain_fault("there is no such book")],
        [plain_fault("there is no such book")],
    )


@change("add a field with a default to an exception of `raises`")
def _(uuid: str) -> Change:
    old, new = Titled.NotFound, Similar.NotFound
    return Change(
        *raising(uuid, [old], [new], (old("a"), new("a", ["b"]))),
        [works(new("a"), "find")],
        [works(old("a"), "find")],
    )


@change("add a field without a default to an exception of `raises`")
def _(uuid: str) -> Change:
    old, new = Titled.NotFound, Sized.NotFound
    return Change(
        *raising(uuid, [old], [new], (old("a"), new("a", 1))),
        [bad_fields("size")],
        [works(old("a"), "find")],
    )


@change("remove a field without a default of an exception of `raises`")
def _(uuid: str) -> Change:
    old, new = Sized.NotFound, Titled.NotFound
    return Change(
        *raising(uuid, [old], [new], (old("a", 1), new("a"))),
        [works(new("a"), "find")],
        [bad_fields("size")],
    )


@change("remove a field with a default of an exception of `raises`")
def _(uuid: str) -> Change:
    old, new = Similar.NotFound, Titled.NotFound
    return Change(
        *raising(uuid, [old], [new], (old("a", ["b"]), new("a"))),
        [works(new("a"), "find")],
        [works(old("a"), "find")],
    )


@change("rename a field without a default of an exception of `raises`")
def _(uuid: str) -> Change:
    old, new = Titled.NotFound, Named.NotFound
    return Change(
        *raising(uuid, [old], [new], (old("a"), new("a"))),
        [bad_fields("name")],
        [bad_fields("title")],
    )
