"""The identity of an interface, and the numbers, parameters and options of its operations."""

from __future__ import annotations

import re
import uuid as uuids
from types import NoneType
from typing import Annotated, Any

import pytest

from ipcpipes import rpc
from ipcpipes.rpc.definition.operations import Options
from ipcpipes.rpc.errors import DefinitionError

from .rpc_defining import GIVEN, RESULT, UUID, Mixed, Remote, refused, returning, taken
from .rpc_pairs import definition

# Its identity


def test_an_interface_is_known_by_its_uuid_and_version() -> None:
    one = definition(Mixed)
    assert (one.name, one.uuid, one.version) == ("Mixed", uuids.UUID(UUID), (3, 7))
    assert str(one) == "Mixed 3.7"
    assert one.documentation == "An interface of the tests."


def test_a_uuid_can_be_a_uuid_object() -> None:
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
    assert str(caught.value).startswith(f"interface Sample: uuid={uuid!r} is not a UUID; a new one")
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


def test_an_interface_without_identity_gets_an_example() -> None:
    with pytest.raises(DefinitionError) as caught:

        class Sample(rpc.Interface):
            @rpc.operation
            async def work(self) -> None: ...

    assert caught.value.rule == "identity"
    assert str(caught.value).startswith("interface Sample: an interface needs a uuid")
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
    # The operations of the second base would have no number.
    with pytest.raises(DefinitionError, match=r"^interface Both: .*Mixed.*Remote"):

        class Both(Mixed, Remote, uuid=UUID, version=(1, 0)):
            pass


def test_an_interface_can_use_local_names_of_a_function() -> None:
    # Annotations are text in this module, and use local names of this function.
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


def test_an_undefined_name_in_an_annotation_is_refused() -> None:
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


def test_an_undefined_name_in_a_structure_is_refused() -> None:
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
        "the number of parameters is fixed; use a list or a dict": (any_number, any_names),
        "a client must be able to pass it by position and by name; remove the / or *": (
            only_by_place,
            only_by_name,
        ),
    }


@pytest.mark.parametrize(
    ("cure", "function"),
    [(cure, one) for cure, many in operations_with_strange_parameters().items() for one in many],
)
def test_parameters_of_other_kinds_are_refused(cure: str, function: Any) -> None:
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


def test_an_operation_without_self_is_refused() -> None:
    with pytest.raises(DefinitionError, match=r"^interface Sample, operation work: .*self"):

        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            @rpc.operation
            def work() -> None:  # type: ignore[misc]
                ...


@pytest.mark.parametrize("wrong", [5, staticmethod(len)])
@pytest.mark.parametrize(
    ("name", "decorator"), [("operation", rpc.operation), ("options", rpc.options())]
)
def test_a_decorator_of_operations_decorates_methods(name: str, decorator: Any, wrong: Any) -> None:
    with pytest.raises(TypeError) as caught:
        decorator(wrong)
    assert str(caught.value) == f"@rpc.{name} decorates a method, not {wrong!r}"


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), "5"])
def test_a_timeout_is_above_zero(timeout: Any) -> None:
    words = re.escape(f"timeout must be more than 0 seconds, not {timeout!r}")
    with pytest.raises(ValueError, match=rf"^{words}$"):
        rpc.options(timeout=timeout)


def test_options_stand_above_or_below_the_operation_or_in_it() -> None:
    chosen: dict[str, Any] = {"idempotent": True, "timeout": 30}
    called: Any = rpc.operation  # type checkers refuse arguments

    class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.options(**chosen)
        @rpc.operation
        async def above(self) -> None: ...

        @rpc.operation
        @rpc.options(**chosen)
        async def below(self) -> None: ...

        @called(**chosen)  # type: ignore[untyped-decorator]  # see above
        async def within(self) -> None: ...

        @rpc.operation
        async def without(self) -> None: ...

    operations = definition(Sample).operations
    expected = Options(idempotent=True, maybe=False, timeout=30)
    assert [one.options for one in operations.values()] == [
        *[expected] * 3,
        Options(idempotent=False, maybe=False, timeout=None),
    ]
    assert [one.number for one in operations.values()] == [0, 1, 2, 3]


def test_options_without_an_operation_are_refused() -> None:
    with pytest.raises(DefinitionError) as caught:

        class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
            @rpc.options(timeout=30)
            async def work(self) -> None: ...

    assert str(caught.value) == (
        "class Sample, method work: it has options, but it is not an operation; add "
        "@rpc.operation, or remove @rpc.options if this is a manager (rule: parameters)"
    )


def test_options_stand_in_one_place() -> None:
    async def work(self: Any) -> None: ...

    with pytest.raises(TypeError) as caught:
        rpc.options(timeout=30)(rpc.options(idempotent=True)(work))
    assert str(caught.value) == (
        "@rpc.options stands there twice; write all options into one of them"
    )


def test_a_maybe_operation_has_no_result() -> None:
    with pytest.raises(DefinitionError) as caught:
        returning(int, maybe=True)
    assert caught.value.rule == "maybe"
    assert str(caught.value).startswith(
        f"{RESULT}: the client does not wait for a result; annotate it with -> None"
    )
    assert returning(None, maybe=True).options.maybe


def test_a_missing_result_annotation_means_none() -> None:
    class Sample(rpc.Interface, uuid=UUID, version=(1, 0)):
        @rpc.operation
        async def work(self):  # type: ignore[no-untyped-def]
            ...

    assert definition(Sample).operations["work"].result is NoneType
