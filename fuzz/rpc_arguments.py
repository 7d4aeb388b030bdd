"""The arguments of a call at a server: any bytes, or valid arguments with changed values."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from collections.abc import Iterable, Sequence
from random import Random
from typing import Annotated, Any, NamedTuple, TypedDict

import msgspec
import trio

from ipcpipes import MessageChannel, rpc
from ipcpipes.rpc.core.arguments import encode_arguments
from ipcpipes.rpc.definition.operations import Operation
from ipcpipes.rpc.wire.format import (
    LEAST_CREDIT,
    LEAST_FRAME,
    VERSION,
    Bind,
    FaultBody,
    Frame,
    Kind,
    decode,
    encode,
)
from ipcpipes.testing import memory_stream_pair

from .drawing import Drawing


class Color(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = -1
    HIGH = 2**20


class Circle(msgspec.Struct, tag=True):
    radius: float


class Square(msgspec.Struct, tag=True, forbid_unknown_fields=True):
    side: int
    inner: Circle | Square | None = None


class Point(rpc.Structure, array_like=True):
    x: rpc.int8
    y: rpc.uint64
    rest: Annotated[list[rpc.int16], rpc.Length(2)]


@dataclasses.dataclass
class Share:
    """A class of a user, which refuses some values with errors of its own."""

    part: int
    whole: int

    def __post_init__(self) -> None:
        self.part // self.whole
        if self.part > self.whole:
            raise KeyError(self)


class Named(NamedTuple):
    name: str
    color: Color = Color.RED


class Typed(TypedDict, total=False):
    when: datetime.datetime
    price: decimal.Decimal


class Everything(rpc.Interface, uuid="5b1c9c0e-4b0a-4d0e-9d3e-0e6f6b1f2a33", version=(1, 0)):
    """Has operations with parameters of every type."""

    @rpc.operation
    def scalars(self, a: int, b: float, c: str, d: bytes, e: bool, f: str | None = None) -> None:
        raise NotImplementedError

    @rpc.operation
    def containers(
        self, a: list[int], b: dict[str, tuple[int, bytes]], c: tuple[float, ...] = ()
    ) -> None:
        raise NotImplementedError

    @rpc.operation
    def records(self, a: Circle | Square, b: Point, c: Share, d: Named, e: Typed) -> None:
        raise NotImplementedError

    @rpc.operation
    def texts(
        self, a: datetime.datetime, b: datetime.timedelta, c: uuid.UUID, d: Color, e: Level
    ) -> None:
        raise NotImplementedError

    @rpc.operation
    def anything(self, a: Any, b: Any = None) -> None:
        raise NotImplementedError

    @rpc.operation
    def beside_pipes(
        self, a: rpc.InPipe[rpc.byte], b: int | str, c: rpc.OutPipe[Point], d: float = 0.5
    ) -> None:
        raise NotImplementedError


class Manager(Everything):
    """Stores the arguments of its calls."""

    given: Sequence[Any] | None = None

    def scalars(self, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any = None) -> None:
        self.given = (a, b, c, d, e, f)

    def containers(self, a: Any, b: Any, c: Any = ()) -> None:
        self.given = (a, b, c)

    def records(self, a: Any, b: Any, c: Any, d: Any, e: Any) -> None:
        self.given = (a, b, c, d, e)

    def texts(self, a: Any, b: Any, c: Any, d: Any, e: Any) -> None:
        self.given = (a, b, c, d, e)

    def anything(self, a: Any, b: Any = None) -> None:
        self.given = (a, b)

    def beside_pipes(self, a: Any, b: Any, c: Any, d: Any = 0.5) -> None:
        self.given = (b, d)


_OPERATIONS: list[Operation] = list(Everything._rpc_definition.operations.values())
_DECODED: list[tuple[Any, ...]] = [
    (1, 0.5, "text", b"octets", True, "more"),
    ([1, -1, 2**40], {"a": (1, b"b")}, (0.5, 2.0)),
    (Square(1, Circle(0.5)), Point(-1, 2**60, [3, 4]), Share(1, 2), Named("x"), {"price": "1.50"}),
    (
        datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc),
        datetime.timedelta(days=1, microseconds=1),
        uuid.UUID(int=1),
        Color.GREEN,
        Level.LOW,
    ),
    ({"a": [None, {1: b"x"}, 2**64 - 1]}, msgspec.msgpack.Ext(5, b"x")),
    ("text", 1.0),
]
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**64 - 1, 0.0, float("nan"), float("inf"), "", b""),
    *("2024-02-29T00:00:00Z", "9999-12-31T23:59:59-23:59", "P1D", "1e999", "red", "Circle"),
    *(msgspec.Raw(b"\x91" * 5000), msgspec.Raw(b"\xdd\xff\xff\xff\xff"), msgspec.Raw(b"\xa1\xff")),
)
_KEYS = ("type", "radius", "side", "inner", "part", "whole", "name", "when", "price", 1, None, b"x")


def arguments(data: bytes) -> None:
    drawing = Drawing(data)
    number = drawing.number() % len(_OPERATIONS)
    operation, changes = _OPERATIONS[number], drawing.number() % 4
    if changes:
        good: Any = msgspec.msgpack.decode(encode_arguments(operation, _DECODED[number]))
        for _ in range(changes):
            good = _changed(good, drawing)
        body = msgspec.msgpack.encode(good)
    else:
        body = drawing.take(len(data))
    decoded = _decoded(operation, body)
    if decoded is None:
        return
    try:
        again = encode_arguments(operation, decoded)
    except OverflowError:  # a time that its zone moves out of the range of years
        return
    # The values are the same after a second round trip.
    values = _decoded(operation, again)
    assert values is not None
    assert encode_arguments(operation, values) == again


def _changed(value: Any, drawing: Drawing) -> Any:
    """Returns the value with one part changed or added."""
    choice = drawing.number()
    if isinstance(value, list) and value and choice < 230:
        place = choice % len(value)
        return [*value[:place], _changed(value[place], drawing), *value[place + 1 :]]
    if isinstance(value, list) and choice < 245:
        return [*value, _value(drawing)]
    if isinstance(value, dict) and value and choice < 200:
        key = list(value)[choice % len(value)]
        return {**value, key: _changed(value[key], drawing)}
    if isinstance(value, dict) and choice < 245:
        return {**value, drawing.one_of(_KEYS): _value(drawing)}
    return _value(drawing)


def _value(drawing: Drawing) -> Any:
    kind = drawing.number() % 8
    if kind == 0:
        return drawing.one_of(_VALUES)
    if kind == 1:
        return drawing.number(8) - 2**63
    if kind == 2:
        return drawing.take(drawing.number() % 16).decode("latin-1")
    if kind == 3:
        return drawing.take(drawing.number() % 16)
    if kind == 4:
        return msgspec.msgpack.Ext(drawing.number() - 128, drawing.take(12))
    if kind == 5:
        return msgspec.Raw(drawing.take(drawing.number() % 16))
    if kind == 6:
        return [_value(drawing) for _ in range(drawing.number() % 4)]
    return {drawing.one_of(_KEYS): _value(drawing) for _ in range(drawing.number() % 4)}


def _decoded(operation: Operation, body: bytes) -> Sequence[Any] | None:
    """Returns the arguments of the manager; ``None`` only if the call failed because of them."""
    manager = Manager()
    answer = trio.run(_answer, manager, operation, body)
    code = 0
    if answer.kind is not Kind.RESPONSE:
        assert answer.kind is Kind.FAULT
        code = msgspec.msgpack.decode(answer.body, type=FaultBody).code
    if manager.given is None:
        assert code == rpc.BadStubData.default_code
    else:
        # The manager does not use its pipes.
        assert code == (rpc.PipeDisciplineError.default_code if operation.pipes else 0)
    return manager.given


async def _answer(manager: Manager, operation: Operation, body: bytes) -> Frame:
    left, right = memory_stream_pair()
    async with trio.open_nursery() as nursery, MessageChannel(left) as channel:
        nursery.start_soon(rpc.serve_connection, manager, right)
        await channel.send(encode(Kind.BIND, body=_BIND))
        assert decode(await channel.receive()).kind is Kind.BIND_ACK
        await channel.send(encode(Kind.REQUEST, 1, body, number=operation.number))
        answer = decode(await channel.receive())
        nursery.cancel_scope.cancel()
    return answer


_BIND = msgspec.msgpack.encode(
    Bind(VERSION, str(Everything._rpc_definition.uuid), (1, 0), LEAST_FRAME, LEAST_CREDIT)
)


def seeds() -> Iterable[bytes]:
    """Yields valid arguments for each operation, and changed ones."""
    for number, values in enumerate(_DECODED):
        yield bytes((number, 0)) + encode_arguments(_OPERATIONS[number], values)
        for changes in (1, 2, 3):
            yield bytes((number, changes)) + Random(changes).randbytes(60)
