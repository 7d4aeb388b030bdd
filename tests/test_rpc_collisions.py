"""Keys that a client chose so that their hashes collide: which are limited, and to how many."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, Optional

import msgspec
import pytest
from hypothesis import given, settings, strategies as st
from msgspec import Meta

from ipcpipes import rpc
from ipcpipes.framing.messagepack import DEEPEST, ITEMS_OF_ARRAYS as ARRAYS, TEXTS, may_collide
from ipcpipes.rpc.definition.collisions import MOST_NUMBERS, MOST_OTHERS, key_limit_of

from .rpc_both_drivers import DRIVERS, connected, served
from .rpc_over_links import bad_stub_data

MODULUS = 2**61 - 1  # of the hashes of numbers (sys.hash_info)


@dataclass(frozen=True)
class Point:
    x: int
    y: int


class Named(NamedTuple):
    name: str


class Node(msgspec.Struct, frozen=True):
    """A type that can contain itself."""

    name: str
    nodes: tuple[Node, ...] = ()


class Numbered(msgspec.Struct, frozen=True):
    number: int
    nodes: tuple[Numbered, ...] = ()


class Config(msgspec.Struct):
    ports: dict[int, str] = {}
    inner: Optional[Config] = None  # noqa: UP045  # for Python 3.10's own get_type_hints


class Color(enum.Enum):
    RED = 1


SEEDED: list[Any] = [
    int,
    list[int],
    dict[str, list[float]],
    set[str],
    frozenset[bytes],
    set[datetime.date],
    set[Color],
    dict[Literal[1, 2], int],
    set[bool],
    dict[tuple[str, bytes], int],
    set[Named],
    set[Node],
    set[frozenset[str]],
    dict[str | None, int],
]
FORESEEN: list[tuple[Any, int]] = [
    (dict[int, str], 0),
    (dict[float, str], 0),
    (dict[int | str, str], 0),
    (dict[tuple[int, int], str], 0),
    (dict[tuple[str, int], str], 0),
    (set[int], ARRAYS),
    (set[tuple[int, ...]], ARRAYS),
    (frozenset[frozenset[int]], ARRAYS),
    (set[Point], ARRAYS),
    (set[Numbered], ARRAYS),
    (set[uuid.UUID], ARRAYS | TEXTS),
    (dict[uuid.UUID, int], TEXTS),
    (dict[decimal.Decimal, int], TEXTS),
    (dict[datetime.datetime, int], TEXTS),
    (dict[datetime.time, int], TEXTS),
    (dict[datetime.timedelta, int], TEXTS),
    (list[dict[str, set[int] | None]], ARRAYS),
    (Config, 0),
    (Any, 0),
    (dict[str, Any], 0),
    (set[Any], ARRAYS),
]


@pytest.mark.parametrize("annotation", SEEDED, ids=str)
def test_keys_with_seeded_hashes_have_no_limit(annotation: Any) -> None:
    assert key_limit_of([annotation]) is None


@pytest.mark.parametrize(("annotation", "flags"), FORESEEN, ids=str)
def test_keys_with_predictable_hashes_have_a_limit(annotation: Any, flags: int) -> None:
    limit = key_limit_of([int, annotation])
    assert limit is not None
    assert (limit.flags, limit.most) == (flags, MOST_NUMBERS**2)


@pytest.mark.parametrize(
    ("annotation", "flags", "most"),
    [
        # It limits a set that occurs once. Lists of numbers beside the set are then not counted.
        (Annotated[set[int], Meta(max_length=9)], 0, MOST_NUMBERS),
        (Annotated[set[int], Meta(max_length=65_536)], 0, 65_536),
        (Annotated[set[int], Meta(max_length=9)] | None, 0, MOST_NUMBERS),
        (list[Annotated[set[int], Meta(max_length=9)]], ARRAYS, MOST_NUMBERS),
        (Annotated[dict[uuid.UUID, int], Meta(max_length=4_096)], 0, 65_536),
        # A max_length above the highest limit has no effect.
        (Annotated[set[int], Meta(max_length=65_537)], ARRAYS, MOST_NUMBERS),
        (Annotated[set[Point], Meta(max_length=4_096)], ARRAYS, MOST_NUMBERS),
    ],
    ids=str,
)
def test_max_length_changes_the_limit(annotation: Any, flags: int, most: int) -> None:
    limit = key_limit_of([annotation])
    assert limit is not None
    assert (limit.flags, limit.most) == (flags, most**2)


# Counting


def costs_more(octets: bytes, flags: int, most: int) -> bool:
    return may_collide(memoryview(octets), flags, most)


def weight_of(value: Any, flags: int) -> int:
    if isinstance(value, (str, bytes)):
        return 16 if flags & TEXTS else 0
    if isinstance(value, dict):
        return 32
    return 16 if isinstance(value, (list, tuple, msgspec.msgpack.Ext)) else 1


def cost_of(value: Any, flags: int) -> int:
    """The cost of a complete value, as the C code counts it."""
    if isinstance(value, dict):
        keys, inner = [*value], [*value, *value.values()]
    elif isinstance(value, (list, tuple)):
        keys, inner = [*value] if flags & ARRAYS else [], [*value]
    else:
        return 0
    weights = [weight for key in keys if (weight := weight_of(key, flags))]
    own = sum(weights) ** 2 if len(weights) > 8 else 0
    return own + sum(cost_of(part, flags) for part in inner)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=40)
    | st.binary(max_size=40)
    | st.builds(msgspec.msgpack.Ext, st.integers(-128, 127), st.binary(max_size=20))
)
KEYS = st.recursive(
    st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.tuples(inner, inner),
    max_leaves=3,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.lists(st.integers(), min_size=9, max_size=30).map(
            lambda numbers: [number % 2**64 for number in numbers]
        )
        | st.dictionaries(KEYS, inner, max_size=20)
    ),
    max_leaves=30,
)


@settings(deadline=None)
@given(VALUES, st.sampled_from([0, ARRAYS, TEXTS, ARRAYS | TEXTS]))
def test_the_cost_of_keys_is_counted(value: Any, flags: int) -> None:
    octets = msgspec.msgpack.encode(value)
    cost = cost_of(value, flags)
    assert not costs_more(octets, flags, cost)
    assert cost == 0 or costs_more(octets, flags, cost - 1)
    # Data after the value is ignored.
    assert not costs_more(octets + octets, flags, cost)
    # Less is counted of an incomplete value.
    for cut in range(len(octets)):
        assert not costs_more(octets[:cut], flags, cost)


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 3), st.integers(0, 2**64 - 1))
def test_garbage_can_be_counted(octets: bytes, flags: int, most: int) -> None:
    costs_more(octets, flags, most)


def test_false_lengths_are_counted_as_far_as_they_go() -> None:
    for octets in (b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"):
        assert not costs_more(octets, ARRAYS | TEXTS, 0)
        assert costs_more(octets + bytes(30), ARRAYS | TEXTS, 0) == (octets[0] != 0xC6)


def test_depth_is_limited_too() -> None:
    assert not costs_more(b"\x91" * DEEPEST + b"\xc0", 0, 0)
    with pytest.raises(ValueError, match="more than 512 levels"):
        costs_more(b"\x91" * (DEEPEST + 1) + b"\xc0", 0, 0)


# Calls


class Keys(rpc.Interface, uuid="0f6a3b51-3c6e-4e0e-9be2-0c9c3c7b6d11", version=(1, 0)):
    """Receives keys of many types."""

    @rpc.operation
    def tuples(self, keys: set[tuple[int, int]]) -> int: ...
    @rpc.operation
    def by_tuple(self, keys: dict[tuple[int, int], int]) -> int: ...
    @rpc.operation
    def uuids(self, keys: set[uuid.UUID]) -> int: ...
    @rpc.operation
    def decimals(self, keys: dict[decimal.Decimal, int]) -> int: ...
    @rpc.operation
    def points(self, keys: set[Point]) -> int: ...
    @rpc.operation
    def numbers(self, keys: set[int]) -> int: ...
    @rpc.operation
    def by_number(self, keys: dict[int, str]) -> int: ...
    @rpc.operation
    def many(self, keys: list[dict[int, str]]) -> int: ...
    @rpc.operation
    def anything(self, keys: Any) -> int: ...
    @rpc.operation
    def bounded(
        self, keys: Annotated[dict[int, str], Meta(max_length=40_000)], more: list[int]
    ) -> int: ...
    @rpc.operation
    def texts(self, keys: dict[str, int]) -> int: ...


class KeysManager(Keys):
    def tuples(self, keys: Any) -> int:
        return len(keys)

    def bounded(self, keys: Any, more: Any) -> int:
        return len(keys)

    by_tuple = uuids = decimals = points = numbers = by_number = many = anything = texts = tuples


def colliding_tuples(count: int) -> list[tuple[int, int]]:
    """Pairs with one hash: CPython's tuplehash is xxHash, each of whose steps can be undone."""
    first, second, fifth = 11400714785074694791, 14029467366897019727, 2870177450012600261
    whole = 2**64
    found: list[tuple[int, int]] = []
    number = 0
    while len(found) < count:
        number += 1
        state = (fifth + number * second) % whole
        state = (state << 31 | state >> 33) % whole * first % whole
        other = (12345 - state) * pow(second, -1, whole) % whole
        if other < MODULUS:  # its hash is the number itself
            found.append((number, other))
    return found


def test_the_keys_of_the_attack_collide() -> None:
    assert len(set(map(hash, colliding_tuples(500)))) == 1
    assert len({hash(uuid.UUID(int=MODULUS * number)) for number in range(1, 500)}) == 1


TUPLES = colliding_tuples(20_000)
TOO_MANY: list[tuple[str, Any]] = [
    ("tuples", TUPLES),
    ("by_tuple", dict.fromkeys(TUPLES[:MOST_OTHERS + 1], 0)),
    ("uuids", [uuid.UUID(int=MODULUS * number + 5) for number in range(1, 20_000)]),
    ("decimals", {str(MODULUS * number + 5): 0 for number in range(1, 20_000)}),
    ("points", [{"x": x, "y": y} for x, y in TUPLES]),
    ("numbers", list(range(MOST_NUMBERS + 1))),
    ("by_number", dict.fromkeys(range(MOST_NUMBERS + 1), "")),
    ("many", [dict.fromkeys(range(1000), "")] * 300),
    ("anything", [[dict.fromkeys(range(MOST_NUMBERS + 1), 0)]]),
    ("anything", dict.fromkeys(TUPLES[:MOST_OTHERS + 1], 0)),
]  # fmt: skip
ENOUGH: list[tuple[str, Any, int]] = [
    ("tuples", TUPLES[:MOST_OTHERS], MOST_OTHERS),
    ("uuids", [uuid.UUID(int=MODULUS * number + 5) for number in range(1, 1_000)], 999),
    ("points", [{"x": x, "y": y} for x, y in TUPLES[: MOST_OTHERS // 2]], MOST_OTHERS // 2),
    ("numbers", list(range(MOST_NUMBERS)), MOST_NUMBERS),
    ("by_number", dict.fromkeys(range(MOST_NUMBERS), "x" * 300), MOST_NUMBERS),
    ("many", [dict.fromkeys(range(8), "")] * 50_000, 50_000),
    ("anything", list(range(200_000)), 200_000),
    ("anything", [{str(number): 1 for number in range(50_000)}], 1),
    ("texts", {str(number): 1 for number in range(50_000)}, 50_000),
]


@pytest.mark.parametrize("driver", DRIVERS)
def test_calls_with_too_many_keys_fail_alone(driver: str) -> None:
    """The keys are not decoded, and the connection stays usable."""
    with served(driver, KeysManager()) as endpoint, connected("blocking", Keys, endpoint) as client:
        for name, keys in TOO_MANY:
            with bad_stub_data() as caught:
                client.call(name, keys)
            assert caught.value.message == (
                f"Keys.{name}: the arguments have too many set or dict keys whose hashes can "
                "collide: more than one set of 16,384 numbers or 1,024 other keys; declare a "
                "max_length, or use a list"
            )
        for name, keys, size in ENOUGH:
            assert client.call(name, keys) == size
        numbers = list(range(100_000))
        assert client.call("bounded", dict.fromkeys(range(40_000), ""), numbers) == 40_000
        with bad_stub_data() as caught:
            client.call("bounded", dict.fromkeys(range(40_001), ""), [])
        assert "40,000 numbers or 2,500 other keys" in caught.value.message
