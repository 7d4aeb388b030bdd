"""Pipes, options and arguments in the definition of an operation."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from ipcpipes import rpc

from .rpc_defining import Mixed, refused, taken
from .rpc_pairs import definition


@pytest.mark.parametrize(
    ("kind", "into", "out", "text"),
    [
        (rpc.InPipe, True, False, "in int32"),
        (rpc.OutPipe, False, True, "out int32"),
        (rpc.InOutPipe, True, True, "inout int32"),
    ],
)
def test_a_pipe_has_a_direction(kind: Any, into: bool, out: bool, text: str) -> None:
    (pipe,) = taken(kind[rpc.int32]).pipes
    assert (pipe.name, pipe.index, pipe.into, pipe.out) == ("given", 0, into, out)
    assert (pipe.range, pipe.type_name, str(pipe)) == (None, None, text)


def test_a_range_and_a_name_can_have_any_order() -> None:
    for notes in ((rpc.Range(1, 9), rpc.PipeName("P")), (rpc.PipeName("P"), rpc.Range(1, 9))):
        (pipe,) = taken(Annotated[(rpc.OutPipe[rpc.byte], *notes)]).pipes
        assert (pipe.range, pipe.type_name, str(pipe)) == (
            rpc.Range(1, 9),
            "P",
            "out byte range(1, 9)",
        )


@pytest.mark.parametrize("kind", [rpc.InPipe, rpc.OutPipe, rpc.InOutPipe])
def test_a_pipe_without_an_element_type_is_refused(kind: Any) -> None:
    refused(taken, kind, "elements", f"{kind.__name__}[rpc.byte]")


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (2, 1), (0, 0), (0, 2**32), (2**32, 2**32 + 1)])
def test_a_range_out_of_bounds_is_refused(low: int, high: int) -> None:
    with pytest.raises(ValueError, match=rf"^a range goes .*, not {low}, {high}$"):
        rpc.Range(low, high)


@pytest.mark.parametrize(("low", "high"), [(1.0, 2), (1, "2"), (True, 2), (None, 2)])
def test_a_range_is_two_numbers(low: Any, high: Any) -> None:
    with pytest.raises(TypeError, match=r"^a range is two whole numbers, not "):
        rpc.Range(low, high)


def test_a_range_can_have_every_count() -> None:
    assert rpc.Range(0, 2**32 - 1).high == 2**32 - 1
    assert rpc.Range(1, 1).low == 1


def test_an_operation_has_what_the_method_declares() -> None:
    mix = definition(Mixed).operations["mix"]
    assert (mix.interface, mix.name, mix.number, str(mix)) == ("Mixed", "mix", 0, "Mixed.mix")
    assert mix.parameters == ("scale", "first", "second", "both", "title", "tags")
    assert dict(mix.types) == {"scale": int, "title": str, "tags": list[str]}
    assert dict(mix.defaults) == {"title": "none", "tags": []}
    assert mix.result == list[float]
    assert mix.documentation == "Mixes."
    assert [(pipe.name, pipe.index) for pipe in mix.pipes] == [
        ("first", 0),
        ("second", 1),
        ("both", 2),
    ]
    assert (mix.ins, mix.outs) == ((0, 2), (1, 2))
    assert list(mix.flows) == ["first", "second", "both"]
    assert mix.signature_of_pipes == (
        "in int32, out byte, inout {time: int64, channels: float32[3]}"
    )


def test_an_operation_has_the_options_of_its_decorator() -> None:
    mix, look = definition(Mixed).operations.values()
    assert (mix.options.idempotent, mix.options.maybe, mix.options.timeout) == (False, False, None)
    assert (look.options.idempotent, look.options.maybe, look.options.timeout) == (True, False, 2)


def test_arguments_are_checked_when_they_are_decoded() -> None:
    decode = definition(Mixed).operations["mix"].decode_arguments
    encode = msgspec.msgpack.encode
    values = decode(encode([4]))
    assert (values.scale, values.title, values.tags) == (4, "none", [])
    assert decode(encode([4, "all", ["x"]])).tags == ["x"]
    for wrong in ([], ["four"], [4, 5], {"scale": 4}):
        with pytest.raises(msgspec.ValidationError):
            decode(encode(wrong))


def test_definitions_do_not_change() -> None:
    one = definition(Mixed)
    with pytest.raises(TypeError):
        one.operations["other"] = one.operations["mix"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        one.name = "Other"  # type: ignore[misc]
