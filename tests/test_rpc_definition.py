"""What an interface may say: each rule, what it is called, where it was broken, and the cure."""

from __future__ import annotations

import io
import pickle
import socket
import uuid as uuids
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from types import NoneType, new_class
from typing import Annotated, Any, Generic, NamedTuple, NewType, Protocol, TypedDict, TypeVar

import msgspec
import pytest
import trio

from ipcpipes import rpc
from ipcpipes.rpc.definition import Definition, Operation
from ipcpipes.rpc.errors import DefinitionError

UUID = "6f1c6b1e-58b8-4b52-9d0c-0f6f4f0f7a10"
OTHER_UUID = "2d9e7c1a-3f5d-4c0e-8a58-6b0a44c3f5b2"

T = TypeVar("T")


def definition(interface: type[rpc.Interface]) -> Definition:
    return interface._rpc_definition


def taken(annotation: Any, **options: Any) -> Operation:
    """An operation with one parameter of this type, called ``given``."""

    class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation(**options)
        async def work(self, given: annotation) -> None: ...

    return definition(Sample).operations["work"]


def returning(annotation: Any, **options: Any) -> Operation:
    class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation(**options)
        async def work(self) -> annotation: ...

    return definition(Sample).operations["work"]


GIVEN = "interface Sample, operation work, parameter given"
RESULT = "interface Sample, operation work, its result"


def refused(
    make: Callable[..., object], annotation: Any, rule: str, *cure: str, where: str | None = None
) -> None:
    """Checks that it is refused, by which rule, with which words."""
    with pytest.raises(DefinitionError) as caught:
        make(annotation)
    error = caught.value
    expected = where or (GIVEN if make is taken else RESULT)
    assert str(error).startswith(f"{expected}: ")
    assert str(error).endswith(f" (rule: {rule})")
    assert error.rule == rule
    for words in cure:
        assert words in error.text


class Color(IntEnum):
    RED = 0
    BLUE = -1


class Sample3(rpc.Structure):
    time: rpc.int64
    channels: Annotated[list[rpc.float32], rpc.Length(3)]


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


# The rules of section 6


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
def test_01_a_pipe_is_no_result(result: Any) -> None:
    refused(returning, result, "only a parameter", "take a parameter of rpc.OutPipe")


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
def test_02_a_pipe_is_no_part_of_another_type(annotation: Any) -> None:
    refused(taken, annotation, "only a parameter", "give it a parameter")


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
def test_03_a_pipe_carries_no_pipes(carried: Any) -> None:
    refused(taken, rpc.InPipe[carried], "only a parameter", "carries no pipes", "a parameter")


@pytest.mark.parametrize("base", [rpc.InPipe, rpc.OutPipe, rpc.InOutPipe, rpc.InPipe[rpc.int32]])
def test_04_nothing_is_derived_from_a_pipe(base: Any) -> None:
    with pytest.raises(DefinitionError) as caught:

        class Numbers(base):  # type: ignore[misc]
            pass

    assert caught.value.rule == "only a parameter"
    assert str(caught.value).startswith("class Numbers: nothing is derived from a pipe type; ")
    assert "Annotated[rpc.InPipe[...], rpc.PipeName(...)]" in caught.value.text


def test_04_not_by_a_new_type_either() -> None:
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


class Anything:
    pass


@pytest.mark.parametrize(
    ("carried", "words"),
    [
        (rpc.int32 | None, "an optional value is a pointer"),
        (Sample3 | None, "an optional value is a pointer"),
        (Node, "its field Node.next: an optional value is a pointer"),
        (Endless, "Endless.itself"),
        (Anything, "Anything is a pointer, or nothing that has a fixed size"),
        (Any, "pointer"),
        (object, "object is a pointer"),
        (T, "T is a pointer"),
        (Callback, "its field Callback.call: "),
        (Callable[[], None], "pointer"),
        (int, "int has no fixed size; take a type such as rpc.int64"),
        (float, "float has no fixed size; take a type such as rpc.float64"),
        (bool, "bool has no fixed size; take a type such as rpc.boolean"),
    ],
    ids=str,
)
def test_05_an_element_is_no_pointer(carried: Any, words: str) -> None:
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
        (str, "take a pipe of rpc.byte"),
        (list[rpc.int32], "conformant or varying array"),
        (list, "conformant or varying array"),
        (dict[str, int], "conformant or varying array"),
        (tuple[rpc.int32, rpc.int32], "conformant or varying array"),
        (set[rpc.int32], "conformant or varying array"),
        (VARYING, "rpc.Structure"),
        (Varying, "its field Varying.data: "),
        (Conformant, "its field Conformant.data: bytes is a conformant array"),
        (ConformantBelow, "Conformant.data: bytes is a conformant array"),
        # Of a fixed size, and still: MIDL has no pipes of bare arrays.
        (Annotated[list[rpc.int32], rpc.Length(4)], "wrap it in an rpc.Structure"),
    ],
    ids=str,
)
def test_06_an_element_is_no_conformant_or_varying_array(carried: Any, words: str) -> None:
    refused(taken, rpc.InPipe[carried], "elements", words)


class Remote(rpc.Interface, uuid=OTHER_UUID, version=(1, 0)):
    @rpc.operation
    async def work(self) -> None: ...


@pytest.mark.parametrize(
    ("carried", "words"),
    [
        (socket.socket, "socket is a handle, which means nothing to another process"),
        (io.FileIO, "FileIO is a handle"),
        (trio.SocketStream, "SocketStream is a handle"),
        (trio.MemoryReceiveChannel[int], "pointer"),
        (Remote, "Remote is a handle"),
        (None, "void is no element; leave the parameter out"),
        (NoneType, "void is no element"),
    ],
    ids=str,
)
def test_07_an_element_is_no_handle_and_not_void(carried: Any, words: str) -> None:
    refused(taken, rpc.InPipe[carried], "elements", words)


class UnionBelow(rpc.Structure):
    value: rpc.int32 | rpc.float32


@pytest.mark.parametrize("carried", [rpc.int32 | rpc.float32, Sample3 | Color, UnionBelow], ids=str)
def test_08_an_element_is_no_union(carried: Any) -> None:
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
    refused(taken, rpc.InPipe[carried], "elements", "32 bits ([v1_enum])", "take Color as it is")


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
    refused(taken, annotation, "never optional", "leave None out")


def test_11_a_pipe_has_no_default() -> None:
    with pytest.raises(DefinitionError) as caught:

        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            @rpc.operation
            async def work(self, given: rpc.InPipe[rpc.int32] = 5) -> None:  # type: ignore[assignment]
                ...

    assert caught.value.rule == "never optional"
    assert str(caught.value).startswith(f"{GIVEN}: ")
    assert "leave the default out" in caught.value.text


@pytest.mark.parametrize("flag", ["idempotent", "maybe"])
@pytest.mark.parametrize("kind", [rpc.InPipe, rpc.OutPipe, rpc.InOutPipe])
def test_12_an_operation_with_pipes_is_not_repeated_or_forgotten(flag: str, kind: Any) -> None:
    with pytest.raises(DefinitionError) as caught:
        taken(kind[rpc.int32], **{flag: True})
    assert caught.value.rule == f"not {flag}"
    assert str(caught.value).startswith(f"{GIVEN}: ")
    assert f"leave {flag}=True or the pipe out" in caught.value.text


@pytest.mark.parametrize("kind", [rpc.InPipe, rpc.OutPipe, rpc.InOutPipe])
def test_13_it_is_the_type_that_is_annotated_and_not_a_pipe(kind: Any) -> None:
    async def work(self: object, given: object) -> None: ...

    work.__annotations__["given"] = kind[rpc.int32]()
    with pytest.raises(DefinitionError) as caught:

        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            work_ = rpc.operation(work)

    assert caught.value.rule == "by reference"
    assert str(caught.value).startswith(
        "interface Sample, operation work_, parameter given: it is the type that is written here"
    )


@pytest.mark.parametrize("name", ["P", "P" * 29])
def test_14_a_name_has_up_to_29_characters(name: str) -> None:
    (pipe,) = taken(Annotated[rpc.InPipe[rpc.int32], rpc.PipeName(name)]).pipes
    assert pipe.type_name == name


@pytest.mark.parametrize("name", ["", "P" * 30])
def test_14_and_neither_more_nor_none(name: str) -> None:
    refused(
        taken,
        Annotated[rpc.InPipe[rpc.int32], rpc.PipeName(name)],
        "name",
        f"the name {name!r} of its type has {len(name)} characters",
        "give 1 to 29",
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
    refused(taken, annotation, "no transmit_as", "one representation", "leave")


# What pipes are


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


def test_a_range_and_a_name_stand_beside_it_in_any_order() -> None:
    for notes in ((rpc.Range(1, 9), rpc.PipeName("P")), (rpc.PipeName("P"), rpc.Range(1, 9))):
        (pipe,) = taken(Annotated[(rpc.OutPipe[rpc.byte], *notes)]).pipes
        assert (pipe.range, pipe.type_name, str(pipe)) == (
            rpc.Range(1, 9),
            "P",
            "out byte range(1, 9)",
        )


@pytest.mark.parametrize("kind", [rpc.InPipe, rpc.OutPipe, rpc.InOutPipe])
def test_a_pipe_says_what_it_carries(kind: Any) -> None:
    refused(taken, kind, "elements", f"{kind.__name__}[rpc.byte]")


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (2, 1), (0, 0), (0, 2**32), (2**32, 2**32 + 1)])
def test_a_range_goes_up_to_what_a_count_can_say(low: int, high: int) -> None:
    with pytest.raises(ValueError, match=rf"^a range goes .*, not {low}, {high}$"):
        rpc.Range(low, high)


@pytest.mark.parametrize(("low", "high"), [(1.0, 2), (1, "2"), (True, 2), (None, 2)])
def test_a_range_is_two_numbers(low: Any, high: Any) -> None:
    with pytest.raises(TypeError, match=r"^a range is two whole numbers, not "):
        rpc.Range(low, high)


def test_a_range_may_be_as_wide_as_a_count() -> None:
    assert rpc.Range(0, 2**32 - 1).high == 2**32 - 1
    assert rpc.Range(1, 1).low == 1


class Mixed(rpc.Interface, uuid=UUID, version=(3, 7)):
    """An interface of the tests."""

    @rpc.operation
    async def mix(
        self,
        scale: int,
        first: rpc.InPipe[rpc.int32],
        second: rpc.OutPipe[rpc.byte],
        both: rpc.InOutPipe[Sample3],
        title: str = "none",
        tags: list[str] = [],  # noqa: B006  # each call has the same, and nothing is added to it
    ) -> list[float]:
        """Mixes."""
        raise NotImplementedError

    @rpc.operation(idempotent=True, timeout=2)
    def look(self) -> None: ...


def test_an_operation_is_what_was_written() -> None:
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
    assert list(mix.pipe_names) == ["first", "second", "both"]
    assert mix.signature_of_pipes == (
        "in int32, out byte, inout {time: int64, channels: float32[3]}"
    )


def test_options_are_what_was_given() -> None:
    mix, look = definition(Mixed).operations.values()
    assert (mix.options.idempotent, mix.options.maybe, mix.options.timeout) == (False, False, None)
    assert (look.options.idempotent, look.options.maybe, look.options.timeout) == (True, False, 2)


def test_arguments_are_checked_while_they_are_read() -> None:
    decode = definition(Mixed).operations["mix"].arguments_decoder.decode
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


# Its identity


def test_an_interface_is_known_by_its_uuid_and_version() -> None:
    one = definition(Mixed)
    assert (one.name, one.uuid, one.version) == ("Mixed", uuids.UUID(UUID), (3, 7))
    assert str(one) == "Mixed 3.7"
    assert one.documentation == "An interface of the tests."


def test_a_uuid_may_be_one_already() -> None:
    class Sample(rpc.Interface, uuid=uuids.UUID(UUID), version=(0, 65535)):
        @rpc.operation
        def work(self) -> None: ...

    assert definition(Sample).uuid == uuids.UUID(UUID)


@pytest.mark.parametrize("uuid", ["", "x", UUID[:-1], 5, b"x", None])
def test_a_wrong_uuid_is_refused_with_a_new_one(uuid: Any) -> None:
    with pytest.raises(DefinitionError) as caught:

        class Sample(rpc.Interface, uuid=uuid, version=(1, 0)):
            pass

    assert caught.value.rule == "identity"
    assert str(caught.value).startswith(f"interface Sample: uuid={uuid!r} is none; one that is new")
    new = caught.value.text.split('"')[1]
    assert str(uuids.UUID(new)) == new


@pytest.mark.parametrize(
    "version", [None, 1, "1.0", (1,), (1, 0, 0), (1, -1), (65536, 0), (1.0, 0), (True, 0), [1, 0]]
)
def test_a_wrong_version_is_refused(version: Any) -> None:
    with pytest.raises(DefinitionError) as caught:

        class Sample(rpc.Interface, uuid=UUID, version=version):
            pass

    assert caught.value.rule == "identity"
    assert "such as version=(1, 0)" in caught.value.text


def test_an_interface_without_either_is_told_what_to_write() -> None:
    with pytest.raises(DefinitionError) as caught:

        class Sample(rpc.Interface):
            @rpc.operation
            async def work(self) -> None: ...

    assert caught.value.rule == "identity"
    assert str(caught.value).startswith("interface Sample: an interface is known by its uuid")
    assert 'Sample(rpc.Interface, uuid="' in caught.value.text


def test_a_manager_cannot_add_operations() -> None:
    with pytest.raises(DefinitionError, match=r"^interface More: .*\(rule: identity\)$"):

        class More(Remote):
            @rpc.operation
            async def other(self) -> None: ...


# Its operations


def test_operations_are_numbered_in_the_order_of_the_class() -> None:
    class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation
        def second(self) -> None: ...

        def no_operation(self) -> None: ...

        @rpc.operation
        def first(self) -> None: ...

        @rpc.operation
        def also(self) -> None: ...

    operations = definition(Sample).operations
    assert [(name, one.number) for name, one in operations.items()] == [
        ("second", 0),
        ("first", 1),
        ("also", 2),
    ]


class Newer(Mixed, uuid=UUID, version=(3, 8)):
    @rpc.operation
    def look(self, closely: bool = False) -> None: ...

    @rpc.operation
    def added(self, data: rpc.OutPipe[rpc.byte]) -> None: ...


def test_an_interface_inherits_operations_and_their_numbers() -> None:
    operations = definition(Newer).operations
    assert [(name, one.number) for name, one in operations.items()] == [
        ("mix", 0),
        ("look", 1),
        ("added", 2),
    ]
    assert operations["mix"] is definition(Mixed).operations["mix"]
    assert operations["look"].parameters == ("closely",)
    assert list(definition(Mixed).operations) == ["mix", "look"]
    assert definition(Mixed).operations["look"].parameters == ()
    assert definition(Newer).version == (3, 8)


def test_an_interface_inherits_from_one() -> None:
    # The operations of the other would have no number.
    with pytest.raises(DefinitionError, match=r"^interface Both: .*Mixed.*Remote"):

        class Both(Mixed, Remote, uuid=UUID, version=(1, 0)):
            pass


def test_an_interface_may_be_made_in_a_function() -> None:
    # Annotations are text here, and name what only this function knows.
    class Local(rpc.Structure):
        value: rpc.int32

    Locals = Annotated[rpc.InPipe[Local], rpc.PipeName("LOCALS")]  # noqa: N806  # a type

    class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation
        async def work(self, given: Locals, one: Local) -> Local:
            raise NotImplementedError

    work = definition(Sample).operations["work"]
    assert (work.result, work.types["one"]) == (Local, Local)
    assert work.pipes[0].element.structure is Local


def test_an_annotation_that_means_nothing_is_refused() -> None:
    with pytest.raises(DefinitionError) as caught:

        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            @rpc.operation
            async def work(self, given: Missing) -> None:  # type: ignore[name-defined]  # noqa: F821
                ...

    assert caught.value.rule == "types"
    assert str(caught.value).startswith(
        "interface Sample, operation work: its annotations cannot be understood: "
    )
    assert "Missing" in caught.value.text


def test_a_structure_whose_fields_mean_nothing_is_refused() -> None:
    class Local(rpc.Structure):
        value: Missing  # type: ignore[name-defined]  # noqa: F821

    refused(taken, rpc.InPipe[Local], "elements", "Local", "Missing")


def test_each_parameter_has_a_type() -> None:
    with pytest.raises(DefinitionError) as caught:

        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            @rpc.operation
            async def work(self, given) -> None:  # type: ignore[no-untyped-def]
                ...

    assert str(caught.value) == f"{GIVEN}: it has no type; annotate it (rule: parameters)"


def operations_with_strange_parameters() -> dict[str, Any]:
    async def any_number(self: object, *given: int) -> None: ...
    async def any_names(self: object, **given: int) -> None: ...
    async def only_by_place(self: object, given: int, /) -> None: ...
    async def only_by_name(self: object, *, given: int) -> None: ...

    return {
        "their number is fixed; take a list or a dict": (any_number, any_names),
        "it is passed both ways; leave the / or * out": (only_by_place, only_by_name),
    }


@pytest.mark.parametrize(
    ("cure", "function"),
    [(cure, one) for cure, many in operations_with_strange_parameters().items() for one in many],
)
def test_parameters_are_a_fixed_number_and_passed_both_ways(cure: str, function: Any) -> None:
    with pytest.raises(DefinitionError) as caught:

        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            work = rpc.operation(function)

    assert str(caught.value) == f"{GIVEN}: {cure} (rule: parameters)"


@pytest.mark.parametrize("kind", [staticmethod, classmethod])
def test_an_operation_is_a_method(kind: Any) -> None:
    def work(given: int) -> None: ...

    with pytest.raises((DefinitionError, TypeError), match="method"):

        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            work_ = rpc.operation(kind(work))


def test_an_operation_has_a_self() -> None:
    with pytest.raises(DefinitionError, match=r"^interface Sample, operation work: .*self"):

        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            @rpc.operation
            def work() -> None:  # type: ignore[misc]
                ...


def test_only_what_can_be_called_is_an_operation() -> None:
    with pytest.raises(TypeError, match=r"^@rpc.operation stands over a method, not 5$"):
        rpc.operation()(5)  # type: ignore[type-var]


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "5"])
def test_a_timeout_is_some_time(timeout: Any) -> None:
    with pytest.raises(ValueError, match=r"^timeout must be more than 0 seconds, not "):
        rpc.operation(timeout=timeout)


def test_what_nobody_waits_for_has_no_result() -> None:
    with pytest.raises(DefinitionError) as caught:
        returning(int, maybe=True)
    assert caught.value.rule == "maybe"
    assert str(caught.value).startswith(f"{RESULT}: nobody waits for it; annotate it with -> None")
    assert returning(None, maybe=True).options.maybe


def test_no_annotation_is_no_result() -> None:
    class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation
        async def work(self):  # type: ignore[no-untyped-def]
            ...

    assert definition(Sample).operations["work"].result is NoneType


# Types that can be sent


@dataclass
class Holder:
    inner: dict[str, list[Anything]]


class Chain(msgspec.Struct):
    value: int
    following: Chain | None = None


class Box(msgspec.Struct, Generic[T]):
    content: T


class Speaks(Protocol):
    def speak(self) -> None: ...


@pytest.mark.parametrize(
    "annotation",
    [
        Anything,
        list[Anything],
        dict[str, tuple[int, Anything]],
        Anything | None,
        Holder,
        list[Holder],
        Box[Anything],
        Speaks,
        complex,
        Callable[[], None],
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [taken, returning])
def test_what_cannot_be_sent_is_refused_when_the_class_is_made(make: Any, annotation: Any) -> None:
    refused(make, annotation, "types", "cannot")


def test_and_what_it_is_called() -> None:
    refused(
        taken,
        Holder,
        "types",
        "Anything cannot be sent; take a dataclass, a msgspec.Struct or a TypedDict",
    )


class Left(msgspec.Struct):
    pass


class Right(msgspec.Struct):
    pass


@pytest.mark.parametrize("annotation", [Left | Right, list[Left | Right]], ids=str)
def test_what_msgspec_cannot_tell_apart_is_refused(annotation: Any) -> None:
    refused(taken, annotation, "types", "msgspec cannot type it: ")


@pytest.mark.parametrize(
    "annotation",
    [
        int,
        str | None,
        list[dict[str, float]],
        Chain,
        list[Chain],
        Box[Chain],
        Sample3,
        Color,
        uuids.UUID,
        bytes,
        Any,
        rpc.int16,
        Annotated[list[rpc.int16], rpc.Length(2)],
        Annotated[int, msgspec.Meta(ge=0, extra={"unit": []})],
        Annotated[int, ["cannot be hashed"]],
    ],
    ids=str,
)
def test_what_msgspec_can_type_is_accepted(annotation: Any) -> None:
    assert taken(annotation).types["given"] == annotation
    assert returning(annotation).result == annotation


# Managers


class Calculator(rpc.Interface, uuid=OTHER_UUID, version=(1, 0)):
    @rpc.operation
    async def add(self, a: int, b: int = 1) -> int:
        raise NotImplementedError

    @rpc.operation
    def total(self, numbers: rpc.InPipe[rpc.int32]) -> int:
        raise NotImplementedError


def test_a_manager_implements_each_operation() -> None:
    class Manager(Calculator):
        async def add(self, a: int, b: int = 2) -> int:
            return a + b

        async def total(self, numbers: rpc.InPipe[rpc.int32]) -> int:  # type: ignore[override]
            return 0

        def helper(self) -> None: ...

    assert Manager()._rpc_definition is definition(Calculator)


def test_an_incomplete_manager_cannot_be_made() -> None:
    class Manager(Calculator):
        async def add(self, a: int, b: int = 1) -> int:
            return a + b

    with pytest.raises(TypeError, match=r"abstract.*total"):
        Manager()


def test_a_manager_may_be_completed_further_down() -> None:
    class Half(Calculator):
        async def add(self, a: int, b: int = 1) -> int:
            return a + b

    class Whole(Half):
        def total(self, numbers: rpc.InPipe[rpc.int32]) -> int:
            return 0

    assert Whole()


def test_a_manager_takes_the_same_parameters() -> None:
    with pytest.raises(DefinitionError) as caught:

        class Manager(Calculator):
            async def add(self, b: int, a: int = 1) -> int:  # type: ignore[override]
                return a + b

    assert str(caught.value) == (
        "manager Manager, operation add: it takes (b, a) and the interface says (a, b) "
        "(rule: parameters)"
    )


class Wrong:
    async def add(self, a: int) -> int:
        return a


def test_also_where_the_method_comes_from_elsewhere() -> None:
    with pytest.raises(DefinitionError, match=r"^manager Manager, operation add: it takes \(a\) "):

        class Manager(Wrong, Calculator):  # type: ignore[misc]
            pass


@pytest.mark.parametrize("add", [5, staticmethod(lambda a, b: a), property(lambda self: 1), None])
def test_what_a_manager_implements_with_is_a_method(add: Any) -> None:
    with pytest.raises(DefinitionError, match=r"^manager Manager, operation add: it is no method;"):
        new_class("Manager", (Calculator,), exec_body=lambda names: names.update(add=add))


def test_and_has_a_self() -> None:
    def add() -> None: ...

    with pytest.raises(DefinitionError, match=r"^manager Manager, operation add: .*self"):
        new_class("Manager", (Calculator,), exec_body=lambda names: names.update(add=add))


# The error itself


def test_a_broken_rule_is_a_mistake_in_the_program() -> None:
    with pytest.raises(TypeError) as caught:
        taken(rpc.InPipe[int])
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is DefinitionError
    assert (str(copy), copy.rule, copy.where) == (str(caught.value), "elements", GIVEN)
