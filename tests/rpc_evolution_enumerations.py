"""Changes of enumerations, which are arguments and results."""

import enum

from .rpc_evolution import Change, change, silent, works
from .rpc_evolution_records import get_fails, put_fails, values


class Color(enum.Enum):
    RED = "red"


class Colors(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Crimson(enum.Enum):
    CRIMSON = "red"


class Upper(enum.Enum):
    RED = "RED"


class Open(enum.Enum):
    RED = "red"
    OTHER = "other"

    @classmethod
    def _missing_(cls, value: object) -> "Open":
        return cls.OTHER


class Opened(enum.Enum):
    RED = "red"
    OTHER = "other"
    BLUE = "blue"


@change("add a member to an enumeration")
def _(uuid: str) -> Change:
    return values(
        uuid,
        Color,
        Colors,
        (Color.RED, Colors.BLUE),
        [
            works("<Color.RED: 'red'>", "put", Colors.RED),
            put_fails(Colors.BLUE, "Invalid enum value 'blue'"),
            works(Colors.RED, "get"),
        ],
        [
            works("<Colors.RED: 'red'>", "put", Color.RED),
            get_fails("Invalid enum value 'blue'"),
        ],
    )


@change("add a member to an enumeration with `_missing_`")
def _(uuid: str) -> Change:
    return values(
        uuid,
        Open,
        Opened,
        (Open.RED, Opened.BLUE),
        [works("<Open.OTHER: 'other'>", "put", Opened.BLUE), works(Opened.RED, "get")],
        [works("<Opened.RED: 'red'>", "put", Open.RED), works(Open.OTHER, "get")],
    )


@change("remove a member of an enumeration")
def _(uuid: str) -> Change:
    return values(
        uuid,
        Colors,
        Color,
        (Colors.BLUE, Color.RED),
        [
            works("<Colors.RED: 'red'>", "put", Color.RED),
            get_fails("Invalid enum value 'blue'"),
        ],
        [
            works("<Color.RED: 'red'>", "put", Colors.RED),
            put_fails(Colors.BLUE, "Invalid enum value 'blue'"),
            works(Colors.RED, "get"),
        ],
    )


class Auto(enum.Enum):
    LOW = enum.auto()
    HIGH = enum.auto()


class Inserted(enum.Enum):
    LOW = enum.auto()
    MIDDLE = enum.auto()
    HIGH = enum.auto()


@change("insert a member before others of an enumeration with `enum.auto()`")
def _(uuid: str) -> Change:
    return values(
        uuid,
        Auto,
        Inserted,
        (Auto.HIGH, Inserted.MIDDLE),
        [
            silent("<Auto.HIGH: 2>", "put", Inserted.MIDDLE),
            put_fails(Inserted.HIGH, "Invalid enum value 3"),
            silent(Inserted.MIDDLE, "get"),
        ],
        [silent("<Inserted.MIDDLE: 2>", "put", Auto.HIGH), silent(Auto.HIGH, "get")],
    )


@change("rename a member of an enumeration")
def _(uuid: str) -> Change:
    return values(
        uuid,
        Color,
        Crimson,
        (Color.RED, Crimson.CRIMSON),
        [works("<Color.RED: 'red'>", "put", Crimson.CRIMSON), works(Crimson.CRIMSON, "get")],
        [works("<Crimson.CRIMSON: 'red'>", "put", Color.RED), works(Color.RED, "get")],
    )


@change("change the value of a member")
def _(uuid: str) -> Change:
    return values(
        uuid,
        Color,
        Upper,
        (Color.RED, Upper.RED),
        [put_fails(Upper.RED, "Invalid enum value 'RED'"), get_fails("Invalid enum value 'red'")],
        [put_fails(Color.RED, "Invalid enum value 'red'"), get_fails("Invalid enum value 'RED'")],
    )
