"""The rules of definitions: each error names the rule and the place, and says what to do."""

from __future__ import annotations

import io
import pickle
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from types import NoneType
from typing import Annotated, Any, NamedTuple, NewType, TypedDict, TypeVar

import msgspec
import pytest
import trio

from ipcpipes import rpc
from ipcpipes.rpc.errors import DefinitionError

from .rpc_defining import GIVEN, UUID, Anything, Color, Remote, Sample3, refused, returning, taken

T = TypeVar("T")


@dataclass
class PipeInDataclass:
    numbers: rpc.InPipe[rpc.int32]


class PipeInStruct(msgspec.Struct):
    numbers: rpc.OutPipe[rpc.int32]


class PipeInTypedDict(TypedDict):
    numbers: rpc.InOutPipe[rpc.int32]


class PipeInTuple(NamedTuple):
    numbers: rpc.InPipe[rpc.int32]


class PipeInStructure(rpc.Structure):
    numbers: rpc.InPipe[rpc.int32]


@dataclass
class PipeBelow:
    inner: list[PipeInStruct]


@pytest.mark.parametrize(
    "result",
    [
        rpc.OutPipe[rpc.int32],
        rpc.InPipe[rpc.int32],
        rpc.InOutPipe[rpc.byte],
        Annotated[rpc.OutPipe[rpc.int32], rpc.PipeName("LONG_PIPE")],
        rpc.OutPipe[rpc.int32] | None,
        tuple[int, rpc.OutPipe[rpc.int32]],
        PipeInDataclass,
        rpc.OutPipe,
    ],
    ids=str,
)
def test_01_a_pipe_cannot_be_a_result(result: Any) -> None:
    refused(returning, result, "only a parameter", "use a parameter of rpc.OutPipe")


@pytest.mark.parametrize(
    "annotation",
    [
        PipeInDataclass,
        PipeInStruct,
        PipeInTypedDict,
        PipeInTuple,
        PipeInStructure,
        PipeBelow,
        rpc.InPipe[rpc.int32] | int,
        rpc.InPipe[rpc.int32] | rpc.OutPipe[rpc.int32],
        list[rpc.InPipe[rpc.int32]],
        tuple[rpc.InPipe[rpc.int32], ...],
        dict[str, rpc.OutPipe[rpc.int32]],
        list[Annotated[rpc.InPipe[rpc.int32], rpc.PipeName("LONG_PIPE")]],
    ],
    ids=str,
)
def test_02_a_pipe_cannot_be_part_of_another_type(annotation: Any) -> None:
    refused(taken, annotation, "only a parameter", "make it a parameter")


@pytest.mark.parametrize(
    "carried",
    [
        rpc.InPipe[rpc.int32],
        rpc.OutPipe[rpc.byte],
        Annotated[rpc.InPipe[rpc.int32], rpc.PipeName("LONG_PIPE")],
        list[rpc.InPipe[rpc.int32]],
        PipeInStructure,
    ],
    ids=str,
)
def test_03_a_pipe_cannot_carry_pipes(carried: Any) -> None:
    refused(taken, rpc.InPipe[carried], "only a parameter", "cannot carry pipes", "a parameter")


@pytest.mark.parametrize("base", [rpc.InPipe, rpc.OutPipe, rpc.InOutPipe, rpc.InPipe[rpc.int32]])
def test_04_a_pipe_type_has_no_subclasses(base: Any) -> None:
    with pytest.raises(DefinitionError) as caught:

        class Numbers(base):  # type: ignore[misc]
            pass

    assert caught.value.rule == "only a parameter"
    assert str(caught.value).startswith("class Numbers: a pipe type has no subclasses; ")
    assert "Annotated[rpc.InPipe[...], rpc.PipeName(...)]" in caught.value.text


def test_04_a_pipe_type_has_no_new_type() -> None:
    with pytest.raises(DefinitionError, match=rf"^{GIVEN}: .*InPipe.* cannot be sent"):
        taken(NewType("Numbers", rpc.InPipe[rpc.int32]))


class Node(rpc.Structure):
    value: rpc.int32
    next: Node | None


class Endless(rpc.Structure):
    value: rpc.int32
    itself: Endless


class Callback(rpc.Structure):
    call: Callable[[], None]


@pytest.mark.parametrize(
    ("carried", "words"),
    [
        (rpc.int32 | None, "an optional value is a pointer"),
        (Sample3 | None, "an optional value is a pointer"),
        (Node, "its field Node.next: an optional value is a pointer"),
        (Endless, "Endless.itself"),
        (Anything, "Anything is a pointer, or has no fixed size"),
        (Any, "pointer"),
        (object, "object is a pointer"),
        (T, "T is a pointer"),
        (Callback, "its field Callback.call: "),
        (Callable[[], None], "pointer"),
        (int, "int has no fixed size; use a type such as rpc.int64"),
        (float, "float has no fixed size; use a type such as rpc.float64"),
        (bool, "bool has no fixed size; use a type such as rpc.boolean"),
    ],
    ids=str,
)
def test_05_an_element_cannot_be_a_pointer(carried: Any, words: str) -> None:
    refused(taken, rpc.InPipe[carried], "elements", words)


class Conformant(rpc.Structure):
    size: rpc.uint32
    data: bytes


class ConformantBelow(rpc.Structure):
    inner: Annotated[list[Conformant], rpc.Length(2)]


VARYING = Annotated[list[rpc.int32], msgspec.Meta(max_length=4)]


class Varying(rpc.Structure):
    data: VARYING


@pytest.mark.parametrize(
    ("carried", "words"),
    [
        (bytes, "bytes is a conformant array"),
        (bytearray, "bytearray is a conformant array"),
        (str, "use a pipe of rpc.byte"),
        (list[rpc.int32], "conformant or varying array"),
        (list, "conformant or varying array"),
        (dict[str, int], "conformant or varying array"),
        (tuple[rpc.int32, rpc.int32], "conformant or varying array"),
        (set[rpc.int32], "conformant or varying array"),
        (VARYING, "rpc.Structure"),
        (Varying, "its field Varying.data: "),
        (Conformant, "its field Conformant.data: bytes is a conformant array"),
        (ConformantBelow, "Conformant.data: bytes is a conformant array"),
        # Its size is fixed, but MIDL has no pipes of bare arrays.
        (Annotated[list[rpc.int32], rpc.Length(4)], "wrap it in an rpc.Structure"),
    ],
    ids=str,
)
def test_06_an_element_has_a_fixed_size(carried: Any, words: str) -> None:
    refused(taken, rpc.InPipe[carried], "elements", words)


@pytest.mark.parametrize(
    ("carried", "words"),
    [
        (socket.socket, "socket is a handle, which is not valid in another process"),
        (io.FileIO, "FileIO is a handle"),
        (trio.SocketStream, "SocketStream is a handle"),
        (trio.MemoryReceiveChannel[int], "pointer"),
        (Remote, "Remote is a handle"),
        (None, "void cannot be an element; remove the parameter"),
        (NoneType, "void cannot be an element"),
    ],
    ids=str,
)
def test_07_an_element_cannot_be_a_handle_or_void(carried: Any, words: str) -> None:
    refused(taken, rpc.InPipe[carried], "elements", words)


class UnionBelow(rpc.Structure):
    value: rpc.int32 | rpc.float32


@pytest.mark.parametrize("carried", [rpc.int32 | rpc.float32, Sample3 | Color, UnionBelow], ids=str)
def test_08_an_element_cannot_be_a_union(carried: Any) -> None:
    refused(taken, rpc.InPipe[carried], "elements", "a field for each arm")


class Painted(rpc.Structure):
    first: rpc.byte
    color: Color


def test_09_an_enumeration_has_32_bits() -> None:
    (pipe,) = taken(rpc.InPipe[Color]).pipes
    assert (pipe.element.size, pipe.element.alignment) == (4, 4)
    (pipe,) = taken(rpc.InPipe[Painted]).pipes
    assert (pipe.element.size, pipe.element.alignment) == (8, 4)


class Large(IntEnum):
    BEYOND = 2**31


def test_09_a_value_beyond_32_bits_is_refused() -> None:
    refused(taken, rpc.InPipe[Large], "elements", "Large has values beyond 32 bits")


class PaintedShort(rpc.Structure):
    color: Annotated[Color, rpc.int16]


@pytest.mark.parametrize(
    "carried",
    [Annotated[Color, rpc.int16], Annotated[Color, rpc.int16.__metadata__[0]], PaintedShort],  # type: ignore[attr-defined]
    ids=str,
)
def test_09_an_enumeration_has_no_other_size(carried: Any) -> None:
    refused(taken, rpc.InPipe[carried], "elements", "32 bits ([v1_enum])", "use Color as it is")


def test_10_a_structure_with_a_fixed_array_is_an_element() -> None:
    (pipe,) = taken(rpc.InPipe[Sample3]).pipes
    assert (pipe.element.size, pipe.element.alignment) == (20, 8)
    assert str(pipe) == "in {time: int64, channels: float32[3]}"


@pytest.mark.parametrize(
    "annotation",
    [
        rpc.InPipe[rpc.int32] | None,
        rpc.OutPipe[rpc.int32] | None,
        Annotated[rpc.InOutPipe[rpc.int32] | None, rpc.PipeName("LONG_PIPE")],
        Annotated[rpc.InPipe[rpc.int32], rpc.PipeName("LONG_PIPE")] | None,
    ],
    ids=str,
)
def test_11_a_pipe_is_never_optional(annotation: Any) -> None:
    refused(taken, annotation, "never optional", "remove None")


def test_11_a_pipe_has_no_default() -> None:
    with pytest.raises(DefinitionError) as caught:

        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            @rpc.operation
            async def work(self, given: rpc.InPipe[rpc.int32] = 5) -> None:  # type: ignore[assignment]
                ...

    assert caught.value.rule == "never optional"
    assert str(caught.value).startswith(f"{GIVEN}: ")
    assert "remove the default" in caught.value.text


@pytest.mark.parametrize("flag", ["idempotent", "maybe"])
@pytest.mark.parametrize("kind", [rpc.InPipe, rpc.OutPipe, rpc.InOutPipe])
def test_12_an_operation_with_pipes_is_not_idempotent_or_maybe(flag: str, kind: Any) -> None:
    with pytest.raises(DefinitionError) as caught:
        taken(kind[rpc.int32], **{flag: True})
    assert caught.value.rule == f"not {flag}"
    assert str(caught.value).startswith(f"{GIVEN}: ")
    assert f"remove {flag}=True or the pipe" in caught.value.text


@pytest.mark.parametrize("kind", [rpc.InPipe, rpc.OutPipe, rpc.InOutPipe])
def test_13_an_annotation_that_is_a_pipe_object_is_refused(kind: Any) -> None:
    async def work(self: object, given: object) -> None: ...

    work.__annotations__["given"] = kind[rpc.int32]()
    with pytest.raises(DefinitionError) as caught:

        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            work_ = rpc.operation(work)

    assert caught.value.rule == "by reference"
    assert str(caught.value).startswith(
        "interface Sample, operation work_, parameter given: the annotation is an instance of a"
    )


@pytest.mark.parametrize("name", ["P", "P" * 29])
def test_14_a_name_has_up_to_29_characters(name: str) -> None:
    (pipe,) = taken(Annotated[rpc.InPipe[rpc.int32], rpc.PipeName(name)]).pipes
    assert pipe.type_name == name


@pytest.mark.parametrize("name", ["", "P" * 30])
def test_14_a_name_of_another_length_is_refused(name: str) -> None:
    refused(
        taken,
        Annotated[rpc.InPipe[rpc.int32], rpc.PipeName(name)],
        "name",
        f"the name {name!r} of its type has {len(name)} characters",
        "use 1 to 29",
    )


class Doubled(rpc.Structure):
    value: Annotated[rpc.int32, "as text"]


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[rpc.InPipe[rpc.int32], "as text"],
        Annotated[rpc.InPipe[rpc.int32], msgspec.Meta(max_length=3)],
        Annotated[rpc.InPipe[rpc.int32], rpc.Range(0, 3), "as text"],
        Annotated[rpc.InPipe[rpc.int32], rpc.int16],
        rpc.InPipe[Annotated[rpc.int32, "as text"]],
        rpc.InPipe[Annotated[rpc.int32, []]],
        rpc.InPipe[Annotated[rpc.int32, msgspec.Meta(gt=5)]],
        rpc.InPipe[Annotated[rpc.float32, msgspec.Meta(gt=5)]],
        rpc.InPipe[Annotated[rpc.int32, rpc.int16]],
        rpc.InPipe[Annotated[rpc.int32, rpc.int16.__metadata__[0]]],
        rpc.InPipe[Annotated[rpc.boolean, rpc.boolean]],
        rpc.InPipe[Annotated[Sample3, "as text"]],
        rpc.InPipe[Annotated[Sample3, msgspec.Meta(title="a sample")]],
        rpc.InPipe[Doubled],
    ],
    ids=str,
)
def test_15_a_pipe_and_an_element_have_one_representation(annotation: Any) -> None:
    refused(taken, annotation, "no transmit_as", "one fixed representation", "remove")


def test_a_definition_error_is_a_type_error_and_pickles() -> None:
    with pytest.raises(TypeError) as caught:
        taken(rpc.InPipe[int])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is DefinitionError
    assert (str(copy), copy.rule, copy.where) == (str(caught.value), "elements", GIVEN)
