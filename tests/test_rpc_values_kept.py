"""Values that msgspec would change or does not support: they arrive unchanged, or are refused."""

from __future__ import annotations

import datetime
import importlib.util
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest

from ipcpipes import rpc

from .rpc_both_drivers import DRIVERS, BothClients, connected, served
from .rpc_over_links import bad_stub_data

DateTime = datetime.datetime
UTC = datetime.timezone.utc
INDIA = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
NAIVE = DateTime(2024, 2, 29, 9)
AWARE = [
    NAIVE.replace(tzinfo=UTC),
    NAIVE.replace(tzinfo=INDIA),
    NAIVE.replace(
        tzinfo=datetime.timezone(-datetime.timedelta(hours=3, minutes=30)), microsecond=7
    ),
    DateTime(1950, 1, 1, tzinfo=INDIA),
    DateTime(2600, 1, 1, tzinfo=INDIA),
]


@dataclass
class Meeting:
    when: DateTime
    others: list[DateTime | None]


class Note(msgspec.Struct, tag=True, rename="camel"):
    written_at: DateTime


class Line(msgspec.Struct, tag=True):
    text: str


class Values(rpc.Interface, uuid="0d3cf6b1-7f0c-4f57-a4e6-3f0e5d2e9c77", version=(1, 0)):
    """Returns its argument; ``result_of`` returns a value that the test has set."""

    @rpc.operation
    def time(self, value: DateTime) -> DateTime: ...
    @rpc.operation
    def optional(self, value: DateTime | None) -> DateTime | None: ...
    @rpc.operation
    def meeting(self, value: Meeting) -> Meeting: ...
    @rpc.operation
    def notes(self, value: list[Note | Line]) -> list[Note | Line]: ...
    @rpc.operation
    def by_time(self, value: dict[DateTime, set[DateTime]]) -> dict[DateTime, set[DateTime]]: ...
    @rpc.operation
    def anything(self, value: Any) -> Any: ...
    @rpc.operation
    def beside(self, value: Any, when: DateTime) -> DateTime: ...
    @rpc.operation
    def naive(self, value: Annotated[DateTime, msgspec.Meta(tz=False)]) -> int: ...
    @rpc.operation
    def number(self, value: int) -> int: ...
    @rpc.operation
    def real(self, value: float) -> float: ...
    @rpc.operation
    def result_of(self, name: str) -> Any: ...
    @rpc.operation
    def time_of(self, name: str) -> DateTime: ...


class ValuesManager(Values):
    def __init__(self) -> None:
        self.results: dict[str, Any] = {}

    def time(self, value: Any) -> Any:
        return value

    def beside(self, value: Any, when: Any) -> Any:
        return when

    def naive(self, value: Any) -> int:
        return int(value.hour)

    def result_of(self, name: str) -> Any:
        return self.results[name]

    time_of = result_of
    optional = meeting = notes = by_time = anything = number = real = time


BOTH = pytest.mark.parametrize(("server", "client"), [(one, one) for one in DRIVERS])


def same(found: DateTime, sent: DateTime) -> bool:
    return found == sent and found.utcoffset() == sent.utcoffset()


@BOTH
def test_offsets_of_times_are_kept(server: str, client: str) -> None:
    with served(server, ValuesManager()) as endpoint, connected(client, Values, endpoint) as values:
        for sent in AWARE:
            assert same(values.call("time", sent), sent)
            assert same(values.call("optional", sent), sent)
            found = values.call("meeting", Meeting(NAIVE, [None, sent]))
            assert found.when == NAIVE
            assert same(found.others[1], sent)
            line, note = values.call("notes", [Line("x"), Note(sent)])
            assert line == Line("x")
            assert same(note.written_at, sent)
            ((key, (item,)),) = values.call("by_time", {sent: {sent}}).items()
            assert same(key, sent)
            assert same(item, sent)
            assert same(values.call("beside", [1, b"\xd6\xff"], sent), sent)
        assert values.call("optional", None) is None
        assert values.call("naive", NAIVE) == 9
        # UTC is sent as MessagePack's timestamp, and is decoded as a time where the type is Any.
        assert values.call("anything", [AWARE[0]]) == [AWARE[0]]


def refused(values: BothClients, name: str, value: Any, kind: type[Exception], words: str) -> None:
    """Refused at the client before anything is sent, and at the server as a result."""
    with pytest.raises(kind) as caught:
        values.call(name, value)
    assert str(caught.value) == f"Values.{name}(): the argument value cannot be sent: {words}"


@BOTH
def test_offsets_that_would_be_lost_are_refused(server: str, client: str) -> None:
    manager = ValuesManager()
    lost = (
        "2024-02-29T09:00:00+05:30 would lose its offset, because its type is Any; declare a "
        "datetime, send it as text, or convert it with .astimezone(timezone.utc)"
    )
    seconds = NAIVE.replace(tzinfo=datetime.timezone(datetime.timedelta(seconds=3661)))
    with served(server, manager) as endpoint, connected(client, Values, endpoint) as values:
        for value in (AWARE[1], [{"when": AWARE[1]}], {AWARE[1]: 1}, Note(AWARE[1])):
            refused(values, "anything", value, ValueError, lost)
            manager.results["it"] = value
            with bad_stub_data() as failed:
                values.call("result_of", "it")
            assert failed.value.message == f"the result of Values.result_of cannot be sent: {lost}"
        words = (
            "2024-02-29T09:00:00+01:01:01 has an offset with seconds, which RFC 3339 does not "
            "allow; convert it with .astimezone(timezone.utc)"
        )
        refused(values, "time", seconds, ValueError, words)
        manager.results["it"] = seconds
        with bad_stub_data() as failed:
            values.call("time_of", "it")
        assert words in failed.value.message
        manager.results["it"] = AWARE[1]
        assert same(values.call("time_of", "it"), AWARE[1])


@BOTH
def test_whole_numbers_beyond_64_bits_are_refused(server: str, client: str) -> None:
    manager = ValuesManager()
    words = "an integer must be from -2**63 to 2**64 - 1; send a larger one as text"
    with served(server, manager) as endpoint, connected(client, Values, endpoint) as values:
        for value in (-(2**63), 2**64 - 1):
            assert values.call("number", value) == value
        for value in (-(2**63) - 1, 2**64, 10**30):
            refused(values, "number", value, OverflowError, words)
            refused(values, "anything", [{"x": value}], OverflowError, words)
            manager.results["it"] = value
            with bad_stub_data() as failed:
                values.call("result_of", "it")
            assert failed.value.message == f"the result of Values.result_of cannot be sent: {words}"


@pytest.mark.skipif(importlib.util.find_spec("numpy") is None, reason="NumPy is not there")
@BOTH
def test_numpy_scalars_are_sent(server: str, client: str) -> None:
    if sys.platform == "win32":
        pytest.importorskip("numpy")
    import numpy as np

    manager = ValuesManager()
    with served(server, manager) as endpoint, connected(client, Values, endpoint) as values:
        assert values.call("number", np.int16(-5)) == -5
        assert values.call("number", np.uint64(2**64 - 1)) == 2**64 - 1
        assert values.call("real", np.float32(1.5)) == 1.5
        sent = [
            np.bool_(True),
            np.str_("x"),
            np.bytes_(b"y"),
            np.array(7),
            {np.int8(1): np.float64(2)},
        ]
        found = values.call("anything", sent)
        assert found == [True, "x", b"y", 7, {1: 2.0}]
        manager.results["it"] = sent
        assert values.call("result_of", "it") == found
        array = "ndarray cannot be sent; send its tolist(), or use a pipe"
        refused(values, "anything", [np.arange(3)], TypeError, array)
        for value in (np.complex64(1), np.datetime64("2024-01-01")):
            with pytest.raises(TypeError, match="cannot be sent"):
                values.call("anything", value)
        refused(
            values,
            "anything",
            object(),
            TypeError,
            "object is not a type that can be sent",
        )
        manager.results["it"] = np.arange(3)
        with bad_stub_data() as failed:
            values.call("result_of", "it")
        assert array in failed.value.message
