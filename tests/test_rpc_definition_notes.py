"""Metadata of types in an interface (names, ranges, lengths), and the scopes of names."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import Annotated, Any

import msgspec
import pytest

from ipcpipes import rpc
from ipcpipes.rpc.definition.elements import element_of
from ipcpipes.rpc.definition.operations import Operation
from ipcpipes.rpc.errors import DefinitionError

UUID = "0b6f1f0e-5a3c-4d7c-9a57-3e0c7b1d2f55"
# Typed as Any, because a type checker does not allow variables in their subscripts.
IN: Any = rpc.InPipe
NOTED: Any = Annotated
LIST: Any = list

GIVEN = "interface Sample, operation work, parameter given"


def taken(annotation: Any) -> Operation:
    """An operation with one parameter of this type, called ``given``."""

    class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation
        async def work(self, given: annotation) -> None: ...

    return Sample._rpc_definition.operations["work"]


def refused(annotation: Any, rule: str, text: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        taken(annotation)
    assert str(caught.value) == f"{GIVEN}: {text} (rule: {rule})"


# Names, ranges and lengths


@pytest.mark.parametrize("name", [5, None, b"NUMBERS", ["NUMBERS"]])
def test_the_name_of_a_pipes_type_is_text(name: Any) -> None:
    with pytest.raises(TypeError) as caught:
        rpc.PipeName(name)
    assert str(caught.value) == f"the name of a pipe's type is text, not {name!r}"


def test_a_pipe_has_one_range() -> None:
    refused(
        Annotated[rpc.InPipe[rpc.int32], rpc.Range(1, 2), rpc.Range(3, 4)],
        "once",
        "a pipe has one range; remove Range(low=1, high=2) or Range(low=3, high=4)",
    )


def test_a_range_is_not_replaced_by_another_one() -> None:
    short = Annotated[rpc.InPipe[rpc.int32], rpc.Range(1, 2)]
    with pytest.raises(DefinitionError, match="a pipe has one range"):
        taken(Annotated[short, rpc.Range(1, 2)])


def test_the_type_of_a_pipe_has_one_name() -> None:
    refused(
        Annotated[rpc.InPipe[rpc.int32], rpc.PipeName("SHORT"), rpc.PipeName("LONG")],
        "once",
        "its type has one name; remove 'SHORT' or 'LONG'",
    )


class TwoLengths(rpc.Structure):
    numbers: Annotated[list[rpc.int32], rpc.Length(2), rpc.Length(3)]


def test_an_array_has_one_length() -> None:
    refused(
        rpc.InPipe[TwoLengths],
        "elements",
        "its field TwoLengths.numbers: an array has one length; remove the other rpc.Length",
    )


# Type aliases (Python 3.12)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="its statement is new in Python 3.12")
def test_type_statements_are_resolved() -> None:
    names: dict[str, Any] = {"rpc": rpc, "Annotated": Annotated}
    code = """
type Numbers = rpc.InPipe[rpc.int32]
type Bounded = Annotated[Numbers, rpc.Range(1, 5)]
type Again = Bounded
type Of[T] = rpc.OutPipe[T]
type Number = rpc.int16
type Array = Annotated[list[Number], rpc.Length(3)]
type Value = int
type Hidden = list[Numbers]
type Deeply = dict[str, Hidden]
type Endless = list[Endless] | int
type Itself = Itself
type Missing = rpc.InPipe[Nothing]
type Optional = Numbers | None

class Row(rpc.Structure):
    place: Number
    cells: Array
"""
    exec(compile(code, "<types>", "exec", dont_inherit=True), names)
    check_aliases(names)
    assert [str(pipe) for pipe in taken(names["Of"][names["Number"]]).pipes] == ["out int16"]
    with pytest.raises(DefinitionError, match=r"annotations cannot be understood: .*Nothing"):
        taken(names["Missing"])
    with pytest.raises(DefinitionError, match="annotations cannot be understood: "):
        taken(names["Itself"])
    with pytest.raises(DefinitionError, match="a pipe cannot be part of another type"):
        taken(names["Deeply"])
    with pytest.raises(DefinitionError, match="remove None"):
        taken(names["Optional"])
    with pytest.raises(DefinitionError, match="msgspec does not support it"):
        taken(names["Endless"])


def test_type_aliases_of_typing_extensions_are_resolved() -> None:
    extensions = pytest.importorskip("typing_extensions")

    def alias(name: str, value: Any) -> Any:
        return extensions.TypeAliasType(name, value)

    numbers = alias("Numbers", rpc.InPipe[rpc.int32])
    bounded = alias("Bounded", NOTED[numbers, rpc.Range(1, 5)])
    number = alias("Number", rpc.int16)
    array = alias("Array", NOTED[LIST[number], rpc.Length(3)])

    fields = [("place", number), ("cells", array)]
    check_aliases(
        {
            "Numbers": numbers,
            "Bounded": bounded,
            "Again": alias("Again", bounded),
            "Number": number,
            "Value": alias("Value", int),
            "Hidden": alias("Hidden", LIST[numbers]),
            "Row": msgspec.defstruct("Row", fields, bases=(rpc.Structure,)),
        }
    )


def check_aliases(names: dict[str, Any]) -> None:
    def of(annotation: Any) -> list[str]:
        return [str(pipe) for pipe in taken(annotation).pipes]

    numbers, number, bounded = names["Numbers"], names["Number"], names["Bounded"]
    assert of(numbers) == ["in int32"]
    assert of(bounded) == of(names["Again"]) == ["in int32 range(1, 5)"]
    assert of(NOTED[numbers, rpc.Range(2, 3)]) == ["in int32 range(2, 3)"]
    assert of(IN[number]) == ["in int16"]
    assert of(IN[names["Row"]]) == ["in {place: int16, cells: int16[3]}"]
    assert taken(names["Value"]).types["given"] is int
    refused(
        names["Hidden"],
        "only a parameter",
        "a pipe cannot be part of another type; make it a parameter of its own",
    )
    with pytest.raises(DefinitionError, match="a pipe has one range"):
        taken(Annotated[bounded, rpc.Range(1, 5)])


# The scopes of names. Annotations are text in this module.


def test_a_structure_can_use_local_names_of_a_function() -> None:
    class Color(IntEnum):
        RED = 1

    class Inner(rpc.Structure):
        color: Color

    length = rpc.Length(2)

    class Outer(rpc.Structure):
        inner: Inner
        several: Annotated[list[Inner], length]
        number: rpc.int32

    class Derived(Outer):
        color: Color

    class Local(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation
        async def send(self, pipe: rpc.InPipe[Outer], more: rpc.InPipe[Derived]) -> None: ...

    outer = "{inner: {color: enum}, several: {color: enum}[2], number: int32"
    names = [pipe.element.name for pipe in Local._rpc_definition.operations["send"].pipes]
    assert names == [f"{outer}}}", f"{outer}, color: enum}}"]
    assert set(Outer._rpc_names) >= {"Inner", "length"}
    assert "Local" not in Derived._rpc_names


def test_a_local_structure_can_outlive_its_function() -> None:
    def made() -> type[rpc.Structure]:
        class Inner(rpc.Structure):
            number: rpc.int32

        class Outer(rpc.Structure):
            inner: Inner

        return Outer

    assert element_of(made()).name == "{inner: {number: int32}}"


def test_a_local_structure_that_contains_itself_is_refused() -> None:
    class Node(rpc.Structure):
        next: Node

    refused(
        rpc.InPipe[Node],
        "elements",
        "its field Node.next: Node would contain itself, which needs a pointer",
    )


def test_annotations_that_cannot_be_evaluated_are_refused() -> None:
    class Strange(rpc.Structure):
        number: Nothing  # type: ignore[name-defined]  # noqa: F821

    broken = type("Broken", (rpc.Structure,), {"__annotations__": {"number": "this is no"}})
    for structure in (Strange, broken):
        with pytest.raises(DefinitionError, match=r"the fields of \w+ cannot be understood"):
            taken(rpc.InPipe[structure])  # type: ignore[valid-type]


def test_a_structure_keeps_only_the_names_of_its_fields() -> None:
    large = object()

    class Small(rpc.Structure):
        number: rpc.int32

    assert large is not None
    assert not Small._rpc_names
